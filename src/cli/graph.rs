//! `memos graph`: the memories around one, as an outline in the terminal or as a picture in a file.
//!
//! With `--json` it prints `{"space": "home/main", "centre": "…", "hops": 2, "cubes": […], "links": […], "out":
//! "FILE"}`, with the fields of [`memos::vault::NeighbourCube`] and [`memos::graph::Link`]; `out` is null without a
//! picture.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};

use clap::Args;
use memos::cube::{CubeId, SpaceName};
use memos::governance::Principal;
use memos::graph::Link;
use memos::picture::Picture;
use memos::vault::{NeighbourCube, Neighbourhood, Space};
use memos::{Error, Result};
use serde::Serialize;

use super::ids::{find, short};
use super::receipts::said_by;
use super::scope::Scope;
use super::screen::{DIM, NAME, Screen, TITLE, columns_of, one_line, paint};

/// A memory with more links than this is a hub.
const HUB_LINKS: usize = 12;
/// Memories among which those that are shown are chosen.
const LOOKED_AT: usize = 500;

#[derive(Args)]
pub(super) struct GraphArguments {
    /// The memory's id, or a beginning or end of it
    id: String,
    /// How many links away memories may be
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    hops: u8,
    /// The most memories
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..=200))]
    most: u16,
    /// Draw a picture into this file, whose name ends in `.svg` or `.html`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
struct Around<'a> {
    space: &'a SpaceName,
    centre: CubeId,
    hops: u8,
    #[serde(flatten)]
    around: &'a Neighbourhood,
    out: Option<String>,
}

pub(super) fn run(arguments: &GraphArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let form = arguments.out.as_deref().map(PictureForm::of).transpose()?;
    let space = scope.space()?;
    let id = find(&space, &scope.caller, &arguments.id)?;
    let around = around(&space, &scope.caller, &id, usize::from(arguments.hops), usize::from(arguments.most))?;
    if let (Some(path), Some(form)) = (&arguments.out, form) {
        write_picture(path, form, &around, space.name().as_str())?;
    }
    let out = arguments.out.as_ref().map(|path| path.display().to_string());
    if screen.json {
        return screen.object(&Around { space: space.name(), centre: id, hops: arguments.hops, around: &around, out });
    }
    match out {
        Some(out) => {
            screen.line(format!("drew {} memories and {} links into {out}", around.cubes.len(), around.links.len()))
        }
        None => outline(&around, screen),
    }
    if around.cubes.len() == usize::from(arguments.most) {
        screen.line(paint(DIM, format!("these are the nearest {}; `--most` shows more", arguments.most)));
    }
    Ok(())
}

/// Returns the memories around one, nearest first. A hub on the way is shown but not walked through: what a summary links
/// has little more in common than the summary.
pub(super) fn around(
    space: &Space,
    caller: &Principal,
    id: &CubeId,
    hops: usize,
    most: usize,
) -> Result<Neighbourhood> {
    let wide = space.neighbourhood(caller, id, hops, LOOKED_AT.max(most))?;
    let mut beside: HashMap<CubeId, Vec<CubeId>> = HashMap::new();
    for link in &wide.links {
        beside.entry(link.from).or_default().push(link.to);
        beside.entry(link.to).or_default().push(link.from);
    }
    let mut reached = HashMap::from([(*id, 0)]);
    let mut queue = VecDeque::from([*id]);
    while let Some(at) = queue.pop_front() {
        let hop = reached.get(&at).copied().unwrap_or(0) + 1;
        let next = beside.get(&at).map_or(&[][..], Vec::as_slice);
        if hop > hops || (next.len() > HUB_LINKS && at != *id) {
            continue;
        }
        for other in next {
            if reached.len() < most && !reached.contains_key(other) {
                reached.insert(*other, hop);
                queue.push_back(*other);
            }
        }
    }
    let mut cubes: Vec<NeighbourCube> = Vec::new();
    for cube in wide.cubes {
        cubes.extend(reached.get(&cube.id).map(|hops| NeighbourCube { hops: *hops, ..cube }));
    }
    cubes.sort_by_key(|cube| cube.hops);
    let links =
        wide.links.into_iter().filter(|link| reached.contains_key(&link.from) && reached.contains_key(&link.to));
    Ok(Neighbourhood { cubes, links: links.collect() })
}

/// The two forms of a picture.
#[derive(Debug, Clone, Copy)]
pub(super) enum PictureForm {
    Svg,
    Html,
}

impl PictureForm {
    fn of(path: &Path) -> Result<Self> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        match ending.as_deref() {
            Some("svg") => Ok(Self::Svg),
            Some("html" | "htm") => Ok(Self::Html),
            _ => Err(Error::invalid(format!(
                "`{}` must end in `.svg` or `.html`, which says what is drawn",
                path.display()
            ))),
        }
    }
}

/// Draws the memories around one into a file.
pub(super) fn write_picture(path: &Path, form: PictureForm, around: &Neighbourhood, title: &str) -> Result<()> {
    let picture = Picture::of(around, title)?;
    let text = match form {
        PictureForm::Svg => picture.svg(),
        PictureForm::Html => picture.html(),
    };
    std::fs::write(path, text)
        .map_err(|e| Error::invalid(format!("the picture `{}` cannot be written: {e}", path.display())).with_source(e))
}

/// Shows each memory once, below the one over which it was reached first.
fn outline(around: &Neighbourhood, screen: &mut Screen) {
    let mut below: HashMap<CubeId, Vec<(&Link, &NeighbourCube)>> = HashMap::new();
    let hops: HashMap<CubeId, usize> = around.cubes.iter().map(|cube| (cube.id, cube.hops)).collect();
    for cube in &around.cubes {
        let upper = |link: &&Link| {
            let other = if link.from == cube.id { link.to } else { link.from };
            (link.from == cube.id || link.to == cube.id) && hops.get(&other).is_some_and(|hops| hops + 1 == cube.hops)
        };
        if let Some(link) = around.links.iter().find(upper) {
            let other = if link.from == cube.id { link.to } else { link.from };
            below.entry(other).or_default().push((link, cube));
        }
    }
    let Some(centre) = around.cubes.iter().find(|cube| cube.hops == 0) else { return };
    screen.result(format!(
        "{}  {}",
        paint(TITLE, said(centre, screen.columns.saturating_sub(14))),
        paint(NAME, short(&centre.id))
    ));
    let mut open: Vec<(usize, &Link, &NeighbourCube)> = Vec::new();
    let mut push = |open: &mut Vec<_>, depth: usize, id: &CubeId| {
        let children = below.remove(id).unwrap_or_default();
        open.extend(children.into_iter().rev().map(|(link, cube)| (depth, link, cube)));
    };
    push(&mut open, 1, &centre.id);
    while let Some((depth, link, cube)) = open.pop() {
        let arrow = if link.to == cube.id { "→" } else { "←" };
        let lead = format!("{:1$}{arrow} {2}  ", "", depth * 2, link.kind);
        let room = screen.columns.saturating_sub(columns_of(&lead) + 14);
        screen.result(format!("{}{}  {}", paint(DIM, &lead), said(cube, room), paint(NAME, short(&cube.id))));
        push(&mut open, depth + 1, &cube.id);
    }
}

fn said(cube: &NeighbourCube, columns: usize) -> String {
    let name = said_by(cube.speaker.as_deref(), &cube.title).map(|name| format!("{name}: ")).unwrap_or_default();
    one_line(&format!("{name}{}", cube.text), columns)
}

//! `memos show`: one memory in full, as it is, or as it was known at a point of the past.
//!
//! With `--json`, `show` gives
//!
//! ```json
//! {"space": "home/main", "header": {…}, "text": "…", "digest": "…", "usage": {…},
//!  "links": [{"kind": "follows", "direction": "forward", "cube": "…", "speaker": "…", "text": "…"}]}
//! ```
//!
//! with the fields of [`memos::cube::Header`] and [`memos::cube::Usage`]; `text` is null for payloads that are not text.

use std::collections::HashMap;

use clap::Args;
use memos::Result;
use memos::cube::{Cube, CubeId, Digest, Header, SpaceName, State, Usage};
use memos::graph::{Direction, Link, LinkKind};
use memos::vault::{CubeHead, NeighbourCube, Point, Space};
use serde::Serialize;

use super::ids::{find, short};
use super::receipts::{moment, said_by, stretch};
use super::scope::Scope;
use super::screen::{DIM, NAME, Screen, TITLE, one_line, paint};
use super::table::Table;

/// Links of one memory that are shown.
const MOST_LINKS: usize = 200;

#[derive(Args)]
pub(super) struct ShowArguments {
    /// The memory's id, or a beginning or end of it
    id: String,
    /// Show it as it was known at a point: a time, or `#1200` for after 1200 events
    #[arg(long, value_name = "POINT")]
    as_of: Option<Point>,
}

#[derive(Serialize)]
struct Shown<'a> {
    space: &'a SpaceName,
    header: &'a Header,
    text: Option<&'a str>,
    digest: Digest,
    usage: Usage,
    links: Vec<ShownLink>,
}

#[derive(Serialize)]
struct ShownLink {
    kind: LinkKind,
    direction: Direction,
    cube: CubeId,
    speaker: Option<String>,
    text: String,
}

pub(super) fn show(arguments: &ShowArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let mut space = scope.space()?;
    if let Some(point) = arguments.as_of {
        space = space.at(point)?;
    }
    let id = find(&space, &scope.caller, &arguments.id)?;
    let (cube, head) = space.get(&scope.caller, &id)?;
    let around = space.neighbourhood(&scope.caller, &id, 1, MOST_LINKS)?;
    let cubes: HashMap<CubeId, &NeighbourCube> = around.cubes.iter().map(|cube| (cube.id, cube)).collect();
    let links = around.links.iter().filter_map(|link| shown_link(link, &id, &cubes)).collect();
    if screen.json {
        let shown = Shown {
            space: space.name(),
            header: &cube.header,
            text: cube.payload.as_text(),
            digest: head.digest,
            usage: head.usage,
            links,
        };
        return screen.object(&shown);
    }
    if screen.quiet {
        screen.result(super::screen::printable(cube.payload.as_text().unwrap_or_default()));
        return Ok(());
    }
    print(&space, &cube, &head, &links, screen);
    Ok(())
}

fn shown_link(link: &Link, of: &CubeId, cubes: &HashMap<CubeId, &NeighbourCube>) -> Option<ShownLink> {
    let (direction, other) = match (link.from == *of, link.to == *of) {
        (true, _) => (Direction::Forward, link.to),
        (_, true) => (Direction::Backward, link.from),
        // A link between two neighbours says nothing of this memory.
        _ => return None,
    };
    let cube = cubes.get(&other)?;
    Some(ShownLink { kind: link.kind, direction, cube: other, speaker: cube.speaker.clone(), text: cube.text.clone() })
}

fn print(space: &Space, cube: &Cube, head: &CubeHead, links: &[ShownLink], screen: &mut Screen) {
    let header = &cube.header;
    if let Some(name) = said_by(header.origin.speaker.as_deref(), &header.title) {
        screen.line(paint(NAME, name));
    }
    match cube.payload.as_text() {
        Some(text) => screen.paragraph(0, TITLE, text),
        None => screen.line(format!("a {} payload of {} bytes", header.kind(), header.fingerprint.bytes)),
    }
    screen.line("");
    let mut table = Table::new(0).words("", DIM).text("");
    for (name, value) in facts(header, head) {
        table.row([name.to_owned(), value]);
    }
    table.row(["space".into(), space.name().to_string()]);
    table.lines(screen.columns).into_iter().for_each(|line| screen.line(line));
    if links.is_empty() {
        return;
    }
    screen.line("");
    screen.line(paint(DIM, "links"));
    let room = screen.columns;
    let mut table = Table::new(2).words("", DIM).words("", NAME).text("");
    for link in links {
        let arrow = if link.direction == Direction::Forward { "→" } else { "←" };
        let said = link.speaker.iter().map(|name| format!("{name}: ")).chain([link.text.clone()]).collect::<String>();
        table.row([format!("{arrow} {}", link.kind), short(&link.cube), one_line(&said, room.saturating_sub(34))]);
    }
    table.lines(room).into_iter().for_each(|line| screen.line(line));
}

/// Returns what is known about a memory, by name, without what is empty.
fn facts(header: &Header, head: &CubeHead) -> Vec<(&'static str, String)> {
    let governance = &header.governance;
    let origin = &header.origin;
    let mut facts = vec![
        ("id", header.id.to_string()),
        ("type", format!("{}, {}", header.semantic, header.kind())),
        ("version", format!("{}, {}", header.version, header.times.created)),
        ("state", with_reason(header.lifecycle.state, &header.lifecycle.reason)),
        ("observed", moment(header.times.observed)),
    ];
    facts.extend(stretch(&header.times.valid).map(|when| ("speaks of", when)));
    facts.push(("layer", format!("{}, owned by {}", governance.layer, governance.owner)));
    if !governance.sensitivity.is_empty() {
        let kinds: Vec<&str> = governance.sensitivity.iter().map(|kind| kind.as_str()).collect();
        facts.push(("sensitive", kinds.join(", ")));
    }
    for (name, value) in [
        ("title", Some(&header.title).filter(|title| !title.is_empty())),
        ("session", origin.session.as_ref()),
        ("reference", origin.reference.as_ref()),
        ("task", origin.task.as_ref()),
        ("model", origin.model.as_ref()),
    ] {
        facts.extend(value.map(|value| (name, value.clone())));
    }
    facts.push(("origin", format!("{} by {}", origin.kind, origin.principal)));
    for (name, list) in [("path", header.path.join(" > ")), ("tags", header.tags.join(", "))] {
        if !list.is_empty() {
            facts.push((name, list));
        }
    }
    if !header.chain.derived_from.is_empty() {
        let sources: Vec<String> = header
            .chain
            .derived_from
            .iter()
            .map(|source| format!("{}@{}", short(&source.cube), source.version))
            .collect();
        facts.push(("made from", sources.join(", ")));
    }
    let usage = &head.usage;
    let last = usage.last_read.map(|at| format!(", last {}", moment(at))).unwrap_or_default();
    facts.push(("used", format!("{} times{last}; {} helpful, {} not", usage.reads, usage.helpful, usage.unhelpful)));
    // A redacted memory has no digest, from which what is hidden could be guessed.
    let digest = if is_redacted(head) { "none: it is redacted".to_owned() } else { head.digest.to_string() };
    facts.push(("digest", digest));
    facts
}

fn is_redacted(head: &CubeHead) -> bool {
    head.digest.as_bytes().iter().all(|byte| *byte == 0)
}

fn with_reason(state: State, reason: &str) -> String {
    if reason.is_empty() { state.to_string() } else { format!("{state}: {reason}") }
}

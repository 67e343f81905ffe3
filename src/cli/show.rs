//! `memos show` and `memos history`: one memory in full, and how it came to say what it says.
//!
//! With `--json`, `show` gives
//!
//! ```json
//! {"space": "home/main", "header": {…}, "text": "…", "digest": "…", "usage": {…},
//!  "links": [{"kind": "follows", "direction": "forward", "cube": "…", "speaker": "…", "text": "…"}]}
//! ```
//!
//! with the fields of [`memos::cube::Header`] and [`memos::cube::Usage`]; `text` is null for payloads that are not text.
//! `history` gives
//!
//! ```json
//! {"space": "home/main", "cube": "…", "versions": [{"header": {…}, "text": "…"}],
//!  "chain": [{"cube": "…", "observed": 0, "valid": {…}, "state": "generated", "text": "…", "place": "replaced"}]}
//! ```
//!
//! where `chain` runs from the oldest statement to the newest, and `place` is `replaced`, `this` or `replaces`.

use std::collections::{HashMap, HashSet};

use clap::Args;
use memos::Result;
use memos::cube::{Cube, CubeId, Digest, Header, SpaceName, State, Usage};
use memos::governance::Principal;
use memos::graph::{Direction, Link, LinkKind};
use memos::time::{Timestamp, Window};
use memos::vault::{CubeHead, NeighbourCube, Space};
use serde::Serialize;

use super::ids::{find, short};
use super::receipts::{day, moment, said_by, stretch};
use super::scope::Scope;
use super::screen::{DIM, NAME, NOTICE, Screen, TITLE, one_line, paint};
use super::table::Table;

/// Links of one memory that are shown.
const MOST_LINKS: usize = 200;
/// Statements that replaced each other, followed one after the other.
const LONGEST_CHAIN: usize = 64;

#[derive(Args)]
pub(super) struct ShowArguments {
    /// The memory's id, or a beginning or end of it
    id: String,
}

#[derive(Args)]
pub(super) struct HistoryArguments {
    /// The memory's id, or a beginning or end of it
    id: String,
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
    let space = scope.space()?;
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
    facts.push(("digest", head.digest.to_string()));
    facts
}

fn with_reason(state: State, reason: &str) -> String {
    if reason.is_empty() { state.to_string() } else { format!("{state}: {reason}") }
}

#[derive(Serialize)]
struct History<'a> {
    space: &'a SpaceName,
    cube: CubeId,
    versions: Vec<ShownVersion<'a>>,
    chain: Vec<Statement>,
}

#[derive(Serialize)]
struct ShownVersion<'a> {
    header: &'a Header,
    text: Option<&'a str>,
}

/// One of several statements that replaced each other.
#[derive(Serialize)]
pub(super) struct Statement {
    pub(super) cube: CubeId,
    observed: Timestamp,
    valid: Window,
    state: State,
    text: String,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Place {
    Replaced,
    This,
    Replaces,
}

pub(super) fn history(arguments: &HistoryArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let space = scope.space()?;
    let id = find(&space, &scope.caller, &arguments.id)?;
    let versions = space.versions(&scope.caller, &id)?;
    let chain = chain(&space, &scope.caller, &id)?;
    if screen.json {
        let versions =
            versions.iter().map(|cube| ShownVersion { header: &cube.header, text: cube.payload.as_text() }).collect();
        return screen.object(&History { space: space.name(), cube: id, versions, chain });
    }
    show_versions(screen, &versions);
    show_chain(screen, &chain);
    Ok(())
}

/// Shows what each version says and when it is true.
pub(super) fn show_versions(screen: &mut Screen, versions: &[Cube]) {
    let mut table = Table::new(2).numbers("version").words("written", DIM).words("by", DIM).text("says");
    for cube in versions {
        let header = &cube.header;
        let mut says = cube.payload.as_text().map_or_else(|| header.kind().to_string(), str::to_owned);
        says.extend(stretch(&header.times.valid).map(|when| format!(" (true {when})")));
        table.row([
            header.version.to_string(),
            moment(header.times.created),
            header.origin.principal.to_string(),
            says,
        ]);
    }
    table.lines(screen.columns).into_iter().for_each(|line| screen.result(line));
}

/// Shows the statements that replaced each other, if there are several.
pub(super) fn show_chain(screen: &mut Screen, chain: &[Statement]) {
    if chain.len() < 2 {
        return;
    }
    screen.line("");
    screen.line(paint(DIM, "  statements that replaced each other, oldest first"));
    let mut table = Table::new(2).words("", NOTICE).words("said", DIM).words("id", NAME).text("says");
    for (at, statement) in chain.iter().enumerate() {
        let holds = at + 1 == chain.len();
        // Where an old statement ended says more than where it began.
        let end = Window { from: None, until: statement.valid.until };
        let standing = match (holds, stretch(&end), stretch(&statement.valid)) {
            (false, Some(end), _) => format!("true {end}"),
            (false, None, _) => "replaced".to_owned(),
            (true, _, Some(when)) => format!("holds {when}"),
            (true, _, None) => "holds".to_owned(),
        };
        let this = if statement.place == Place::This { "*" } else { "" };
        table.row([
            standing,
            day(statement.observed),
            format!("{}{this}", short(&statement.cube)),
            statement.text.clone(),
        ]);
    }
    table.lines(screen.columns).into_iter().for_each(|line| screen.result(line));
}

/// Follows the `supersedes` links of a memory both ways.
pub(super) fn chain(space: &Space, caller: &Principal, id: &CubeId) -> Result<Vec<Statement>> {
    let mut chain = Vec::new();
    let mut seen = HashSet::from([*id]);
    for (direction, place) in [(Direction::Forward, Place::Replaced), (Direction::Backward, Place::Replaces)] {
        let mut open = vec![*id];
        while let Some(at) = open.pop() {
            let around = space.neighbourhood(caller, &at, 1, MOST_LINKS)?;
            if at == *id && place == Place::Replaced {
                chain.push(statement(space, caller, &at, Place::This)?);
            }
            for link in around.links.iter().filter(|link| link.kind == LinkKind::Supersedes) {
                let (here, next) =
                    if direction == Direction::Forward { (link.from, link.to) } else { (link.to, link.from) };
                if here == at && chain.len() < LONGEST_CHAIN && seen.insert(next) {
                    chain.push(statement(space, caller, &next, place)?);
                    open.push(next);
                }
            }
        }
    }
    chain.sort_by_key(|statement| (statement.place as u8, statement.observed));
    Ok(chain)
}

fn statement(space: &Space, caller: &Principal, id: &CubeId, place: Place) -> Result<Statement> {
    let (cube, head) = space.get(caller, id)?;
    let (times, text) = (cube.header.times, cube.payload.as_text().unwrap_or_default().to_owned());
    Ok(Statement { cube: *id, observed: times.observed, valid: times.valid, state: head.state, text, place })
}

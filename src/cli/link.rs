//! `memos link`: a typed, directed edge between two memories, drawn or taken away by hand.
//!
//! With `--json`: `{"link": {"from": "…", "kind": "about", "to": "…"}, "linked": true, "changed": true}`.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use memos::Result;
use memos::graph::{Link, LinkKind};
use memos::vault::Batch;
use serde::Serialize;

use super::ids::{find, short};
use super::scope::Scope;
use super::screen::{NAME, Screen, paint};

#[derive(Args)]
pub(super) struct LinkArguments {
    /// The id of the memory that the link leaves
    from: String,
    /// What the link says
    #[arg(value_name = "TYPE", value_parser = link_kinds())]
    kind: LinkKind,
    /// The id of the memory that it leads to
    to: String,
    /// Take the link away
    #[arg(long)]
    remove: bool,
}

fn link_kinds() -> impl TypedValueParser<Value = LinkKind> {
    PossibleValuesParser::new(LinkKind::ALL.iter().map(|kind| kind.as_str())).try_map(|name| name.parse::<LinkKind>())
}

#[derive(Serialize)]
struct Linked {
    link: Link,
    linked: bool,
    changed: bool,
}

pub(super) fn run(arguments: &LinkArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let space = scope.space()?;
    let from = find(&space, &scope.caller, &arguments.from)?;
    let to = find(&space, &scope.caller, &arguments.to)?;
    let link = Link { from, kind: arguments.kind, to };
    let mut batch = Batch::default();
    match arguments.remove {
        true => batch.unlink(link),
        false => batch.link(link),
    };
    let changed = space.commit(&scope.caller, batch)?.events > 0;
    if screen.json {
        return screen.object(&Linked { link, linked: !arguments.remove, changed });
    }
    let what = match (arguments.remove, changed) {
        (false, true) => "linked",
        (false, false) => "linked already",
        (true, true) => "no longer linked",
        (true, false) => "not linked before",
    };
    screen.line(format!("{what}: {} {} {}", short(&from), paint(NAME, link.kind), short(&to)));
    Ok(())
}

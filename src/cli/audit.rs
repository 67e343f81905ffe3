//! `memos audit`: who read, changed or was refused what, and what the space's own workers decided.
//!
//! With `--json`: `{"space": "home/main", "lines": [{"event": 12, "at": "…", "principal": "…", "context": {…}, "kind": "access",
//! "operation": "recall", "outcome": "denied", "reason": "…", "cubes": ["…"], "trace": null}]}`. With `--jsonl` or `--ocsf`
//! there is one such object a line.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use memos::Result;
use memos::cube::PrincipalId;
use memos::governance::{AuditKind, AuditQuery, Outcome};
use memos::time::{Timestamp, Window};
use serde_json::{Value, json};

use super::Found;
use super::ids::{find, short};
use super::receipts::moment;
use super::scope::Scope;
use super::screen::{DIM, NAME, NOTICE, Screen};
use super::table::Table;

#[derive(Args)]
pub(super) struct AuditArguments {
    /// Who did or asked for it
    #[arg(long, value_name = "WHO")]
    by: Option<PrincipalId>,
    /// What it is about
    #[arg(long, value_parser = named(AuditKind::ALL, AuditKind::as_str))]
    kind: Option<AuditKind>,
    /// What was done, such as `recall`, `store`, `erase`
    #[arg(long, value_name = "WORD")]
    operation: Option<String>,
    /// How it ended
    #[arg(long, value_parser = named(Outcome::ALL, Outcome::as_str))]
    outcome: Option<Outcome>,
    /// One of its memories
    #[arg(long, value_name = "ID")]
    cube: Option<String>,
    /// From this time on
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// The most lines; the latest are shown
    #[arg(long, default_value_t = 50)]
    most: usize,
    /// One JSON object a line
    #[arg(long, conflicts_with = "ocsf")]
    jsonl: bool,
    /// One event of the Open Cybersecurity Schema Framework a line
    #[arg(long)]
    ocsf: bool,
}

fn named<T>(all: &'static [T], name: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: Copy + std::str::FromStr<Err = memos::Error> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(all.iter().map(|value| name(*value))).try_map(|name| name.parse::<T>())
}

pub(super) fn run(arguments: AuditArguments, scope: &Scope, screen: &mut Screen) -> Result<Found> {
    let space = scope.space()?;
    let cube = arguments.cube.map(|id| find(&space, &scope.caller, &id)).transpose()?;
    let window = Window { from: arguments.since, until: arguments.until };
    let query = AuditQuery {
        window,
        principal: arguments.by,
        kind: arguments.kind,
        operation: arguments.operation,
        outcome: arguments.outcome,
        cube,
        most: arguments.most,
    };
    let lines = space.audit(&scope.caller, &query)?;
    let found = if lines.is_empty() { Found::Nothing } else { Found::Something };
    let as_json = lines.iter().map(|line| line.record.to_json(space.name(), line.event));
    if arguments.ocsf {
        lines.iter().for_each(|line| screen.result(line.record.to_ocsf(space.name(), line.event)));
    } else if arguments.jsonl {
        as_json.for_each(|line| screen.result(line));
    } else if screen.json {
        screen.object(&json!({ "space": space.name(), "lines": as_json.collect::<Vec<Value>>() }))?;
    } else if lines.is_empty() {
        screen.line("nothing found");
    } else {
        let mut table = Table::new(2)
            .words("when", DIM)
            .words("who", NAME)
            .words("did", DIM)
            .words("and", NOTICE)
            .words("memories", DIM)
            .text("because");
        for line in &lines {
            let record = &line.record;
            table.row([
                moment(record.at),
                record.principal.to_string(),
                record.operation.clone(),
                record.outcome.to_string(),
                match record.cubes.as_slice() {
                    [] => String::new(),
                    [one] => short(one).to_string(),
                    [first, rest @ ..] => format!("{} and {} more", short(first), rest.len()),
                },
                record.reason.clone(),
            ]);
        }
        table.lines(screen.columns).into_iter().for_each(|line| screen.line(line));
    }
    Ok(found)
}

//! `memos pipeline`: several steps over memory from a file, written as a whole or not at all.
//!
//! With `--json` the result is one object with the fields of [`memos::pipeline::Report`]:
//!
//! ```json
//! {"pipeline": "weekly-review", "dry_run": false,
//!  "steps": [{"name": "found", "action": "retrieve", "memories": ["…"], "text": null,
//!             "changes": [{"change": "revised", "cube": "…", "before": "…", "after": "…", "tags": [], "valid": null}]}],
//!  "stored": {"first_event": 42, "events": 7}}
//! ```
//!
//! A change is `stored`, `revised`, `state` or `linked`. With `--dry-run` nothing is written, and `first_event` is null.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use memos::pipeline::{Change, FILE_BYTES, Pipeline, Report, StepReport};
use memos::{Error, Result};

use super::ids::short;
use super::scope::Scope;
use super::screen::{DIM, NAME, NOTICE, Screen, TITLE, one_line, paint};
use super::table::Table;

#[derive(Args)]
pub(super) struct PipelineArguments {
    /// The pipeline, as TOML
    file: PathBuf,
    /// The value of a parameter; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE")]
    values: Vec<String>,
    /// Say what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(arguments: &PipelineArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let given = values(&arguments.values)?;
    let place = arguments.file.display();
    let pipeline = Pipeline::from_toml(&read(&arguments.file)?).map_err(|error| error.at(format!("`{place}`")))?;
    let space = scope.space()?;
    let report = match arguments.dry_run {
        true => pipeline.dry_run(&space, &scope.caller, &given)?,
        false => pipeline.run(&space, &scope.caller, &given)?,
    };
    if screen.json {
        return screen.object(&report);
    }
    print(&report, screen);
    Ok(())
}

fn values(typed: &[String]) -> Result<BTreeMap<String, String>> {
    let mut values = BTreeMap::new();
    for text in typed {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| Error::invalid(format!("`{text}` sets nothing; write `--set NAME=VALUE`")))?;
        if values.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(Error::invalid(format!("`{name}` is set twice; set it once")));
        }
    }
    Ok(values)
}

/// Reads a file, at most one byte more than a pipeline may have, which the library then refuses.
fn read(path: &Path) -> Result<String> {
    let unreadable = |e: std::io::Error| Error::invalid(format!("`{}` cannot be read: {e}", path.display()));
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES as u64 + 1).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

fn print(report: &Report, screen: &mut Screen) {
    for step in &report.steps {
        let count = match step.memories.len() {
            0 => String::new(),
            1 => "1 memory".to_owned(),
            count => format!("{count} memories"),
        };
        screen.line(format!("{} {} {}", paint(TITLE, &step.name), step.action, paint(DIM, count)));
        if step.changes.is_empty()
            && let Some(text) = &step.text
        {
            screen.paragraph(2, DIM, text);
        }
        changes(step, screen);
    }
    let events = report.stored.events;
    let plural = if events == 1 { "event" } else { "events" };
    match report.stored.first_event {
        Some(first) => screen.result(format!("wrote {events} {plural}, from event {first} on")),
        None if events > 0 => screen.result(format!("would write {events} {plural}; nothing was written")),
        None => screen.result("nothing to write"),
    }
}

fn changes(step: &StepReport, screen: &mut Screen) {
    let room = screen.columns.saturating_sub(34);
    let mut table = Table::new(2).words("", NAME).words("", NOTICE).text("");
    for change in &step.changes {
        let (cube, what, says) = match change {
            Change::Stored { cube, text } => (cube, "new".to_owned(), one_line(text, room)),
            Change::Revised { cube, before, after, tags, .. } => {
                let mut says = if before == after { String::new() } else { one_line(after, room) };
                if !tags.is_empty() {
                    says = format!("{says} [{}]", tags.join(", ")).trim().to_owned();
                }
                (cube, "changed".to_owned(), says)
            }
            Change::State { cube, to, reason, .. } => (cube, to.to_string(), one_line(reason, room)),
            Change::Linked(link) => (&link.from, link.kind.to_string(), short(&link.to)),
        };
        table.row([short(cube), what, says]);
    }
    table.lines(screen.columns).into_iter().for_each(|line| screen.line(line));
}

#[cfg(test)]
mod tests {
    use super::values;

    #[test]
    fn values_are_set_once() {
        for (typed, expect) in
            [(vec!["a=b=c", "d="], Ok(2)), (vec!["a"], Err("sets nothing")), (vec!["a=1", "a=2"], Err("set twice"))]
        {
            let typed: Vec<String> = typed.into_iter().map(str::to_owned).collect();
            match (values(&typed), expect) {
                (Ok(values), Ok(count)) => assert_eq!(values.len(), count),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (result, expect) => panic!("{result:?} {expect:?}"),
            }
        }
    }
}

//! `memos diff`: what one memory says in one version and not in another, word by word.
//!
//! With `--json`:
//!
//! ```json
//! {"space": "home/main", "cube": "…", "from": 1, "to": 2,
//!  "text": [{"change": "same", "text": "Ada lives in "}, {"change": "removed", "text": "Lisbon"}, {"change": "added", "text": "Porto"}],
//!  "fields": [{"field": "tags", "before": "home", "after": "home, move"}]}
//! ```
//!
//! The parts of `text` that are not `added` are the whole of the older version, those that are not `removed` the whole of the
//! newer; `fields` are those of the header that differ.

use std::time::Duration;

use anstyle::Style;
use clap::Args;
use memos::cube::{Cube, CubeId, Header, SpaceName};
use memos::{Error, Result};
use serde::Serialize;
use similar::{ChangeTag, TextDiff};

use super::govern::{grant_text, lifespan_text};
use super::ids::{find, short};
use super::receipts::{moment, stretch};
use super::scope::Scope;
use super::screen::{DIM, FAILURE, SCORE, Screen, columns_of, paint, printable};
use super::table::Table;

/// After this, what is left to compare of two long texts is compared roughly.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Args)]
pub(super) struct DiffArguments {
    /// The memory's id, or a beginning or end of it
    id: String,
    /// The older version [default: the one before the newer]
    #[arg(long, value_name = "N")]
    from: Option<u32>,
    /// The newer version [default: the present one]
    #[arg(long, value_name = "N")]
    to: Option<u32>,
}

#[derive(Serialize)]
struct Differences<'a> {
    space: &'a SpaceName,
    cube: CubeId,
    from: u32,
    to: u32,
    text: Vec<Part>,
    fields: Vec<Field>,
}

/// A piece of text, and in which of two versions it is.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Part {
    change: PartOf,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum PartOf {
    Same,
    Removed,
    Added,
}

#[derive(Debug, Serialize)]
struct Field {
    field: &'static str,
    before: String,
    after: String,
}

pub(super) fn run(arguments: &DiffArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let space = scope.space()?;
    let id = find(&space, &scope.caller, &arguments.id)?;
    let versions = space.versions(&scope.caller, &id)?;
    let (before, after) = chosen(&versions, arguments)?;
    let differences = Differences {
        space: space.name(),
        cube: id,
        from: before.header.version,
        to: after.header.version,
        text: parts(before.payload.as_text().unwrap_or_default(), after.payload.as_text().unwrap_or_default()),
        fields: fields(&before.header, &after.header),
    };
    if screen.json {
        return screen.object(&differences);
    }
    print(&differences, before, after, screen);
    Ok(())
}

/// Returns the two versions that are meant.
fn chosen<'a>(versions: &'a [Cube], arguments: &DiffArguments) -> Result<(&'a Cube, &'a Cube)> {
    let there = || {
        let numbers: Vec<String> = versions.iter().map(|cube| cube.header.version.to_string()).collect();
        numbers.join(", ")
    };
    let version = |number: u32| {
        let found = versions.iter().find(|cube| cube.header.version == number);
        found.ok_or_else(|| Error::not_found(format!("there is no version {number} to be read; there are {}", there())))
    };
    let after = match arguments.to {
        Some(number) => version(number)?,
        None => versions.last().ok_or_else(|| Error::not_found("none of its versions can be read"))?,
    };
    let before = match arguments.from {
        Some(number) => version(number)?,
        None => versions.iter().rfind(|cube| cube.header.version < after.header.version).ok_or_else(|| {
            Error::invalid(format!(
                "version {} has none before it to compare with; give `--from N` of {}",
                after.header.version,
                there()
            ))
        })?,
    };
    Ok((before, after))
}

/// Compares two texts word by word.
fn parts(before: &str, after: &str) -> Vec<Part> {
    let diff = TextDiff::configure().timeout(PATIENCE).diff_words(before, after);
    let mut parts: Vec<Part> = Vec::new();
    for change in diff.iter_all_changes() {
        let part_of = match change.tag() {
            ChangeTag::Equal => PartOf::Same,
            ChangeTag::Delete => PartOf::Removed,
            ChangeTag::Insert => PartOf::Added,
        };
        match parts.last_mut().filter(|part| part.change == part_of) {
            Some(part) => part.text.push_str(change.value()),
            None => parts.push(Part { change: part_of, text: change.value().to_owned() }),
        }
    }
    parts
}

/// Returns the fields of two headers that differ.
fn fields(before: &Header, after: &Header) -> Vec<Field> {
    let pairs = described(before).into_iter().zip(described(after));
    let differ = pairs.filter(|((_, before), (_, after))| before != after);
    differ.map(|((field, before), (_, after))| Field { field, before, after }).collect()
}

/// Returns what may change from version to version beside the text, always in the same order.
fn described(header: &Header) -> [(&'static str, String); 14] {
    let governance = &header.governance;
    let grants: Vec<String> = governance.grants.iter().map(grant_text).collect();
    let kinds: Vec<&str> = governance.sensitivity.iter().map(|kind| kind.as_str()).collect();
    let sources: Vec<String> =
        header.chain.derived_from.iter().map(|source| format!("{}@{}", short(&source.cube), source.version)).collect();
    [
        ("kind", header.kind().to_string()),
        ("type", header.semantic.to_string()),
        ("title", header.title.clone()),
        ("tags", header.tags.join(", ")),
        ("path", header.path.join(" > ")),
        ("observed", moment(header.times.observed)),
        ("speaks of", stretch(&header.times.valid).unwrap_or_default()),
        ("layer", governance.layer.to_string()),
        ("grants", grants.join(", ")),
        ("kept", lifespan_text(governance.lifespan)),
        ("legal hold", if governance.legal_hold { "yes" } else { "no" }.to_owned()),
        ("priority", governance.priority.to_string()),
        ("sensitive", kinds.join(", ")),
        ("made from", sources.join(", ")),
    ]
}

fn print(differences: &Differences<'_>, before: &Cube, after: &Cube, screen: &mut Screen) {
    let said = |cube: &Cube| {
        let header = &cube.header;
        format!("version {} by {}, {}", header.version, header.origin.principal, moment(header.times.created))
    };
    screen.line(paint(DIM, format!("from {}", said(before))));
    screen.line(paint(DIM, format!("to   {}", said(after))));
    screen.line("");
    for line in marked(&differences.text, screen.columns) {
        screen.result(line);
    }
    if differences.fields.is_empty() {
        return;
    }
    screen.line("");
    let mut table = Table::new(0).words("field", DIM).text("before").text("after");
    let shown = |value: &str| if value.is_empty() { "–".to_owned() } else { value.to_owned() };
    for Field { field, before, after } in &differences.fields {
        table.row([(*field).to_owned(), shown(before), shown(after)]);
    }
    table.lines(screen.columns).into_iter().for_each(|line| screen.result(line));
}

/// Lays the parts out in lines. The marks say without colours what the colours say.
fn marked(parts: &[Part], columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut width = 0;
    for part in parts {
        let (open, close, style) = match part.change {
            PartOf::Same => ("", "", Style::new()),
            PartOf::Removed => ("[-", "-]", FAILURE),
            PartOf::Added => ("{+", "+}", SCORE),
        };
        let text = format!("{open}{}{close}", printable(&part.text));
        for (at, paragraph) in text.split('\n').enumerate() {
            if at > 0 {
                lines.push(String::new());
                width = 0;
            }
            for word in paragraph.split_inclusive(' ') {
                if width > 0 && width + columns_of(word.trim_end()) > columns {
                    lines.push(String::new());
                    width = 0;
                }
                width += columns_of(word);
                if let Some(line) = lines.last_mut() {
                    line.push_str(&if word.trim().is_empty() { word.to_owned() } else { paint(style, word) });
                }
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_differ_are_marked() {
        for (before, after, expect) in [
            ("Ada lives in Lisbon", "Ada lives in Porto", "Ada lives in [-Lisbon-]{+Porto+}"),
            ("same", "same", "same"),
            ("", "new", "{+new+}"),
            ("one two", "one", "one[- two-]"),
        ] {
            let lines = marked(&parts(before, after), 80).join("\n");
            assert_eq!(anstream::adapter::strip_str(&lines).to_string(), expect);
        }
        let long = marked(&parts("a b c d e", "a b c d e"), 4);
        assert_eq!(long.iter().map(|line| line.trim_end()).collect::<Vec<_>>(), ["a b", "c d", "e"]);
    }

    #[test]
    fn both_versions_can_be_put_together_again() {
        let (before, after) = ("The soup  needs\nsalt.", "The soup needs no\nsalt at all.");
        let parts = parts(before, after);
        let without = |left_out: PartOf| -> String {
            parts.iter().filter(|part| part.change != left_out).map(|part| part.text.as_str()).collect()
        };
        assert_eq!((without(PartOf::Added).as_str(), without(PartOf::Removed).as_str()), (before, after));
    }
}

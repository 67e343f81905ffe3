//! Texts with places to fill in: the whole language, which is as small as it can be.
//!
//! `${name}` stands for a parameter, `{{step.field}}` for what an earlier step has found or made, and `{{it.field}}`, in a
//! text that is made for each memory of a set, for that memory. `$${` and `{{{{` stand for `${` and `{{`. There are no
//! conditions, loops or calls, so every text comes to an end. What is filled in is never read again: a memory that says
//! `${secret}` says just that.
//!
//! Fields of a step: `text` what it made, or the text of its one memory; `texts` all texts with a blank line between them;
//! `list` each text in a line of its own after `- `; `ids` the ids, separated by commas; `count`.
//! Fields of `it`: `text`, `title`, `id`, `speaker`, `observed` (its day).

use std::fmt;

use crate::error::{Error, Result};
use crate::limits::Limits;

/// What of a step or a memory is filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Text,
    Texts,
    List,
    Ids,
    Count,
    Title,
    Id,
    Speaker,
    Observed,
}

impl Field {
    const ALL: &[(Self, &'static str)] = &[
        (Self::Text, "text"),
        (Self::Texts, "texts"),
        (Self::List, "list"),
        (Self::Ids, "ids"),
        (Self::Count, "count"),
        (Self::Title, "title"),
        (Self::Id, "id"),
        (Self::Speaker, "speaker"),
        (Self::Observed, "observed"),
    ];

    /// Returns whether a step has it.
    pub(super) fn is_of_step(self) -> bool {
        matches!(self, Self::Text | Self::Texts | Self::List | Self::Ids | Self::Count)
    }

    /// Returns whether a single memory has it.
    pub(super) fn is_of_one(self) -> bool {
        matches!(self, Self::Text | Self::Title | Self::Id | Self::Speaker | Self::Observed)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(field, _)| field == self).map_or("", |(_, name)| name))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part<'a> {
    Plain(&'a str),
    Parameter(&'a str),
    Field(&'a str, Field),
}

/// A text that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template<'a> {
    parts: Vec<Part<'a>>,
}

/// What fills the places of a template.
pub(super) trait Fill {
    /// Returns the value of a parameter.
    fn parameter(&self, name: &str) -> Result<String>;
    /// Returns a field of a step, or of the memory at hand.
    fn field(&mut self, step: &str, field: Field) -> Result<String>;
}

impl<'a> Template<'a> {
    /// Reads a text.
    pub(super) fn parse(text: &'a str) -> Result<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = opening(rest) {
            let (before, found) = rest.split_at(at);
            parts.push(Part::Plain(before));
            if let Some(after) = found.strip_prefix("$${") {
                parts.push(Part::Plain("${"));
                rest = after;
            } else if let Some(after) = found.strip_prefix("{{{{") {
                parts.push(Part::Plain("{{"));
                rest = after;
            } else if let Some(after) = found.strip_prefix("${") {
                let (name, after) = after.split_once('}').ok_or_else(|| unclosed("${", "}"))?;
                parts.push(Part::Parameter(name.trim()));
                rest = after;
            } else {
                let after = found.strip_prefix("{{").unwrap_or_default();
                let (inside, after) = after.split_once("}}").ok_or_else(|| unclosed("{{", "}}"))?;
                parts.push(place(inside.trim())?);
                rest = after;
            }
        }
        parts.push(Part::Plain(rest));
        Ok(Self { parts })
    }

    /// Returns the parameters that it names.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.parts.iter().filter_map(|part| if let Part::Parameter(name) = part { Some(*name) } else { None })
    }

    /// Returns the fields that it names, each with its step.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'a str, Field)> + '_ {
        self.parts
            .iter()
            .filter_map(|part| if let Part::Field(step, field) = part { Some((*step, *field)) } else { None })
    }

    /// Returns the text with its places filled, of at most `most` bytes.
    pub(super) fn fill(&self, fill: &mut dyn Fill, most: usize) -> Result<String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Plain(plain) => text.push_str(plain),
                Part::Parameter(name) => text.push_str(&fill.parameter(name)?),
                Part::Field(step, field) => text.push_str(&fill.field(step, *field)?),
            }
            Limits::check("the text that it makes", text.len(), most, "bytes")?;
        }
        Ok(text)
    }
}

/// Returns where the next place, or what stands for an opening, begins.
fn opening(text: &str) -> Option<usize> {
    [text.find("$${"), text.find("${"), text.find("{{")].into_iter().flatten().min()
}

fn unclosed(open: &str, close: &str) -> Error {
    Error::invalid(format!("`{open}` is not closed with `{close}`; write it twice to mean itself"))
}

fn place(inside: &str) -> Result<Part<'_>> {
    let named = inside.split_once('.').and_then(|(step, name)| {
        let (field, _) = Field::ALL.iter().find(|(_, known)| *known == name)?;
        Some(Part::Field(step, *field))
    });
    named.ok_or_else(|| {
        let fields: Vec<&str> = Field::ALL.iter().map(|(_, name)| *name).collect();
        Error::invalid(format!(
            "`{{{{{inside}}}}}` is no place; write `{{{{step.field}}}}`, with a field of {}",
            fields.join(", ")
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Names;

    impl Fill for Names {
        fn parameter(&self, name: &str) -> Result<String> {
            Ok(format!("<{name} ${{again}}>"))
        }

        fn field(&mut self, step: &str, field: Field) -> Result<String> {
            Ok(format!("<{step}/{field}>"))
        }
    }

    #[test]
    fn places_are_filled_once() {
        for (text, expect) in [
            ("plain, $5 and {one}", "plain, $5 and {one}"),
            ("about ${ question }!", "about <question ${again}>!"),
            ("{{found.texts}}{{ found.count }}", "<found/texts><found/count>"),
            ("$${x} {{{{x.text}}", "${x} {{x.text}}"),
            ("$$ }} $", "$$ }} $"),
            ("", ""),
        ] {
            assert_eq!(Template::parse(text).unwrap().fill(&mut Names, 1000).unwrap(), expect, "{text}");
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for (text, part) in [
            ("${question", "`${` is not closed"),
            ("{{found.texts", "`{{` is not closed"),
            ("{{found}}", "`{{found}}` is no place"),
            ("{{found.words}}", "with a field of text"),
        ] {
            let error = Template::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(Template::parse("{{a.text}}").unwrap().fill(&mut Names, 5).is_err());
    }
}

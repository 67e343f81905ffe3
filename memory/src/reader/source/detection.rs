//! Which format an input has, from its name and what it holds.
//!
//! The ending decides where it says enough: `.md` is Markdown whatever it holds. JSON is told apart by its shape, and a
//! shape that is not known is an error and never text. Formats that would read as noise are refused by name.

use serde_json::{Map, Value};

use super::admission::{clean_label, shorten};
use super::{Format, SourceLimits, json, locomo, messages, transcript};
use crate::error::{Error, Result};

/// Endings of files whose bytes may well be text but whose text is not what they say.
const REFUSED: &[&str] =
    &["doc", "docx", "epub", "htm", "html", "odt", "pdf", "ppt", "pptx", "rtf", "xls", "xlsx", "xml"];

/// Endings that are cut from a file's name to get its stem.
const KNOWN: &[&str] = &["json", "jsonl", "log", "markdown", "md", "ndjson", "text", "transcript", "txt"];

/// The most characters of a file's name that are kept or shown.
const NAME_CHARS: usize = 255;

/// The name an input was given with, which may be a path.
pub(super) struct FileName<'a> {
    given: &'a str,
    last: &'a str,
}

impl<'a> FileName<'a> {
    pub(super) fn new(given: &'a str) -> Self {
        Self { given, last: given.rsplit(['/', '\\']).next().unwrap_or(given).trim() }
    }

    /// Returns the name as errors show it.
    pub(super) fn shown(&self) -> String {
        let label = shorten(&clean_label(self.given), NAME_CHARS);
        if label.is_empty() { "the input".to_owned() } else { format!("`{label}`") }
    }

    /// Returns the name without folder and known ending.
    pub(super) fn stem(&self) -> String {
        let ending = self.ending();
        let cut = if KNOWN.contains(&ending.as_str()) { self.last.len() - ending.len() - 1 } else { self.last.len() };
        let stem = shorten(&clean_label(self.last.get(..cut).unwrap_or(self.last)), NAME_CHARS);
        if stem.is_empty() || stem == "-" { "input".to_owned() } else { stem }
    }

    fn ending(&self) -> String {
        self.last.rsplit_once('.').map_or(String::new(), |(_, ending)| ending.to_ascii_lowercase())
    }
}

/// A format with what had to be parsed to choose it.
pub(super) enum Choice {
    Messages(Value),
    MessagesJsonl,
    Locomo(Value),
    Transcript,
    Markdown,
    Text,
}

impl Choice {
    pub(super) fn given(format: Format, text: &str, limits: &SourceLimits) -> Result<Self> {
        Ok(match format {
            Format::Messages => Self::Messages(json::parse(text, 1, limits)?),
            Format::MessagesJsonl => Self::MessagesJsonl,
            Format::Locomo => Self::Locomo(json::parse(text, 1, limits)?),
            Format::Transcript => Self::Transcript,
            Format::Markdown => Self::Markdown,
            Format::Text => Self::Text,
        })
    }
}

/// Finds the format.
pub(super) fn detect(file: &FileName<'_>, text: &str, limits: &SourceLimits) -> Result<Choice> {
    let ending = file.ending();
    match ending.as_str() {
        "md" | "markdown" => Ok(Choice::Markdown),
        "jsonl" | "ndjson" => Ok(Choice::MessagesJsonl),
        "transcript" => Ok(Choice::Transcript),
        "json" if holds_json_lines(text, limits) => Ok(Choice::MessagesJsonl),
        "json" => choose_json(json::parse(text, 1, limits)?),
        "txt" | "text" => Ok(choose_text(text)),
        refused if REFUSED.contains(&refused) => Err(Error::invalid(format!(
            "files that end in `.{refused}` are not read; convert it to Markdown or plain text, or name its format"
        ))),
        _ if !text.trim_start().starts_with(['{', '[']) => Ok(choose_text(text)),
        _ if holds_json_lines(text, limits) => Ok(Choice::MessagesJsonl),
        // A line such as `[10:30] Bo: hello` begins like JSON and is none.
        _ => json::parse(text, 1, limits).map_or_else(|_| Ok(choose_text(text)), choose_json),
    }
}

fn choose_text(text: &str) -> Choice {
    if transcript::looks_like_one(text) { Choice::Transcript } else { Choice::Text }
}

fn choose_json(value: Value) -> Result<Choice> {
    match first_object(&value) {
        Some(object) if locomo::is_sample(object) => Ok(Choice::Locomo(value)),
        Some(object) if messages::is_conversation(object) || messages::is_message(object) => {
            Ok(Choice::Messages(value))
        }
        _ if matches!(&value, Value::Array(items) if items.is_empty()) => {
            Err(Error::invalid("the file holds an empty array; there is nothing to read"))
        }
        _ => Err(Error::invalid(format!(
            "the JSON is {}, which is no known shape; give messages `{{\"role\": .., \"content\": ..}}` in an array or in \
             `{{\"messages\": [..]}}`, or LoCoMo samples `{{\"sample_id\": .., \"conversation\": {{..}}}}`",
            json::describe(&value)
        ))),
    }
}

/// Returns the object that tells the shape: the value itself, or the first object inside arrays.
fn first_object(value: &Value) -> Option<&Map<String, Value>> {
    let mut value = value;
    loop {
        match value {
            Value::Object(object) => return Some(object),
            Value::Array(items) => {
                value = items.iter().find(|item| !matches!(item, Value::Array(a) if a.is_empty()))?
            }
            _ => return None,
        }
    }
}

/// Returns whether the first line is a whole JSON object and another line follows.
fn holds_json_lines(text: &str, limits: &SourceLimits) -> bool {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let (Some(first), Some(_)) = (lines.next(), lines.next()) else {
        return false;
    };
    first.starts_with('{') && json::parse(first, 1, limits).is_ok()
}

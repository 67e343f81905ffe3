//! LangGraph's store: items `{"namespace", "key", "value", "created_at", "updated_at"}`, in an array, under `items`, or
//! one in a line.
//!
//! - The namespace (an array of names, or names with dots between) is the path, the key the reference.
//! - The text is the first string of `value` under `content`, `text`, `memory`, `data`, `page_content` or `summary`, also
//!   one object deeper; single values beside it become tags `KEY:VALUE`. A value without such a string is written down
//!   as `KEY: VALUE`, one in a line.
//! - `kind` or `type` in the value is the semantic type where it is the name of one; else it is a fact.
//! - Scores are left out.

use serde_json::{Map, Value};

use super::{Found, Reading, json};
use crate::cube::{CubeDraft, SemanticType, State};
use crate::error::{Error, Result};

const TEXT_KEYS: [&str; 6] = ["content", "text", "memory", "data", "page_content", "summary"];

pub(super) fn is_item(item: &Map<String, Value>) -> bool {
    ["namespace", "key", "value"].iter().all(|key| item.contains_key(*key))
}

pub(super) fn read(value: &Value, reading: &mut Reading<'_>) -> Result<()> {
    match value.as_object() {
        Some(object) if is_item(object) => read_item(object, reading),
        Some(object) => {
            let items = object.get("items").ok_or_else(|| {
                Error::invalid(format!("found {}; `items` of a store are expected", json::describe(value)))
            })?;
            json::each("items", items, |item| read_item(item, reading))
        }
        None => json::each("items", value, |item| read_item(item, reading)),
    }
}

fn read_item(item: &Map<String, Value>, reading: &mut Reading<'_>) -> Result<()> {
    let key = json::required(item, "key")?;
    let path: Vec<String> = match item.get("namespace") {
        Some(Value::String(dotted)) => dotted.split('.').map(str::to_owned).collect(),
        Some(Value::Array(names)) if names.iter().all(Value::is_string) => {
            names.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        other => {
            let found = json::describe(other.unwrap_or(&Value::Null));
            return Err(Error::invalid(format!("`namespace` is {found}; an array of strings is expected")));
        }
    };
    let value = item.get("value").and_then(Value::as_object);
    let value = value.ok_or_else(|| Error::invalid("`value` is missing; an object is expected"))?;
    let (created, updated) = (json::time(item, "created_at")?, json::time(item, "updated_at")?);
    reading.leave_out("scores", "they belong to a question, not to a memory", json::is_given(item, "score").into());
    let mut tags = Vec::new();
    let text = match main_text(value) {
        Some((under, text)) => {
            reading.tag_values(&mut tags, value, &[under]);
            text.to_owned()
        }
        None => written_down(value),
    };
    let kind = ["kind", "type"].iter().find_map(|key| value.get(*key)?.as_str()?.to_lowercase().parse().ok());
    let names: Vec<&str> = path.iter().map(String::as_str).chain([key]).collect();
    let named = names.join("/");
    let draft = CubeDraft {
        path: path.clone(),
        tags,
        reference: Some(key.to_owned()),
        observed: created.or(updated),
        ..reading.draft(kind.unwrap_or(SemanticType::Fact))
    };
    let (created, state) = (updated.or(created), State::Activated);
    reading.add(Found { names: &names, named: &named, text: &text, author: None, created, state, draft })?;
    Ok(())
}

/// Finds the string that is the memory, and the key under which it was found.
fn main_text(value: &Map<String, Value>) -> Option<(&'static str, &str)> {
    let text = |object: &'_ Map<String, Value>, key: &str| -> bool { object.get(key).is_some_and(Value::is_string) };
    if let Some(key) = TEXT_KEYS.into_iter().find(|key| text(value, key)) {
        return Some((key, value.get(key)?.as_str()?));
    }
    TEXT_KEYS.into_iter().find_map(|key| {
        let inner = value.get(key)?.as_object()?;
        let under = TEXT_KEYS.into_iter().find(|key| text(inner, key))?;
        Some((key, inner.get(under)?.as_str()?))
    })
}

fn written_down(value: &Map<String, Value>) -> String {
    let line = |(key, value): (&String, &Value)| match json::scalar(value) {
        Some(text) => format!("{}: {text}", key.replace('_', " ")),
        None => format!("{}: {value}", key.replace('_', " ")),
    };
    value.iter().filter(|(_, value)| !value.is_null()).map(line).collect::<Vec<_>>().join("\n")
}

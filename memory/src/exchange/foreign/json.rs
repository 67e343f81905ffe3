//! JSON under limits, and what is asked of it.

use serde_json::{Map, Value};

use super::ForeignLimits;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::time::Timestamp;

/// Parses a file: one value, or one in a line.
pub(super) fn parse(bytes: &[u8], limits: &ForeignLimits) -> Result<Value> {
    Limits::check("the file", bytes.len(), limits.bytes, "bytes")?;
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Error::invalid(format!("the file is not UTF-8 from byte {} on", error.valid_up_to())).with_source(error)
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // A parsed value takes many times its bytes, so values are counted before anything is built.
    let values = text.bytes().filter(|byte| matches!(byte, b',' | b':' | b'[' | b'{' | b'\n')).count();
    let newlines = text.bytes().filter(|byte| *byte == b'\n').count();
    Limits::check("the file", values - newlines, limits.values, "JSON values")?;
    let whole = serde_json::from_str(text);
    match whole {
        Ok(value) => Ok(sorted(value)),
        // More than one value: one in a line.
        Err(error) if text.lines().next().is_some_and(|line| serde_json::from_str::<Value>(line).is_ok()) => {
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            let values = lines.map(|(at, line)| serde_json::from_str(line).map_err(|error| not_json(at, &error)));
            values
                .collect::<Result<Vec<Value>>>()
                .map(Value::Array)
                .map(sorted)
                .map_err(|lines| lines.with_source(error))
        }
        Err(error) => Err(not_json(0, &error)),
    }
}

/// Puts the keys of all objects in order, so that what is made of them does not depend on how a file lists them.
pub(super) fn sorted(mut value: Value) -> Value {
    value.sort_all_objects();
    value
}

fn not_json(line: usize, error: &serde_json::Error) -> Error {
    let message = error.to_string();
    let cause = message.rsplit_once(" at line ").map_or(message.as_str(), |(cause, _)| cause);
    let (line, column) = (line + error.line().max(1), error.column());
    Error::invalid(format!("line {line}, column {column}: not valid JSON: {cause}; correct the file there"))
}

/// Calls `read` with each object of an array, and says at which one it failed.
pub(super) fn each<'a>(
    what: &str,
    items: &'a Value,
    mut read: impl FnMut(&'a Map<String, Value>) -> Result<()>,
) -> Result<()> {
    let Some(items) = items.as_array() else {
        return Err(Error::invalid(format!("`{what}` is {}; an array is expected", describe(items))));
    };
    for (at, item) in items.iter().enumerate() {
        let object = item.as_object();
        let object = object.ok_or_else(|| Error::invalid(format!("found {} instead of an object", describe(item))));
        object.and_then(&mut read).map_err(|error| error.at(format_args!("{what}, item {}", at + 1)))?;
    }
    Ok(())
}

/// Returns the string under a key; a missing key and `null` are `None`.
pub(super) fn string<'a>(object: &'a Map<String, Value>, key: &str) -> Result<Option<&'a str>> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(Error::invalid(format!("`{key}` is {}; a string is expected", describe(other)))),
    }
}

/// Returns the string under a key that must be there.
pub(super) fn required<'a>(object: &'a Map<String, Value>, key: &str) -> Result<&'a str> {
    string(object, key)?.ok_or_else(|| Error::invalid(format!("`{key}` is missing; a string is expected")))
}

/// Returns the time under a key.
pub(super) fn time(object: &Map<String, Value>, key: &str) -> Result<Option<Timestamp>> {
    let Some(text) = string(object, key)?.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        let shown = shown(text);
        Error::invalid(format!("`{key}` is `{shown}`, which is not a time; write it like 2024-05-07T10:00:00Z"))
    })
}

/// Returns the strings of an array; other values are passed over.
pub(super) fn strings<'a>(object: &'a Map<String, Value>, key: &str) -> Vec<&'a str> {
    object.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Returns how many items an array has, or values an object.
pub(super) fn count(object: &Map<String, Value>, key: &str) -> usize {
    match object.get(key) {
        Some(Value::Array(items)) => items.len(),
        Some(Value::Object(values)) => values.len(),
        _ => 0,
    }
}

/// Returns whether there is more than nothing under a key.
pub(super) fn is_given(object: &Map<String, Value>, key: &str) -> bool {
    object.get(key).is_some_and(|value| !value.is_null() && *value != Value::String(String::new()))
}

/// Returns a single value as text.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// Returns a text from outside for a message.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}

/// Names a value for people, without its content but with an object's keys.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "true or false".to_owned(),
        Value::Number(_) => "a number".to_owned(),
        Value::String(_) => "a string".to_owned(),
        Value::Array(items) => match items.first() {
            None => "an empty array".to_owned(),
            Some(Value::Object(object)) => format!("an array of objects {}", keys(object)),
            Some(_) => "an array".to_owned(),
        },
        Value::Object(object) => format!("an object {}", keys(object)),
    }
}

fn keys(object: &Map<String, Value>) -> String {
    let keys: Vec<String> = object.keys().take(6).map(|key| format!("`{}`", shown(key))).collect();
    if keys.is_empty() { "without keys".to_owned() } else { format!("with the keys {}", keys.join(", ")) }
}

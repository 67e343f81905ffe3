//! JSON values under limits, and words for what was found where something else was expected.

use serde_json::{Map, Value};

use super::SourceLimits;
use crate::error::{Error, Result};

/// Parses one JSON value; `line` is the line of the file at which the text begins.
pub(super) fn parse(text: &str, line: usize, limits: &SourceLimits) -> Result<Value> {
    check_extent(text, line, limits)?;
    let parsed = serde_json::from_str::<Value>(text).map(|mut value| {
        // What is made of an object does not depend on how its file lists the keys.
        value.sort_all_objects();
        value
    });
    parsed.map_err(|error| {
        let message = error.to_string();
        let cause = message.rsplit_once(" at line ").map_or(message.as_str(), |(cause, _)| cause);
        let (line, column) = (line + error.line().saturating_sub(1), error.column());
        Error::invalid(format!("line {line}, column {column}: not valid JSON: {cause}; correct the file there"))
    })
}

/// Counts depth and values before anything is built, because a parsed value takes many times its bytes.
fn check_extent(text: &str, first_line: usize, limits: &SourceLimits) -> Result<()> {
    let (mut depth, mut values, mut line, mut line_start) = (0_usize, 1_usize, first_line, 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'\n' => (line, line_start) = (line + 1, at + 1),
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'{' => (depth, values) = (depth + 1, values + 1),
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' | b':' => values += 1,
            _ => {}
        }
        if depth > limits.json_depth {
            let (column, may) = (at - line_start + 1, limits.json_depth);
            return Err(Error::invalid(format!(
                "line {line}, column {column}: more than {may} arrays and objects lie in each other; flatten the file"
            )));
        }
        if values > limits.json_values {
            let may = limits.json_values;
            return Err(Error::invalid(format!("line {line}: the file has more than {may} JSON values; split it")));
        }
    }
    Ok(())
}

/// Returns the string under a key; a missing key and `null` are `None`.
pub(super) fn string<'a>(object: &'a Map<String, Value>, key: &str) -> Result<Option<&'a str>> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(Error::invalid(format!("`{key}` is {}; give a string", describe(other)))),
    }
}

/// Returns the first non-empty string under the keys; other values than strings are passed over.
pub(super) fn first_string<'a>(object: &'a Map<String, Value>, keys: &[&str]) -> Option<&'a str> {
    keys.iter().filter_map(|key| object.get(*key)?.as_str()).find(|text| !text.trim().is_empty())
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
            Some(Value::Array(_)) => "an array of arrays".to_owned(),
            Some(first) => format!("an array that begins with {}", describe(first)),
        },
        Value::Object(object) => describe_keys(object),
    }
}

pub(super) fn describe_keys(object: &Map<String, Value>) -> String {
    const SHOWN: usize = 6;
    let keys: Vec<String> = object
        .keys()
        .take(SHOWN)
        .map(|key| format!("`{}`", key.chars().filter(|c| !c.is_control()).take(32).collect::<String>()))
        .collect();
    match object.len() {
        0 => "an empty object".to_owned(),
        1 => format!("an object with the key {}", keys.join("")),
        count if count > SHOWN => format!("an object with the keys {} and {} more", keys.join(", "), count - SHOWN),
        _ => format!("an object with the keys {}", keys.join(", ")),
    }
}

//! What templates call that Jinja itself does not have, as the programs they were written for have it.
//!
//! It must never read a clock: the date is handed in.

use minijinja::value::{Kwargs, Object, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// How deep a value may be nested that a template writes as JSON.
const JSON_DEPTH_MAX: usize = 32;

/// A day, for templates that tell the date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// The year.
    pub year: u16,
    /// The month, from 1 to 12.
    pub month: u8,
    /// The day of the month, from 1.
    pub day: u8,
}

impl Object for Date {}

pub(super) fn add(environment: &mut Environment<'static>) {
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", |state: &State, format: &str| {
        let today = state.lookup("today").and_then(|today| today.downcast_object_ref::<Date>().copied());
        today
            .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "there is no date"))
            .and_then(|date| written(date, format))
    });
    environment.add_filter("tojson", to_json);
}

/// Writes a date as `strftime` does, with the letters that are about days.
fn written(date: Date, format: &str) -> Result<String, Error> {
    let month = MONTHS.get(usize::from(date.month.saturating_sub(1))).copied().unwrap_or_default();
    let mut text = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        match letters.next() {
            Some('Y') => text.push_str(&date.year.to_string()),
            Some('m') => text.push_str(&format!("{:02}", date.month)),
            Some('d') => text.push_str(&format!("{:02}", date.day)),
            Some('B') => text.push_str(month),
            Some('b') => text.extend(month.chars().take(3)),
            Some('%') => text.push('%'),
            other => {
                let other = other.map(String::from).unwrap_or_default();
                return Err(Error::new(ErrorKind::InvalidOperation, format!("`%{other}` of a date is not known here")));
            }
        }
    }
    Ok(text)
}

/// Writes JSON as Python does, with a space after each comma and colon, and nothing escaped for HTML. Indents are left out.
fn to_json(value: &Value, _options: Kwargs) -> Result<String, Error> {
    let mut text = String::new();
    write_json(value, JSON_DEPTH_MAX, &mut text)?;
    Ok(text)
}

fn write_json(value: &Value, levels: usize, text: &mut String) -> Result<(), Error> {
    if levels == 0 {
        return Err(Error::new(ErrorKind::InvalidOperation, "a value is nested too deep for JSON"));
    }
    let separate = |place: usize, text: &mut String| text.push_str(if place == 0 { "" } else { ", " });
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => text.push_str("null"),
        ValueKind::Bool => text.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => text.push_str(&value.to_string()),
        ValueKind::Map => {
            text.push('{');
            for (place, key) in value.try_iter()?.enumerate() {
                separate(place, text);
                text.push_str(&serde_json::Value::from(key.to_string()).to_string());
                text.push_str(": ");
                write_json(&value.get_item(&key)?, levels - 1, text)?;
            }
            text.push('}');
        }
        ValueKind::Seq | ValueKind::Iterable => {
            text.push('[');
            for (place, item) in value.try_iter()?.enumerate() {
                separate(place, text);
                write_json(&item, levels - 1, text)?;
            }
            text.push(']');
        }
        _ => text.push_str(&serde_json::Value::from(value.to_string()).to_string()),
    }
    Ok(())
}

//! Messages as chat interfaces and their exports write them: `{"role", "content", "name"?, "id"?, "created_at"?}`.
//!
//! - `content` is a string or an array of parts; pictures become a caption, parts without text (sound, files) are left out.
//! - A call of a tool is written down as `calls NAME(ARGUMENTS)`.
//! - `speaker` may stand for `name`, and `text` for `content`. A message with a name and no role was said by a person.
//! - `created_at`, `timestamp` or `create_time` is a date, or a number of seconds or milliseconds since 1970.

use serde_json::{Map, Value};

use super::admission::{Admission, conversation, push_session, shorten};
use super::{Part, Role, Session, Turn, json};
use crate::error::{Error, Result};
use crate::reader::temporal::parse_session_date;
use crate::time::Timestamp;

const EMPTY: &str = "the file holds no message with text; there is nothing to read";

/// The keys under which a time is found, in order of preference.
const TIME_KEYS: [&str; 3] = ["created_at", "timestamp", "create_time"];

/// Returns whether an object holds messages under `messages`.
pub(super) fn is_conversation(object: &Map<String, Value>) -> bool {
    object.get("messages").is_some_and(Value::is_array)
}

/// Returns whether an object is one message.
pub(super) fn is_message(object: &Map<String, Value>) -> bool {
    let has = |keys: &[&str]| keys.iter().any(|key| object.contains_key(*key));
    has(&["role", "name", "speaker"]) && has(&["content", "text", "tool_calls", "function_call"])
}

pub(super) fn read_json(name: &str, value: &Value, admission: &mut Admission<'_>) -> Result<Part> {
    let mut reading = Reading::new(admission);
    match value {
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                reading.add(item).map_err(|error| error.at(format_args!("item {}", at + 1)))?;
            }
        }
        other => reading.add(other)?,
    }
    conversation(name, reading.finish(), EMPTY)
}

pub(super) fn read_lines(name: &str, text: &str, admission: &mut Admission<'_>) -> Result<Part> {
    let limits = admission.limits;
    let mut reading = Reading::new(admission);
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let value = json::parse(line, at + 1, limits)?;
        reading.add(&value).map_err(|error| error.at(format_args!("line {}", at + 1)))?;
    }
    conversation(name, reading.finish(), EMPTY)
}

/// Sessions so far, with the messages in a row that make the next one.
struct Reading<'a, 'b> {
    admission: &'a mut Admission<'b>,
    sessions: Vec<Session>,
    loose: Vec<Turn>,
}

impl<'a, 'b> Reading<'a, 'b> {
    fn new(admission: &'a mut Admission<'b>) -> Self {
        Self { admission, sessions: Vec::new(), loose: Vec::new() }
    }

    fn add(&mut self, value: &Value) -> Result<()> {
        match value {
            Value::Array(items) => self.add_session(String::new(), None, items),
            Value::Object(object) => match object.get("messages") {
                Some(Value::Array(items)) => {
                    let name = json::first_string(object, &["name", "title", "id"]).unwrap_or("");
                    let name = self.admission.title(name).unwrap_or_default();
                    self.add_session(name, read_time(object)?, items)
                }
                _ => {
                    let turn = read_message(object)?;
                    self.loose.extend(self.admission.turn(turn)?);
                    Ok(())
                }
            },
            other => Err(not_a_message(other)),
        }
    }

    fn add_session(&mut self, name: String, at: Option<Timestamp>, items: &[Value]) -> Result<()> {
        self.close_loose();
        let mut turns = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let turn = item.as_object().ok_or_else(|| not_a_message(item)).and_then(read_message);
            let turn = turn.and_then(|turn| self.admission.turn(turn));
            turns.extend(turn.map_err(|error| error.at(format_args!("message {}", at + 1)))?);
        }
        push_session(&mut self.sessions, Session { name, at, turns });
        Ok(())
    }

    fn close_loose(&mut self) {
        let turns = std::mem::take(&mut self.loose);
        push_session(&mut self.sessions, Session { name: String::new(), at: None, turns });
    }

    fn finish(mut self) -> Vec<Session> {
        self.close_loose();
        self.sessions
    }
}

fn not_a_message(value: &Value) -> Error {
    let found = json::describe(value);
    Error::invalid(format!("found {found} where a message `{{\"role\": .., \"content\": ..}}` is expected"))
}

fn read_message(object: &Map<String, Value>) -> Result<Turn> {
    let name = match json::string(object, "name")? {
        Some(name) => Some(name),
        None => json::string(object, "speaker")?,
    };
    let name = name.filter(|name| !name.trim().is_empty());
    let role = match (json::string(object, "role")?, name) {
        (Some(role), _) => read_role(role)?,
        (None, Some(_)) => Role::Person,
        (None, None) => {
            let found = json::describe_keys(object);
            return Err(Error::invalid(format!("found {found} where a message with `role` or `name` is expected")));
        }
    };
    let mut said = Said::default();
    said.read_content(object)?;
    said.read_calls(object)?;
    Ok(Turn {
        reference: json::string(object, "id").ok().flatten().map(str::to_owned),
        speaker: name.unwrap_or(role_name(role)).to_owned(),
        role,
        text: said.text,
        caption: said.caption,
        at: read_time(object)?,
    })
}

fn read_role(text: &str) -> Result<Role> {
    match text.trim().to_ascii_lowercase().as_str() {
        "user" | "human" => Ok(Role::User),
        "assistant" | "model" | "ai" => Ok(Role::Assistant),
        "system" | "developer" => Ok(Role::System),
        "tool" | "function" => Ok(Role::Tool),
        _ => {
            let shown = shorten(text, 40);
            Err(Error::invalid(format!(
                "the role `{shown}` is not known; use system, developer, user, assistant or tool, and `name` for a person"
            )))
        }
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::System => "system",
        Role::Tool => "tool",
        Role::Person => "person",
    }
}

/// What the parts of one message add up to.
#[derive(Default)]
struct Said {
    text: String,
    caption: Option<String>,
}

impl Said {
    fn add(&mut self, text: &str) {
        if !self.text.is_empty() && !text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(text);
    }

    fn read_content(&mut self, object: &Map<String, Value>) -> Result<()> {
        let content = object.get("content").filter(|content| !content.is_null()).or_else(|| object.get("text"));
        match content {
            None | Some(Value::Null) => Ok(()),
            Some(Value::String(text)) => {
                self.add(text);
                Ok(())
            }
            Some(Value::Array(parts)) => parts.iter().try_for_each(|part| self.read_part(part)),
            Some(other) => {
                let found = json::describe(other);
                Err(Error::invalid(format!("`content` is {found}; give a string or an array of parts")))
            }
        }
    }

    fn read_part(&mut self, part: &Value) -> Result<()> {
        let object = match part {
            Value::String(text) => {
                self.add(text);
                return Ok(());
            }
            Value::Object(object) => object,
            other => {
                let found = json::describe(other);
                return Err(Error::invalid(format!("a part of `content` is {found}; give `{{\"type\": ..}}`")));
            }
        };
        match json::string(object, "type")?.unwrap_or("text") {
            "image_url" | "image" | "input_image" | "image_file" => {
                self.caption = Some(json::first_string(object, &["caption", "alt"]).unwrap_or("image").to_owned());
            }
            "tool_use" => self.add_call(object),
            // The result of a tool holds content of the same kinds.
            "tool_result" => self.read_content(object)?,
            _ => self.add(json::first_string(object, &["text", "refusal"]).unwrap_or("")),
        }
        Ok(())
    }

    fn read_calls(&mut self, object: &Map<String, Value>) -> Result<()> {
        match object.get("tool_calls") {
            None | Some(Value::Null) => {}
            Some(Value::Array(calls)) => {
                for call in calls.iter().filter_map(Value::as_object) {
                    let inner = ["function", "custom"].iter().find_map(|key| call.get(*key)?.as_object());
                    self.add_call(inner.unwrap_or(call));
                }
            }
            Some(other) => {
                let found = json::describe(other);
                return Err(Error::invalid(format!("`tool_calls` is {found}; give an array")));
            }
        }
        if let Some(call) = object.get("function_call").and_then(Value::as_object) {
            self.add_call(call);
        }
        Ok(())
    }

    fn add_call(&mut self, call: &Map<String, Value>) {
        let name = json::first_string(call, &["name"]).unwrap_or("a tool");
        let arguments = match call.get("arguments").or_else(|| call.get("input")) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        self.add(&format!("calls {name}({arguments})"));
    }
}

fn read_time(object: &Map<String, Value>) -> Result<Option<Timestamp>> {
    let found = TIME_KEYS.iter().find_map(|key| Some((*key, object.get(*key).filter(|value| !value.is_null())?)));
    let Some((key, value)) = found else { return Ok(None) };
    let at = match value {
        Value::String(text) if text.trim().is_empty() => return Ok(None),
        Value::String(text) => {
            let text = text.trim();
            let at = text.parse().ok().or_else(|| parse_session_date(text).map(Timestamp::from_civil));
            at.or_else(|| text.parse().ok().and_then(from_number))
        }
        Value::Number(number) => number.as_f64().and_then(from_number),
        _ => None,
    };
    at.map(Some).ok_or_else(|| {
        let shown = shorten(value.as_str().unwrap_or(&value.to_string()), 40);
        Error::invalid(format!(
            "`{key}` is `{shown}`, which is not a time; write it like 2024-05-07T10:00:00Z or in seconds since 1970"
        ))
    })
}

/// Reads seconds, or milliseconds where seconds would lie beyond the year 5000.
fn from_number(number: f64) -> Option<Timestamp> {
    const SECONDS_MAX: f64 = 1e11;
    const MILLIS_MAX: f64 = 1e14;
    let millis = if number.abs() < SECONDS_MAX { number * 1000.0 } else { number };
    (number.is_finite() && millis.abs() < MILLIS_MAX).then(|| Timestamp::from_millis(millis.round() as i64))
}

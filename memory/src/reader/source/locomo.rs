//! Samples of the LoCoMo benchmark (Maharana et al., ACL 2024): long conversations between two people, and questions about
//! them.
//!
//! The reader of sources sees the conversation alone. The questions have a function of their own, because only a benchmark
//! may look at them.

use serde_json::{Map, Value};

use super::admission::{Admission, clean_label, push_session, shorten};
use super::{Conversation, Part, Role, Session, SourceLimits, Turn, decoding, json};
use crate::error::{Error, Result};
use crate::reader::temporal::parse_session_date;
use crate::time::Timestamp;

/// The questions about one conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocomoSample {
    /// The sample's id, which is also the name of its conversation.
    pub name: String,
    /// The questions, in the order of the file.
    pub questions: Vec<LocomoQuestion>,
}

/// One question with the turns that answer it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocomoQuestion {
    /// What is asked.
    pub question: String,
    /// The benchmark's number for the kind of question.
    pub category: u8,
    /// The ids `D<session>:<turn>` of the turns that hold the answer, in order and each once; there may be none, and an
    /// id may belong to no turn.
    pub evidence: Vec<String>,
}

/// Reads the questions of a LoCoMo file. Answers are not read; evidence is found by the pattern `D<session>:<turn>`
/// wherever it stands, since the file parts ids in several ways.
///
/// # Errors
/// `Invalid` if the bytes are not JSON, or hold no samples with questions as LoCoMo writes them.
///
/// # Limits
/// Those of [`SourceLimits::default`].
pub fn read_locomo_questions(bytes: &[u8]) -> Result<Vec<LocomoSample>> {
    let limits = SourceLimits::default();
    let value = json::parse(&decoding::decode(bytes, &limits)?, 1, &limits)?;
    each_sample(&value, |name, sample| {
        let questions = match sample.get("qa") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) => {
                let questions = items.iter().enumerate().map(|(at, item)| {
                    read_question(item).map_err(|error| error.at(format_args!("question {}", at + 1)))
                });
                questions.collect::<Result<_>>()?
            }
            Some(other) => {
                return Err(Error::invalid(format!("`qa` is {}; give an array", json::describe(other))));
            }
        };
        Ok(LocomoSample { name, questions })
    })
}

/// Returns whether an object is a sample.
pub(super) fn is_sample(object: &Map<String, Value>) -> bool {
    object.get("conversation").is_some_and(Value::is_object)
}

pub(super) fn read(value: &Value, admission: &mut Admission<'_>) -> Result<Vec<Part>> {
    let conversations = each_sample(value, |name, sample| {
        let Some(Value::Object(object)) = sample.get("conversation") else {
            return Err(Error::invalid("`conversation` is missing; give an object with `session_1` and so on"));
        };
        Ok(Conversation { name, sessions: read_sessions(object, admission)? })
    })?;
    let said = conversations.into_iter().filter(|conversation| !conversation.sessions.is_empty());
    let parts: Vec<Part> = said.map(Part::Conversation).collect();
    if parts.is_empty() {
        return Err(Error::invalid("no sample holds a `session_1` with turns; there is nothing to read"));
    }
    Ok(parts)
}

fn each_sample<T>(value: &Value, mut read: impl FnMut(String, &Map<String, Value>) -> Result<T>) -> Result<Vec<T>> {
    let samples = match value {
        Value::Array(items) => items.as_slice(),
        other => std::slice::from_ref(other),
    };
    let named = samples.iter().enumerate().map(|(at, item)| {
        let Value::Object(sample) = item else {
            let (at, found) = (at + 1, json::describe(item));
            return Err(Error::invalid(format!("sample {at} is {found}; give `{{\"conversation\": {{..}}}}`")));
        };
        let name = match sample.get("sample_id") {
            Some(Value::String(id)) => clean_label(id),
            Some(Value::Number(id)) => id.to_string(),
            _ => String::new(),
        };
        let name = if name.is_empty() { format!("sample {}", at + 1) } else { shorten(&name, 128) };
        read(name.clone(), sample).map_err(|error| error.at(format_args!("sample `{name}`")))
    });
    named.collect()
}

fn read_sessions(object: &Map<String, Value>, admission: &mut Admission<'_>) -> Result<Vec<Session>> {
    let mut numbered = Vec::new();
    for (key, value) in object {
        let Some(digits) = key.strip_prefix("session_").filter(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
        else {
            continue;
        };
        let number: u64 =
            digits.parse().map_err(|_| Error::invalid(format!("`{key}` has no usable number; number it from 1")))?;
        numbered.push((number, key, value));
    }
    numbered.sort_by_key(|(number, _, _)| *number);
    let mut sessions = Vec::new();
    for (_, key, value) in numbered {
        let session = read_session(key, value, object, admission).map_err(|error| error.at(format_args!("`{key}`")))?;
        push_session(&mut sessions, session);
    }
    Ok(sessions)
}

fn read_session(
    key: &str,
    value: &Value,
    conversation: &Map<String, Value>,
    admission: &mut Admission<'_>,
) -> Result<Session> {
    let Value::Array(items) = value else {
        return Err(Error::invalid(format!("found {}; give an array of turns", json::describe(value))));
    };
    let at = match json::string(conversation, &format!("{key}_date_time"))?.map(str::trim) {
        None | Some("") => None,
        Some(text) => Some(parse_session_date(text).map(Timestamp::from_civil).ok_or_else(|| {
            let shown = shorten(text, 40);
            Error::invalid(format!("the date `{shown}` cannot be read; write it like `1:56 pm on 8 May, 2023`"))
        })?),
    };
    let mut turns = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let turn = read_turn(item).and_then(|turn| admission.turn(turn));
        turns.extend(turn.map_err(|error| error.at(format_args!("turn {}", at + 1)))?);
    }
    Ok(Session { name: key.to_owned(), at, turns })
}

fn read_turn(item: &Value) -> Result<Turn> {
    let Value::Object(object) = item else {
        let found = json::describe(item);
        return Err(Error::invalid(format!("found {found}; give `{{\"speaker\": .., \"text\": ..}}`")));
    };
    let text_of = |key: &str| json::string(object, key).map(|text| text.map(str::to_owned));
    Ok(Turn {
        reference: text_of("dia_id")?.filter(|id| !id.is_empty()),
        speaker: text_of("speaker")?.unwrap_or_default(),
        role: Role::Person,
        text: text_of("text")?.unwrap_or_default(),
        caption: text_of("blip_caption")?,
        at: None,
    })
}

fn read_question(item: &Value) -> Result<LocomoQuestion> {
    let Value::Object(object) = item else {
        return Err(Error::invalid(format!("found {}; give `{{\"question\": ..}}`", json::describe(item))));
    };
    let question = json::string(object, "question")?.map(str::trim).filter(|text| !text.is_empty());
    let question = question.ok_or_else(|| Error::invalid("`question` is missing; give a string"))?.to_owned();
    let category = match object.get("category") {
        Some(Value::Number(number)) => number.as_u64().and_then(|number| u8::try_from(number).ok()),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    let category = category.ok_or_else(|| Error::invalid("`category` is not a number from 0 to 255; correct it"))?;
    let mut evidence = Vec::new();
    if let Some(value) = object.get("evidence") {
        collect_ids(value, &mut evidence);
    }
    let mut seen = std::collections::HashSet::new();
    evidence.retain(|id| seen.insert(id.clone()));
    Ok(LocomoQuestion { question, category, evidence })
}

/// Collects the ids of all strings in a value; the depth of values was bounded when they were parsed.
fn collect_ids(value: &Value, ids: &mut Vec<String>) {
    match value {
        Value::String(text) => ids.extend(turn_ids(text)),
        Value::Array(items) => items.iter().for_each(|item| collect_ids(item, ids)),
        _ => {}
    }
}

/// Returns every `D<digits>:<digits>` of a text, as it is written.
fn turn_ids(text: &str) -> impl Iterator<Item = String> {
    text.split('D').skip(1).filter_map(|rest| {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let session = digits(rest);
        let after = rest.get(session..)?.strip_prefix(':')?;
        let turn = digits(after);
        (session > 0 && turn > 0).then(|| format!("D{}", rest.get(..session + 1 + turn).unwrap_or(rest)))
    })
}

//! Mem0: `{"results": [..], "relations": [..]}` as `get_all` answers, a page of the platform, or the bare array.
//!
//! - A memory is a fact; a preference where a category says so; a skill where `memory_type` is `procedural_memory`.
//! - `categories` become tags `topic:NAME`, single values of `metadata` tags `KEY:VALUE`.
//! - `user_id` is the subject and, if it can be, the author; `run_id` the session; `app_id` the task; `actor_id`, or else
//!   `role`, the speaker. `created_at` is when it was observed, `updated_at` when this version was written.
//! - Past `expiration_date` it has expired: the date is the end of its lifespan.
//! - A relation of its graph becomes a fact of its own, with tags `entity:NAME` for both ends.
//! - Hashes and scores are left out.

use serde_json::{Map, Value};

use super::{Found, Reading, json};
use crate::cube::{CubeDraft, Lifespan, SemanticType, State};
use crate::error::{Error, Result};

pub(super) fn read(value: &Value, reading: &mut Reading<'_>) -> Result<()> {
    let Some(object) = value.as_object() else { return read_memories("memories", value, reading) };
    let named = ["results", "memories"].into_iter().find_map(|key| Some((key, object.get(key)?)));
    let (key, memories) = named.ok_or_else(|| {
        Error::invalid(format!("found {}; `results` with memories is expected", json::describe(value)))
    })?;
    if json::is_given(object, "next") {
        reading.leave_out("further pages", "the file holds one page; export the others too", 1);
    }
    read_memories(key, memories, reading)?;
    match object.get("relations") {
        None | Some(Value::Null) => Ok(()),
        Some(relations) => json::each("relations", relations, |relation| read_relation(relation, reading)),
    }
}

fn read_memories(what: &str, memories: &Value, reading: &mut Reading<'_>) -> Result<()> {
    json::each(what, memories, |memory| read_memory(memory, reading))
}

fn read_memory(memory: &Map<String, Value>, reading: &mut Reading<'_>) -> Result<()> {
    let id = json::required(memory, "id")?;
    let owned = |key: &str| Ok::<_, Error>(json::string(memory, key)?.map(str::to_owned));
    let (created, updated) = (json::time(memory, "created_at")?, json::time(memory, "updated_at")?);
    let categories = json::strings(memory, "categories");
    let mut tags = Vec::new();
    for category in &categories {
        reading.tag(&mut tags, format!("topic:{category}"));
    }
    let metadata = memory.get("metadata").and_then(Value::as_object);
    if let Some(metadata) = metadata {
        reading.tag_values(&mut tags, metadata, &["memory_type"]);
    }
    let procedural = metadata.and_then(|metadata| metadata.get("memory_type")?.as_str()) == Some("procedural_memory");
    let semantic = match () {
        () if procedural => SemanticType::Skill,
        () if categories.iter().any(|name| name.to_lowercase().contains("preference")) => SemanticType::Preference,
        () => SemanticType::Fact,
    };
    let (user, agent) = (json::string(memory, "user_id")?, json::string(memory, "agent_id")?);
    let written = updated.or(created);
    // A lifespan counts from when this version was written.
    let expires = json::time(memory, "expiration_date")?;
    let lifespan = expires.map_or(Lifespan::Forever, |expires| {
        let from = written.unwrap_or(reading.received).as_millis();
        Lifespan::TimeToLiveMillis(u64::try_from(expires.as_millis().saturating_sub(from)).unwrap_or(0))
    });
    let state = match expires {
        Some(expires) if expires <= reading.received => State::Expired,
        _ => State::Activated,
    };
    reading.leave_out("hashes", "content has a digest of its own here", json::is_given(memory, "hash").into());
    reading.leave_out("scores", "they belong to a question, not to a memory", json::is_given(memory, "score").into());
    let draft = CubeDraft {
        tags,
        session: owned("run_id")?,
        task: owned("app_id")?,
        speaker: owned("actor_id")?.or(owned("role")?),
        subject: user.map(str::to_owned),
        reference: Some(id.to_owned()),
        observed: created.or(updated),
        lifespan,
        ..reading.draft(semantic)
    };
    let author = user.map(|name| ("user", name)).or(agent.map(|name| ("agent", name)));
    let text = json::string(memory, "memory")?.unwrap_or_default();
    reading.add(Found { names: &[id], named: id, text, author, created: written, state, draft })?;
    Ok(())
}

fn read_relation(relation: &Map<String, Value>, reading: &mut Reading<'_>) -> Result<()> {
    let either = |first: &str, second: &str| match json::string(relation, first)? {
        Some(text) => Ok(text),
        None => json::required(relation, second),
    };
    let (source, kind) = (json::required(relation, "source")?, either("relationship", "relation")?);
    let target = either("target", "destination")?;
    let words = |text: &str| text.replace('_', " ");
    let text = format!("{} {} {}", words(source), words(kind), words(target));
    let mut tags = Vec::new();
    for entity in [source, target] {
        reading.tag(&mut tags, format!("entity:{}", words(entity).to_lowercase()));
    }
    let named = format!("{source} {kind} {target}");
    let draft = CubeDraft { tags, ..reading.draft(SemanticType::Fact) };
    let names = ["relation", source, kind, target];
    let (text, state) = (text.as_str(), State::Activated);
    reading.add(Found { names: &names, named: &named, text, author: None, created: None, state, draft })?;
    Ok(())
}

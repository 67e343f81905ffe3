//! MemOS in Python: `textual_memory.json`, a list of `{"id", "memory", "metadata"}` (general memory; also in the
//! `payload` of a vector store's item), or `{"nodes", "edges"}` (tree memory).
//!
//! - `type` says what it is (`event`, `procedure`, `opinion`), and so does `memory_type` (`PreferenceMemory`, `SkillMemory`,
//!   `OuterMemory`, `RawFileMemory`); all else is a fact. `key` is the title, `tags` are tags.
//! - `user_id` is the subject, `session_id` the session. `public` memory comes as global, which an import makes private
//!   unless it is told to keep layers.
//! - `archived` stays so; `deleted` is left out. The texts in `history` are its earlier versions.
//! - Edges: `PARENT` and `AGGREGATE_TO` become `summarises`, `MERGED_TO` `merged-into`, `INFERS` `derived-from` and `CAUSE`
//!   `caused-by` (both turned round), `CONFLICT` `contradicts`, `FOLLOWS` `follows`, `RELATE` `about`.
//! - Vectors, confidence, usage, quotes of sources and other edges are left out.

use serde_json::{Map, Value};

use super::{Found, Reading, json};
use crate::cube::{CubeDraft, Digest, Layer, SemanticType, State};
use crate::error::{Error, Result};
use crate::graph::LinkKind;

pub(super) fn is_item(item: &Map<String, Value>) -> bool {
    // Others keep dates and users beside the memory; here all of it stands in the metadata.
    let alone = item.keys().all(|key| matches!(key.as_str(), "id" | "memory" | "metadata"));
    let payload = item.get("payload").and_then(Value::as_object);
    payload.map_or(alone && item.contains_key("memory"), |payload| payload.contains_key("memory"))
}

pub(super) fn read(value: &Value, reading: &mut Reading<'_>) -> Result<()> {
    let Some(object) = value.as_object() else {
        return json::each("memories", value, |item| read_item(item, reading));
    };
    let nodes = object.get("nodes").ok_or_else(|| {
        Error::invalid(format!("found {}; `nodes` and `edges`, or a list are expected", json::describe(value)))
    })?;
    json::each("nodes", nodes, |node| read_item(node, reading))?;
    match object.get("edges") {
        None | Some(Value::Null) => Ok(()),
        Some(edges) => json::each("edges", edges, |edge| read_edge(edge, reading)),
    }
}

fn read_item(item: &Map<String, Value>, reading: &mut Reading<'_>) -> Result<()> {
    let vectors = json::is_given(item, "vector");
    let memory = item.get("payload").and_then(Value::as_object).unwrap_or(item);
    let id = match json::string(memory, "id")? {
        Some(id) => id,
        None => json::required(item, "id")?,
    };
    let none = Map::new();
    let metadata = memory.get("metadata").and_then(Value::as_object).unwrap_or(&none);
    let state = match json::string(metadata, "status")? {
        Some("deleted") => {
            reading.leave_out("deleted memories", "what was deleted does not travel", 1);
            return Ok(());
        }
        Some("archived") => State::Archived,
        _ => State::Activated,
    };
    let mut tags = Vec::new();
    for tag in json::strings(metadata, "tags") {
        reading.tag(&mut tags, tag.to_owned());
    }
    let owned = |key: &str| Ok::<_, Error>(json::string(metadata, key)?.map(str::to_owned));
    let (created, updated) = (json::time(metadata, "created_at")?, json::time(metadata, "updated_at")?);
    let user = json::string(metadata, "user_id")?;
    let public = json::string(metadata, "visibility")? == Some("public");
    let vectors = vectors || json::is_given(metadata, "embedding");
    reading.leave_out("vectors", "vectors of two models never meet", vectors.into());
    for (key, what, why) in [
        ("confidence", "confidences", "they belong to the model that gave them"),
        ("usage", "records of use", "use is counted anew here"),
        ("sources", "quotes of sources", "they are quotes; the memory names itself as the reference"),
        ("background", "backgrounds", "they were written for a prompt"),
    ] {
        reading.leave_out(what, why, (json::count(metadata, key) > 0 || is_single(metadata, key)).into());
    }
    let draft = CubeDraft {
        title: owned("key")?.unwrap_or_default(),
        tags,
        session: owned("session_id")?,
        subject: user.map(str::to_owned),
        reference: Some(id.to_owned()),
        observed: created.or(updated),
        layer: if public { Layer::Global } else { Layer::Private },
        ..reading.draft(semantic(metadata)?)
    };
    let author = user.map(|name| ("user", name));
    let text = json::string(memory, "memory")?.unwrap_or_default();
    let created = updated.or(created);
    let added = reading.add(Found { names: &[id], named: id, text, author, created, state, draft })?;
    if added.is_some()
        && let (Some(cube), Some(history)) = (reading.cubes.last_mut(), metadata.get("history"))
    {
        let texts = history.as_array().into_iter().flatten().filter_map(|entry| entry.get("memory")?.as_str());
        cube.earlier = texts.filter(|text| !text.is_empty()).map(|text| Digest::of(text.as_bytes())).collect();
    }
    Ok(())
}

fn is_single(metadata: &Map<String, Value>, key: &str) -> bool {
    metadata.get(key).and_then(json::scalar).is_some()
}

fn semantic(metadata: &Map<String, Value>) -> Result<SemanticType> {
    let kinds = (json::string(metadata, "memory_type")?, json::string(metadata, "type")?);
    Ok(match kinds {
        (Some("PreferenceMemory"), _) => SemanticType::Preference,
        (Some("SkillMemory"), _) | (_, Some("procedure")) => SemanticType::Skill,
        (Some("OuterMemory" | "RawFileMemory"), _) => SemanticType::Document,
        (_, Some("event")) => SemanticType::Event,
        (_, Some("opinion")) => SemanticType::Preference,
        (_, Some("reasoning")) => SemanticType::Reflection,
        _ => SemanticType::Fact,
    })
}

fn read_edge(edge: &Map<String, Value>, reading: &mut Reading<'_>) -> Result<()> {
    let (source, target) = (json::required(edge, "source")?, json::required(edge, "target")?);
    let (kind, turned) = match json::required(edge, "type")? {
        "PARENT" | "AGGREGATE_TO" => (LinkKind::Summarises, false),
        "MERGED_TO" => (LinkKind::MergedInto, false),
        "INFERS" => (LinkKind::DerivedFrom, true),
        "CAUSE" => (LinkKind::CausedBy, true),
        "CONFLICT" => (LinkKind::Contradicts, false),
        "FOLLOWS" => (LinkKind::Follows, false),
        "RELATE" => (LinkKind::About, false),
        _ => {
            reading.leave_out("edges of other types", "no link says the same", 1);
            return Ok(());
        }
    };
    let (from, to) = if turned { (target, source) } else { (source, target) };
    let (from, to) = (reading.id(&[from]), reading.id(&[to]));
    if from == to {
        reading.leave_out("edges from a memory to itself", "a cube is not linked to itself", 1);
        return Ok(());
    }
    reading.link(from, kind, to)
}

//! Letta's agent file (`.af`): the older schema with one agent (`core_memory`, `messages`), and the newer one with
//! lists of agents, blocks, files and more.
//!
//! - A block with a value becomes a fact with its label as title and tag `block:LABEL`; `persona` an instruction.
//! - What the user and the agent said becomes a message, each linked to the one before by `follows`. An agent that speaks
//!   through the tool `send_message` says what it sends; a user's message in an envelope is what is in it.
//! - The content of a file becomes a document.
//! - Ids such as `block-0` count within one file, so a memory is named by its agent's name and its label, or its date.
//! - System prompts, events, calls and results of tools, tools and their rules, models, groups, servers and schedules are
//!   left out. Environment variables hold secrets: they are counted and not read.

use serde_json::{Map, Value};

use super::{Found, Reading, json};
use crate::cube::{CubeDraft, CubeId, Digest, SemanticType, State};
use crate::error::{Error, Result};
use crate::graph::LinkKind;

pub(super) fn is_agent_file(object: &Map<String, Value>) -> bool {
    let list = |key: &str| object.get(key).is_some_and(Value::is_array);
    (list("core_memory") && object.contains_key("messages")) || (list("agents") && list("blocks"))
}

pub(super) fn read(value: &Value, reading: &mut Reading<'_>) -> Result<()> {
    let object = value.as_object().filter(|object| is_agent_file(object)).ok_or_else(|| {
        Error::invalid(format!("found {}; `agents` and `blocks`, or `core_memory` are expected", json::describe(value)))
    })?;
    if object.contains_key("core_memory") {
        return read_agent(object, object.get("core_memory"), reading);
    }
    let blocks: Vec<&Map<String, Value>> =
        object.get("blocks").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object).collect();
    let mut owned = std::collections::HashSet::new();
    json::each("agents", object.get("agents").unwrap_or(&Value::Null), |agent| {
        let named = json::strings(agent, "block_ids");
        let name = json::string(agent, "name")?.unwrap_or_default();
        let wanted: std::collections::HashSet<&str> = named.into_iter().collect();
        for block in &blocks {
            // A block that several agents share is taken once, as the first one's.
            if let Some(id) = json::string(block, "id")?.filter(|id| wanted.contains(id) && owned.insert(*id)) {
                read_block(name, block, reading)
                    .map_err(|error| error.at(format_args!("block `{}`", json::shown(id))))?;
            }
        }
        read_agent(agent, agent.get("memory_blocks"), reading)
    })?;
    for block in &blocks {
        if json::string(block, "id")?.is_none_or(|id| !owned.contains(id)) {
            read_block("", block, reading)?;
        }
    }
    if let Some(files) = object.get("files").filter(|files| !files.is_null()) {
        json::each("files", files, |file| read_file(file, reading))?;
    }
    for (key, what, why) in [
        ("tools", "tools", "they are code, not memory"),
        ("groups", "groups", "agents are arranged anew here"),
        ("sources", "sources", "their files are taken, their settings are not"),
        ("mcp_servers", "servers of tools", "they are code, not memory"),
        ("skills", "skills", "they are code, not memory"),
    ] {
        reading.leave_out(what, why, json::count(object, key));
    }
    Ok(())
}

fn read_agent(agent: &Map<String, Value>, blocks: Option<&Value>, reading: &mut Reading<'_>) -> Result<()> {
    let name = json::string(agent, "name")?.unwrap_or_default();
    if let Some(blocks) = blocks.filter(|blocks| !blocks.is_null()) {
        json::each("blocks", blocks, |block| read_block(name, block, reading))?;
    }
    let mut last = None;
    if let Some(messages) = agent.get("messages").filter(|messages| !messages.is_null()) {
        json::each("messages", messages, |message| read_message(name, message, &mut last, reading))?;
    }
    for (key, what, why) in [
        ("tools", "tools", "they are code, not memory"),
        ("tool_ids", "tools of agents", "they are code, not memory"),
        ("tool_rules", "rules of tools", "they are code, not memory"),
        ("tool_exec_environment_variables", "environment variables", "they hold secrets, and were not read"),
        ("files_agents", "open files of agents", "their content is taken once"),
    ] {
        reading.leave_out(what, why, json::count(agent, key));
    }
    reading.leave_out("system prompts", "they instruct, and memory does not", json::is_given(agent, "system").into());
    for key in ["llm_config", "embedding_config"] {
        reading.leave_out("settings of models", "models are chosen here", json::is_given(agent, key).into());
    }
    Ok(())
}

fn read_block(agent: &str, block: &Map<String, Value>, reading: &mut Reading<'_>) -> Result<()> {
    let label = json::string(block, "label")?.unwrap_or("block");
    let text = json::string(block, "value")?.unwrap_or_default();
    let semantic = if label == "persona" { SemanticType::Instruction } else { SemanticType::Fact };
    let mut tags = Vec::new();
    reading.tag(&mut tags, format!("block:{label}"));
    let (created, updated) = (json::time(block, "created_at")?, json::time(block, "updated_at")?);
    let draft = CubeDraft {
        title: label.to_owned(),
        tags,
        path: path(agent),
        observed: updated.or(created),
        ..reading.draft(semantic)
    };
    let (names, author) = ([agent, "block", label], Some(("agent", agent)));
    let (created, state) = (updated.or(created), State::Activated);
    reading.add(Found { names: &names, named: label, text, author, created, state, draft })?;
    Ok(())
}

fn read_message(
    agent: &str,
    message: &Map<String, Value>,
    last: &mut Option<CubeId>,
    reading: &mut Reading<'_>,
) -> Result<()> {
    let role = json::required(message, "role")?;
    if role != "user" && role != "assistant" {
        let (what, why) = match role {
            "system" => ("system messages", "they instruct, and memory does not"),
            "tool" => ("results of tools", "they were for the agent, and are not what was said"),
            _ => ("messages of other roles", "they are not what was said"),
        };
        reading.leave_out(what, why, 1);
        return Ok(());
    }
    let mut said = content(message)?;
    if role == "user" {
        match unwrapped(&said) {
            Some(Some(inner)) => said = inner,
            Some(None) => {
                reading.leave_out("events", "nobody said them", 1);
                return Ok(());
            }
            None => {}
        }
    } else if let Some(sent) = sent(message, reading) {
        // What stands beside it is the agent's thinking.
        said = sent;
    }
    if said.trim().is_empty() {
        reading.leave_out("messages without text", "a memory says something", 1);
        return Ok(());
    }
    let created = json::time(message, "created_at")?;
    let date = json::string(message, "created_at")?.unwrap_or_default();
    let digest = Digest::of(said.as_bytes()).to_string();
    let named = json::string(message, "id")?.unwrap_or(date);
    let speaker = json::string(message, "name")?.filter(|name| !name.is_empty());
    let speaker = speaker.unwrap_or(if role == "assistant" && !agent.is_empty() { agent } else { role });
    let draft = CubeDraft {
        path: path(agent),
        session: Some(agent.to_owned()).filter(|name| !name.is_empty()),
        model: json::string(message, "model")?.filter(|_| role == "assistant").map(str::to_owned),
        speaker: Some(speaker.to_owned()),
        observed: created,
        ..reading.draft(SemanticType::Message)
    };
    let names = [agent, "message", role, date, &digest];
    let author = if role == "assistant" { Some(("agent", agent)) } else { None };
    let state = State::Activated;
    let added = reading.add(Found { names: &names, named, text: &said, author, created, state, draft })?;
    if let Some(id) = added
        && let Some(before) = last.replace(id).filter(|before| *before != id)
    {
        reading.link(id, LinkKind::Follows, before)?;
    }
    Ok(())
}

/// Reads a message's text: a string, or parts of which some are text.
fn content(message: &Map<String, Value>) -> Result<String> {
    match message.get("content") {
        None | Some(Value::Null) => Ok(json::string(message, "text")?.unwrap_or_default().to_owned()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(parts)) => {
            let texts = parts.iter().filter_map(|part| {
                let part = part.as_object()?;
                part.get("text").filter(|_| part.get("type").is_none_or(|kind| kind == "text"))?.as_str()
            });
            Ok(texts.collect::<Vec<_>>().join("\n"))
        }
        Some(other) => {
            let found = json::describe(other);
            Err(Error::invalid(format!("`content` is {found}; a string or an array of parts is expected")))
        }
    }
}

/// Opens the envelope in which Letta hands events to a model: what a user said, or `None` inside for other events.
fn unwrapped(text: &str) -> Option<Option<String>> {
    let envelope: Map<String, Value> =
        text.trim_start().starts_with('{').then(|| serde_json::from_str(text).ok())??;
    let kind = envelope.get("type")?.as_str()?;
    let message = envelope.get("message").and_then(Value::as_str);
    match kind {
        "user_message" => Some(message.map(str::to_owned)),
        "heartbeat" | "login" | "system_alert" | "system_message" => Some(None),
        _ => None,
    }
}

/// Returns what an agent said through the tool with which it speaks, and counts its other calls.
fn sent(message: &Map<String, Value>, reading: &mut Reading<'_>) -> Option<String> {
    let mut said = Vec::new();
    for call in message.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
        let function = call.get("function").unwrap_or(call);
        let arguments = function.get("arguments").and_then(Value::as_str);
        let arguments = arguments.and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
        let text = arguments.as_ref().and_then(|arguments| arguments.get("message")?.as_str());
        match (function.get("name").and_then(Value::as_str), text) {
            (Some("send_message"), Some(text)) => said.push(text.to_owned()),
            _ => reading.leave_out("calls of tools", "they were for the agent, and are not what was said", 1),
        }
    }
    (!said.is_empty()).then(|| said.join("\n"))
}

fn read_file(file: &Map<String, Value>, reading: &mut Reading<'_>) -> Result<()> {
    let name = json::string(file, "original_file_name")?.or(json::string(file, "file_name")?).unwrap_or("file");
    let Some(text) = json::string(file, "content")? else {
        reading.leave_out("files without content", "the export names them and does not hold them", 1);
        return Ok(());
    };
    let observed = json::time(file, "file_last_modified_date")?;
    let draft = CubeDraft {
        title: name.to_owned(),
        path: vec![name.to_owned()],
        reference: Some(name.to_owned()),
        observed,
        ..reading.draft(SemanticType::Document)
    };
    let names = ["", "file", name];
    let state = State::Activated;
    reading.add(Found { names: &names, named: name, text, author: None, created: observed, state, draft })?;
    Ok(())
}

fn path(agent: &str) -> Vec<String> {
    Some(agent.to_owned()).filter(|name| !name.is_empty()).into_iter().collect()
}

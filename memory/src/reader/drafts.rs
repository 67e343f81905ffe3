//! Drafts of the cubes that a source becomes: messages, passages, summaries.

use super::entities::entities;
use super::ingest::IngestOptions;
use super::source::{Conversation, Document, Passage, Session, Turn};
use super::summary::Digest;
use super::temporal::find_times;
use crate::cube::{CubeDraft, OriginKind, SemanticType};
use crate::time::{Timestamp, Window};

/// Returns the tag of a name that a text names.
pub(crate) fn entity_tag(name: &str) -> String {
    format!("entity:{name}")
}

/// Returns the name of a session that is its own within the space.
pub(super) fn session_name(conversation: &Conversation, session: &Session) -> String {
    format!("{}/{}", conversation.name, session.name)
}

/// Returns a turn's text as it is remembered: what was said, and what a shared picture shows.
fn turn_text(turn: &Turn) -> String {
    match &turn.caption {
        Some(caption) if turn.text.is_empty() => format!("[picture: {caption}]"),
        Some(caption) => format!("{}\n[picture: {caption}]", turn.text),
        None => turn.text.clone(),
    }
}

/// Returns the task that a path begins with: the one that was named, or the conversation itself.
pub(super) fn task_of<'a>(options: &'a IngestOptions, conversation: &'a str) -> &'a str {
    options.task.as_deref().unwrap_or(conversation)
}

/// Where a turn stands.
pub(super) struct TurnPlace<'a> {
    pub(super) conversation: &'a Conversation,
    pub(super) session: &'a Session,
    /// Counted from 1 within the conversation.
    pub(super) session_number: usize,
    /// Counted from 1 within the session.
    pub(super) number: usize,
    pub(super) at: Timestamp,
    /// The session's topics.
    pub(super) topics: &'a [String],
}

pub(super) fn message(turn: &Turn, place: &TurnPlace<'_>, options: &IngestOptions) -> CubeDraft {
    let text = turn_text(turn);
    let speakers = || place.session.turns.iter().map(|turn| turn.speaker.as_str());
    let lower = text.to_lowercase();
    let topics = place.topics.iter().filter(|topic| lower.contains(topic.as_str()));
    let mut tags: Vec<String> = topics.clone().map(|topic| format!("topic:{topic}")).collect();
    tags.extend(
        entities(&turn.text, |word| speakers().any(|speaker| speaker == word)).iter().map(|name| entity_tag(name)),
    );
    let path = [Some(task_of(options, &place.conversation.name)), topics.clone().next().map(String::as_str)];
    let path = path.into_iter().flatten().map(str::to_owned).collect();
    CubeDraft {
        tags,
        path,
        origin: OriginKind::Import,
        task: options.task.clone(),
        session: Some(session_name(place.conversation, place.session)),
        speaker: Some(turn.speaker.clone()),
        reference: Some(
            turn.reference.clone().unwrap_or_else(|| format!("S{}:{}", place.session_number, place.number)),
        ),
        observed: Some(place.at),
        valid: spoken_of(&text, place.at),
        layer: options.layer.clone(),
        ..CubeDraft::text(SemanticType::Message, text)
    }
}

/// Returns the stretch of time that a text speaks of: the first it names, resolved against when it was said.
fn spoken_of(text: &str, at: Timestamp) -> Window {
    find_times(text, at.to_civil()).into_iter().next().map_or(Window::ALWAYS, |mention| mention.window)
}

pub(super) fn passage(
    document: &Document,
    passage: &Passage,
    number: usize,
    file: &str,
    options: &IngestOptions,
) -> CubeDraft {
    let mut path = vec![document.title.clone()];
    path.extend(passage.path.iter().filter(|heading| **heading != document.title).cloned());
    let place = passage.path.last().map_or_else(|| number.to_string(), Clone::clone);
    CubeDraft {
        title: path.last().cloned().unwrap_or_default(),
        tags: entities(&passage.text, |_| false).iter().map(|name| entity_tag(name)).collect(),
        path,
        origin: OriginKind::Import,
        task: options.task.clone(),
        reference: Some(format!("{file}#{place}")),
        observed: options.observed,
        layer: options.layer.clone(),
        ..CubeDraft::text(SemanticType::Document, passage.text.clone())
    }
}

pub(super) fn summary(place: &TurnPlace<'_>, digest: &Digest, options: &IngestOptions) -> Option<CubeDraft> {
    if digest.sentences.is_empty() {
        return None;
    }
    let speaker = |turn: usize| place.session.turns.get(turn).map_or("", |turn| turn.speaker.as_str());
    Some(CubeDraft {
        title: session_name(place.conversation, place.session),
        tags: digest.tags(),
        path: vec![place.conversation.name.clone()],
        origin: OriginKind::Inference,
        task: options.task.clone(),
        session: Some(session_name(place.conversation, place.session)),
        observed: Some(place.at),
        layer: options.layer.clone(),
        ..CubeDraft::text(SemanticType::Summary, digest.text(speaker))
    })
}

//! The spans of one request: what a session asks, where it waits, who handles it, and the durable step it shares.
//!
//! A request's spans hang below one span that its session begins, and that travels with the call; work for which no
//! session asked has none. Where nobody subscribes, each is one comparison.

use memos_memory::cube::SpaceName;
use memos_memory::error::Result;
use memos_memory::operator::RecallTimes;
use tracing::{Span, field, info_span};

use crate::actor::{Call, TraceLink};

/// Begins the span of a request, below where its caller says that it belongs, and puts it on the call.
pub(crate) fn begin_request(what: &'static str, space: &SpaceName, call: &mut Call) {
    let span = info_span!(
        target: "memos",
        "request",
        otel.name = what,
        otel.status_code = field::Empty,
        error.type = field::Empty,
        space = space.as_str(),
        principal = %call.principal.id,
    );
    if !span.is_disabled() {
        call.trace = adopt(&span, call.trace);
    }
    call.span = span;
}

/// Says on a request's span what came of it.
pub(crate) fn end_request<T>(span: &Span, outcome: &Result<T>) {
    if let Err(error) = outcome
        && !span.is_disabled()
    {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", field::debug(error.kind()));
    }
}

/// Begins the span in which a message or a piece of work waits for its turn.
pub(crate) fn wait(parent: &Span, queue: &str) -> Span {
    if parent.is_disabled() {
        return Span::none();
    }
    info_span!(target: "memos", parent: parent, "wait", queue)
}

/// Begins the span in which an actor handles a message.
pub(crate) fn handle(parent: &Span, actor: &str, command: &'static str) -> Span {
    if parent.is_disabled() {
        return Span::none();
    }
    info_span!(target: "memos", parent: parent, "handle", actor, command)
}

/// Begins the span in which a batch waits for its durable step and goes through it.
pub(crate) fn commit(parent: &Span) -> Span {
    if parent.is_disabled() {
        return Span::none();
    }
    info_span!(target: "memos", parent: parent, "commit")
}

/// Begins the span of one durable step that serves these commits: it belongs to none of their traces, and each names it.
pub(crate) fn flush<'a>(space: &SpaceName, commits: impl Iterator<Item = &'a Span>) -> Span {
    let commits: Vec<&Span> = commits.filter(|commit| !commit.is_disabled()).collect();
    if commits.is_empty() {
        return Span::none();
    }
    let flush = info_span!(target: "memos", parent: None, "flush", space = space.as_str(), batches = commits.len());
    for commit in commits {
        flush.follows_from(commit);
        commit.follows_from(&flush);
    }
    flush
}

/// Begins the span of work on a thread.
pub(crate) fn work(parent: &Span, threads: &str) -> Span {
    if parent.is_disabled() {
        return Span::none();
    }
    info_span!(
        target: "memos",
        parent: parent,
        "work",
        threads,
        embed_us = field::Empty,
        find_us = field::Empty,
        rank_us = field::Empty,
        pack_us = field::Empty,
    )
}

/// Says on the span of the thread's work what the parts of a recall took.
pub(crate) fn recalled(times: &RecallTimes) {
    let span = Span::current();
    if !span.is_disabled() {
        span.record("embed_us", times.embed);
        span.record("find_us", times.find);
        span.record("rank_us", times.rank);
        span.record("pack_us", times.pack);
    }
}

/// Puts a span below a link from outside, and returns the link that leads to the span itself.
#[cfg(feature = "otlp")]
fn adopt(span: &Span, parent: TraceLink) -> TraceLink {
    super::otlp::adopt(span, parent).unwrap_or(parent)
}

#[cfg(not(feature = "otlp"))]
fn adopt(_: &Span, parent: TraceLink) -> TraceLink {
    parent
}

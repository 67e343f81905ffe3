//! Doing what a known sender asks, through an ordinary session of a space: within its bounds, under its rules.

use std::time::Duration;

use memos_memory::cube::{Cube, Digest};
use memos_memory::error::{Error, Result};
use memos_memory::governance::{Access, Principal};
use memos_memory::operator::{Answer as Recalled, MemoryCall, Receipt, recall};
use memos_memory::reader::read_question;
use memos_memory::time::Timestamp;
use memos_memory::vault::{Batch, CubeHead, Erasure};

use super::Standing;
use super::checks::Known;
use super::request::{Change, Command, Question};
use super::wire::{AnswerV1, MemoryV1};
use crate::kernel::Kernel;
use crate::vault::Session;

/// Does what is asked, and returns what to answer.
pub(super) async fn serve(kernel: Kernel, known: Known, standing: Standing, now: Timestamp) -> Result<AnswerV1> {
    let Known { pass, space, id, deadline, trace, task, session, command, .. } = known;
    let mut principal = Principal::new(pass.terms.principal);
    (principal.groups, principal.roles) = (standing.groups, standing.roles);
    principal.context.purpose = pass.terms.purpose;
    principal.context.model = pass.terms.model;
    principal.context.task = task;
    principal.context.session = session;
    let left = u64::try_from(deadline.as_millis().saturating_sub(now.as_millis())).unwrap_or(0);
    let patience = Duration::from_millis(left).min(kernel.limits().request);
    let space = kernel.space(space.as_str()).await?;
    let session = space.session(principal).with_patience(patience).in_trace(trace);
    match command {
        Command::Commit(changes) => commit(session.with_key(&id.key())?, changes).await,
        Command::Recall(question) => ask(&session, question).await,
        Command::Get(cube) => {
            let (cube, head) = session.get(&cube).await?;
            got(cube, &head).map(|memory| AnswerV1::Got(Box::new(memory)))
        }
        Command::Erase { cubes, reason } => {
            let erased = session.work(move |space, by| space.erase(by, Erasure::Cubes(cubes), reason)).await?;
            let bytes = |ids: Vec<memos_memory::cube::CubeId>| ids.iter().map(|id| *id.as_bytes()).collect();
            Ok(AnswerV1::Erased { event: erased.event, cubes: bytes(erased.cubes), derived: bytes(erased.derived) })
        }
    }
}

async fn commit(session: Session, changes: Vec<Change>) -> Result<AnswerV1> {
    let mut batch = Batch::default();
    for change in changes {
        match change {
            Change::Remember(draft) => batch.store(session.new_id().await?, *draft),
            Change::Update(update) => batch.update(*update),
            Change::SetState { cube, state, reason } => batch.set_state(cube, state, reason),
            Change::Link(link) => batch.link(link),
        };
    }
    let committed = session.commit(batch).await?;
    let stored = committed.stored.iter().map(|version| (*version.cube.as_bytes(), version.version)).collect();
    Ok(AnswerV1::Committed { first_event: committed.first_event, events: committed.events, stored })
}

async fn ask(session: &Session, question: Question) -> Result<AnswerV1> {
    let Question { text, semantic, tags, window, archived, memories, tokens } = question;
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let asked = session.work(move |space, principal| {
        let call = MemoryCall {
            semantic,
            tags,
            window,
            archived,
            memories: size(memories),
            tokens: size(tokens),
            ..MemoryCall::new(principal.clone(), text, space.now())
        };
        recall(&[space], &read_question(&[space], call)?)
    });
    let Recalled { receipts, tokens, considered, .. } = asked.await?;
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let memories = receipts.into_iter().map(recalled).collect();
    Ok(AnswerV1::Recalled { memories, considered: count(considered), tokens: count(tokens) })
}

fn recalled(receipt: Receipt) -> MemoryV1 {
    MemoryV1 {
        cube: *receipt.cube.as_bytes(),
        version: receipt.version,
        digest: *receipt.digest.as_bytes(),
        semantic: receipt.semantic.to_string(),
        state: receipt.state.to_string(),
        title: receipt.title,
        text: receipt.text,
        speaker: receipt.speaker,
        observed: receipt.observed.as_millis(),
        redacted: receipt.decision.access != Access::Full,
        rule: receipt.decision.rule.into_owned(),
        score: receipt.score,
        superseded_by: receipt.superseded_by.map(|cube| *cube.as_bytes()),
    }
}

fn got(cube: Cube, head: &CubeHead) -> Result<MemoryV1> {
    let text = cube.payload.as_text().ok_or_else(|| {
        Error::invalid(format!("cube `{}` is no text; read it where the kernel runs", cube.header.id))
    })?;
    Ok(MemoryV1 {
        cube: *cube.header.id.as_bytes(),
        version: cube.header.version,
        digest: *head.digest.as_bytes(),
        semantic: cube.header.semantic.to_string(),
        state: head.state.to_string(),
        text: text.to_owned(),
        title: cube.header.title,
        speaker: cube.header.origin.speaker,
        observed: cube.header.times.observed.as_millis(),
        redacted: head.digest == Digest::default(),
        rule: String::new(),
        score: 0.0,
        superseded_by: None,
    })
}

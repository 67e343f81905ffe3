//! One form, from its sources to the ledger: read, shaped on the model's thread, held against its text, and adopted or refused.
//!
//! What is asked for stands in the ledger before it is made, so that a crash loses nothing; the form's cube, its lineage and
//! its record come into the ledger in one batch, which is refused when a source has changed meanwhile, so that nothing is ever half
//! adopted. The same sources, form and model are made once.
//!
//! A form's cube is private to the owner of its sources, without grants, and sensitive as they are: whatever becomes of their rights,
//! it is never easier to read than they are. Who may use it is asked of the sources, at each use.

use std::collections::BTreeSet;

use memos_memory::cube::{
    CubeDraft, CubeId, Digest, Header, Kind, Layer, OriginKind, Payload, SemanticType, SpaceName, VersionRef,
};
use memos_memory::error::{Error, ErrorKind, Result};
use memos_memory::governance::{AuditKind, AuditRecord, Operation, Outcome, Principal};
use memos_memory::graph::{Link, LinkKind};
use memos_memory::vault::{Batch, Space};

use super::Parts;
use super::gates::verdict;
use super::record::{self, FormRecord, FormState};
use super::shaping::{Ready, Shaped, load, shape};
use crate::kernel::Kernel;
use crate::vault::Session;

/// What a form is made of, read at one point.
pub(super) struct Sources {
    pub(super) record: FormRecord,
    pub(super) texts: Vec<String>,
    headers: Vec<Header>,
    pub(super) heads: Vec<(CubeId, Digest)>,
}

/// Makes a form of the present versions of some memories, unless it is there or was refused before.
pub(super) async fn make(
    parts: &Parts,
    space: &SpaceName,
    cubes: Vec<CubeId>,
    form: Kind,
    again: bool,
) -> Result<FormRecord> {
    let kernel = parts.kernel()?;
    let keeper = keeper(&kernel, space, parts).await?;
    // One at a time: the thread for jobs is one, and who asks for the same finds it made.
    let _turn = parts.turn.lock().await;
    let sources = gather(parts, &keeper, cubes, form).await?;
    let _made = parts.begin_making(space, &sources.record.key);
    let standing = sources.record.state;
    if standing == FormState::Adopted || (standing == FormState::Refused && !again) {
        return Ok(sources.record);
    }
    let tries = if again { 1 } else { sources.record.tries.saturating_add(1) };
    let asked = FormRecord { tries, cube: None, ..sources.record.clone() };
    if standing == FormState::Asked && tries > parts.options.limits.tries {
        let why = format!("it was begun {} times and never made", tries - 1);
        return end(&keeper, asked, FormState::Refused, &why).await;
    }
    let asked = put(&keeper, parts, asked, FormState::Asked, "it is being made").await?;
    let (texts, options) = (sources.texts.clone(), parts.options.clone());
    let what = format!("{form} of {} memories", asked.sources.len());
    let shaped = parts.host.work(what, move |model, progress| shape(model, form, &texts, &options, progress)).await;
    let shaped = match shaped {
        Ok(shaped) => shaped,
        // What can never be made is refused; what was not made today stays asked for only when the program dies.
        Err(error) => {
            let is_final = matches!(error.kind(), ErrorKind::Invalid);
            let state = if is_final { FormState::Refused } else { FormState::Withdrawn };
            end(&keeper, asked, state, &format!("it was not made: {error}")).await?;
            return Err(error);
        }
    };
    parts.measured.built(form, &shaped);
    let Shaped { payload, ready, scores, tokens, build_millis, curve } = shaped;
    let bytes = payload.body().len() as u64;
    let build_millis = build_millis.round() as u64;
    let made = FormRecord { scores: Some(scores), bytes, tokens, build_millis, curve, ..asked };
    if let Some(why) = verdict(form == Kind::Parametric, &scores, &parts.options.gates) {
        return end(&keeper, made, FormState::Refused, &why).await;
    }
    let adopted = adopt(&keeper, parts, made.clone(), payload, &sources).await;
    match adopted {
        Ok(record) => {
            parts.loaded.put(space, record.clone(), ready, record.at);
            Ok(record)
        }
        Err(error) => {
            end(&keeper, made, FormState::Withdrawn, &format!("it was made and not adopted: {error}")).await?;
            Err(error)
        }
    }
}

/// Reads what a form is to be made of, and what is known of it.
pub(super) async fn gather(parts: &Parts, keeper: &Session, cubes: Vec<CubeId>, form: Kind) -> Result<Sources> {
    let (model, most) = (parts.model.clone(), parts.options.limits.sources);
    let gathering = keeper.work(move |space, keeper| {
        if cubes.is_empty() || cubes.len() > most {
            let found = cubes.len();
            return Err(Error::invalid(format!("a form is made of 1 to {most} memories, and {found} are named")));
        }
        let mut sources = read(space, keeper, &cubes)?;
        let refs: Vec<VersionRef> = sources.iter().map(|(header, ..)| header.version_ref()).collect();
        let begun = FormRecord::asked(form, refs, model, space.now());
        let record = record::of(space, &begun.key)?.unwrap_or(begun);
        let texts = sources.iter_mut().map(|(_, text, _)| std::mem::take(text)).collect();
        let heads = sources.iter().map(|(header, _, digest)| (header.id, *digest)).collect();
        Ok(Sources { record, texts, headers: sources.into_iter().map(|(header, ..)| header).collect(), heads })
    });
    gathering.await
}

/// Returns a session of the space itself that has time for what an engine does.
pub(super) async fn keeper(kernel: &Kernel, space: &SpaceName, parts: &Parts) -> Result<Session> {
    Ok(kernel.space(space.as_str()).await?.keeper_session()?.with_patience(parts.options.limits.patience))
}

/// Reads memories that may become one form: texts that are recalled, of one owner and one audience.
fn read(space: &Space, keeper: &Principal, cubes: &[CubeId]) -> Result<Vec<(Header, String, Digest)>> {
    let mut read: Vec<(Header, String, Digest)> = Vec::with_capacity(cubes.len());
    for id in cubes {
        let (cube, head) = space.get(keeper, id)?;
        if !head.state.is_recalled() {
            return Err(Error::invalid(format!("memory `{id}` is {}, and no form is made of it", head.state)));
        }
        let text = cube.payload.as_text().ok_or_else(|| {
            Error::invalid(format!("memory `{id}` is {}, and forms are made of text", cube.header.kind()))
        })?;
        let text = text.to_owned();
        if read.iter().any(|(header, ..)| header.id == *id) {
            return Err(Error::invalid(format!("memory `{id}` is named twice")));
        }
        if let Some((first, ..)) = read.first() {
            let (first, own) = (&first.governance, &cube.header.governance);
            if (&first.owner, &first.layer, &first.grants) != (&own.owner, &own.layer, &own.grants) {
                return Err(Error::invalid(format!(
                    "memory `{id}` is not shared with the same as the first; what one form is made of has one audience"
                )));
            }
        }
        read.push((cube.header, text, head.digest));
    }
    Ok(read)
}

/// Puts a form into the ledger: its cube, its lineage and its record, all or nothing.
async fn adopt(
    keeper: &Session,
    parts: &Parts,
    made: FormRecord,
    payload: Payload,
    sources: &Sources,
) -> Result<FormRecord> {
    let id = keeper.new_id().await?;
    let draft = draft(&made, payload, &sources.headers, parts.host.model().name());
    let (state, links, heads) = (FormState::Adopted, made.sources.clone(), sources.heads.clone());
    let record = FormRecord { cube: Some(id), ..made };
    let record =
        keeper.work(move |space, _| Ok(record.turned(state, "it says what its text says", space.now()))).await?;
    let mut batch = Batch::default();
    batch.store(id, draft);
    for source in links {
        batch.link(Link { from: id, kind: LinkKind::DerivedFrom, to: source.cube });
    }
    record.keep(&mut batch)?;
    batch.record(line(&record, keeper.principal(), Outcome::Done));
    for (cube, digest) in heads {
        batch.expect(cube, digest);
    }
    keeper.commit(batch).await?;
    Ok(record)
}

fn draft(made: &FormRecord, payload: Payload, headers: &[Header], model: &str) -> CubeDraft {
    let first = headers.first();
    let governance = first.map(|header| &header.governance);
    let is_common = headers.iter().all(|header| Some(&header.subject) == first.map(|first| &first.subject));
    let sensitivity: BTreeSet<_> = headers.iter().flat_map(|header| header.governance.sensitivity.clone()).collect();
    let parametric = made.form == Kind::Parametric;
    CubeDraft {
        title: format!("{} of {} memories", made.form, made.sources.len()),
        origin: if parametric { OriginKind::FineTuning } else { OriginKind::Inference },
        model: Some(model.to_owned()),
        subject: first.map(|header| header.subject.clone()).filter(|_| is_common),
        owner: governance.map(|governance| governance.owner.clone()),
        layer: Layer::Private,
        sensitivity,
        derived_from: made.sources.clone(),
        ..CubeDraft::new(first.map_or(SemanticType::Fact, |header| header.semantic), payload)
    }
}

/// Writes a form's record with its next state, and makes room for it where there is none.
async fn put(keeper: &Session, parts: &Parts, record: FormRecord, state: FormState, why: &str) -> Result<FormRecord> {
    let (why, most) = (why.to_owned(), parts.options.limits.records);
    let (record, batch) = keeper
        .work(move |space, _| {
            let record = record.turned(state, why, space.now());
            let mut batch = Batch::default();
            for old in overflow(record::all(space, &record.model)?, &record.key, most) {
                batch.set_register(old.register(), None);
            }
            record.keep(&mut batch)?;
            Ok((record, batch))
        })
        .await?;
    keeper.commit(batch).await?;
    Ok(record)
}

/// Returns the records of forms that are gone which have no room, the oldest first.
fn overflow(records: Vec<FormRecord>, coming: &str, most: usize) -> Vec<FormRecord> {
    let others = records.iter().filter(|record| record.key != coming).count();
    let mut gone: Vec<FormRecord> = records
        .into_iter()
        .filter(|record| record.key != coming && matches!(record.state, FormState::Refused | FormState::Withdrawn))
        .collect();
    gone.sort_by_key(|record| record.at);
    gone.truncate((others + 1).saturating_sub(most));
    gone
}

/// Ends the making of a form that is not adopted, with why on record.
pub(super) async fn end(keeper: &Session, record: FormRecord, state: FormState, why: &str) -> Result<FormRecord> {
    let why = why.to_owned();
    let record = keeper.work(move |space, _| Ok(record.turned(state, why, space.now()))).await?;
    let mut batch = Batch::default();
    record.keep(&mut batch)?;
    batch.record(line(&record, keeper.principal(), Outcome::Failed));
    keeper.commit(batch).await?;
    Ok(record)
}

/// Says what became of a form, for the audit log.
pub(super) fn line(record: &FormRecord, keeper: &Principal, outcome: Outcome) -> AuditRecord {
    let operation = match record.state {
        FormState::Asked => "ask for form",
        FormState::Adopted => "adopt form",
        FormState::Refused => "refuse form",
        FormState::Resting => "rest form",
        FormState::Withdrawn => "withdraw form",
    };
    let mut reason = format!("{} {}: {}", record.form, record.key, record.why);
    reason.truncate(reason.floor_char_boundary(1024));
    AuditRecord {
        at: record.at,
        principal: keeper.id.clone(),
        context: keeper.context.clone(),
        kind: AuditKind::Schedule,
        operation: operation.to_owned(),
        outcome,
        reason,
        cubes: record.sources.iter().map(|source| source.cube).chain(record.cube).collect(),
        trace: None,
    }
}

/// Returns a form that was adopted, from memory or from the ledger.
pub(super) async fn ready(parts: &Parts, keeper: &Session, space: &SpaceName, record: &FormRecord) -> Result<Ready> {
    if let Some(ready) = parts.loaded.get(space, &record.key) {
        return Ok(ready);
    }
    let none = || Error::not_found(format!("the form `{}` is not in the ledger", record.key));
    let cube = record.cube.ok_or_else(none)?;
    let (model, measured) = (parts.host.model().clone(), parts.measured.clone());
    let loading = keeper.work(move |space, keeper| {
        let payload = space.get(keeper, &cube)?.0.payload;
        let begun = std::time::Instant::now();
        let ready = load(&model, &payload)?;
        measured.loaded(payload.body().len(), begun);
        Ok((ready, space.now()))
    });
    let (ready, now) = loading.await?;
    parts.loaded.put(space, record.clone(), ready.clone(), now);
    Ok(ready)
}

/// Returns whether a caller may read all sources of a form as they are, in the versions that it was made from, and all are
/// recalled.
pub(super) fn may_use(space: &Space, caller: &Principal, record: &FormRecord) -> bool {
    let cubes: Vec<CubeId> = record.sources.iter().map(|source| source.cube).collect();
    let present = space.present_states(caller, &cubes);
    record.sources.len() == present.len()
        && record.sources.iter().zip(present).all(|(source, present)| {
            present.is_some_and(|(version, state)| version == source.version && state.is_recalled())
        })
}

/// Returns whether a caller may have forms made of memories: who reads them as they are.
pub(super) fn check_readable(space: &Space, caller: &Principal, cubes: &[CubeId]) -> Result<()> {
    for cube in cubes {
        let decision = space.decide_on(caller, Operation::Read, cube);
        if !decision.allowed() {
            return Err(Error::not_found(format!(
                "there is no cube `{cube}` that `{}` may read as it is in space `{}`",
                caller.id,
                space.name()
            )));
        }
    }
    Ok(())
}

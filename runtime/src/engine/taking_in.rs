//! Forms that came from elsewhere: those of this model are examined like those that were made here, and used where they lie; those
//! of other models are made again from their text.

use memos_memory::cube::{CubeId, Form, Kind, VersionRef};
use memos_memory::error::Result;
use memos_memory::governance::Outcome;
use memos_memory::vault::Batch;

use super::gates::verdict;
use super::making::{end, gather, keeper, line};
use super::record::{self, FormRecord, FormState};
use super::shaping::examine;
use super::{Engine, Parts};
use crate::vault::Session;

/// A form that no record knows.
struct Found {
    cube: CubeId,
    form: Kind,
    sources: Vec<VersionRef>,
    is_of_this_model: bool,
}

pub(super) async fn take_in(engine: &Engine, session: &Session) -> Result<Vec<FormRecord>> {
    let parts = &engine.parts;
    let model = parts.model.clone();
    let finding = session.work(move |space, caller| {
        let known = record::all(space, &model)?;
        let mut found = Vec::new();
        for cube in space.present_forms(caller) {
            if known.iter().any(|record| record.cube == Some(cube)) {
                continue;
            }
            let header = space.get(caller, &cube)?.0.header;
            let made_for = match &header.form {
                Form::Plaintext => continue,
                Form::Activation(activation) => &activation.model,
                Form::Parametric(parametric) => &parametric.base,
            };
            let (form, is_of_this_model) = (header.kind(), *made_for == model);
            let sources = header.chain.derived_from;
            let cubes: Vec<CubeId> = sources.iter().map(|source| source.cube).collect();
            let present = space.present_states(caller, &cubes);
            let is_present = |(source, present): (&VersionRef, Option<(u32, memos_memory::cube::State)>)| {
                present.is_some_and(|(version, state)| version == source.version && state.is_recalled())
            };
            // What has no source here, or another text by now, is no form of anything.
            if !sources.is_empty() && sources.iter().zip(present).all(is_present) {
                found.push(Found { cube, form, sources, is_of_this_model });
            }
        }
        Ok(found)
    });
    let mut taken = Vec::new();
    for found in finding.await? {
        let cubes = found.sources.iter().map(|source| source.cube).collect::<Vec<_>>();
        taken.push(match found.is_of_this_model {
            true => adopt(parts, session, found).await?,
            false => engine.make(session, &cubes, found.form).await?,
        });
    }
    Ok(taken)
}

/// Examines a form where it lies, and puts it on record.
async fn adopt(parts: &Parts, session: &Session, found: Found) -> Result<FormRecord> {
    let space = session.space().name().clone();
    let keeper = keeper(&parts.kernel()?, &space, parts).await?;
    let _turn = parts.turn.lock().await;
    let cubes = found.sources.iter().map(|source| source.cube).collect();
    let sources = gather(parts, &keeper, cubes, found.form).await?;
    if sources.record.state == FormState::Adopted {
        return Ok(sources.record);
    }
    let _made = parts.begin_making(&space, &sources.record.key);
    let cube = found.cube;
    let payload = keeper.work(move |space, keeper| Ok(space.get(keeper, &cube)?.0.payload)).await?;
    let (texts, options, bytes) = (sources.texts.clone(), parts.options.clone(), payload.body().len() as u64);
    let examining = parts.host.work("an examination", move |model, _| {
        let (ready, scores) = examine(model, &payload, &texts, &options)?;
        let tokens = texts.iter().map(|text| model.memory_tokens(text).map_or(0, |tokens| tokens.len())).sum();
        Ok((ready, scores, tokens))
    });
    let (ready, scores, tokens) = match examining.await {
        Ok(examined) => examined,
        Err(error) => {
            let why = format!("it came from elsewhere and could not be examined: {error}");
            return end(&keeper, sources.record, FormState::Refused, &why).await;
        }
    };
    let record = FormRecord { scores: Some(scores), bytes, tokens, ..sources.record };
    if let Some(why) = verdict(found.form == Kind::Parametric, &scores, &parts.options.gates) {
        return end(&keeper, record, FormState::Refused, &why).await;
    }
    let turning = keeper.work(move |space, _| {
        let why = "it came from elsewhere, and says what its text says";
        Ok(FormRecord { cube: Some(cube), ..record }.turned(FormState::Adopted, why, space.now()))
    });
    let record = turning.await?;
    let mut batch = Batch::default();
    record.keep(&mut batch)?;
    batch.record(line(&record, keeper.principal(), Outcome::Done));
    for (cube, digest) in sources.heads {
        batch.expect(cube, digest);
    }
    keeper.commit(batch).await?;
    parts.loaded.put(&space, record.clone(), ready, record.at);
    Ok(record)
}

//! How well facts are taught to an adapter of the model that ships: what it then says with nothing told, beside segments of
//! other memories, and of what it was not taught.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::{rounded, threads, timed};
use crate::adapter::{Adapter, AdapterMix};
use crate::dice::Dice;
use crate::error::Result;
use crate::generate::{Answer, Context};
use crate::lesson::{Examination, Probe, Teaching, WordPool, random_facts};
use crate::model::Model;
use crate::train::{AdapterPlan, AdapterReport, AdapterShape, Pupil, adapt};

/// The most tokens of an answer.
const ANSWER_TOKENS: usize = 32;

/// What was taught, how long it took, and what is right afterwards; shares are from 0 to 1.
#[derive(Debug, Serialize)]
pub struct Taught {
    /// Threads that multiply.
    pub threads: usize,
    /// Facts that were taught.
    pub facts: usize,
    /// Steps that were taken.
    pub steps: usize,
    /// How long all of them took.
    pub seconds: f64,
    /// Width of the adapter's narrow part.
    pub rank: usize,
    /// Bytes of the adapter in memory.
    pub bytes: usize,
    /// Questions of each kind.
    pub questions: usize,
    /// Of the taught facts, with nothing told.
    pub right_closed: f64,
    /// Of the taught facts, with segments of other memories injected.
    pub right_beside_segments: f64,
    /// Of facts that are told and were not taught.
    pub right_told: f64,
    /// The same without the adapter.
    pub base_told: f64,
    /// Of taught facts of which a told memory says otherwise: it wins.
    pub right_corrected: f64,
    /// Of what was neither taught nor told: it says that it does not know.
    pub right_not_known: f64,
    /// The same without the adapter.
    pub base_not_known: f64,
    /// Of the questions of what is told and of what is not known, those that are answered in other words than without the adapter.
    pub unrelated_changed: f64,
    /// Giving a request the adapter, in milliseconds.
    pub swap_ms: f64,
    /// The largest difference of a logit before the adapter was used and after it was taken away.
    pub residue: f64,
}

/// Teaches facts by chance to an adapter, and examines it with so many questions of each kind.
///
/// # Errors
/// Those of [`adapt`] and of `tell`.
pub fn taught(
    facts: usize,
    questions: usize,
    plan: &AdapterPlan,
    shape: &AdapterShape,
    mut tell: impl FnMut(&AdapterReport) -> Result<bool>,
) -> Result<Taught> {
    let model = Model::small()?;
    let rows = model.rows();
    let mut dice = Dice::new(plan.seed ^ 0x5eed);
    let teaching = Teaching::new(&rows, random_facts(&mut dice, WordPool::HeldOut, facts))?;
    let pupil = Pupil::with_adapter(model.decoder().config().clone(), model.weights(), shape)?;
    let begun = Instant::now();
    let report = adapt(&pupil, plan, |dice| teaching.row(dice), |_, report| tell(report))?;
    let seconds = begun.elapsed().as_secs_f64();
    let adapter = Arc::new(Adapter::new(pupil.config(), shape.scale(), &pupil.changes()?)?);
    let (bytes, taught, base) = (adapter.bytes(), AdapterMix::one(adapter), AdapterMix::default());
    let mut ask = |probe: Probe| -> Result<Answered> {
        let examination = teaching.examination(&mut dice, probe, questions);
        let with = answers(&model, &examination, probe == Probe::BesideOthers, &taught)?;
        let without = match probe {
            Probe::Told | Probe::NotKnown => answers(&model, &examination, false, &base)?,
            _ => Vec::new(),
        };
        let pairs = with.iter().zip(&without);
        Ok(Answered {
            right: share(&right(&examination, &with)),
            base: share(&right(&examination, &without)),
            changed: pairs.map(|(with, without)| with.tokens != without.tokens).collect(),
        })
    };
    let [closed, beside, told, corrected, not_known] = Probe::ALL.map(&mut ask);
    let (told, not_known) = (told?, not_known?);
    let (swap_ms, residue) = swap(&model, &taught)?;
    Ok(Taught {
        threads: threads(),
        facts,
        steps: report.step,
        seconds: rounded(seconds),
        rank: shape.rank,
        bytes,
        questions,
        right_closed: closed?.right,
        right_beside_segments: beside?.right,
        right_told: told.right,
        base_told: told.base,
        right_corrected: corrected?.right,
        right_not_known: not_known.right,
        base_not_known: not_known.base,
        unrelated_changed: share(&[told.changed, not_known.changed].concat()),
        swap_ms,
        residue,
    })
}

struct Answered {
    right: f64,
    base: f64,
    changed: Vec<bool>,
}

fn answers(model: &Model, asked: &[Examination], is_injected: bool, adapters: &AdapterMix) -> Result<Vec<Answer>> {
    let mut all: Vec<(Vec<Context>, &str)> = Vec::with_capacity(asked.len());
    for Examination { memories, question, .. } in asked {
        let context = if is_injected {
            let segments = memories.iter().map(|memory| model.memorise(memory, Vec::new(), 0));
            model.injected(&segments.collect::<Result<Vec<_>>>()?, crate::joining::MENDED_TOKENS)?
        } else {
            model.told(&memories.iter().map(String::as_str).collect::<Vec<_>>())?
        };
        all.push((context, question));
    }
    model.ask_all(all, adapters, ANSWER_TOKENS)
}

fn right(asked: &[Examination], answers: &[Answer]) -> Vec<bool> {
    asked.iter().zip(answers).map(|(asked, answer)| answer.text.trim() == asked.answer).collect()
}

fn share(marks: &[bool]) -> f64 {
    rounded(marks.iter().filter(|mark| **mark).count() as f64 / marks.len().max(1) as f64)
}

fn swap(model: &Model, taught: &AdapterMix) -> Result<(f64, f64)> {
    const SWAPS: usize = 1000;
    let base = AdapterMix::default();
    let logits = |mix: &AdapterMix| model.first_logits(&[], "Where does Mira live?", mix);
    let before = logits(&base)?;
    let ((), ms) = timed(|| {
        for _ in 0..SWAPS {
            std::hint::black_box(taught.clone());
        }
        Ok(())
    })?;
    logits(taught)?;
    let off =
        logits(&base)?.iter().zip(&before).map(|(now, before)| f64::from((now - before).abs())).fold(0.0, f64::max);
    Ok((ms / SWAPS as f64, off))
}

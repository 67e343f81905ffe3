//! The course by which the small model learns to read: what it is taught when, and how well it does.
//!
//! Recall from a text is learnt only once copying is: first lists said twice, then a few facts, then more as it does well.
//! Everything follows from the seed and the number of steps, so a course can be repeated.

use crate::config::{ModelConfig, RopeConfig, RopeScaling};
use crate::dice::Dice;
use crate::error::Result;
use crate::lesson::{Control, Row, RowShape, Rows, WordPool};

use super::pupil::{Batch, Pupil};
use super::steps::Steps;

/// How a course goes.
#[derive(Debug, Clone)]
pub struct CoursePlan {
    /// Decides the first weights and all lessons.
    pub seed: u64,
    /// How many steps it has.
    pub steps: usize,
    /// Rows of one step.
    pub rows: usize,
    /// Questions of one row.
    pub questions: usize,
    /// The most facts of one row; it begins with two.
    pub facts: usize,
    /// The longest step.
    pub rate: f64,
}

impl Default for CoursePlan {
    fn default() -> Self {
        Self { seed: 1, steps: 6000, rows: 32, questions: 8, facts: 20, rate: 2e-3 }
    }
}

/// How a course stands after a step.
#[derive(Debug, Clone)]
pub struct CourseReport {
    /// Steps taken.
    pub step: usize,
    /// The most facts of a row at present.
    pub facts: usize,
    /// Mean surprise at the last step's answers, in nats.
    pub loss: f64,
    /// The share of copied tokens that were right lately.
    pub copied: f64,
    /// The share of answers that were right lately.
    pub right: f64,
    /// Tokens read so far.
    pub tokens: usize,
}

/// The shape of the small model.
pub fn small_model(vocabulary: usize) -> ModelConfig {
    ModelConfig {
        vocabulary,
        hidden: 128,
        layers: 4,
        heads: 4,
        kv_heads: 2,
        head_size: 32,
        feed_forward: 352,
        rope: RopeConfig { theta: 10_000.0, scaling: RopeScaling::None },
        norm_epsilon: 1e-5,
        positions: 2048,
        is_tied: true,
        has_query_bias: false,
        has_head_norm: false,
        end_tokens: vec![Control::End.token()],
    }
}

/// Teaches a model that knows nothing, and tells of each step.
///
/// # Errors
/// `Invalid` where the plan asks for nothing; `Unavailable` when memory runs out.
pub fn teach(plan: &CoursePlan, mut tell: impl FnMut(&Pupil, &CourseReport) -> Result<()>) -> Result<Pupil> {
    let rows = Rows::new()?;
    let pupil = Pupil::new(small_model(rows.vocabulary()), plan.seed)?;
    let mut dice = Dice::new(plan.seed ^ 0x6c65_7373_6f6e);
    let mut steps = Steps::new(pupil.variables().values().cloned().collect(), 0.01, 1.0)?;
    let mut report = CourseReport { step: 0, facts: 2, loss: 0.0, copied: 0.0, right: 0.0, tokens: 0 };
    let (mut can_copy, mut span, mut alphabet) = (false, 16, 32);
    while report.step < plan.steps {
        let is_copying = dice.happens(if can_copy { 0.1 } else { 0.8 });
        let lesson: Vec<Row> = if is_copying {
            (0..plan.rows * 2).map(|_| rows.copy(&mut dice, span, alphabet, !can_copy)).collect()
        } else {
            let facts = dice.between(report.facts.div_ceil(2), report.facts);
            let is_apart = can_copy && dice.happens(0.3);
            let shape =
                RowShape { facts, questions: plan.questions, not_known: 0.15, is_apart, pool: WordPool::Taught };
            (0..plan.rows).map(|_| rows.recall(&mut dice, &shape)).collect::<Result<_>>()?
        };
        let batch = Batch::new(&lesson, pupil.rope(), Control::Padding.token())?;
        let logits = pupil.read(&batch)?;
        let loss = batch.loss(&logits)?;
        steps.take(&loss, rate(plan, report.step))?;
        let right = batch.right(&logits)?;
        let share = right.iter().filter(|right| **right).count() as f64 / right.len().max(1) as f64;
        report.step += 1;
        report.tokens += batch.tokens();
        report.loss = f64::from(loss.to_scalar::<f32>()?);
        let lately = if is_copying { &mut report.copied } else { &mut report.right };
        *lately = 0.95 * *lately + 0.05 * share;
        if is_copying && !can_copy && report.copied > 0.9 {
            if alphabet < 2048 {
                alphabet *= 2;
            } else if span < 48 {
                span += 16;
            } else {
                can_copy = true;
            }
            report.copied = 0.6;
        }
        if report.right > 0.88 && report.facts < plan.facts {
            report.facts = (report.facts + if report.facts < 8 { 2 } else { 4 }).min(plan.facts);
            report.right = 0.6;
        }
        tell(&pupil, &report)?;
    }
    Ok(pupil)
}

/// Rises over 100 steps, holds, and falls in a line over the last two fifths.
fn rate(plan: &CoursePlan, step: usize) -> f64 {
    let done = step as f64 / plan.steps.max(1) as f64;
    let rising = ((step + 1) as f64 / 100.0).min(1.0);
    plan.rate * rising * if done < 0.6 { 1.0 } else { ((1.0 - done) / 0.4).max(0.02) }
}

//! The course by which the small model learns to read: what it is taught when, and how well it does.
//!
//! Recall from a text is learnt only once copying is: first lists said twice, then a few facts, then more as it does well.
//! Everything follows from the seed and the number of steps, so a course can be repeated.

use std::path::PathBuf;

use crate::config::{ModelConfig, RopeConfig, RopeScaling};
use crate::dice::Dice;
use crate::error::Result;
use crate::lesson::{Control, Row, RowShape, Rows, WordPool};

use super::batch::Batch;
use super::pupil::Pupil;
use super::steps::Steps;

/// How a course goes.
#[derive(Debug, Clone)]
pub struct CoursePlan {
    /// Decides the first weights and all lessons.
    pub seed: u64,
    /// How many steps it has.
    pub steps: usize,
    /// Rows of a step; of one that copies, twice as many.
    pub rows: usize,
    /// Questions of a row.
    pub questions: usize,
    /// The most facts of one row.
    pub facts: usize,
    /// The longest step.
    pub rate: f64,
    /// After how many steps they become shorter.
    pub held_steps: usize,
    /// The most facts of a row at first.
    pub first_facts: usize,
    /// Weights to go on with, of a model that recalls few facts already; it begins from nothing without them.
    pub begin: Option<PathBuf>,
}

impl Default for CoursePlan {
    fn default() -> Self {
        Self {
            seed: 1,
            steps: 3500,
            rows: 8,
            questions: 8,
            facts: 20,
            rate: 2e-3,
            held_steps: 3500,
            first_facts: FIRST_FACTS,
            begin: None,
        }
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
    let rows = Rows::small()?;
    let pupil = Pupil::new(small_model(rows.vocabulary()), plan.seed)?;
    let mut dice = Dice::new(plan.seed ^ 0x6c65_7373_6f6e);
    let mut steps = Steps::new(pupil.variables(), 0.01, 1.0)?;
    let mut report = CourseReport { step: 0, facts: plan.first_facts, loss: 0.0, copied: 0.0, right: 0.0, tokens: 0 };
    let mut stage = Stage { alphabet: 64, jitter: 0, can_copy: false };
    if let Some(weights) = &plan.begin {
        pupil.restore(weights)?;
        stage = Stage { alphabet: 4096, jitter: 32, can_copy: true };
    }
    while report.step < plan.steps {
        let is_first = report.facts <= FIRST_FACTS;
        let is_copying = dice.happens(match stage.can_copy {
            false => 0.8,
            true if is_first => 0.25,
            true => 0.08,
        });
        let lesson = match is_copying {
            true => (0..plan.rows * 2).map(|_| stage.copy(&rows, &mut dice)).collect(),
            false => recall(plan, &rows, &mut dice, report.facts, stage.can_copy)?,
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
        *lately += (share - *lately) * if stage.can_copy { 0.05 } else { 0.1 };
        if is_copying && !stage.can_copy && report.copied > 0.85 {
            stage.rise();
            report.copied = 0.6;
        }
        if stage.can_copy && report.right > 0.85 && report.facts < plan.facts {
            report.facts = (report.facts + if report.facts < 8 { 2 } else { 4 }).min(plan.facts);
            report.right = 0.6;
        }
        tell(&pupil, &report)?;
    }
    Ok(pupil)
}

/// How many facts a row has until they are recalled. Fewer would teach guessing, since one of two is right half of the time.
const FIRST_FACTS: usize = 6;

/// How far copying has come. At first the second saying follows at once, and where to look can be counted; then others come
/// between, more and more, until only what was read tells where to look.
struct Stage {
    alphabet: usize,
    jitter: usize,
    can_copy: bool,
}

impl Stage {
    fn copy(&self, rows: &Rows, dice: &mut Dice) -> Row {
        // In a small alphabet the same pieces come often, so that one of them alone does not tell where to look.
        let mixed = [12, 24, 64, 256, usize::MAX].get(dice.below(5)).copied().filter(|_| self.can_copy);
        rows.copy(dice, 24, mixed.unwrap_or(self.alphabet), self.jitter)
    }

    fn rise(&mut self) {
        if self.alphabet < 2048 {
            self.alphabet *= 4;
        } else if self.jitter < 32 {
            self.jitter = (self.jitter * 2).max(2);
        } else {
            self.can_copy = true;
        }
    }
}

fn recall(plan: &CoursePlan, rows: &Rows, dice: &mut Dice, most: usize, can_copy: bool) -> Result<Vec<Row>> {
    let facts = if dice.happens(0.75) { dice.between(most.div_ceil(2), most) } else { dice.between(0, most) };
    // Many facts need many questions: what decides between them is rare in each.
    let is_wide = most >= 12;
    let shape = RowShape {
        facts,
        questions: if is_wide { plan.questions * 3 / 2 } else { plan.questions },
        not_known: if most <= FIRST_FACTS { 0.05 } else { 0.15 },
        is_apart: can_copy && dice.happens(0.3),
        pool: WordPool::Taught,
    };
    let count = if is_wide { plan.rows * 2 } else { plan.rows };
    (0..count).map(|_| rows.recall(dice, &shape)).collect()
}

/// Rises over 100 steps, holds, and then falls in a line.
fn rate(plan: &CoursePlan, step: usize) -> f64 {
    let rising = ((step + 1) as f64 / 100.0).min(1.0);
    let left = plan.steps.saturating_sub(step) as f64 / plan.steps.saturating_sub(plan.held_steps).max(1) as f64;
    plan.rate * rising * left.clamp(0.01, 1.0)
}

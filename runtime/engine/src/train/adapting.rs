//! Teaching an adapter: the base stays as it is, and steps are taken until the lessons are known.

use candle_core::Tensor;

use crate::dice::Dice;
use crate::error::{Error, Result};
use crate::lesson::Row;

use super::batch::Batch;
use super::pupil::Pupil;
use super::steps::Steps;

/// How an adapter is taught.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterPlan {
    /// The most steps.
    pub steps: usize,
    /// Rows of one step.
    pub rows: usize,
    /// The longest step.
    pub rate: f64,
    /// Decides the lessons.
    pub seed: u64,
}

impl Default for AdapterPlan {
    fn default() -> Self {
        Self { steps: 500, rows: 8, rate: 4e-3, seed: 1 }
    }
}

/// How an adapter stands after a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdapterReport {
    /// Steps taken.
    pub step: usize,
    /// Mean surprise at the last step's answers, in nats.
    pub loss: f64,
    /// The share of all answers that were right lately.
    pub right: f64,
}

/// Teaches until the steps are taken or `tell` says that it is enough. Padding is any token: nobody sees it.
///
/// # Errors
/// Those of the lessons and of `tell`; `Unavailable` when memory runs out.
pub fn adapt(
    pupil: &Pupil,
    plan: &AdapterPlan,
    mut lesson: impl FnMut(&mut Dice) -> Result<Row>,
    mut tell: impl FnMut(&Pupil, &AdapterReport) -> Result<bool>,
) -> Result<AdapterReport> {
    let mut dice = Dice::new(plan.seed);
    let mut steps = Steps::new(pupil.variables(), 0.0, 1.0)?;
    let mut report = AdapterReport { step: 0, loss: 0.0, right: 0.0 };
    while report.step < plan.steps {
        let rows: Vec<Row> = (0..plan.rows).map(|_| lesson(&mut dice)).collect::<Result<_>>()?;
        // Rows that tell nothing are apart, so that they are not padded with what the others tell.
        let (closed, open): (Vec<Row>, Vec<Row>) =
            rows.into_iter().partition(|row| row.groups.iter().all(|group| *group < 0));
        let (mut loss, mut right): (Option<Tensor>, Vec<bool>) = (None, Vec::new());
        for rows in [closed, open].iter().filter(|rows| !rows.is_empty()) {
            let batch = Batch::new(rows, pupil.rope(), 0)?;
            let logits = pupil.read(&batch)?;
            let part = (batch.loss(&logits)? * (rows.len() as f64 / plan.rows as f64))?;
            loss = Some(match loss {
                Some(loss) => (loss + part)?,
                None => part,
            });
            right.extend(batch.right(&logits)?);
        }
        let Some(loss) = loss else { return Err(Error::invalid("a step without rows teaches nothing, give it some")) };
        let left = 1.0 - report.step as f64 / plan.steps as f64;
        steps.take(&loss, plan.rate * left.max(0.05))?;
        let share = right.iter().filter(|right| **right).count() as f64 / right.len().max(1) as f64;
        report.step += 1;
        report.loss = f64::from(loss.to_scalar::<f32>()?);
        report.right += (share - report.right) * 0.1;
        if !tell(pupil, &report)? {
            break;
        }
    }
    Ok(report)
}

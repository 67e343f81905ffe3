//! Teaching an adapter: the base stays as it is, and steps are taken until the lessons are known.
//!
//! Steps are long until the facts are known, and then ever shorter over as many again: so few facts are taught soon, and many get
//! their time. What must stay is held to all that the base says of it, not to its likeliest token alone, for that is what keeps a
//! small model able to read.

use candle_core::backprop::GradStore;

use rayon::{ThreadPool, ThreadPoolBuilder};

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
    /// The share of right answers, from 0 to 1, from which on the facts are known and steps grow short. At the latest it is half
    /// of the steps.
    pub known: f64,
    /// Decides the lessons.
    pub seed: u64,
}

impl Default for AdapterPlan {
    fn default() -> Self {
        Self { steps: 1000, rows: 8, rate: 4e-3, known: 0.95, seed: 1 }
    }
}

/// How an adapter stands after a step.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct AdapterReport {
    /// Steps taken.
    pub step: usize,
    /// The step with which it ends, as far as is known now.
    pub last: usize,
    /// Mean surprise at the last step's answers, in nats.
    pub loss: f64,
    /// The share of the answers to be learnt that were right lately.
    pub right: f64,
    /// The share of the other answers that were as the base gives them lately.
    pub kept: f64,
}

/// Teaches until the facts are known and the steps have grown short, or all are taken, or `tell` says that it is enough. Padding
/// is any token: nobody sees it.
///
/// # Errors
/// Those of the lessons and of `tell`; `Unavailable` when memory runs out.
pub fn adapt(
    pupil: &Pupil,
    plan: &AdapterPlan,
    mut lesson: impl FnMut(&mut Dice) -> Result<Row>,
    mut tell: impl FnMut(&Pupil, &AdapterReport) -> Result<bool>,
) -> Result<AdapterReport> {
    if plan.rows == 0 {
        return Err(Error::invalid("a step without rows teaches nothing, give it some"));
    }
    let mut dice = Dice::new(plan.seed);
    let mut steps = Steps::new(pupil.variables(), 0.0, 1.0)?;
    let hands = Hands::new()?;
    let mut settling: Option<usize> = None;
    let mut report = AdapterReport { last: plan.steps, ..AdapterReport::default() };
    while report.step < report.last {
        let rows: Vec<Row> = (0..plan.rows).map(|_| lesson(&mut dice)).collect::<Result<_>>()?;
        let [one, other] = read_all(pupil, rows, &hands)?;
        let left = settling.map_or(1.0, |from| (report.last - report.step) as f64 / (report.last - from).max(1) as f64);
        let loss = one.loss + other.loss;
        let right = [one.right, other.right].concat();
        let gradients = one.gradients.into_iter().chain(other.gradients).collect();
        steps.follow(gradients, plan.rate * left.max(0.05))?;
        report.step += 1;
        report.loss = loss;
        for (is_kept, share) in [(false, &mut report.right), (true, &mut report.kept)] {
            let same: Vec<bool> = right.iter().filter(|(kept, _)| *kept == is_kept).map(|(_, same)| *same).collect();
            if !same.is_empty() {
                let now = same.iter().filter(|same| **same).count() as f64 / same.len() as f64;
                *share += (now - *share) * 0.1;
            }
        }
        if settling.is_none() && (report.right >= plan.known || report.step >= plan.steps / 2) {
            settling = Some(report.step);
            report.last = plan.steps.min(report.step * 2);
        }
        if !tell(pupil, &report)? {
            break;
        }
    }
    Ok(report)
}

/// Two threads, each of which multiplies alone: matrices of this size are not worth parting.
struct Hands([ThreadPool; 2]);

impl Hands {
    fn new() -> Result<Self> {
        let hand = || {
            let built = ThreadPoolBuilder::new().num_threads(1).thread_name(|_| "memos-teach".to_owned()).build();
            built.map_err(|e| Error::unavailable(format!("no thread can be begun to teach: {e}")).with_source(e))
        };
        Ok(Self([hand()?, hand()?]))
    }

    fn join<T: Send>(&self, one: impl FnOnce() -> T + Send, other: impl FnOnce() -> T + Send) -> (T, T) {
        let Self([first, second]) = self;
        std::thread::scope(|scope| {
            let one = scope.spawn(|| first.install(one));
            let other = second.install(other);
            // A panic of one is one of both.
            (one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), other)
        })
    }
}

/// What came of some rows of a step.
#[derive(Default)]
struct Part {
    /// Their share of the step's loss.
    loss: f64,
    gradients: Vec<GradStore>,
    /// For each answer whether it is kept and whether it is as it should be.
    right: Vec<(bool, bool)>,
}

/// Reads the rows of a step on two threads, always parted alike, so that it is the same every time.
fn read_all(pupil: &Pupil, rows: Vec<Row>, hands: &Hands) -> Result<[Part; 2]> {
    let all = rows.len();
    // Rows that tell nothing are the shorter ones, and are parted evenly.
    let (open, closed): (Vec<Row>, Vec<Row>) =
        rows.into_iter().partition(|row| row.groups.iter().any(|group| *group >= 0));
    let mut halves = [Vec::new(), Vec::new()];
    for (number, row) in open.into_iter().chain(closed).enumerate() {
        if let Some(half) = halves.get_mut(number % 2) {
            half.push(row);
        }
    }
    let [one, other] = halves;
    let (one, other) = hands.join(|| read(pupil, one, all), || read(pupil, other, all));
    Ok([one?, other?])
}

/// Reads rows one by one: nothing is padded, and no sum is so large that the library would part it among threads of its own.
fn read(pupil: &Pupil, rows: Vec<Row>, all: usize) -> Result<Part> {
    let mut part = Part::default();
    for row in rows {
        let batch = Batch::new(&[row], pupil.rope(), 0)?;
        let (loss, right) = pupil.read_beside_base(&batch)?;
        let loss = (loss * (1.0 / all as f64))?;
        part.loss += f64::from(loss.to_scalar::<f32>()?);
        part.gradients.push(loss.backward()?);
        part.right.extend(right);
    }
    Ok(part)
}

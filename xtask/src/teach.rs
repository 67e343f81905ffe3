//! Teaches the small model from nothing, examines it, and writes what the engine ships.
//!
//! Two courses: in the first it learns to copy, then to recall more and more facts; in the second the steps become shorter.
//! Everything follows from the seeds, so the same machine makes the same weights.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use memos_engine::dice::Dice;
use memos_engine::lesson::{Control, Row, RowShape, Rows, WordPool};
use memos_engine::numbers::Precision;
use memos_engine::train::{Batch, CoursePlan, CurvePoint, Pupil, curve_svg, small_model, teach};

const ASSETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../runtime/engine/assets");

/// Teaches, with all steps or with so many in each course.
pub(crate) fn run(out: Option<PathBuf>, steps: Option<usize>) -> Result<()> {
    let folder = out.unwrap_or_else(|| PathBuf::from(ASSETS));
    std::fs::create_dir_all(&folder).with_context(|| format!("`{}` cannot be made", folder.display()))?;
    let begun = folder.join("small-begun.safetensors");
    let mut curve = Vec::new();
    let [mut first, mut second] = courses(&begun);
    if let Some(steps) = steps {
        (first.steps, second.steps) = (steps, steps);
    }
    let pupil = course("reading", &first, &mut curve)?;
    pupil.save(&begun, Precision::F32)?;
    let pupil = course("practice", &second, &mut curve)?;
    std::fs::remove_file(&begun)?;
    pupil.save(&folder.join("small.safetensors"), Precision::F16)?;
    std::fs::write(folder.join("small.svg"), curve_svg("How the small model learnt to read", &curve))?;
    let lines = curve.iter().fold("step,loss,right\n".to_owned(), |mut lines, point| {
        let _ = writeln!(lines, "{},{:.4},{:.4}", point.step, point.loss, point.right);
        lines
    });
    std::fs::write(folder.join("small.csv"), lines)?;
    print!("{}", examine(&pupil)?);
    Ok(())
}

/// The recipe of the weights that ship.
fn courses(begun: &Path) -> [CoursePlan; 2] {
    let first = CoursePlan::default();
    let second = CoursePlan {
        seed: 2,
        steps: 900,
        held_steps: 100,
        first_facts: first.facts,
        begin: Some(begun.to_owned()),
        ..first.clone()
    };
    [first, second]
}

fn course(name: &'static str, plan: &CoursePlan, curve: &mut Vec<CurvePoint>) -> Result<Pupil> {
    let bar = ProgressBar::new(plan.steps as u64).with_style(
        ProgressStyle::with_template("{prefix:9} {wide_bar} {pos}/{len} {msg} {eta}")
            .context("the progress bar's style")?,
    );
    bar.set_prefix(name);
    let before = curve.last().map_or(0, |point| point.step);
    let pupil = teach(plan, |_, report| {
        bar.set_position(report.step as u64);
        bar.set_message(format!(
            "up to {} facts, {:.0}% right, {:.0}% copied",
            report.facts,
            report.right * 100.0,
            report.copied * 100.0
        ));
        if report.step.is_multiple_of(25) {
            curve.push(CurvePoint { step: before + report.step, loss: report.loss, right: report.right });
        }
        Ok(())
    })?;
    bar.finish();
    Ok(pupil)
}

/// Examines the weights that ship.
pub(crate) fn examine_shipped() -> Result<()> {
    let weights = Path::new(ASSETS).join("small.safetensors");
    let pupil = Pupil::new(small_model(Rows::small()?.vocabulary()), 0)?;
    pupil.restore(&weights)?;
    print!("{}", examine(&pupil)?);
    Ok(())
}

/// Asks for 1,024 answers of each kind, and says how many were right.
fn examine(pupil: &Pupil) -> Result<String> {
    let rows = Rows::small()?;
    let mut said = "words,facts,memories,questions,right\n".to_owned();
    for (words, pool) in [("taught", WordPool::Taught), ("held out", WordPool::HeldOut)] {
        for facts in [1, 4, 8, 16] {
            for (memories, is_apart) in [("joined", false), ("apart", true)] {
                for (questions, not_known) in [("answerable", 0.0), ("unanswerable", 1.0)] {
                    let mut dice = Dice::new(7);
                    let shape = RowShape { facts, questions: 4, not_known, is_apart, pool };
                    let mut right = Vec::new();
                    while right.len() < 1024 {
                        let lesson: Vec<Row> =
                            (0..32).map(|_| rows.recall(&mut dice, &shape)).collect::<memos_engine::Result<_>>()?;
                        let batch = Batch::new(&lesson, pupil.rope(), Control::Padding.token())?;
                        right.extend(batch.right(&pupil.read(&batch)?)?);
                    }
                    let share = right.iter().filter(|right| **right).count() as f64 / right.len() as f64;
                    let _ = writeln!(said, "{words},{facts},{memories},{questions},{share:.4}");
                }
            }
        }
    }
    Ok(said)
}

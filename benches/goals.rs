//! The project's goals for speed and recall, measured with the program itself: `cargo bench --bench goals`.
//!
//! It prints a table of what was measured beside what is wanted, and fails when something is missed. Speed on a busy machine
//! says little; run it on a quiet one. Where `MEMOS_LOCOMO` names a file in LoCoMo's format, recall is measured too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::process::{Command, ExitCode};

use serde_json::Value;

/// One goal: what is measured, at which place of the JSON, and what is wanted.
struct Goal {
    what: &'static str,
    bench: &'static [&'static str],
    figure: &'static str,
    wanted: Wanted,
}

enum Wanted {
    Least(f64),
    Most(f64),
    /// At most so many times another figure.
    MostTimes(f64, &'static str),
    /// At least so much, or another figure at least so much.
    LeastOr(f64, &'static str, f64),
}

const RECALL_10K: &[&str] = &["recall", "--cubes", "10000"];
const RECALL_100K: &[&str] = &["recall", "--cubes", "100000"];
const WRITE_100K: &[&str] = &["write", "--cubes", "100000", "--batch", "256", "--writers", "64"];

const PAST: &[&str] = &["past", "--events", "100000"];
const FORK: &[&str] = &["fork", "--cubes", "100000"];
const VERIFY: &[&str] = &["verify", "--events", "100000"];
const PROOF: &[&str] = &["proof", "--events", "1000000"];
const ENCRYPTION: &[&str] = &["encryption", "--cubes", "10000", "--batch", "256", "--writers", "64"];
const EXCHANGE: &[&str] = &["exchange", "--cubes", "100000"];

const ACTORS: &[&str] = &["actors"];
const AGENTS: &[&str] = &["agents"];
const ISOLATION: &[&str] = &["isolation", "--writers", "1"];

const INJECT: &[&str] = &["inject", "--memory", "256,512,1024,2048", "--question", "32"];
const DECODE: &[&str] = &["decode"];
const ADAPTER: &[&str] = &["adapter"];

const GOALS: &[Goal] = &[
    Goal {
        what: "messages to an actor a second",
        bench: ACTORS,
        figure: "/messages_per_s",
        wanted: Wanted::Least(500_000.0),
    },
    Goal {
        what: "the actor library's over ours",
        bench: ACTORS,
        figure: "/over_raw_ractor",
        wanted: Wanted::Most(2.0),
    },
    Goal {
        what: "recall through the kernel over direct",
        bench: ACTORS,
        figure: "/recall_over_direct",
        wanted: Wanted::Most(1.25),
    },
    Goal {
        what: "a crashed writer answers again, ms",
        bench: ACTORS,
        figure: "/restart_ms",
        wanted: Wanted::Most(100.0),
    },
    Goal {
        what: "a decision made before, µs",
        bench: ACTORS,
        figure: "/decision_cached_us",
        wanted: Wanted::Most(2.0),
    },
    Goal {
        what: "a decision not made before, µs", bench: ACTORS, figure: "/decision_us", wanted: Wanted::Most(100.0)
    },
    Goal {
        what: "1,000 agents, share of recall's own rate",
        bench: AGENTS,
        figure: "/share_of_capacity",
        wanted: Wanted::Least(0.8),
    },
    Goal { what: "1,000 agents, p99 ms", bench: AGENTS, figure: "/p99_ms", wanted: Wanted::Most(1_000.0) },
    Goal { what: "1,000 agents, memories lost", bench: AGENTS, figure: "/lost", wanted: Wanted::Most(0.0) },
    Goal {
        what: "recall p99 beside a flood over idle",
        bench: ISOLATION,
        figure: "/p99_ratio",
        wanted: Wanted::Most(3.0),
    },
    Goal { what: "recall among 10k, p50 ms", bench: RECALL_10K, figure: "/p50_ms", wanted: Wanted::Most(1.0) },
    Goal {
        what: "recall among 10k, p99 ms",
        bench: RECALL_10K,
        figure: "/p99_ms",
        wanted: Wanted::MostTimes(5.0, "/p50_ms"),
    },
    Goal { what: "recall among 100k, p50 ms", bench: RECALL_100K, figure: "/p50_ms", wanted: Wanted::Most(3.0) },
    Goal {
        what: "recall among 100k, p99 ms",
        bench: RECALL_100K,
        figure: "/p99_ms",
        wanted: Wanted::MostTimes(5.0, "/p50_ms"),
    },
    Goal { what: "memory in use with 100k, MB", bench: RECALL_100K, figure: "/rss_mb", wanted: Wanted::Most(600.0) },
    Goal {
        what: "durable adds a second, batches of 256",
        bench: WRITE_100K,
        figure: "/per_s",
        wanted: Wanted::Least(10_000.0),
    },
    Goal {
        what: "durable adds a second, 64 threads, singly",
        bench: WRITE_100K,
        figure: "/single_per_s",
        wanted: Wanted::Least(3_000.0),
    },
    Goal { what: "opening a space of 100k, ms", bench: WRITE_100K, figure: "/open_ms", wanted: Wanted::Most(2_000.0) },
    Goal { what: "reading the past over the present", bench: PAST, figure: "/get_ratio", wanted: Wanted::Most(3.0) },
    Goal {
        what: "recalling from the past over the present",
        bench: PAST,
        figure: "/recall_ratio",
        wanted: Wanted::Most(3.0),
    },
    Goal {
        what: "a fork of 100k until its first answer, ms",
        bench: FORK,
        figure: "/first_answer_ms",
        wanted: Wanted::Most(100.0),
    },
    Goal {
        what: "events verified a second",
        bench: VERIFY,
        figure: "/events_per_s",
        wanted: Wanted::LeastOr(100_000.0, "/mb_per_s", 200.0),
    },
    Goal {
        what: "a proof among 1M events made, p99 ms",
        bench: PROOF,
        figure: "/bare/make_p99_ms",
        wanted: Wanted::Most(1.0),
    },
    Goal { what: "the same checked, p99 ms", bench: PROOF, figure: "/bare/check_p99_ms", wanted: Wanted::Most(1.0) },
    Goal {
        what: "a proof of what it says made, p99 ms",
        bench: PROOF,
        figure: "/reveal/make_p99_ms",
        wanted: Wanted::Most(1.0),
    },
    Goal { what: "the same checked, p99 ms", bench: PROOF, figure: "/reveal/check_p99_ms", wanted: Wanted::Most(1.0) },
    Goal {
        what: "batches with keys over without",
        bench: ENCRYPTION,
        figure: "/batch/ratio",
        wanted: Wanted::Most(1.15),
    },
    Goal {
        what: "single adds with keys over without",
        bench: ENCRYPTION,
        figure: "/singles/ratio",
        wanted: Wanted::Most(1.15),
    },
    Goal {
        what: "recall with keys over without",
        bench: ENCRYPTION,
        figure: "/recall/ratio",
        wanted: Wanted::Most(1.15),
    },
    Goal {
        what: "memories exported a second",
        bench: EXCHANGE,
        figure: "/export_per_s",
        wanted: Wanted::Least(20_000.0),
    },
    Goal {
        what: "memories imported a second",
        bench: EXCHANGE,
        figure: "/import_per_s",
        wanted: Wanted::Least(20_000.0),
    },
    Goal {
        what: "first token with 256 tokens injected, times",
        bench: INJECT,
        figure: "/cells/0/ratio",
        wanted: Wanted::Least(5.5),
    },
    Goal {
        what: "first token with 512 tokens injected, times",
        bench: INJECT,
        figure: "/cells/1/ratio",
        wanted: Wanted::Least(10.0),
    },
    Goal {
        what: "first token with 1024 tokens injected, times",
        bench: INJECT,
        figure: "/cells/2/ratio",
        wanted: Wanted::Least(17.0),
    },
    Goal {
        what: "first token with 2048 tokens injected, times",
        bench: INJECT,
        figure: "/cells/3/ratio",
        wanted: Wanted::Least(30.0),
    },
    Goal {
        what: "computing a segment over loading it",
        bench: INJECT,
        figure: "/cells/3/compute_over_load",
        wanted: Wanted::Least(50.0),
    },
    Goal {
        what: "eight requests together, times",
        bench: DECODE,
        figure: "/together/ratio",
        wanted: Wanted::Least(2.0),
    },
    Goal {
        what: "of which answers differ",
        bench: DECODE,
        figure: "/together/differing_answers",
        wanted: Wanted::Most(0.0),
    },
    Goal { what: "another adapter, ms", bench: DECODE, figure: "/together/swap_ms", wanted: Wanted::Most(1.0) },
    Goal { what: "and what is left of it", bench: DECODE, figure: "/together/residue", wanted: Wanted::Most(0.0) },
    Goal { what: "50 facts taught, seconds", bench: ADAPTER, figure: "/seconds", wanted: Wanted::Most(300.0) },
    Goal { what: "of which known", bench: ADAPTER, figure: "/right_closed", wanted: Wanted::Least(0.95) },
    Goal {
        what: "beside other segments",
        bench: ADAPTER,
        figure: "/right_beside_segments",
        wanted: Wanted::Least(0.9),
    },
    Goal { what: "answers from context", bench: ADAPTER, figure: "/right_told", wanted: Wanted::Least(0.97) },
    Goal { what: "other answers changed", bench: ADAPTER, figure: "/unrelated_changed", wanted: Wanted::Most(0.02) },
];

const LOCOMO_GOALS: &[(&str, &str, f64)] =
    &[("evidence recall at 10", "/recall/10", 0.78), ("evidence recall at 25", "/recall/25", 0.87)];

fn main() -> ExitCode {
    // `cargo test --benches` runs this too; measuring is asked for with `cargo bench`.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("goals are measured with `cargo bench --bench goals`");
        return ExitCode::SUCCESS;
    }
    let mut measured: Vec<(Vec<String>, Value)> = Vec::new();
    let mut missed = 0;
    println!("{:<44} {:>12} {:>14}", "goal", "measured", "wanted");
    for goal in GOALS {
        let figures = measure(&mut measured, goal.bench.iter().map(|part| (*part).to_owned()).collect());
        let value = number(&figures, goal.figure);
        let (good, wanted) = match goal.wanted {
            Wanted::Least(bound) => (value >= bound, format!(">= {bound}")),
            Wanted::Most(bound) => (value <= bound, format!("<= {bound}")),
            Wanted::MostTimes(times, other) => {
                let bound = times * number(&figures, other);
                (value <= bound, format!("<= {bound:.3}"))
            }
            Wanted::LeastOr(bound, other, enough) => {
                (value >= bound || number(&figures, other) >= enough, format!(">= {bound}"))
            }
        };
        missed += say(goal.what, value, &wanted, good);
    }
    match std::env::var("MEMOS_LOCOMO") {
        Ok(file) => {
            let figures = measure(&mut measured, vec!["locomo".into(), file]);
            for (what, figure, bound) in LOCOMO_GOALS {
                let value = number(&figures, figure);
                missed += say(what, value, &format!(">= {bound}"), value >= *bound);
            }
        }
        Err(_) => println!("evidence recall: skipped, as MEMOS_LOCOMO names no file in LoCoMo's format"),
    }
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn say(what: &str, value: f64, wanted: &str, good: bool) -> u32 {
    println!("{what:<44} {value:>12} {wanted:>14}{}", if good { "" } else { "  MISSED" });
    u32::from(!good)
}

/// Runs a bench of the program, once for all goals that look at it.
fn measure(measured: &mut Vec<(Vec<String>, Value)>, arguments: Vec<String>) -> Value {
    if let Some((_, figures)) = measured.iter().find(|(known, _)| *known == arguments) {
        return figures.clone();
    }
    let output =
        Command::new(env!("CARGO_BIN_EXE_memos")).arg("bench").args(&arguments).arg("--json").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    measured.push((arguments, figures.clone()));
    figures
}

fn number(figures: &Value, place: &str) -> f64 {
    figures.pointer(place).and_then(Value::as_f64).unwrap_or_else(|| panic!("no figure {place} in {figures}"))
}

//! What is drawn of what was seen.

use memos::runtime::telemetry::{
    ActorFigures, CommitFigures, Distribution, RecallFigures, Snapshot, SpaceFigures, WorkerFigures,
};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::seen::{Seen, Sort};
use super::view::{View, text};

fn times(nanos: u64, count: u64) -> Distribution {
    let nanos_f = nanos as f64;
    let buckets = vec![(nanos, count)];
    Distribution { count, sum: nanos * count, largest: nanos, p50: nanos_f, p90: nanos_f, p99: nanos_f, buckets }
}

fn actor(kind: &str, queue: usize, handled: u64) -> ActorFigures {
    let (wait, service) = (times(20_000, handled), times(3_000, handled));
    ActorFigures { kind: kind.to_owned(), actors: 2, queue, places: 2048, wait, service, ..ActorFigures::default() }
}

/// A kernel that was open for so many seconds and did so much in each.
fn snapshot(seconds: u64) -> Snapshot {
    let latency = times(1_048_575, 90 * seconds);
    let part = times(200_000, 90 * seconds);
    let space = |name: &str, open, reads| {
        let (reads, writes) = (reads * seconds, 10 * seconds);
        SpaceFigures { name: name.to_owned(), open, reads, writes, events: writes }
    };
    let mut snapshot = Snapshot {
        process: 4711,
        uptime: seconds * 1000,
        sessions: 6,
        open_spaces: 1,
        spaces: vec![space("acme/desk", false, 1), space("acme/support", true, 90)],
        actors: vec![
            ActorFigures { restarts: 2, dead_letters: 5, ..actor("lifecycle", 7, seconds) },
            actor("writer", 2000, 40 * seconds),
        ],
        workers: vec![WorkerFigures {
            name: "read".to_owned(),
            threads: 2,
            service: latency.clone(),
            ..WorkerFigures::default()
        }],
        recall: RecallFigures {
            latency,
            embed: part.clone(),
            find: part.clone(),
            rank: part.clone(),
            pack: part,
            failed: 3,
        },
        commits: CommitFigures {
            groups: 20 * seconds,
            batches: times(2, 20 * seconds),
            events: times(4, 20 * seconds),
            flush: times(400_000, 20 * seconds),
            failed: 0,
        },
        dead_letters: 5,
        ..Snapshot::default()
    };
    let counts = [("governance", "denied", 4), ("governance", "allowed", 0), ("lifecycle", "set_aside", 1)];
    for (group, name, count) in counts {
        snapshot.counts.entry(group.to_owned()).or_default().insert(name.to_owned(), count);
    }
    snapshot
}

fn seen() -> Seen {
    let mut seen = Seen::new("/data/memos".to_owned());
    seen.take(snapshot(10));
    seen.take(snapshot(12));
    seen
}

fn drawn(seen: &Seen, columns: u16, rows: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| frame.render_widget(View::new(seen), frame.area())).unwrap();
    terminal.backend().to_string()
}

fn line_with<'a>(text: &'a str, word: &str) -> &'a str {
    text.lines().find(|line| line.contains(word)).unwrap_or_else(|| panic!("no line has `{word}`:\n{text}"))
}

/// Holds the words of a line against what stands there.
fn check(text: &str, word: &str, expect: &[&str]) {
    let line = line_with(text, word);
    for part in expect {
        assert!(line.contains(part), "`{part}` is not in `{line}`");
    }
}

#[test]
fn all_that_matters_is_there() {
    let text = drawn(&seen(), 100, 40);
    check(&text, "memos top", &["/data/memos", "process 4711", "up 12s", "1 spaces open", "6 sessions"]);
    check(&text, "p50", &["90/s", "1.0ms", "3 failed", "20/s", "400µs"]);
    check(&text, "embed", &["embed", "find", "rank", "pack", "2.0 batches each", "80 events/s"]);
    check(&text, "writer", &["2000/2048", " 40 ", "20µs", "3.0µs"]);
    check(&text, "lifecycle  ", &["7/2048", " 2 ", " 5 "]);
    check(&text, "read threads", &[" 90 "]);
    check(&text, "acme/support", &["open", "90", "10", "1080", "120"]);
    check(&text, "acme/desk", &["idle"]);
    check(&text, "governance", &["4 denied"]);
    assert!(!text.contains("allowed"), "what did not happen takes no room");
    check(&text, "set aside", &["lifecycle", "1 set aside"]);
    check(&text, "not handled", &["5 messages"]);
    check(&text, "q ends", &["p pauses", "now by activity"]);
    // The looks before are drawn.
    assert!(text.contains('█'), "{text}");
}

#[test]
fn tables_are_sorted_as_asked() {
    let mut seen = seen();
    let first = |seen: &Seen| {
        let text = drawn(seen, 100, 40);
        let rows = ["writer", "lifecycle  ", "read threads"];
        let mut rows: Vec<_> = rows.map(|row| (text.find(row).unwrap(), row.trim())).into();
        rows.sort_unstable();
        rows[0].1
    };
    for (sort, expect) in [
        (Sort::Activity, "read threads"),
        (Sort::Queue, "writer"),
        (Sort::Wait, "lifecycle"),
        (Sort::Name, "lifecycle"),
    ] {
        assert_eq!(seen.sort, sort);
        assert_eq!(first(&seen), expect, "{sort:?}");
        seen.sort = seen.sort.next();
    }
}

#[test]
fn a_kernel_that_ended_and_another_that_came_are_told_apart() {
    let mut seen = seen();
    seen.miss(&memos::Error::unavailable("the kernel has ended"));
    let text = drawn(&seen, 100, 40);
    check(&text, "the kernel has ended", &[]);
    assert!(text.contains("4711"), "the last look stays");
    seen.is_paused = true;
    check(&drawn(&seen, 100, 40), "memos top", &["paused"]);
    // Rates of the new one are not those of the old one taken away.
    seen.take(Snapshot { process: 5, ..snapshot(2) });
    assert!(seen.recalls.is_empty());
    check(&drawn(&seen, 100, 40), "p50", &["90/s"]);
}

#[test]
fn every_window_is_drawn() {
    for (columns, rows) in [(1, 1), (40, 8), (79, 10), (80, 24), (250, 80)] {
        drawn(&seen(), columns, rows);
        drawn(&Seen::new("nowhere".to_owned()), columns, rows);
    }
    assert!(drawn(&seen(), 20, 5).contains("a larger"));
    let small = drawn(&seen(), 80, 24);
    check(&small, "writer", &["2000/2048"]);
    check(&small, "acme/support", &["open"]);
}

#[test]
fn without_a_terminal_it_is_text() {
    let seen = seen();
    let lines = text(&seen, 100, 60);
    assert!(lines.iter().all(|line| !line.is_empty() && !line.contains('\u{1b}')));
    assert!(lines.iter().any(|line| line.contains("acme/support")));
    assert!(!lines.iter().any(|line| line.contains("q ends")));
}

#[test]
fn a_name_steers_no_terminal() {
    let mut seen = Seen::new("/data/\u{1b}[31mred".to_owned());
    let mut snapshot = snapshot(3);
    snapshot.spaces[0].name = "acme/\u{7}bell".to_owned();
    seen.take(snapshot);
    assert!(!drawn(&seen, 100, 40).contains(['\u{1b}', '\u{7}']));
}

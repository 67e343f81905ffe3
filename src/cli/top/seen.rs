//! What was seen of a kernel: the last two snapshots, what came between them, and how it went before that.

use std::collections::VecDeque;

use memos::Error;
use memos::runtime::telemetry::{Distribution, Snapshot};

/// Looks that are drawn as a line.
const LOOKS: usize = 240;

/// By what tables are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// Who does most first.
    Activity,
    /// Whose queue is longest first.
    Queue,
    /// Whose messages wait longest first.
    Wait,
    /// By name.
    Name,
}

impl Sort {
    pub(super) fn next(self) -> Self {
        match self {
            Self::Activity => Self::Queue,
            Self::Queue => Self::Wait,
            Self::Wait => Self::Name,
            Self::Name => Self::Activity,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Activity => "activity",
            Self::Queue => "queue",
            Self::Wait => "wait",
            Self::Name => "name",
        }
    }
}

/// What was seen of one kernel.
pub(super) struct Seen {
    pub(super) place: String,
    pub(super) now: Snapshot,
    /// The snapshot before; an empty one at first, so that all since the kernel was opened counts.
    pub(super) before: Snapshot,
    /// What 99 in 100 recalls did not exceed, in microseconds, each look.
    pub(super) recalls: VecDeque<u64>,
    /// Durable steps, each look.
    pub(super) commits: VecDeque<u64>,
    pub(super) is_paused: bool,
    pub(super) sort: Sort,
    /// Why there was nothing to see the last time.
    pub(super) missed: Option<String>,
}

impl Seen {
    pub(super) fn new(place: String) -> Self {
        Self {
            place,
            now: Snapshot::default(),
            before: Snapshot::default(),
            recalls: VecDeque::new(),
            commits: VecDeque::new(),
            is_paused: false,
            sort: Sort::Activity,
            missed: None,
        }
    }

    pub(super) fn take(&mut self, snapshot: Snapshot) {
        let is_another = snapshot.process != self.now.process || snapshot.uptime < self.now.uptime;
        if is_another {
            (self.recalls, self.commits) = (VecDeque::new(), VecDeque::new());
        }
        let before = std::mem::replace(&mut self.now, snapshot);
        self.before = if is_another { Snapshot::default() } else { before };
        self.missed = None;
        if !is_another {
            let recall = self.since(|snapshot| &snapshot.recall.latency);
            push(&mut self.recalls, (recall.p99 / 1000.0) as u64);
            let commits = self.now.commits.groups.saturating_sub(self.before.commits.groups);
            push(&mut self.commits, commits);
        }
    }

    pub(super) fn miss(&mut self, why: &Error) {
        self.missed = Some(why.to_string());
    }

    /// Returns what was counted each second between the last two snapshots.
    pub(super) fn rate(&self, now: u64, before: u64) -> f64 {
        let millis = self.now.uptime.saturating_sub(self.before.uptime);
        if millis == 0 { 0.0 } else { now.saturating_sub(before) as f64 * 1000.0 / millis as f64 }
    }

    pub(super) fn rate_of(&self, figure: impl Fn(&Snapshot) -> u64) -> f64 {
        self.rate(figure(&self.now), figure(&self.before))
    }

    /// Returns what was seen between the last two snapshots.
    pub(super) fn since(&self, figure: impl Fn(&Snapshot) -> &Distribution) -> Distribution {
        figure(&self.now).since(figure(&self.before))
    }
}

fn push(line: &mut VecDeque<u64>, value: u64) {
    if line.len() >= LOOKS {
        line.pop_front();
    }
    line.push_back(value);
}

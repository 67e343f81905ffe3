//! When which job is due where: a pure function of what was told and what the time is.
//!
//! Times are counted from the beginning of the pool.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use memos_memory::cube::SpaceName;
use memos_memory::evolve::{Job, Place, Report};

use super::{Evolution, JobState, JobStatus, SetAside};

/// What came of one step.
pub(super) enum Outcome {
    /// It went well.
    Stepped(Stepped),
    /// There was too much going on in the space.
    Busy,
    /// The space is not open, and is not opened for this.
    Closed,
    /// It failed.
    Failed(String),
}

/// A step that went well.
pub(super) struct Stepped {
    pub(super) reached: Place,
    /// Whether there is nothing more to do for now.
    pub(super) ended: bool,
    /// When there is again, as far as time brings it.
    pub(super) again_in: Option<Duration>,
    /// Changes that it has written.
    pub(super) written: usize,
    pub(super) report: Report,
}

/// One job in one space.
#[derive(Default)]
struct Task {
    /// When the space changed first and last since the job began.
    changed: Option<(Duration, Duration)>,
    /// When it is due whatever has changed.
    at: Option<Duration>,
    /// Where it goes on; unknown before its first step.
    place: Option<Place>,
    /// Attempts that failed, and times that the space was busy, one after the other.
    failed: u32,
    busy: u32,
    /// The report of the steps since it began.
    report: Report,
    steps: u64,
    done: u64,
}

/// One space.
#[derive(Default)]
struct Desk {
    tasks: BTreeMap<Job, Task>,
    working: Option<Job>,
}

/// What is to be begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Begin {
    pub(super) space: SpaceName,
    pub(super) job: Job,
    pub(super) place: Option<Place>,
}

/// What follows from an outcome.
#[derive(Default)]
pub(super) struct Followed {
    /// What the job has done since it began, when it has come to its end.
    pub(super) report: Option<Report>,
    /// That it was set aside.
    pub(super) set_aside: Option<SetAside>,
}

pub(super) type Aside = BTreeMap<(SpaceName, Job), SetAside>;

/// The plan of all spaces.
pub(super) struct Plan {
    evolution: Arc<Evolution>,
    desks: BTreeMap<SpaceName, Desk>,
    /// Before this nothing begins, since enough was written.
    free_at: Duration,
    working: usize,
}

impl Plan {
    pub(super) fn new(evolution: Arc<Evolution>) -> Self {
        Self { evolution, desks: BTreeMap::new(), free_at: Duration::ZERO, working: 0 }
    }

    /// Notes that a space has changed, or was opened.
    pub(super) fn changed(&mut self, space: SpaceName, now: Duration) {
        let Evolution { jobs, quiet, .. } = &*self.evolution;
        let desk = self.desks.entry(space).or_default();
        for job in jobs {
            let is_new = !desk.tasks.contains_key(job);
            let task = desk.tasks.entry(*job).or_default();
            if job.follows_changes() {
                task.changed = Some((task.changed.map_or(now, |(first, _)| first), now));
            } else if is_new {
                task.at = Some(now + *quiet);
            }
        }
    }

    /// Returns what is due now, as much as there are workers for, and takes it as begun.
    pub(super) fn begin(&mut self, now: Duration, aside: &Aside) -> Vec<Begin> {
        let mut begun = Vec::new();
        while self.working < self.evolution.workers.max(1)
            && let Some((_, space, job)) = self.earliest(aside).filter(|(at, ..)| *at <= now)
        {
            let Some(desk) = self.desks.get_mut(&space) else { break };
            let Some(task) = desk.tasks.get_mut(&job) else { break };
            // What changes from now on is for the next time.
            (task.changed, task.at) = (None, None);
            desk.working = Some(job);
            self.working += 1;
            begun.push(Begin { space, job, place: task.place });
        }
        begun
    }

    /// Returns when something is due next; none when only news can change that.
    pub(super) fn next(&self, aside: &Aside) -> Option<Duration> {
        (self.working < self.evolution.workers.max(1)).then(|| self.earliest(aside).map(|(at, ..)| at)).flatten()
    }

    /// Returns what is due first: of equals the space that comes first, and in it the first of the jobs.
    fn earliest(&self, aside: &Aside) -> Option<(Duration, SpaceName, Job)> {
        let free = self.desks.iter().filter(|(_, desk)| desk.working.is_none());
        let due = free.flat_map(|(space, desk)| {
            desk.tasks.iter().filter_map(move |(job, task)| Some((self.due_at(task)?.max(self.free_at), space, *job)))
        });
        let due = due.filter(|(_, space, job)| !aside.contains_key(&((*space).clone(), *job)));
        due.min_by_key(|(at, ..)| *at).map(|(at, space, job)| (at, space.clone(), job))
    }

    fn due_at(&self, task: &Task) -> Option<Duration> {
        if task.failed > 0 || task.busy > 0 {
            return task.at;
        }
        let Evolution { quiet, patience, .. } = &*self.evolution;
        let by_change = task.changed.map(|(first, last)| (last + *quiet).min(first + *patience));
        by_change.into_iter().chain(task.at).min()
    }

    /// Takes in what came of a step.
    pub(super) fn ended(&mut self, begun: &Begin, outcome: Outcome, now: Duration) -> Followed {
        let evolution = self.evolution.clone();
        self.working = self.working.saturating_sub(1);
        let Some(desk) = self.desks.get_mut(&begun.space) else { return Followed::default() };
        desk.working = None;
        let Some(task) = desk.tasks.get_mut(&begun.job) else { return Followed::default() };
        let mut followed = Followed::default();
        match outcome {
            Outcome::Stepped(stepped) => {
                let pause = Duration::from_secs(1).saturating_mul(u32::try_from(stepped.written).unwrap_or(u32::MAX));
                self.free_at = self.free_at.max(now) + pause / evolution.changes_per_s.max(1);
                followed.report = task.stepped(stepped, begun.job, now, &evolution);
            }
            Outcome::Busy => {
                task.busy += 1;
                let pause = evolution.busy_pause.saturating_mul(2_u32.saturating_pow(task.busy.min(16) - 1));
                task.at = Some(now + pause.min(evolution.quiet.max(evolution.busy_pause)));
            }
            Outcome::Closed => {
                // When it is opened again, that is news.
                self.desks.remove(&begun.space);
            }
            Outcome::Failed(why) => {
                task.failed += 1;
                // What was begun is found anew, from what is durable.
                task.place = None;
                if task.failed >= evolution.attempts.max(1) {
                    let (space, job, attempts) = (begun.space.clone(), begun.job, task.failed);
                    followed.set_aside = Some(SetAside { space, job, attempts, why });
                } else {
                    task.at = Some(now + retry_delay(&evolution, begun, task.failed));
                }
            }
        }
        followed
    }

    /// Lets a job that was set aside be due now.
    pub(super) fn resume(&mut self, space: &SpaceName, job: Job, now: Duration) {
        let task = self.desks.entry(space.clone()).or_default().tasks.entry(job).or_default();
        (task.failed, task.busy, task.at) = (0, 0, Some(now));
    }

    /// Returns the spaces that it knows of.
    #[cfg(test)]
    pub(super) fn spaces(&self) -> usize {
        self.desks.len()
    }

    pub(super) fn status(&self, aside: &Aside) -> Vec<JobStatus> {
        let known = self.desks.iter().flat_map(|(space, desk)| {
            desk.tasks.iter().map(move |(job, task)| {
                let state = match task {
                    _ if aside.contains_key(&(space.clone(), *job)) => JobState::SetAside,
                    _ if desk.working == Some(*job) => JobState::Working,
                    Task { failed: 1.., .. } => JobState::Retrying,
                    _ if task.changed.is_some() || task.at.is_some() => JobState::Waiting,
                    _ => JobState::Idle,
                };
                let Task { failed, steps, done, .. } = *task;
                JobStatus { space: space.clone(), job: *job, state, attempts: failed, steps, done }
            })
        });
        let mut all: Vec<JobStatus> = known.collect();
        let named: BTreeSet<(SpaceName, Job)> = all.iter().map(|status| (status.space.clone(), status.job)).collect();
        // What was set aside is shown when its space is closed, too.
        let others = aside.values().filter(|aside| !named.contains(&(aside.space.clone(), aside.job)));
        all.extend(others.map(|aside| JobStatus {
            space: aside.space.clone(),
            job: aside.job,
            state: JobState::SetAside,
            attempts: aside.attempts,
            steps: 0,
            done: 0,
        }));
        all
    }
}

impl Task {
    fn stepped(&mut self, stepped: Stepped, job: Job, now: Duration, evolution: &Evolution) -> Option<Report> {
        let Stepped { reached, ended, again_in, report, .. } = stepped;
        (self.failed, self.busy) = (0, 0);
        self.steps += 1;
        self.done += report.total() as u64;
        self.report.add(report);
        if !ended {
            self.place = Some(reached);
            self.at = Some(now);
            return None;
        }
        self.place = Some(reached.next_round());
        self.at = match job.follows_changes() {
            true => again_in.map(|again| now + again.max(evolution.quiet)),
            false => Some(now + evolution.sweep_every),
        };
        let report = std::mem::take(&mut self.report);
        (report.total() > 0).then_some(report)
    }
}

/// Returns how long the next attempt is put off: twice as long each time, give or take a quarter, so that what failed together
/// is not tried together.
fn retry_delay(evolution: &Evolution, begun: &Begin, failed: u32) -> Duration {
    let doubled = evolution.retry_delay.saturating_mul(2_u32.saturating_pow(failed.min(20) - 1));
    let delay = doubled.min(evolution.longest_retry_delay);
    let named = begun.space.as_str().bytes().chain(begun.job.as_str().bytes());
    let seed = evolution.seed ^ u64::from(failed).rotate_left(32);
    // FNV-1a, and the upper bits of it, which are mixed best.
    let hash =
        named.fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let share = (hash >> 40) as f64 / (1_u64 << 24) as f64;
    delay.mul_f64(0.75 + share / 2.0)
}

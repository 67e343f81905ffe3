//! What is due: which cubes time and rules move on, and which ones leave the hot index when it holds too many.
//!
//! Nothing is lost by heat, weight or number: those only archive. A cube expires when its own lifespan says so, and is
//! erased when it has been expired for long enough that nobody asked for it back.

use std::cmp::Ordering;
use std::fmt;

use serde::Serialize;

use super::Transition;
use super::decay::{age_millis, decayed};
use crate::cube::{CubeId, Lifespan, Priority, State, Usage};
use crate::error::{Error, Result};
use crate::time::Timestamp;

const DAY_MILLIS: u64 = 24 * 3600 * 1000;

/// The rules by which a space lets cubes go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retention {
    /// A cube whose weight has fallen below this is archived; from 0 to 1. One sixteenth: four half-lives without use.
    pub archive_below_weight: f32,
    /// A cube of low priority is cold when its heat is below this. 0.05 reads: one read, and a month.
    pub cold_below_heat: f32,
    /// A cold cube is archived so long after it was last read, restored or made. 90 days.
    pub cold_after_millis: u64,
    /// An expired cube is erased after so long. 30 days; `None` never erases.
    pub erase_after_millis: Option<u64>,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            archive_below_weight: 1.0 / 16.0,
            cold_below_heat: 0.05,
            cold_after_millis: 90 * DAY_MILLIS,
            erase_after_millis: Some(30 * DAY_MILLIS),
        }
    }
}

impl Retention {
    /// Checks the rules.
    ///
    /// # Errors
    /// `Invalid` when a weight does not lie between 0 and 1, or a heat is not a number from 0.
    pub fn check(&self) -> Result<()> {
        let (weight, heat) = (self.archive_below_weight, self.cold_below_heat);
        if !(0.0..=1.0).contains(&weight) {
            return Err(Error::invalid(format!("`{weight}` is no weight to archive below; use one from 0 to 1")));
        }
        if !heat.is_finite() || heat < 0.0 {
            return Err(Error::invalid(format!("`{heat}` is no heat to be cold below; use a number from 0")));
        }
        Ok(())
    }
}

/// What the rules look at in a cube.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// The cube.
    pub id: CubeId,
    /// Its state.
    pub state: State,
    /// Since when it has that state.
    pub since: Timestamp,
    /// From when its lifespan counts: when it was last restored, else when it was created. Without this, what somebody brings
    /// back would expire again at once.
    pub begun: Timestamp,
    /// How it was used.
    pub usage: Usage,
    /// How long it is kept.
    pub lifespan: Lifespan,
    /// Whether it must not be lost.
    pub legal_hold: bool,
    /// How much it matters.
    pub priority: Priority,
}

impl Standing {
    /// Returns the weight at a time: 1 at the last use, and half of it after each half-life; always 1 without a half-life.
    pub fn weight(&self, now: Timestamp) -> f32 {
        match self.lifespan {
            Lifespan::HalfLifeMillis(half_life) => decayed(1.0, self.last_touched(), now, half_life),
            Lifespan::Forever | Lifespan::TimeToLiveMillis(_) => 1.0,
        }
    }

    /// Returns when it was last read, restored or made.
    pub(crate) fn last_touched(&self) -> Timestamp {
        self.usage.last_read.map_or(self.begun, |read| read.max(self.begun))
    }

    fn has_outlived(&self, now: Timestamp) -> bool {
        matches!(self.lifespan, Lifespan::TimeToLiveMillis(millis) if age_millis(self.begun, now) >= millis)
    }

    fn is_cold(&self, now: Timestamp, rules: &Retention) -> bool {
        self.priority == Priority::Low
            && age_millis(self.last_touched(), now) >= rules.cold_after_millis
            && self.usage.heat(now) < rules.cold_below_heat
    }
}

/// A transition that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Due {
    /// The cube.
    pub cube: CubeId,
    /// What is to be done.
    pub transition: Transition,
    /// Why.
    pub reason: Reason,
}

/// Why a transition is due. Its text is the reason that the event gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Its time to live has passed.
    Outlived,
    /// Its time to live has passed, but it is under legal hold: it is archived in place of being expired.
    OutlivedUnderHold,
    /// Its weight has fallen below the bound.
    Faded,
    /// It is of low priority, and nobody has asked for it for long.
    Cold,
    /// It has been expired for long enough.
    ExpiredLongEnough,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Outlived => "its time to live has passed",
            Self::OutlivedUnderHold => "its time to live has passed, and a legal hold keeps it from expiring",
            Self::Faded => "its weight has faded without use",
            Self::Cold => "its priority is low and it was not used for long",
            Self::ExpiredLongEnough => "it has been expired for as long as the rules keep it",
        })
    }
}

/// Returns what is due for a cube. What is due once stays due, or something stronger is: archive, expire, erase.
pub fn due(cube: &Standing, now: Timestamp, rules: &Retention) -> Option<Due> {
    let recalled = matches!(cube.state, State::Generated | State::Activated);
    let (transition, reason) = match cube.state {
        State::Frozen | State::Erased => return None,
        State::Expired => {
            let long = rules.erase_after_millis.is_some_and(|millis| age_millis(cube.since, now) >= millis);
            if cube.legal_hold || !long {
                return None;
            }
            (Transition::Erase, Reason::ExpiredLongEnough)
        }
        _ if cube.has_outlived(now) && !cube.legal_hold => (Transition::Expire, Reason::Outlived),
        _ if !recalled => return None,
        _ if cube.has_outlived(now) => (Transition::Archive, Reason::OutlivedUnderHold),
        _ if cube.weight(now) < rules.archive_below_weight => (Transition::Archive, Reason::Faded),
        _ if cube.is_cold(now, rules) => (Transition::Archive, Reason::Cold),
        _ => return None,
    };
    Some(Due { cube: cube.id, transition, reason })
}

/// Returns the cubes to archive so that at most `most` are recalled without being asked for: the lowest priority first, then
/// the least heat, then the oldest. Frozen cubes are counted, but never touched. In time proportional to their number.
pub fn over_budget(cubes: &[Standing], most: usize, now: Timestamp) -> Vec<CubeId> {
    let excess = cubes.iter().filter(|cube| cube.state.is_recalled()).count().saturating_sub(most);
    let movable = cubes.iter().filter(|cube| cube.state.is_recalled() && cube.state != State::Frozen);
    // Heat is an exponential: worked out once for each cube, not once for each comparison.
    let mut ranked: Vec<_> = movable.map(|cube| (cube.priority, cube.usage.heat(now), cube.begun, cube.id)).collect();
    let order = |a: &(Priority, f32, Timestamp, CubeId), b: &(Priority, f32, Timestamp, CubeId)| -> Ordering {
        (a.0.cmp(&b.0)).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)).then(a.3.cmp(&b.3))
    };
    if excess < ranked.len() {
        ranked.select_nth_unstable_by(excess, order);
        ranked.truncate(excess);
    }
    ranked.sort_unstable_by(order);
    ranked.into_iter().map(|(_, _, _, id)| id).collect()
}

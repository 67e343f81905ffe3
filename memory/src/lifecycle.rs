//! MemLifecycle: which state a cube may go to from which (MemOS paper, section 4.3), and what time and rules ask for.
//!
//! | from | activate | merge | archive | expire | freeze | unfreeze | restore | erase |
//! |---|---|---|---|---|---|---|---|---|
//! | generated | activated | merged | archived | expired | frozen | | | erased |
//! | activated | | merged | archived | expired | frozen | | | erased |
//! | merged | | | archived | expired | | | activated | erased |
//! | archived | | merged | | expired | frozen | | activated | erased |
//! | expired | | | archived | | | | activated | erased |
//! | frozen | | | | | | activated | | erased |
//! | erased | | | | | | | | |
//!
//! A frozen cube is not to be changed, yet it can be erased without an unfreezing before: who may demand that their data go
//! must not be kept waiting by a mark that somebody else set. What must outlast such a demand is under legal hold, and then
//! no state lets it go.
//!
//! All here is arithmetic over what is handed in. This room knows no space, no clock and no disk; whoever writes the event
//! asks it first.

mod decay;
mod retention;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::Serialize;

use crate::cube::State;
use crate::error::{Error, Result};

pub(crate) use decay::{age_millis, decayed};
pub use retention::{Due, Reason, Retention, Standing, due, over_budget};

/// A way from one state to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transition {
    /// It is used for the first time.
    Activate,
    /// It becomes part of another cube.
    Merge,
    /// It leaves the hot index.
    Archive,
    /// Its lifespan has passed.
    Expire,
    /// It is not to be changed from now on.
    Freeze,
    /// It may be changed again.
    Unfreeze,
    /// It comes back to where it is recalled.
    Restore,
    /// Its content goes for good.
    Erase,
}

impl Transition {
    /// All transitions.
    pub const ALL: [Self; 8] = [
        Self::Activate,
        Self::Merge,
        Self::Archive,
        Self::Expire,
        Self::Freeze,
        Self::Unfreeze,
        Self::Restore,
        Self::Erase,
    ];

    /// Returns the name that people read and write.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Activate => "activate",
            Self::Merge => "merge",
            Self::Archive => "archive",
            Self::Expire => "expire",
            Self::Freeze => "freeze",
            Self::Unfreeze => "unfreeze",
            Self::Restore => "restore",
            Self::Erase => "erase",
        }
    }

    /// Returns the one transition that leads from a state to another; for callers that name the state they want.
    ///
    /// # Errors
    /// `Invalid`, with what to do, when there is none.
    pub fn between(from: State, to: State) -> Result<Self> {
        let leads = |transition: &Self| target(from, *transition) == Some(to);
        Self::ALL.into_iter().find(leads).ok_or_else(|| refused(from, to))
    }

    /// Returns the state that the transition is for, wherever it begins.
    const fn goal(self) -> State {
        match self {
            Self::Activate | Self::Unfreeze | Self::Restore => State::Activated,
            Self::Merge => State::Merged,
            Self::Archive => State::Archived,
            Self::Expire => State::Expired,
            Self::Freeze => State::Frozen,
            Self::Erase => State::Erased,
        }
    }
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a transition depends on beside the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Guard {
    /// Whether the cube must not be lost.
    pub legal_hold: bool,
    /// Whether a `merged-into` link leads from it to another cube, or will with the same batch.
    pub has_merge_target: bool,
    /// Whether the caller has the right to unfreeze it.
    pub may_unfreeze: bool,
}

/// Returns the state after a transition.
///
/// # Errors
/// `Invalid` when no such way leads from the state, or a merge has no target; `Denied` under legal hold, or without the
/// right to unfreeze. Both say what to do.
pub fn next(from: State, transition: Transition, guard: &Guard) -> Result<State> {
    let Some(to) = target(from, transition) else {
        return Err(match (from, transition) {
            (State::Generated | State::Activated, Transition::Restore) => {
                Error::invalid(format!("the cube is {from}; only a merged, archived or expired cube can be restored"))
            }
            (State::Merged | State::Archived | State::Expired, Transition::Activate) => {
                Error::invalid(format!("the cube is {from}; restore it instead"))
            }
            (State::Erased | State::Frozen, _) => refused(from, transition.goal()),
            (_, Transition::Unfreeze) => Error::invalid(format!("the cube is {from}, so there is nothing to unfreeze")),
            _ => refused(from, transition.goal()),
        });
    };
    match transition {
        Transition::Expire | Transition::Erase if guard.legal_hold => {
            let done = if transition == Transition::Erase { "erased" } else { "expired" };
            Err(Error::denied(format!("the cube is under legal hold and cannot be {done}; lift the hold first")))
        }
        Transition::Unfreeze if !guard.may_unfreeze => {
            Err(Error::denied("the cube is frozen, and you may not unfreeze it; ask its owner"))
        }
        Transition::Merge if !guard.has_merge_target => Err(Error::invalid(
            "the cube is merged into nothing; add a `merged-into` link from it to the cube that it becomes part of",
        )),
        _ => Ok(to),
    }
}

/// The table at the head of this room.
const fn target(from: State, transition: Transition) -> Option<State> {
    use State::{Activated, Archived, Erased, Expired, Frozen, Generated, Merged};
    let leads = match transition {
        Transition::Activate => matches!(from, Generated),
        Transition::Merge => matches!(from, Generated | Activated | Archived),
        Transition::Archive => matches!(from, Generated | Activated | Merged | Expired),
        Transition::Expire => matches!(from, Generated | Activated | Merged | Archived),
        Transition::Freeze => matches!(from, Generated | Activated | Archived),
        Transition::Unfreeze => matches!(from, Frozen),
        Transition::Restore => matches!(from, Merged | Archived | Expired),
        Transition::Erase => !matches!(from, Erased),
    };
    if leads { Some(transition.goal()) } else { None }
}

/// Says why no way leads from one state to another, and what to do.
fn refused(from: State, to: State) -> Error {
    Error::invalid(match (from, to) {
        (State::Erased, _) => {
            "the cube is erased and does not come back; store the memory again as a new cube".to_owned()
        }
        (from, to) if from == to => format!("the cube is {from} already"),
        (_, State::Generated) => {
            format!("the cube is {from}; none becomes generated again, `activated` brings it back")
        }
        (State::Frozen, _) => "the cube is frozen; unfreeze it first".to_owned(),
        (from, to) => format!("the cube is {from} and cannot become {to}; restore it first"),
    })
}

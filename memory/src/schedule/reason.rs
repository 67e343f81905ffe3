//! Why the planner did what it did: data for programs, and a sentence for people.

use std::fmt;

use serde::Serialize;

use crate::cube::{CubeId, Kind, State};
use crate::time::Timestamp;

/// What a form costs and brings within the horizon.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Worth {
    /// How often the memory is expected to be used.
    pub expected_uses: f32,
    /// Milliseconds that those uses save.
    pub saves_millis: f32,
    /// Milliseconds that building it takes.
    pub build_millis: f32,
    /// Bytes that it takes while it is loaded.
    pub bytes: u64,
}

/// Why something is loaded, left, built or dropped.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum Reason {
    /// The form is loaded already, and takes nothing of the prompt.
    Loaded {
        /// The bytes that it takes.
        bytes: u64,
    },
    /// Its text fits.
    Fits {
        /// Tokens that it takes.
        tokens: usize,
        /// Tokens that are left after it.
        left: usize,
    },
    /// Its text does not fit.
    TokensSpent {
        /// Tokens that it would take.
        tokens: usize,
        /// Tokens that are left.
        left: usize,
    },
    /// As many memories are loaded as were asked for.
    Enough {
        /// The most memories.
        most: usize,
    },
    /// It was not asked for, and lies in the working set.
    AtHand,
    /// It was used in the task.
    Used,
    /// It stands near in the graph to what the task uses.
    Near {
        /// What the task uses.
        of: CubeId,
        /// How many links it is away.
        hops: usize,
        /// Its claim.
        claim: f32,
    },
    /// Its claim is too small.
    Below {
        /// Its claim.
        claim: f32,
        /// The least that is enough.
        least: f32,
    },
    /// Others have the better claim to the room there is.
    Outranked {
        /// Its claim, with the margin of what is there already.
        claim: f32,
        /// What it would take: bytes, or cubes of a working set.
        needs: u64,
        /// What is left of it.
        left: u64,
    },
    /// Memories of this state are not loaded.
    NotRecalled {
        /// The state.
        state: State,
    },
    /// What it saves is more than what it costs.
    Pays {
        /// What it costs and saves.
        worth: Worth,
    },
    /// What it saves is less than what it costs.
    PaysNot {
        /// What it costs and saves.
        worth: Worth,
    },
    /// It is not used enough any more for what it takes.
    Cooled {
        /// What it costs and saves.
        worth: Worth,
        /// The share of its cost that it must save to stay.
        keep_share: f32,
    },
    /// It was made from a version that is not the present one.
    Stale {
        /// The version it was made from.
        built: u32,
        /// The present version.
        present: u32,
    },
    /// It changed too lately to be put into a form.
    Unsettled {
        /// When it is settled, if nobody changes it.
        until: Timestamp,
    },
    /// The form before must be there first.
    After {
        /// That form.
        form: Kind,
    },
    /// A higher form of it is loaded.
    Covered {
        /// That form.
        by: Kind,
    },
    /// Building it failed, and is tried again later.
    SetAside {
        /// When.
        until: Timestamp,
        /// How often it failed in a row.
        failures: u32,
    },
    /// As many forms are being built as may be at a time.
    BuildersBusy,
    /// Its priority is low, and it was not used for long.
    Cold,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loaded { bytes } => write!(f, "it is loaded already and takes {bytes} bytes"),
            Self::Fits { tokens, left } => write!(f, "its {tokens} tokens fit, {left} are left"),
            Self::TokensSpent { tokens, left } => write!(f, "it takes {tokens} tokens and {left} are left"),
            Self::Enough { most } => write!(f, "{most} memories are loaded, as many as were asked for"),
            Self::AtHand => f.write_str("it was not asked for and is at hand"),
            Self::Used => f.write_str("the task used it"),
            Self::Near { of, hops, claim } => write!(f, "it is {hops} links from `{of}`, with a claim of {claim:.2}"),
            Self::Below { claim, least } => write!(f, "its claim is {claim:.2} and {least:.2} would be enough"),
            Self::Outranked { claim, needs, left } => {
                write!(f, "with a claim of {claim:.2} it needs {needs}, and better ones leave {left}")
            }
            Self::NotRecalled { state } => write!(f, "it is {state}"),
            Self::Pays { worth } => write!(f, "it pays: {worth}"),
            Self::PaysNot { worth } => write!(f, "it does not pay: {worth}"),
            Self::Cooled { worth, keep_share } => write!(f, "it cooled below {keep_share:.2} of its cost: {worth}"),
            Self::Stale { built, present } => write!(f, "it was made from version {built}, and {present} is present"),
            Self::Unsettled { until } => write!(f, "it changed lately and is settled at {until}"),
            Self::After { form } => write!(f, "its {form} form comes first"),
            Self::Covered { by } => write!(f, "its {by} form is loaded"),
            Self::SetAside { until, failures } => write!(f, "building it failed {failures} times; again at {until}"),
            Self::BuildersBusy => f.write_str("as many forms are being built as may be at a time"),
            Self::Cold => f.write_str("its priority is low and it was not used for long"),
        }
    }
}

impl fmt::Display for Worth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expected_uses, saves_millis, build_millis, bytes } = self;
        write!(
            f,
            "{expected_uses:.1} uses save {saves_millis:.0} ms, building takes {build_millis:.0} ms and {bytes} bytes"
        )
    }
}

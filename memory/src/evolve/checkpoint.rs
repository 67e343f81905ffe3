//! How far each job has come: a small register of the space for each, which moves in the same batch as the work.

use serde::{Deserialize, Serialize};

use super::Job;
use crate::error::{Error, Result};
use crate::vault::{Batch, Space};

/// Events that are looked through again rather than noted, when there was nothing to do in them. Noting is an event of its own.
const NOT_WORTH_NOTING: u64 = 256;

/// A place up to which a job has looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Place {
    /// The first event that was not looked at. For a sweep, which goes over cubes and not over events, the first cube.
    pub at: u64,
    /// The first event that must be looked at again, because it was too early for what it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<u64>,
}

impl Place {
    /// Returns from where one begins who knows this place alone.
    fn begin(self) -> Self {
        Self { at: self.held.map_or(self.at, |held| held.min(self.at)), held: None }
    }

    /// Notes an event that must be looked at again.
    pub(super) fn hold(&mut self, event: u64) {
        self.held = Some(self.held.map_or(event, |held| held.min(event)));
    }

    /// Returns the place from which another round begins, when this one has ended.
    pub fn next_round(self) -> Self {
        self.begin()
    }
}

fn name_of(job: Job) -> String {
    format!("lifecycle/{job}")
}

/// Returns from where a job goes on, as far as that is kept.
///
/// # Errors
/// `Corrupt` when what is kept cannot be read.
pub fn place_of(space: &Space, job: Job) -> Result<Place> {
    Ok(kept(space, job)?.unwrap_or_default().begin())
}

fn kept(space: &Space, job: Job) -> Result<Option<Place>> {
    let Some(value) = space.register(&name_of(job)) else { return Ok(None) };
    let place = serde_json::from_slice(&value);
    place.map(Some).map_err(|e| Error::corrupt(format!("the register `{}` is no place: {e}", name_of(job))))
}

/// Returns whether a place is far enough from the one that is kept that it should be, though nothing was done on the way.
pub(super) fn is_worth_keeping(space: &Space, job: Job, reached: Place) -> bool {
    let kept = kept(space, job).ok().flatten().unwrap_or_default().begin();
    job.follows_changes() && reached.begin().at >= kept.at.saturating_add(NOT_WORTH_NOTING)
}

/// Keeps a place with the work that leads to it.
pub(super) fn keep(batch: &mut Batch, job: Job, reached: Place) -> Result<()> {
    let value = serde_json::to_vec(&reached).map_err(|e| Error::invalid(format!("a place cannot be written: {e}")))?;
    batch.set_register(name_of(job), Some(value));
    Ok(())
}

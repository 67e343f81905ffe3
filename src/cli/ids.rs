//! Ids as people write them.
//!
//! Ids of memories that were made in the same moment begin alike and end in random digits. So the last group of twelve
//! digits is what is shown, and any beginning or end of an id that fits one memory only may be typed in its place.

use memos::cube::CubeId;
use memos::governance::Principal;
use memos::vault::Space;
use memos::{Error, Result};

/// Fewest characters of an id that are looked up.
const FEWEST: usize = 4;
/// Ids named when several fit.
const NAMED: usize = 5;

/// Returns the last group of an id's digits.
pub(super) fn short(id: &CubeId) -> String {
    let id = id.to_string();
    id.rsplit('-').next().unwrap_or_default().to_owned()
}

/// Returns what a memory says, for those who may read it; else nothing.
pub(super) fn text_of(space: &Space, caller: &Principal, id: &CubeId) -> String {
    let cube = space.get(caller, id).map(|(cube, _)| cube);
    cube.ok().and_then(|cube| cube.payload.as_text().map(str::to_owned)).unwrap_or_default()
}

/// Finds the memory that is meant.
pub(super) fn find(space: &Space, caller: &Principal, typed: &str) -> Result<CubeId> {
    if let Ok(id) = typed.parse() {
        return Ok(id);
    }
    let part = typed.to_ascii_lowercase();
    if part.len() < FEWEST || part.len() > 36 || !part.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
        return Err(Error::invalid(format!(
            "`{typed}` is not a memory's id; type at least {FEWEST} digits of its beginning or end, as `recall` prints them"
        )));
    }
    match space.find_ids(caller, &part, NAMED + 1).as_slice() {
        [] => {
            Err(Error::not_found(format!("no memory in `{}` has an id that begins or ends in `{typed}`", space.name())))
        }
        [id] => Ok(*id),
        ids => {
            let names: Vec<String> = ids.iter().take(NAMED).map(|id| format!("`{id}`")).collect();
            let more = if ids.len() > NAMED { " and more" } else { "" };
            Err(Error::invalid(format!("`{typed}` fits several memories: {}{more}; type more of it", names.join(", "))))
        }
    }
}

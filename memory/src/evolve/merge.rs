//! Merging: of cubes of one access class that say the same, one stays and the others become part of it.
//!
//! What ingesting a source finds within itself this job finds across tasks, sessions and agents. The one that is used
//! more stays; of equals the older one. What is frozen or under legal hold is never merged away.

use std::collections::HashSet;

use super::audience::is_made_from;
use super::touched::{Touched, stop_before, touched};
use super::{What, Work, speaks};
use crate::cube::{CubeId, SemanticType, State};
use crate::error::Result;
use crate::graph::{Link, LinkKind};
use crate::reader::duplicates::{Nearness, alike, nearness, terms_of};
use crate::vault::CubeHead;

/// Cubes that one is held against, itself included.
const CANDIDATES: usize = 6;

pub(super) fn find(work: &mut Work<'_>) -> Result<()> {
    // What is derived has versions of its own instead of doubles.
    let concerns =
        |head: &CubeHead| speaks(head) && !matches!(head.semantic, SemanticType::Summary | SemanticType::Reflection);
    let mut gone = HashSet::new();
    for touched in touched(work, concerns)? {
        if work.is_full() {
            stop_before(work, &touched);
            break;
        }
        merge_one(work, &touched, &mut gone)?;
    }
    Ok(())
}

/// Merges one cube with those that say the same.
fn merge_one(work: &mut Work<'_>, touched: &Touched, gone: &mut HashSet<CubeId>) -> Result<()> {
    let Some((cube, head)) = work.read(&touched.head.id)? else { return Ok(()) };
    let text = cube.payload.as_text().unwrap_or_default();
    let (class, speaker) = ((&cube.header.governance).into(), cube.header.origin.speaker.as_deref());
    let terms = terms_of(work.space.terms(), text);
    for other in alike(work.space, &class, head.semantic, speaker, text, CANDIDATES)? {
        if gone.contains(&head.id) {
            return Ok(());
        }
        if other.id == head.id || gone.contains(&other.id) {
            continue;
        }
        let Some((twin, other)) = work.read(&other.id)? else { continue };
        let theirs = terms_of(work.space.terms(), twin.payload.as_text().unwrap_or_default());
        if nearness(&terms, &theirs) != Some(Nearness::Same) {
            continue;
        }
        let Some((stays, goes)) = decide(work, &head, &other) else { continue };
        work.found.batch.link(Link { from: goes.id, kind: LinkKind::MergedInto, to: stays.id });
        let because = format!("says the same as {}", stays.id);
        work.found.batch.set_state(goes.id, State::Merged, because);
        work.found.batch.expect(goes.id, goes.digest).expect(stays.id, stays.digest);
        work.note(goes.id, What::Merged, Some(stays.id), "it says the same");
        gone.insert(goes.id);
    }
    Ok(())
}

/// Returns which of two stays and which goes; none when neither may go.
fn decide<'a>(work: &Work<'_>, a: &'a CubeHead, b: &'a CubeHead) -> Option<(&'a CubeHead, &'a CubeHead)> {
    let view = work.space.view();
    let (slot_a, slot_b) = (view.slot(&a.id)?, view.slot(&b.id)?);
    // More reads first, then the one that was there before.
    let a_stays = a.usage.reads > b.usage.reads || (a.usage.reads == b.usage.reads && slot_a < slot_b);
    let ways = if a_stays {
        [(a, slot_a, b, slot_b), (b, slot_b, a, slot_a)]
    } else {
        [(b, slot_b, a, slot_a), (a, slot_a, b, slot_b)]
    };
    let may_go = |head: &CubeHead| matches!(head.state, State::Generated | State::Activated) && !head.legal_hold;
    let way = ways.into_iter().find(|(_, stays, goes, going)| may_go(goes) && !is_made_from(&view, *stays, *going));
    way.map(|(stays, _, goes, _)| (stays, goes))
}

//! Which cubes may be brought together, so that nobody learns from one that another is there.
//!
//! A link stands on both cubes. Whoever reads one and not the other is not shown it; but the less there is that must not be
//! shown, the better. So what is private meets only what is of the same access class, and what is shared meets what is
//! shared with the same audience, whoever owns it: that is how one agent's memory helps another.

use crate::cube::Layer;
use crate::governance::AccessClass;
use crate::graph::{Direction, Slot};
use crate::index::{ClassId, ClassSet};
use crate::vault::Projection;

/// Cubes of a lineage that are looked at before a link is left out for its length.
const LONGEST_LINEAGE: usize = 4096;

/// Returns whether the cubes of two classes have the same readers, but for their owners.
fn meets(a: &AccessClass, b: &AccessClass) -> bool {
    a == b
        || (a.layer == b.layer
            && a.layer != Layer::Private
            && a.grants == b.grants
            && a.sensitive == b.sensitive
            // What no redaction takes out is for its owner's eyes.
            && !a.concealed
            && !b.concealed)
}

/// Returns the classes whose cubes may be brought together with those of one.
pub(super) fn audience(view: &Projection, class: ClassId) -> ClassSet {
    let Some(own) = view.classes.get(class as usize) else { return ClassSet::default() };
    let classes = (0..).zip(&view.classes);
    classes.filter(|(_, other)| meets(&own.class, &other.class)).map(|(id, _)| id).collect()
}

/// Returns whether a cube was made from another one, or whether that cannot be told in reasonable time.
pub(super) fn is_made_from(view: &Projection, slot: Slot, from: Slot) -> bool {
    let lineage = view.graph().lineage(slot, Direction::Forward, LONGEST_LINEAGE);
    slot == from || lineage.len() == LONGEST_LINEAGE || lineage.contains(&from)
}

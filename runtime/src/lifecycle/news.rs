//! Which spaces have changed or were opened since somebody looked.
//!
//! A space stands here once for each who listens, however often it has changed, so nothing is lost and there is no more of it than
//! there are spaces.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use memos_memory::cube::SpaceName;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Where changes are told.
#[derive(Default)]
pub(crate) struct News {
    ears: Mutex<Vec<Weak<Ear>>>,
    is_heard: AtomicBool,
}

/// One who listens.
#[derive(Default)]
pub(crate) struct Ear {
    told: Mutex<BTreeSet<SpaceName>>,
    bell: Notify,
}

impl News {
    /// Says that a space has changed, or was opened.
    pub(crate) fn tell(&self, space: &SpaceName) {
        if self.is_heard.load(Ordering::Acquire) {
            self.ears.lock().iter().filter_map(Weak::upgrade).for_each(|ear| ear.tell(space));
        }
    }

    /// Begins to be heard by one more.
    pub(crate) fn listen(&self) -> Arc<Ear> {
        let (ear, mut ears) = (Arc::new(Ear::default()), self.ears.lock());
        ears.retain(|ear| ear.strong_count() > 0);
        ears.push(Arc::downgrade(&ear));
        self.is_heard.store(true, Ordering::Release);
        ear
    }
}

impl Ear {
    /// Says to this one that a space has changed.
    pub(crate) fn tell(&self, space: &SpaceName) {
        if self.told.lock().insert(space.clone()) {
            self.bell.notify_one();
        }
    }

    /// Wakes whoever waits, though there is nothing new.
    pub(crate) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Returns the spaces of which something was said.
    pub(crate) fn take(&self) -> BTreeSet<SpaceName> {
        std::mem::take(&mut self.told.lock())
    }

    /// Waits until something is said.
    pub(crate) async fn heard(&self) {
        self.bell.notified().await;
    }
}

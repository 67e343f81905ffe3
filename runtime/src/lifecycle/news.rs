//! Which spaces have changed or were opened since somebody looked.
//!
//! A space stands here once, however often it has changed, so nothing is lost and there is no more of it than there are spaces.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use memos_memory::cube::SpaceName;
use parking_lot::Mutex;
use tokio::sync::Notify;

#[derive(Default)]
pub(crate) struct News {
    told: Mutex<BTreeSet<SpaceName>>,
    bell: Notify,
    is_heard: AtomicBool,
}

impl News {
    /// Says that a space has changed, or was opened.
    pub(crate) fn tell(&self, space: &SpaceName) {
        if self.is_heard.load(Ordering::Acquire) && self.told.lock().insert(space.clone()) {
            self.bell.notify_one();
        }
    }

    /// Begins to be heard.
    pub(super) fn listen(&self) {
        self.is_heard.store(true, Ordering::Release);
    }

    /// Wakes whoever waits, though there is nothing new.
    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Returns the spaces of which something was said.
    pub(super) fn take(&self) -> BTreeSet<SpaceName> {
        std::mem::take(&mut self.told.lock())
    }

    /// Waits until something is said.
    pub(super) async fn heard(&self) {
        self.bell.notified().await;
    }
}

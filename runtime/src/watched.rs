//! A value that changes, and that can be waited for.
//!
//! Those who wait are woken in the order in which they came. The library's own channel for this wakes them by chance: whoever
//! came last may come first, and no run can be repeated.

use parking_lot::{RwLock, RwLockReadGuard};
use tokio::sync::Notify;

pub(crate) struct Watched<T> {
    value: RwLock<T>,
    news: Notify,
}

impl<T> Watched<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: RwLock::new(value), news: Notify::new() }
    }

    /// Looks at the value, which does not change meanwhile.
    pub(crate) fn look(&self) -> RwLockReadGuard<'_, T> {
        self.value.read()
    }

    /// Changes the value, and wakes all who wait when `change` returns true.
    pub(crate) fn change(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
        let is_changed = change(&mut self.value.write());
        if is_changed {
            self.news.notify_waiters();
        }
        is_changed
    }

    /// Sets the value, and wakes all who wait.
    pub(crate) fn set(&self, value: T) {
        self.change(|present| {
            *present = value;
            true
        });
    }

    /// Waits for the next change, from this call on and not from when it is awaited.
    pub(crate) fn changed(&self) -> impl Future<Output = ()> {
        self.news.notified()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[tokio::test]
    async fn who_waits_is_woken_in_the_order_of_coming() {
        let (watched, woken) = (Arc::new(Watched::new(0)), Arc::new(Mutex::new(Vec::new())));
        let mut waiting = Vec::new();
        for number in 0..64 {
            let (watched, woken) = (watched.clone(), woken.clone());
            waiting.push(tokio::spawn(async move {
                watched.changed().await;
                woken.lock().push((number, *watched.look()));
            }));
        }
        tokio::task::yield_now().await;
        assert!(!watched.change(|_| false));
        tokio::task::yield_now().await;
        assert!(woken.lock().is_empty());
        watched.set(7);
        for waiting in waiting {
            waiting.await.unwrap();
        }
        assert_eq!(*woken.lock(), (0..64).map(|number| (number, 7)).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_change_before_the_wait_is_not_missed() {
        let watched = Watched::new(0);
        let changed = watched.changed();
        watched.set(1);
        changed.await;
    }
}

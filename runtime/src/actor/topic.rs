//! Topics: facts for whoever wants to hear them. Publishing never waits; who listens too slowly is told what was
//! missed.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use memos_memory::error::{Error, ErrorKind, Result};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// What a subscriber hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard<T> {
    /// Something that happened.
    Fact(T),
    /// So many facts were dropped here, because the subscriber had as many waiting as it may.
    Lagged(u64),
}

struct Backlog<T> {
    facts: VecDeque<T>,
    missed: u64,
    is_over: bool,
}

struct Line<T> {
    backlog: Mutex<Backlog<T>>,
    news: Notify,
}

/// One stream of facts.
pub struct Topic<T> {
    lines: Mutex<Vec<Weak<Line<T>>>>,
    backlog: usize,
    subscribers: usize,
}

impl<T: Clone + Send> Topic<T> {
    /// Makes a topic in which `backlog` facts wait for each of at most so many subscribers.
    pub fn new(backlog: usize, subscribers: usize) -> Self {
        Self { lines: Mutex::default(), backlog: backlog.max(1), subscribers }
    }

    /// Listens from now on.
    ///
    /// # Errors
    /// `Busy` when the topic has as many subscribers as it may.
    pub fn subscribe(&self) -> Result<Subscription<T>> {
        let mut lines = self.lines.lock();
        lines.retain(|line| line.strong_count() > 0);
        if lines.len() >= self.subscribers {
            let full = format!("the topic has {} subscribers already; drop one", lines.len());
            return Err(Error::new(ErrorKind::Busy, full));
        }
        let backlog = Mutex::new(Backlog { facts: VecDeque::new(), missed: 0, is_over: false });
        let line = Arc::new(Line { backlog, news: Notify::new() });
        lines.push(Arc::downgrade(&line));
        Ok(Subscription { line })
    }

    /// Returns whether anybody listens.
    pub fn is_heard(&self) -> bool {
        self.lines.lock().iter().any(|line| line.strong_count() > 0)
    }

    /// Tells all subscribers.
    pub fn publish(&self, fact: &T) {
        for line in self.lines.lock().iter().filter_map(Weak::upgrade) {
            {
                let mut backlog = line.backlog.lock();
                if backlog.facts.len() >= self.backlog {
                    backlog.facts.pop_front();
                    backlog.missed += 1;
                }
                backlog.facts.push_back(fact.clone());
            }
            line.news.notify_one();
        }
    }
}

impl<T> Drop for Topic<T> {
    fn drop(&mut self) {
        for line in self.lines.lock().iter().filter_map(Weak::upgrade) {
            line.backlog.lock().is_over = true;
            line.news.notify_one();
        }
    }
}

/// One subscriber's end of a topic.
pub struct Subscription<T> {
    line: Arc<Line<T>>,
}

impl<T> Subscription<T> {
    /// Waits for what comes next; none when the topic is gone and all of it was heard.
    ///
    /// # Cancellation
    /// Nothing is lost when the wait is given up.
    pub async fn next(&mut self) -> Option<Heard<T>> {
        loop {
            if let Some(heard) = self.try_next() {
                return Some(heard);
            }
            if self.line.backlog.lock().is_over {
                // The last fact may have come between the two looks.
                return self.try_next();
            }
            self.line.news.notified().await;
        }
    }

    /// Returns what waits already.
    pub fn try_next(&mut self) -> Option<Heard<T>> {
        let mut backlog = self.line.backlog.lock();
        // What was dropped lies before all that waits.
        if backlog.missed > 0 {
            return Some(Heard::Lagged(std::mem::take(&mut backlog.missed)));
        }
        backlog.facts.pop_front().map(Heard::Fact)
    }
}

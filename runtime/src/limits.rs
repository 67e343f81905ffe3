//! Every bound of this crate by name, with its unit and its default.

use std::time::Duration;

use crate::store::StoreLimits;

/// The bounds within which a kernel works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeLimits {
    /// Messages that one actor has before it, those it works on included. Beyond it `send` waits and `try_send` is
    /// `Busy`.
    pub mailbox: usize,
    /// Pieces of work that one actor has under way beside itself, timers included.
    pub actor_tasks: usize,
    /// Names in a kernel's directory.
    pub names: usize,
    /// Principals whose rate is counted in one space at a time.
    pub rated_principals: usize,
    /// Spaces that are open at a time.
    pub open_spaces: usize,
    /// Callers' batches that go into one durable step.
    pub group_batches: usize,
    /// Idempotency keys whose answers one space remembers.
    pub idempotency_keys: usize,
    /// Bytes of an idempotency key.
    pub key_bytes: usize,
    /// Threads that read. With none, each read is a task of the runtime and holds up what else runs there: for
    /// simulations and for programs of one thread.
    pub reader_threads: usize,
    /// Reads that wait for a thread.
    pub reader_queue: usize,
    /// Threads that write, open and close; with none, as for `reader_threads`.
    pub writer_threads: usize,
    /// Writes, openings and closings that wait for a thread.
    pub writer_queue: usize,
    /// Facts that wait for one subscriber of a topic. Beyond it the oldest are dropped, and the subscriber is told how
    /// many.
    pub topic_backlog: usize,
    /// Subscribers of one topic.
    pub topic_subscribers: usize,
    /// Dead letters that are kept; older ones are only counted.
    pub dead_letters: usize,
    /// Restarts of one actor within `restart_window`. Beyond it the actor is given up.
    pub restarts: usize,
    /// The stretch of time in which restarts are counted.
    pub restart_window: Duration,
    /// How long the second restart within the window is put off; each further one waits twice as long. The first is at
    /// once.
    pub restart_delay: Duration,
    /// How long a request may take when its caller names no deadline.
    pub request: Duration,
    /// How long a line of the audit log waits until it is put on disk.
    pub audit_delay: Duration,
    /// How long a space is not used before it is unloaded.
    pub idle: Duration,
    /// Programs that look at the kernel's meters at a time, by the socket in its folder. With 0 there is no socket.
    pub watchers: usize,
    /// The bounds of MemStore.
    pub store: StoreLimits,
}

impl Default for RuntimeLimits {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            mailbox: 1024,
            actor_tasks: 1024,
            names: 65_536,
            rated_principals: 65_536,
            open_spaces: 1024,
            group_batches: 256,
            idempotency_keys: 4096,
            key_bytes: 256,
            reader_threads: cores.clamp(2, 16),
            reader_queue: 1024,
            writer_threads: cores.clamp(2, 16),
            writer_queue: 1024,
            topic_backlog: 256,
            topic_subscribers: 1024,
            dead_letters: 256,
            restarts: 5,
            restart_window: Duration::from_secs(60),
            restart_delay: Duration::from_millis(100),
            request: Duration::from_secs(30),
            audit_delay: Duration::from_millis(200),
            idle: Duration::from_secs(300),
            watchers: 4,
            store: StoreLimits::default(),
        }
    }
}

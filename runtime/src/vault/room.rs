//! The room of one space in the kernel: whether it is open, who is in it, and what outlives its actor.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use memos_memory::cube::SpaceName;
use memos_memory::error::{Error, Result};
use memos_memory::governance::Principal;
use memos_memory::vault::Space;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Changed;
use super::answered::Answers;
use super::writer::{Writer, WriterNote};
use crate::actor::{Call, ChildSpec, Handle, Home, Subscription, Topic};
use crate::governance::{GovernorCommand, Rates};
use crate::kernel::Shared;
use crate::limits::RuntimeLimits;
use crate::telemetry::{Counters, SpaceMeter};
use crate::watched::Watched;
use crate::workers::Workers;

/// A space that is open, with the way to its writer. When the last who uses it lets go, a writer thread closes it.
pub(crate) struct Loaded {
    /// None only while it is closed.
    space: Option<Space>,
    pub(crate) writer: Handle<Writer>,
    /// When it was used last, in milliseconds since the kernel was opened.
    used: AtomicU64,
    started: Instant,
    closer: Arc<Workers>,
    closed: Option<oneshot::Sender<()>>,
}

impl Loaded {
    pub(crate) fn space(&self) -> Result<&Space> {
        self.space.as_ref().ok_or_else(|| Error::unavailable("the space is being closed; try again"))
    }

    /// Notes that it is used now.
    pub(crate) fn touch(&self) {
        self.used.store(millis(self.started.elapsed()), Ordering::Relaxed);
    }

    fn idle(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.used.load(Ordering::Relaxed)))
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let (space, closed) = (self.space.take(), self.closed.take());
        // Closing may write a snapshot.
        self.closer.must(move || {
            drop(space);
            drop(closed);
        });
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Whether a space is open.
#[derive(Clone)]
enum Door {
    Shut,
    /// It is being opened or closed.
    Moving,
    Open(Arc<Loaded>),
}

/// What the kernel has of one space, open or not.
pub(crate) struct Room {
    name: SpaceName,
    kernel: Arc<Shared>,
    door: Watched<Door>,
    answers: Answers,
    changes: Topic<Changed>,
    rates: Rates,
    meter: Arc<SpaceMeter>,
    /// How often it was shut: what was begun before must not open it after.
    shuttings: AtomicU64,
    /// Callers who use the space, or wait to.
    visitors: AtomicUsize,
    /// Ends when the space that was open before is closed.
    closing: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Room {
    pub(crate) fn new(name: SpaceName, kernel: Arc<Shared>) -> Arc<Self> {
        let limits = &kernel.limits;
        let answers = Answers::new(limits.idempotency_keys);
        let changes = Topic::new(limits.topic_backlog, limits.topic_subscribers);
        let door = Watched::new(Door::Shut);
        let (shuttings, visitors, closing) = (AtomicU64::new(0), AtomicUsize::new(0), Mutex::default());
        let (rates, meter) = (Rates::new(limits.rated_principals), kernel.counters.space(name.as_str()));
        Arc::new(Self { name, kernel, door, answers, changes, rates, meter, shuttings, visitors, closing })
    }

    pub(crate) fn name(&self) -> &SpaceName {
        &self.name
    }

    pub(crate) fn limits(&self) -> &RuntimeLimits {
        &self.kernel.limits
    }

    pub(super) fn meter(&self) -> &SpaceMeter {
        &self.meter
    }

    pub(super) fn counters(&self) -> &Arc<Counters> {
        &self.kernel.counters
    }

    pub(super) fn answers(&self) -> &Answers {
        &self.answers
    }

    /// Takes one request, of so many changes, out of what a principal may ask for by the space's charter.
    pub(super) fn admit(&self, loaded: &Loaded, principal: &Principal, changes: usize) -> Result<()> {
        let space = loaded.space()?;
        match space.charter() {
            Some(rules) if !principal.is_keeper() => {
                let changes = u32::try_from(changes).unwrap_or(u32::MAX);
                self.rates.admit(&rules, &principal.id, changes, space.now())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn publish(&self, changed: &Changed) {
        self.changes.publish(changed);
        self.kernel.news.tell(&self.name);
    }

    /// Says that something was written beside the writer.
    pub(super) fn tell_news(&self) {
        self.kernel.news.tell(&self.name);
    }

    /// Returns how much waits for the writer and for a thread that reads.
    pub(super) fn waiting(&self) -> usize {
        let writer = match &*self.door.look() {
            Door::Open(loaded) => loaded.writer.depth(),
            _ => 0,
        };
        writer + self.kernel.readers.waiting()
    }

    pub(super) fn changes(&self) -> Result<Subscription<Changed>> {
        self.changes.subscribe()
    }

    /// Hands a group to a writer thread. There is one group of a space at a time, so it needs no place in the queue.
    pub(super) fn write(&self, group: impl FnOnce() + Send + 'static) {
        self.kernel.writers.must(group);
    }

    pub(crate) fn actor_name(&self) -> String {
        format!("writer:{}", self.name)
    }

    /// Returns whether the space is open or on the way.
    pub(crate) fn is_in_use(&self) -> bool {
        !matches!(*self.door.look(), Door::Shut)
    }

    /// Returns the space, opened if it is not. While the visit lasts it is not unloaded; it may be begun again, for which the space
    /// itself must be let go of.
    pub(crate) async fn visit(self: &Arc<Self>) -> Result<(Visit, Arc<Loaded>)> {
        loop {
            let changed = self.door.changed();
            let is_shut = match &*self.door.look() {
                Door::Open(loaded) => return Ok((Visit::begin(self), loaded.clone())),
                Door::Moving => false,
                Door::Shut => true,
            };
            if !is_shut {
                changed.await;
            } else if self.kernel.claim(self, || self.unlock())? {
                // Whoever opens it may give up waiting; others wait for it too.
                let room = self.clone();
                let opened = tokio::spawn(async move { room.open().await }).await;
                opened.unwrap_or_else(|_| Err(Error::unavailable("the space was not opened; try again")))?;
            }
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(*self.door.look(), Door::Open(_))
    }

    /// Makes who comes wait, and returns whether it was shut before.
    fn unlock(&self) -> bool {
        self.door.change(|door| {
            let was_shut = matches!(door, Door::Shut);
            if was_shut {
                *door = Door::Moving;
            }
            was_shut
        })
    }

    async fn open(self: &Arc<Self>) -> Result<()> {
        let limits = self.limits();
        let meter = self.counters().actor(&self.actor_name());
        let home = Home::new(self.actor_name(), limits.mailbox, self.kernel.letters.clone(), meter);
        let (room, writer) = (self.clone(), Handle::new(home.clone()));
        let shuttings = self.shuttings.load(Ordering::Acquire);
        let spec = ChildSpec {
            home: home.clone(),
            begin: Box::new(move |_| {
                let (room, writer) = (room.clone(), writer.clone());
                Box::pin(async move {
                    let loaded = room.load(writer, shuttings).await?;
                    Ok(Writer::new(room, loaded))
                })
            }),
            first_note: Box::new(|| Some(WriterNote::LookIdle)),
            tasks: limits.actor_tasks,
        };
        let opened = self.kernel.begin(home, spec).await;
        if opened.is_err() {
            self.shut();
        }
        opened.map(|_| ())
    }

    /// Opens the space anew, when what was open before is closed.
    async fn load(self: &Arc<Self>, writer: Handle<Writer>, shuttings: u64) -> Result<Arc<Loaded>> {
        self.turn(shuttings, Door::Moving)?;
        let closing = self.closing.lock().take();
        if let Some(closing) = closing {
            // It ends without a word.
            let _ = closing.await;
        }
        let (kernel, name) = (self.kernel.clone(), self.name.clone());
        let space = self.kernel.writers.run(None, move || kernel.vault.space(&name)).await?;
        let (closed, closing) = oneshot::channel();
        *self.closing.lock() = Some(closing);
        let (started, closer) = (self.kernel.started, self.kernel.writers.clone());
        let used = AtomicU64::new(millis(started.elapsed()));
        let loaded = Arc::new(Loaded { space: Some(space), writer, used, started, closer, closed: Some(closed) });
        self.turn(shuttings, Door::Open(loaded.clone()))?;
        self.kernel.news.tell(&self.name);
        Ok(loaded)
    }

    /// Moves the door, unless the room was shut since.
    fn turn(&self, shuttings: u64, to: Door) -> Result<()> {
        let is_turned = self.door.change(|door| {
            let is_of_now = self.shuttings.load(Ordering::Acquire) == shuttings;
            if is_of_now {
                *door = to;
            }
            is_of_now
        });
        if is_turned { Ok(()) } else { Err(Error::unavailable("the space was closed meanwhile; try again")) }
    }

    /// Returns how long the space was not used; none while somebody is in it.
    pub(super) fn idle_for(&self, loaded: &Loaded) -> Option<Duration> {
        (self.visitors.load(Ordering::Acquire) == 0).then(|| loaded.idle())
    }

    /// Puts what was noted for the audit log of the space on disk, when it is open. Closing it does the same.
    pub(crate) fn write_records(&self) {
        if let Door::Open(loaded) = &*self.door.look() {
            let loaded = loaded.clone();
            // What cannot be written waits on, for the next step or the closing.
            self.kernel.writers.must(move || drop(loaded.space().and_then(Space::write_records)));
        }
    }

    /// Sees to it that what was noted is written soon.
    pub(crate) fn noted(self: &Arc<Self>, loaded: &Loaded, call: &Call) {
        let waits = loaded.space().is_ok_and(|space| space.waiting_records() > 0);
        if waits && let Ok(governor) = self.kernel.governor() {
            let noted = GovernorCommand::Noted { room: Arc::downgrade(self), space: self.name.clone() };
            // Who is busy was told by others, and what waits for too long is written by who notes the next.
            let _ = governor.try_send(Call::new(call.principal.clone()), noted);
        }
    }

    /// Lets go of the space when nobody is in it. Who comes now waits until its actor is gone, and opens it anew.
    pub(super) fn unload(&self) -> bool {
        // Who comes in does so under the same lock.
        self.door.change(|door| {
            let is_idle = self.visitors.load(Ordering::Acquire) == 0 && matches!(door, Door::Open(_));
            if is_idle {
                *door = Door::Moving;
            }
            is_idle
        })
    }

    /// Marks the space as not open, so that the next who comes opens it.
    pub(crate) fn shut(&self) {
        self.door.change(|door| {
            self.shuttings.fetch_add(1, Ordering::AcqRel);
            *door = Door::Shut;
            true
        });
    }
}

/// Somebody who uses a space.
pub(crate) struct Visit(Arc<Room>);

impl Visit {
    /// Begins while the door is held open.
    fn begin(room: &Arc<Room>) -> Self {
        room.visitors.fetch_add(1, Ordering::AcqRel);
        Self(room.clone())
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.visitors.fetch_sub(1, Ordering::AcqRel);
    }
}

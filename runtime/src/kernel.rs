//! The kernel: one folder of spaces, the actors and threads that work for it, and the order in which they begin and
//! end.
//!
//! Nothing of it is the process's: names, threads and dead letters belong to one kernel, and several can stand side by
//! side.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use memos_memory::cube::SpaceName;
use memos_memory::error::{Error, ErrorKind, Result};
use memos_memory::vault::{Vault, VaultOptions};
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

use crate::actor::supervisor::Supervisor;
use crate::actor::{ActorFact, Behaviour, ChildSpec, DeadLetters, Directory, Handle, Home, Subscription, Topic};
use crate::governance::{Governor, RulesChanged};
use crate::lifecycle::{Evolution, Lifecycle, News};
use crate::limits::RuntimeLimits;
use crate::scheduler::{FormMaker, Scheduler, SchedulerOptions};
use crate::store::{Counter, MemStore};
use crate::telemetry::watch::Watch;
use crate::telemetry::{Counters, Meters};
use crate::vault::{Room, SpaceHandle};
use crate::workers::Workers;

/// What a kernel works with. The vault's options hold its clock, ids, disk and keys.
#[derive(Clone)]
pub struct KernelOptions {
    /// The vault's options.
    pub vault: VaultOptions,
    /// The bounds.
    pub limits: RuntimeLimits,
}

/// What the parts of a kernel share.
pub(crate) struct Shared {
    pub(crate) vault: Vault,
    pub(crate) limits: RuntimeLimits,
    pub(crate) readers: Arc<Workers>,
    pub(crate) writers: Arc<Workers>,
    pub(crate) directory: Directory,
    pub(crate) letters: Arc<DeadLetters>,
    pub(crate) started: Instant,
    pub(crate) counters: Arc<Counters>,
    watch: OnceLock<Watch>,
    /// Hears of spaces that change or are opened.
    pub(crate) news: Arc<News>,
    supervisor: OnceLock<Supervisor>,
    facts: Topic<ActorFact>,
    governor: OnceLock<Handle<Governor>>,
    scheduler: OnceLock<Scheduler>,
    lifecycle: OnceLock<Lifecycle>,
    pub(crate) rules: Topic<RulesChanged>,
    rooms: Mutex<HashMap<SpaceName, Weak<Room>>>,
    /// The ways to close and drain the actors, by name.
    gates: Mutex<HashMap<String, Arc<dyn Gate>>>,
    closed: AtomicBool,
    counter: OnceCell<Counter>,
}

/// The gate of one actor of any kind.
trait Gate: Send + Sync {
    fn close(&self);
    fn queue(&self) -> (usize, usize);
    fn drained(self: Arc<Self>) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
}

impl<B: Behaviour> Gate for Home<B> {
    fn close(&self) {
        Home::close(self);
    }

    fn queue(&self) -> (usize, usize) {
        Home::queue(self)
    }

    fn drained(self: Arc<Self>) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move { Home::drained(&self).await })
    }
}

impl Shared {
    fn supervisor(&self) -> Result<&Supervisor> {
        self.supervisor.get().ok_or_else(|| Error::unavailable("the kernel is not open yet"))
    }

    pub(crate) fn governor(&self) -> Result<&Handle<Governor>> {
        self.governor.get().ok_or_else(|| Error::unavailable("the kernel is not open yet"))
    }

    fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::unavailable("the kernel is shut down; open it again"));
        }
        Ok(())
    }

    /// Lets a room be opened when there is place for one more space; `unlock` is done under the same lock.
    pub(crate) fn claim(&self, room: &Arc<Room>, unlock: impl FnOnce() -> bool) -> Result<bool> {
        self.check_open()?;
        let rooms = self.rooms.lock();
        let open = rooms.values().filter_map(Weak::upgrade).filter(|room| room.is_in_use()).count();
        if open >= self.limits.open_spaces {
            return Err(Error::new(
                ErrorKind::Busy,
                format!("{open} spaces are open, and `{}` must wait until one is idle; try again later", room.name()),
            ));
        }
        Ok(unlock())
    }

    /// Begins an actor under its name.
    pub(crate) async fn begin<B: Behaviour>(&self, home: Arc<Home<B>>, spec: ChildSpec<B>) -> Result<Handle<B>> {
        self.check_open()?;
        let handle = Handle::new(home.clone());
        self.directory.enter(&handle)?;
        self.gates.lock().insert(handle.name().to_owned(), home);
        let begun = self.supervisor()?.adopt(spec).await;
        if begun.is_err() {
            self.forget(handle.name());
        }
        begun.map(|()| handle)
    }

    fn end_watch(&self) {
        if let Some(watch) = self.watch.get() {
            watch.end();
        }
    }

    fn forget(&self, actor: &str) {
        self.directory.leave(actor);
        self.gates.lock().remove(actor);
    }

    /// Returns each actor, how many messages it has before it, and how many it may have.
    pub(crate) fn queues(&self) -> Vec<(String, usize, usize)> {
        let gates = self.gates.lock();
        let queue = |(name, gate): (&String, &Arc<dyn Gate>)| {
            let (taken, most) = gate.queue();
            (name.clone(), taken, most)
        };
        gates.iter().map(queue).collect()
    }

    /// Returns the names of the spaces that are open.
    pub(crate) fn open_spaces(&self) -> BTreeSet<String> {
        let rooms: Vec<Arc<Room>> = self.rooms.lock().values().filter_map(Weak::upgrade).collect();
        rooms.iter().filter(|room| room.is_open()).map(|room| room.name().to_string()).collect()
    }

    fn hear(&self, fact: ActorFact) {
        match &fact {
            ActorFact::Failed { actor, .. } => self.counters.actor(actor).restarted(),
            ActorFact::GivenUp { actor, .. } => self.counters.actor(actor).was_given_up(),
            ActorFact::Started { .. } | ActorFact::Stopped { .. } => {}
        }
        if let ActorFact::GivenUp { actor, .. } | ActorFact::Stopped { actor } = &fact {
            self.forget(actor);
            let rooms: Vec<Arc<Room>> = self.rooms.lock().values().filter_map(Weak::upgrade).collect();
            rooms.iter().filter(|room| room.actor_name() == *actor).for_each(|room| room.shut());
        }
        self.facts.publish(&fact);
    }

    fn room(self: &Arc<Self>, name: SpaceName) -> Arc<Room> {
        let mut rooms = self.rooms.lock();
        if let Some(room) = rooms.get(&name).and_then(Weak::upgrade) {
            return room;
        }
        rooms.retain(|_, room| room.strong_count() > 0);
        let room = Room::new(name.clone(), self.clone());
        rooms.insert(name, Arc::downgrade(&room));
        room
    }
}

/// Ends the kernel when the last handle to it is gone.
pub(crate) struct Life {
    shared: Arc<Shared>,
}

impl Life {
    pub(crate) fn readers(&self) -> &Workers {
        &self.shared.readers
    }

    pub(crate) fn governor(&self) -> Result<&Handle<Governor>> {
        self.shared.governor()
    }

    pub(crate) fn scheduler(&self) -> Option<&Scheduler> {
        self.shared.scheduler.get()
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.shared.end_watch();
        self.shared.closed.store(true, Ordering::Release);
        if let Some(supervisor) = self.shared.supervisor.get() {
            supervisor.stop_soon();
        }
    }
}

/// A running kernel. It is cheap to clone. When the last clone and the last handle to one of its spaces are dropped, it
/// ends; [`Kernel::shutdown`] ends it in order. What was acknowledged is durable either way.
#[derive(Clone)]
pub struct Kernel {
    life: Arc<Life>,
}

/// A kernel as its own actors name it: they do not keep it running.
#[derive(Clone)]
pub struct WeakKernel {
    life: Weak<Life>,
}

impl WeakKernel {
    /// Returns the kernel while it runs.
    pub fn upgrade(&self) -> Option<Kernel> {
        self.life.upgrade().map(|life| Kernel { life })
    }
}

impl Kernel {
    /// Returns a way to the kernel that does not keep it running.
    pub fn downgrade(&self) -> WeakKernel {
        WeakKernel { life: Arc::downgrade(&self.life) }
    }

    /// Opens the kernel over a folder, which is made if it is not there, with the built-in embedder and the default
    /// bounds. It lives on the tokio runtime in which it is opened, whose timers must be enabled.
    ///
    /// # Errors
    /// Those of [`Vault::open`]; `Unavailable` outside of a runtime.
    pub async fn open(root: impl Into<PathBuf>) -> Result<Self> {
        Self::begin(root.into(), RuntimeLimits::default(), VaultOptions::builtin).await
    }

    /// Opens the kernel over a folder.
    ///
    /// # Errors
    /// Those of [`Vault::open`].
    pub async fn open_with(root: impl Into<PathBuf>, options: KernelOptions) -> Result<Self> {
        let KernelOptions { vault, limits } = options;
        Self::begin(root.into(), limits, move || Ok(vault)).await
    }

    async fn begin(
        root: PathBuf,
        limits: RuntimeLimits,
        options: impl FnOnce() -> Result<VaultOptions> + Send + 'static,
    ) -> Result<Self> {
        tokio::runtime::Handle::try_current().map_err(|e| {
            let outside = "a kernel is opened within a tokio runtime; open it inside of `memos_runtime::block_on`";
            Error::unavailable(outside).with_source(e)
        })?;
        let readers = Workers::begin("read", limits.reader_threads, limits.reader_queue)?;
        let writers = Workers::begin("write", limits.writer_threads, limits.writer_queue)?;
        let folder = root.clone();
        let vault = writers.run(None, move || Vault::open(root, options()?)).await?;
        let shared = Arc::new(Shared {
            vault,
            readers,
            writers,
            directory: Directory::new(limits.names),
            letters: Arc::new(DeadLetters::new(limits.dead_letters)),
            started: Instant::now(),
            counters: Arc::default(),
            watch: OnceLock::new(),
            news: Arc::default(),
            supervisor: OnceLock::new(),
            facts: Topic::new(limits.topic_backlog, limits.topic_subscribers),
            governor: OnceLock::new(),
            scheduler: OnceLock::new(),
            lifecycle: OnceLock::new(),
            rules: Topic::new(limits.topic_backlog, limits.topic_subscribers),
            rooms: Mutex::default(),
            gates: Mutex::default(),
            closed: AtomicBool::new(false),
            counter: OnceCell::new(),
            limits,
        });
        let heard = Arc::downgrade(&shared);
        let tell = move |fact| {
            if let Some(shared) = heard.upgrade() {
                shared.hear(fact);
            }
        };
        let supervisor = Supervisor::begin(shared.limits.clone(), tell).await?;
        shared.supervisor.get_or_init(|| supervisor);
        shared.watch.get_or_init(|| Watch::begin(&folder, shared.limits.watchers, Meters::of(&shared)));
        let kernel = Self { life: Arc::new(Life { shared }) };
        let governed = Arc::downgrade(&kernel.life.shared);
        let begin = move |_| std::future::ready(Ok(Governor::new(governed.clone())));
        let governor = kernel.spawn("governance", begin).await?;
        kernel.life.shared.governor.get_or_init(|| governor);
        Ok(kernel)
    }

    /// Returns a space, which is opened, or begun when it is not there.
    ///
    /// # Errors
    /// `Invalid` when it is no name; `Busy` when too many spaces are open or another program has it; else those of
    /// [`Vault::space`].
    pub async fn space(&self, name: &str) -> Result<SpaceHandle> {
        let shared = &self.life.shared;
        shared.check_open()?;
        let room = shared.room(name.parse()?);
        room.visit().await?.1.touch();
        Ok(SpaceHandle::new(room, self.life.clone()))
    }

    /// Returns a space if it is open at the moment.
    pub(crate) fn open_space(&self, name: &SpaceName) -> Option<SpaceHandle> {
        let room = self.life.shared.rooms.lock().get(name).and_then(Weak::upgrade);
        room.filter(|room| room.is_open()).map(|room| SpaceHandle::new(room, self.life.clone()))
    }

    /// Returns the names of the spaces that are open at the moment.
    pub(crate) fn open_spaces(&self) -> Vec<SpaceName> {
        let rooms: Vec<Arc<Room>> = self.life.shared.rooms.lock().values().filter_map(Weak::upgrade).collect();
        rooms.iter().filter(|room| room.is_open()).map(|room| room.name().clone()).collect()
    }

    /// Lets the memory of its spaces evolve from now on: workers merge, resolve, summarise, reflect, link and sweep beside all else.
    ///
    /// # Errors
    /// `Conflict` when it does already.
    pub async fn evolve(&self, evolution: Evolution) -> Result<Lifecycle> {
        let lifecycle = Lifecycle::begin(self, evolution).await?;
        Ok(self.life.shared.lifecycle.get_or_init(|| lifecycle).clone())
    }

    /// Returns the workers, once they are begun.
    pub fn lifecycle(&self) -> Option<&Lifecycle> {
        self.life.shared.lifecycle.get()
    }

    /// Lets MemScheduler decide from now on in which form memory is loaded. It is told of every recall.
    ///
    /// # Errors
    /// Those of [`Scheduler::begin`].
    pub async fn schedule(&self, options: SchedulerOptions, maker: Option<Arc<dyn FormMaker>>) -> Result<Scheduler> {
        let scheduler = Scheduler::begin(self, options, maker).await?;
        Ok(self.life.shared.scheduler.get_or_init(|| scheduler).clone())
    }

    /// Returns MemScheduler, once it is begun.
    pub fn scheduler(&self) -> Option<&Scheduler> {
        self.life.scheduler()
    }

    /// Returns where changes are told.
    pub(crate) fn news(&self) -> Arc<News> {
        self.life.shared.news.clone()
    }

    /// Returns MemStore, which is begun with its first use.
    ///
    /// # Errors
    /// `Unavailable` when the kernel is shut down.
    pub async fn store(&self) -> Result<MemStore> {
        let counter = self.life.shared.counter.get_or_try_init(|| Counter::begin(self)).await?;
        Ok(MemStore::new(self.clone(), counter.clone()))
    }

    /// Begins an actor under a name of its own. `begin` makes its state, the first time and whenever it is begun again;
    /// it is told how many times that was.
    ///
    /// # Errors
    /// `Conflict` when the name is taken; `Busy` when there are too many; else what `begin` returns.
    pub async fn spawn<B: Behaviour, F>(
        &self,
        name: &str,
        begin: impl Fn(u64) -> F + Send + Sync + 'static,
    ) -> Result<Handle<B>>
    where
        F: Future<Output = Result<B>> + Send + 'static,
    {
        self.spawn_with_note(name, begin, || None).await
    }

    /// Begins an actor that tells itself something first.
    pub(crate) async fn spawn_with_note<B: Behaviour, F>(
        &self,
        name: &str,
        begin: impl Fn(u64) -> F + Send + Sync + 'static,
        first_note: impl Fn() -> Option<B::Note> + Send + Sync + 'static,
    ) -> Result<Handle<B>>
    where
        F: Future<Output = Result<B>> + Send + 'static,
    {
        let shared = &self.life.shared;
        let meter = shared.counters.actor(name);
        let home = Home::new(name.to_owned(), shared.limits.mailbox, shared.letters.clone(), meter);
        let spec = ChildSpec {
            home: home.clone(),
            begin: Box::new(move |generation| Box::pin(begin(generation))),
            first_note: Box::new(first_note),
            tasks: shared.limits.actor_tasks,
        };
        shared.begin(home, spec).await
    }

    /// Stops an actor, when what it was sent is handled or the deadline has passed.
    ///
    /// # Errors
    /// `NotFound` when there is none of this name; `Deadline` when it was stopped with messages before it.
    pub async fn stop(&self, actor: &str, deadline: Duration) -> Result<()> {
        let until = Instant::now() + deadline;
        let gate = self.life.shared.gates.lock().get(actor).cloned();
        let gate = gate.ok_or_else(|| Error::not_found(format!("there is no actor `{actor}`")))?;
        gate.close();
        let drained = timeout_at(until, gate.drained()).await;
        self.life.shared.supervisor()?.stop_child(actor).await?;
        drained.map_err(|_| late(&[actor.to_owned()]))
    }

    /// Returns the names of its actors.
    pub fn directory(&self) -> &Directory {
        &self.life.shared.directory
    }

    /// Returns the messages that were sent and not handled.
    pub fn dead_letters(&self) -> &DeadLetters {
        &self.life.shared.letters
    }

    /// Hears what becomes of its actors from now on.
    ///
    /// # Errors
    /// `Busy` when it has as many subscribers as it may.
    pub fn facts(&self) -> Result<Subscription<ActorFact>> {
        self.life.shared.facts.subscribe()
    }

    /// Hears of every change of a space's rules from now on.
    ///
    /// # Errors
    /// `Busy` when it has as many subscribers as it may.
    pub fn rule_changes(&self) -> Result<Subscription<RulesChanged>> {
        self.life.shared.rules.subscribe()
    }

    /// Returns its meters.
    pub fn meters(&self) -> Meters {
        Meters::of(&self.life.shared)
    }

    /// Returns the socket by which other programs look at its meters.
    ///
    /// # Errors
    /// `Unavailable`, saying why there is none.
    pub fn watch_socket(&self) -> Result<PathBuf> {
        let watch = self.life.shared.watch.get().ok_or_else(|| Error::unavailable("the kernel is not open yet"))?;
        watch.socket()
    }

    /// Returns the bounds.
    pub fn limits(&self) -> &RuntimeLimits {
        &self.life.shared.limits
    }

    /// Ends the kernel: takes nothing more, waits until what was taken is done, then stops. It is not open any more
    /// when this returns, whatever it returns.
    ///
    /// # Errors
    /// `Deadline` when not all was done in time, naming whose work was cut off.
    pub async fn shutdown(&self, deadline: Duration) -> Result<()> {
        let until = Instant::now() + deadline;
        let shared = &self.life.shared;
        if let Some(scheduler) = shared.scheduler.get() {
            // What it holds is worth little, and is written if there is time.
            let _ = timeout_at(until, scheduler.settle()).await;
        }
        shared.closed.store(true, Ordering::Release);
        shared.end_watch();
        let gates: Vec<(String, Arc<dyn Gate>)> =
            shared.gates.lock().iter().map(|(name, gate)| (name.clone(), gate.clone())).collect();
        // All gates before any wait, so that all drain at once.
        gates.iter().for_each(|(_, gate)| gate.close());
        let mut cut_off = Vec::new();
        for (name, gate) in &gates {
            if timeout_at(until, gate.clone().drained()).await.is_err() {
                cut_off.push(name.clone());
            }
        }
        shared.readers.close();
        if timeout_at(until, shared.readers.ended()).await.is_err() {
            cut_off.push("readers".to_owned());
        }
        let supervisor = shared.supervisor()?;
        for (name, _) in &gates {
            // A handler cannot wait, so an actor stops as soon as its thread comes to it.
            supervisor.stop_child(name).await?;
        }
        supervisor.stop().await;
        let rooms: Vec<Arc<Room>> = shared.rooms.lock().values().filter_map(Weak::upgrade).collect();
        rooms.iter().for_each(|room| room.shut());
        // What is open goes to the writers to be closed, so they end last.
        drop(rooms);
        shared.writers.close();
        if timeout_at(until, shared.writers.ended()).await.is_err() {
            cut_off.push("writers".to_owned());
        }
        if cut_off.is_empty() { Ok(()) } else { Err(late(&cut_off)) }
    }
}

fn late(cut_off: &[String]) -> Error {
    let names: Vec<String> = cut_off.iter().map(|name| format!("`{name}`")).collect();
    Error::new(
        ErrorKind::Deadline,
        format!("the deadline passed before {} had done all they were sent", names.join(", ")),
    )
}

//! The house: a kernel with its scheduler, its lifecycle workers and MemStore, a clock that the story moves, and agents who
//! ask, remember and correct.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use memos::evolve::Job;
use memos::governance::CUSTODIAN;
use memos::prelude::*;
use memos::runtime::scheduler::SchedulerLimits;
use memos::time::Clock;

/// The rules of the house.
const CHARTER: &str = include_str!("charter.toml");
/// When the story begins.
const BEGINS: &str = "2026-05-08T15:00:00Z";

/// A clock that stands until it is moved, so that a month passes at once and every run tells the same times.
struct HouseClock(AtomicI64);

impl Clock for HouseClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// What is told, line by line as it happens.
#[derive(Default)]
pub(crate) struct Telling(Mutex<Vec<String>>);

impl Telling {
    /// Begins an act.
    pub(crate) fn act(&self, title: &str) {
        self.line("");
        self.line(title);
    }

    /// Tells what somebody did.
    pub(crate) fn tell(&self, who: &str, did: &str, what: impl AsRef<str>) {
        let name = who.split_once(':').map_or(who, |(_, name)| name);
        self.line(&format!("  {name:<11} {did:<11} {}", what.as_ref()));
    }

    /// Tells of a receipt: what was found, and by whose leave.
    pub(crate) fn receipt(&self, who: &str, receipt: &Receipt) {
        let Receipt { cube, version, text, decision, .. } = receipt;
        self.tell(who, "finds", format!("{text}  {}, version {version}: {}", short(cube), decision.rule));
    }

    fn line(&self, line: &str) {
        println!("{line}");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned());
    }

    /// Returns all that was told.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Names a cube by the end of its id.
pub(crate) fn short(cube: &CubeId) -> String {
    let id = cube.to_string();
    format!("·{}", id.get(id.len().saturating_sub(8)..).unwrap_or(&id))
}

/// The guesthouse.
pub(crate) struct House {
    pub(crate) kernel: Kernel,
    /// What the agents of the house remember together.
    pub(crate) memory: SpaceHandle,
    pub(crate) scheduler: Scheduler,
    pub(crate) lifecycle: Lifecycle,
    /// What the workers do, heard from the beginning.
    pub(crate) worked: tokio::sync::Mutex<Subscription<Worked>>,
    pub(crate) telling: Arc<Telling>,
    clock: Arc<HouseClock>,
}

impl House {
    /// Opens a house without a past.
    pub(crate) async fn open(folder: &Path) -> memos::Result<Self> {
        let clock = Arc::new(HouseClock(AtomicI64::new(BEGINS.parse::<Timestamp>()?.as_millis())));
        let vault = VaultOptions { clock: clock.clone(), ..VaultOptions::builtin()? };
        let kernel = Kernel::open_with(folder, KernelOptions { vault, limits: RuntimeLimits::default() }).await?;

        // The scheduler looks after a task at once; it works by the same clock. Without an engine it plans text alone.
        let limits = SchedulerLimits { look_after: Duration::ZERO, ..SchedulerLimits::default() };
        let options = SchedulerOptions { limits, clock: clock.clone(), ..SchedulerOptions::default() };
        let scheduler = kernel.schedule(options, None).await?;

        // Two of the jobs begin by themselves, as soon as nothing has changed for a moment.
        let jobs = [Job::Merge, Job::Contradictions].into();
        let evolution = Evolution { jobs, quiet: Duration::from_millis(20), ..Evolution::default() };
        let lifecycle = kernel.evolve(evolution).await?;
        let worked = tokio::sync::Mutex::new(lifecycle.facts()?);

        let memory = kernel.space("harbour/house").await?;
        let ada = Principal::new("user:ada".parse()?).with_role(CUSTODIAN);
        memory.set_charter(ada, Some(CHARTER)).await?;
        Ok(Self { kernel, memory, scheduler, lifecycle, worked, telling: Arc::default(), clock })
    }

    /// Lets time pass.
    pub(crate) fn passes(&self, time: Duration) {
        self.clock.0.fetch_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Returns the present moment.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns an agent of the house at work on a task. Its groups are those of the charter, whatever it says of itself.
    pub(crate) fn agent(&self, name: &str, task: &str) -> memos::Result<Agent> {
        Ok(self.agent_as(Principal::new(name.parse()?).in_task(task)))
    }

    /// Returns whoever it is, at the memory of the house.
    pub(crate) fn agent_as(&self, principal: Principal) -> Agent {
        self.agent_at(&self.memory, principal)
    }

    /// Returns whoever it is, at a memory of this kernel.
    pub(crate) fn agent_at(&self, space: &SpaceHandle, principal: Principal) -> Agent {
        let session = space.session(principal);
        Agent { session, telling: self.telling.clone() }
    }
}

/// One agent with its session. Clones are the same agent.
#[derive(Clone)]
pub(crate) struct Agent {
    pub(crate) session: Session,
    telling: Arc<Telling>,
}

impl Agent {
    /// Returns the agent's name.
    pub(crate) fn name(&self) -> &str {
        self.session.principal().id.as_str()
    }

    /// Tells what the agent did.
    pub(crate) fn tell(&self, did: &str, what: impl AsRef<str>) {
        self.telling.tell(self.name(), did, what);
    }

    /// Asks for memories with a tag. The scheduler is told what the answer used, and keeps it at hand for the task.
    pub(crate) async fn ask(&self, question: &str, tag: &str) -> memos::Result<(MemoryCall, Answer)> {
        let (question, tags) = (question.to_owned(), vec![tag.to_owned()]);
        let read = self.session.work(move |space, asking| {
            let bare = MemoryCall { tags, memories: 4, ..MemoryCall::new(asking.clone(), question, space.now()) };
            read_question(&[space], bare)
        });
        let call = read.await?;
        let answer = self.session.recall(call.clone()).await?;
        Ok((call, answer))
    }

    /// Asks again whenever the memory changes, until there are so many memories with the tag.
    pub(crate) async fn wait_for(&self, question: &str, tag: &str, memories: usize) -> memos::Result<Vec<Receipt>> {
        let mut changes = self.session.space().changes()?;
        loop {
            let receipts = self.ask(question, tag).await?.1.receipts;
            if receipts.len() >= memories {
                receipts.iter().for_each(|receipt| self.telling.receipt(self.name(), receipt));
                return Ok(receipts);
            }
            changes.next().await.ok_or_else(|| Error::unavailable("the memory was closed"))?;
        }
    }

    /// Remembers something, for the agent's task, and links it to what it was made from.
    pub(crate) async fn remember(&self, draft: CubeDraft) -> memos::Result<CubeId> {
        let text = draft.payload.as_text().unwrap_or_default().to_owned();
        let task = self.session.principal().context.task.clone();
        let (cube, mut batch) = (self.session.new_id().await?, Batch::default());
        let sources: Vec<CubeId> = draft.derived_from.iter().map(|source| source.cube).collect();
        batch.store(cube, CubeDraft { task, ..draft });
        for source in sources {
            batch.link(Link { from: cube, kind: LinkKind::DerivedFrom, to: source });
        }
        self.session.commit(batch).await?;
        self.tell("remembers", format!("{text}  {}", short(&cube)));
        Ok(cube)
    }
}

/// Waits for an agent that works on its own.
pub(crate) async fn done<T>(work: tokio::task::JoinHandle<memos::Result<T>>) -> memos::Result<T> {
    work.await.map_err(|e| Error::unavailable(format!("an agent failed: {e}")).with_source(e))?
}

/// Refuses what the story would not have happened without.
pub(crate) fn expected<T>(what: Option<T>, name: &str) -> memos::Result<T> {
    what.ok_or_else(|| Error::not_found(format!("the story has no {name}")))
}

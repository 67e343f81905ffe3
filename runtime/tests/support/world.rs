//! A machine for kernels: a disk that forgets what was not flushed when its power goes, a clock, and ids and keys that
//! follow from a seed. Processes come and go on it.
#![allow(dead_code)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use memos_memory::Result;
use memos_memory::cube::SeededIds;
use memos_memory::governance::{Policy, Principal};
use memos_memory::keys::SeededEntropy;
use memos_memory::ledger::{Event, Ledger, LedgerOptions};
use memos_memory::limits::Limits;
use memos_memory::time::{Clock, Timestamp};
use memos_memory::vault::{MasterKeySource, Vault, VaultOptions};
use memos_runtime::{Kernel, KernelOptions, RuntimeLimits};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::faulty_disk::{Fault, FaultyDisk, Plan};
use crate::seeded::{START, WordEmbedder};

/// The folder of all spaces.
pub(crate) const ROOT: &str = "/vault";

/// How long a process may take before it is said to stand still. When nothing moves, the clock of an exact run jumps there.
const LONGEST: Duration = Duration::from_secs(48 * 3600);
const LONGEST_IN_THREADS: Duration = Duration::from_secs(60);

/// How a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// In one thread, on a clock that moves when nothing else does: the same seed gives the same run.
    Exact,
    /// In several threads, in which the machine decides what comes first.
    Threads,
}

/// The world's clock: it goes on where it stood when the process before it ended.
#[derive(Default)]
pub(crate) struct WorldClock(Mutex<(i64, Option<Instant>)>);

impl WorldClock {
    /// Milliseconds since the world began.
    pub(crate) fn elapsed(&self) -> i64 {
        let (before, since) = *self.0.lock().unwrap();
        before + since.map_or(0, |since| since.elapsed().as_millis() as i64)
    }

    fn begin(&self) {
        self.0.lock().unwrap().1 = Some(Instant::now());
    }

    fn stop(&self) {
        let elapsed = self.elapsed();
        *self.0.lock().unwrap() = (elapsed, None);
    }
}

impl Clock for WorldClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(START + self.elapsed())
    }
}

pub(crate) struct World {
    pub(crate) mode: Mode,
    pub(crate) disk: FaultyDisk,
    pub(crate) clock: Arc<WorldClock>,
    pub(crate) ids: Arc<SeededIds>,
    entropy: Arc<SeededEntropy>,
    policy: Arc<dyn Policy>,
}

impl World {
    pub(crate) fn new(mode: Mode, seed: u64, policy: Arc<dyn Policy>) -> Self {
        Self {
            mode,
            disk: FaultyDisk::new(None),
            clock: Arc::default(),
            ids: Arc::new(SeededIds::new(seed)),
            entropy: Arc::new(SeededEntropy::new(seed)),
            policy,
        }
    }

    /// Returns what a vault works with here. Small, so that some bodies go into files and the store reads its pages again.
    pub(crate) fn vault_options(&self) -> VaultOptions {
        VaultOptions {
            embedder: Arc::new(WordEmbedder::new(1)),
            policy: self.policy.clone(),
            clock: self.clock.clone(),
            ids: self.ids.clone(),
            disk: Arc::new(self.disk.clone()),
            master_key: MasterKeySource::Folder,
            entropy: self.entropy.clone(),
            limits: Limits { inline_body_bytes: 300, open_wait_millis: 0, ..Limits::default() },
        }
    }

    /// Opens a kernel. In the exact mode it has no threads.
    pub(crate) async fn kernel(&self, limits: RuntimeLimits) -> Result<Kernel> {
        let threads = if self.mode == Mode::Exact { 0 } else { 2 };
        let limits = RuntimeLimits { reader_threads: threads, writer_threads: threads, ..limits };
        Kernel::open_with(ROOT, KernelOptions { vault: self.vault_options(), limits }).await
    }

    /// Runs one process, until its work ends. What is left of it is dropped then, wherever it stands.
    pub(crate) fn process<T>(&self, work: impl Future<Output = T>) -> T {
        let runtime = self.runtime();
        let done = runtime.block_on(async {
            self.clock.begin();
            let longest = if self.mode == Mode::Exact { LONGEST } else { LONGEST_IN_THREADS };
            let done = tokio::time::timeout(longest, work).await;
            self.clock.stop();
            done.unwrap_or_else(|_| panic!("the process stands still"))
        });
        drop(runtime);
        done
    }

    fn runtime(&self) -> Runtime {
        match self.mode {
            Mode::Exact => Builder::new_current_thread().enable_time().start_paused(true).build(),
            Mode::Threads => Builder::new_multi_thread().worker_threads(2).enable_time().build(),
        }
        .unwrap()
    }

    /// Takes the power away, so that nothing is written any more, and returns the world of the next process: what was not
    /// flushed is there in part or not at all.
    pub(crate) fn after_power_cut(&self, seed: u64) -> Self {
        self.disk.plan(Plan { fault: Fault::Broken, at: 0, lasting: true });
        let disk = FaultyDisk::over(self.disk.power_cut(seed), None);
        let (clock, ids, entropy) = (self.clock.clone(), self.ids.clone(), self.entropy.clone());
        Self { mode: self.mode, disk, clock, ids, entropy, policy: self.policy.clone() }
    }

    /// Opens the vault without a kernel.
    pub(crate) fn vault(&self) -> Vault {
        Vault::open(ROOT, self.vault_options()).unwrap()
    }

    /// Reads the ledger of a space that is not open.
    pub(crate) fn ledger(&self, space: &str) -> Vec<Event> {
        use memos_memory::keys::{KeyRing, MasterKey};
        let options = self.vault_options();
        let folder = std::path::Path::new(ROOT).join(space);
        let ring = |_| {
            let master = MasterKey::read(&*options.disk, &std::path::Path::new(ROOT).join("master.key"))?;
            let file = folder.join("keys.ring");
            KeyRing::open(options.disk.clone(), &file, &master, space, options.entropy.clone()).map(Arc::new)
        };
        let ledger = LedgerOptions { disk: options.disk.clone(), sealed: true, limits: options.limits.clone() };
        let ledger = Ledger::open(&folder, ledger, ring, |origin| panic!("it is no fork of {origin}")).unwrap();
        let reader = ledger.readers().reader().unwrap();
        (0..ledger.head().events).map(|sequence| reader.event(sequence).unwrap()).collect()
    }
}

/// Returns a principal in groups.
pub(crate) fn principal(name: &str, groups: &[&str]) -> Principal {
    groups
        .iter()
        .fold(Principal::new(name.parse().unwrap()), |principal, group| principal.in_group(group.parse().unwrap()))
}

//! The spaces of a kernel: order, durability, idempotency, restarts, unloading.

use std::io::Result as Done;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use memos_memory::cube::{CubeDraft, CubeId, SemanticType};
use memos_memory::disk::{Disk, DiskFile, MemoryDisk};
use memos_memory::error::ErrorKind;
use memos_memory::governance::Principal;
use memos_memory::operator::MemoryCall;
use memos_memory::vault::{Batch, VaultOptions};
use tempfile::TempDir;

use super::{Changed, ReadPoint, Session, SpaceHandle};
use crate::actor::{ActorFact, Heard, Subscription, Undelivered};
use crate::{Kernel, KernelOptions, RuntimeLimits};

const LONG: Duration = Duration::from_secs(60);

fn limits() -> RuntimeLimits {
    RuntimeLimits { writer_threads: 1, reader_threads: 1, ..RuntimeLimits::default() }
}

async fn kernel(limits: RuntimeLimits) -> (Kernel, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (kernel_at(folder.path(), limits).await, folder)
}

async fn kernel_at(folder: &Path, limits: RuntimeLimits) -> Kernel {
    let vault = VaultOptions::builtin().unwrap();
    Kernel::open_with(folder, KernelOptions { vault, limits }).await.unwrap()
}

fn ada() -> Principal {
    Principal::new("user:ada".parse().unwrap())
}

fn draft(text: &str) -> CubeDraft {
    CubeDraft::text(SemanticType::Fact, text)
}

async fn space_of(kernel: &Kernel) -> (SpaceHandle, Session) {
    let space = kernel.space("acme/support").await.unwrap();
    let session = space.session(ada());
    (space, session)
}

async fn batch_of(session: &Session, text: &str) -> (CubeId, Batch) {
    let (id, mut batch) = (session.new_id().await.unwrap(), Batch::default());
    batch.store(id, draft(text));
    (id, batch)
}

async fn heard(facts: &mut Subscription<ActorFact>, wanted: impl Fn(&ActorFact) -> bool) {
    loop {
        match facts.next().await.unwrap() {
            Heard::Fact(fact) if wanted(&fact) => return,
            _ => {}
        }
    }
}

/// Keeps the one writer thread busy until it is let go.
fn occupy(session: &Session) -> mpsc::Sender<()> {
    let (let_go, held) = mpsc::channel::<()>();
    let (here, arrived) = mpsc::channel();
    session.space.room.write(move || {
        here.send(()).unwrap();
        // Ends when the test drops its end.
        let _ = held.recv();
    });
    arrived.recv().unwrap();
    let_go
}

#[tokio::test]
async fn what_is_remembered_is_recalled() {
    let (kernel, _folder) = kernel(limits()).await;
    let (space, session) = space_of(&kernel).await;
    let id = session.remember(draft("Bo is allergic to peanuts")).await.unwrap();
    assert_eq!(session.get(&id).await.unwrap().0.payload.as_text(), Some("Bo is allergic to peanuts"));
    assert_eq!(session.ask("What is Bo allergic to?").await.unwrap().receipts[0].cube, id);
    // A call is made in the session's name, whatever it says.
    let stranger = Principal::new("user:eve".parse().unwrap());
    let call = MemoryCall::new(ada(), "What is Bo allergic to?", memos_memory::time::Timestamp::from_millis(0));
    assert!(space.session(stranger).recall(call).await.unwrap().receipts.is_empty());
    assert_eq!(kernel.directory().names(), ["governance", "writer:acme/support"]);
    kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn batches_are_written_in_the_order_in_which_they_came() {
    let (kernel, _folder) = kernel(limits()).await;
    let (space, session) = space_of(&kernel).await;
    let mut changes = space.changes().unwrap();
    let let_go = occupy(&session);
    let mut asked = Vec::new();
    for number in 0..20 {
        let (id, batch) = batch_of(&session, &format!("note {number}")).await;
        let session = session.clone();
        asked.push((id, tokio::spawn(async move { session.commit(batch).await })));
        tokio::task::yield_now().await;
    }
    drop(let_go);
    let mut last = 0;
    for (id, asked) in asked {
        let committed = asked.await.unwrap().unwrap();
        assert!(committed.first_event > last);
        last = committed.first_event;
        let Some(Heard::Fact(Changed { reached, stored })) = changes.next().await else { panic!("nothing was told") };
        assert_eq!((reached, stored[0].cube), (ReadPoint::after(last + 1), id));
    }
    kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn callers_who_wait_share_a_flush() {
    let flushes = Arc::<AtomicUsize>::default();
    let disk = Arc::new(CountingDisk { disk: MemoryDisk::default(), flushes: flushes.clone() });
    let vault = VaultOptions { disk, ..VaultOptions::builtin().unwrap() };
    let kernel = Kernel::open_with("nowhere", KernelOptions { vault, limits: limits() }).await.unwrap();
    let (_space, session) = space_of(&kernel).await;
    session.remember(draft("the first makes the ring of keys")).await.unwrap();
    let flushes_of = async |callers: usize| {
        let let_go = occupy(&session);
        let before = flushes.load(Ordering::SeqCst);
        let mut asked = Vec::new();
        for number in 0..callers {
            let session = session.clone();
            asked.push(tokio::spawn(async move { session.remember(draft(&format!("note {number}"))).await }));
        }
        tokio::task::yield_now().await;
        drop(let_go);
        for asked in asked {
            asked.await.unwrap().unwrap();
        }
        flushes.load(Ordering::SeqCst) - before
    };
    let one = flushes_of(1).await;
    assert!(one > 0);
    // The first goes at once; all who come meanwhile go together.
    assert_eq!(flushes_of(50).await, 2 * one);
    kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn spaces_are_recalled_together() {
    let (kernel, _folder) = kernel(limits()).await;
    let (_space, session) = space_of(&kernel).await;
    let other = kernel.space("acme/kitchen").await.unwrap();
    let here = session.remember(draft("the kettle is blue")).await.unwrap();
    let there = other.session(ada()).remember(draft("the other kettle is red")).await.unwrap();
    let call = MemoryCall::new(ada(), "Which colour has the kettle?", memos_memory::time::Timestamp::from_millis(0));
    let answer = session.recall_across(&[other], call).await.unwrap();
    let mut found: Vec<_> = answer.receipts.iter().map(|receipt| receipt.cube).collect();
    found.sort();
    assert_eq!(found, [here, there]);
    kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn a_refused_batch_takes_no_other_with_it() {
    let (kernel, _folder) = kernel(limits()).await;
    let (_space, session) = space_of(&kernel).await;
    let let_go = occupy(&session);
    let asked: Vec<_> = ["good", "", "fine"]
        .map(|text| {
            let session = session.clone();
            let mut draft = draft(text);
            if text.is_empty() {
                draft.title = "x".repeat(100_000);
            }
            tokio::spawn(async move { session.remember(draft).await.map_err(|error| error.kind()) })
        })
        .into();
    tokio::task::yield_now().await;
    drop(let_go);
    let mut outcomes = Vec::new();
    for asked in asked {
        outcomes.push(asked.await.unwrap().map(|_| ()));
    }
    assert_eq!(outcomes, [Ok(()), Err(ErrorKind::Invalid), Ok(())]);
    kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn readers_do_not_wait_for_the_writer() {
    let (kernel, _folder) = kernel(limits()).await;
    let (_space, session) = space_of(&kernel).await;
    let id = session.remember(draft("the kettle is blue")).await.unwrap();
    let let_go = occupy(&session);
    let (_, batch) = batch_of(&session, "it waits").await;
    let writing = tokio::spawn({
        let session = session.clone();
        async move { session.commit(batch).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(session.get(&id).await.unwrap().0.header.id, id);
    assert_eq!(session.ask("Which colour has the kettle?").await.unwrap().receipts[0].cube, id);
    assert!(!writing.is_finished());
    drop(let_go);
    writing.await.unwrap().unwrap();
    kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn a_session_sees_what_it_is_told_to_see() {
    let (kernel, _folder) = kernel(limits()).await;
    let (space, session) = space_of(&kernel).await;
    let id = session.remember(draft("a")).await.unwrap();
    let point = session.point();
    let other = space.session(ada()).after(point);
    assert_eq!((other.point(), other.get(&id).await.unwrap().0.header.id), (point, id));
    let ahead = other.after(ReadPoint::after(1000));
    assert_eq!(ahead.get(&id).await.unwrap_err().kind(), ErrorKind::Unavailable);
    kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn a_key_is_answered_as_the_first_time() {
    let limits = RuntimeLimits { idempotency_keys: 2, ..limits() };
    let (kernel, _folder) = kernel(limits).await;
    let (space, session) = space_of(&kernel).await;
    let keyed = |key: &str| session.clone().with_key(key).unwrap();
    let first = keyed("one").remember(draft("a")).await.unwrap();
    assert_eq!(keyed("one").remember(draft("a")).await.unwrap(), first);
    // It is the principal's own.
    let eve = space.session(Principal::new("user:eve".parse().unwrap())).with_key("one").unwrap();
    assert_ne!(eve.remember(draft("a")).await.unwrap(), first);
    // So is a refusal, which another try would not change.
    let mut refused = draft("b");
    refused.title = "x".repeat(100_000);
    assert_eq!(keyed("two").remember(refused).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(keyed("two").remember(draft("b")).await.unwrap_err().kind(), ErrorKind::Invalid);
    // Two are at hand, and the third is found in the ledger.
    assert_eq!(keyed("one").remember(draft("a")).await.unwrap(), first);
    for (key, is_good) in [("", false), ("k", true), (&*"k".repeat(257), false)] {
        assert_eq!(session.clone().with_key(key).is_ok(), is_good);
    }
    kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn a_key_that_is_asked_twice_at_once_is_written_once() {
    let (kernel, _folder) = kernel(limits()).await;
    let (_space, session) = space_of(&kernel).await;
    let session = session.with_key("one").unwrap();
    let let_go = occupy(&session);
    let asked = [0; 8].map(|_| {
        let session = session.clone();
        tokio::spawn(async move { session.remember(draft("a")).await.unwrap() })
    });
    tokio::task::yield_now().await;
    drop(let_go);
    let mut ids = Vec::new();
    for asked in asked {
        ids.push(asked.await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn a_writer_that_died_knows_what_it_wrote() {
    let (kernel, _folder) = kernel(limits()).await;
    let mut facts = kernel.facts().unwrap();
    let (space, session) = space_of(&kernel).await;
    let keyed = session.clone().with_key("one").unwrap();
    let before = keyed.remember(draft("the kettle is blue")).await.unwrap();
    space.fail_writer(ada(), "a test").await.unwrap();
    heard(&mut facts, |fact| matches!(fact, ActorFact::Started { generation: 1, .. })).await;
    assert_eq!(keyed.remember(draft("the kettle is blue")).await.unwrap(), before);
    assert_eq!(session.get(&before).await.unwrap().0.header.id, before);
    session.remember(draft("the pot is red")).await.unwrap();
    kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn callers_of_a_writer_that_dies_wait_for_the_next() {
    let (kernel, _folder) = kernel(limits()).await;
    let (space, session) = space_of(&kernel).await;
    for round in 0..3 {
        space.fail_writer(ada(), "a test").await.unwrap();
        let asked: Vec<_> = (0..10)
            .map(|number| {
                let session = session.clone().with_key(&format!("{round} {number}")).unwrap();
                tokio::spawn(async move {
                    loop {
                        match session.remember(draft("a")).await {
                            Err(error) if error.kind() == ErrorKind::Unavailable => {}
                            outcome => return outcome.unwrap(),
                        }
                    }
                })
            })
            .collect();
        for asked in asked {
            let id = asked.await.unwrap();
            session.get(&id).await.unwrap();
        }
    }
    kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn an_idle_space_is_let_go_of_and_comes_back() {
    let limits = RuntimeLimits { idle: Duration::from_millis(2), open_spaces: 1, ..limits() };
    let (kernel, _folder) = kernel(limits).await;
    let mut facts = kernel.facts().unwrap();
    let (space, session) = space_of(&kernel).await;
    let id = session.remember(draft("a")).await.unwrap();
    for _ in 0..3 {
        heard(&mut facts, |fact| matches!(fact, ActorFact::Stopped { .. })).await;
        assert!(!space.is_open() && kernel.directory().names() == ["governance"]);
        // The handle stays good.
        assert_eq!(session.get(&id).await.unwrap().0.header.id, id);
    }
    kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn open_spaces_are_bounded() {
    let (kernel, _folder) = kernel(RuntimeLimits { open_spaces: 1, ..limits() }).await;
    let (_space, session) = space_of(&kernel).await;
    assert_eq!(kernel.space("acme/other").await.err().unwrap().kind(), ErrorKind::Busy);
    assert_eq!(kernel.space("no name").await.err().unwrap().kind(), ErrorKind::Invalid);
    session.remember(draft("a")).await.unwrap();
    kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn a_space_that_cannot_be_opened_says_why() {
    let (first, folder) = kernel(limits()).await;
    let (_space, session) = space_of(&first).await;
    let mut options = VaultOptions::builtin().unwrap();
    options.limits.open_wait_millis = 1;
    let second = Kernel::open_with(folder.path(), KernelOptions { vault: options, limits: limits() }).await.unwrap();
    for _ in 0..2 {
        assert_eq!(second.space("acme/support").await.err().unwrap().kind(), ErrorKind::Busy);
    }
    assert_eq!(second.directory().names(), ["governance"]);
    session.remember(draft("a")).await.unwrap();
    first.shutdown(LONG).await.unwrap();
    second.space("acme/support").await.unwrap();
    second.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn kernels_do_not_see_each_other() {
    let ((one, _one), (two, _two)) = (kernel(limits()).await, kernel(limits()).await);
    let ((_, mine), (_, theirs)) = (space_of(&one).await, space_of(&two).await);
    assert_eq!(one.directory().names(), two.directory().names());
    let id = mine.remember(draft("a")).await.unwrap();
    assert_eq!(theirs.get(&id).await.unwrap_err().kind(), ErrorKind::NotFound);
    one.shutdown(LONG).await.unwrap();
    theirs.remember(draft("b")).await.unwrap();
    two.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn an_end_in_order_does_what_was_taken() {
    let (kernel, folder) = kernel(limits()).await;
    let (_space, session) = space_of(&kernel).await;
    let let_go = occupy(&session);
    let asked: Vec<_> = (0..30)
        .map(|number| {
            let session = session.clone();
            tokio::spawn(async move { session.remember(draft(&format!("note {number}"))).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let ending = tokio::spawn({
        let kernel = kernel.clone();
        async move { kernel.shutdown(LONG).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(kernel.space("acme/support").await.err().unwrap().kind(), ErrorKind::Unavailable);
    drop(let_go);
    ending.await.unwrap().unwrap();
    let mut kept = Vec::new();
    for asked in asked {
        kept.push(asked.await.unwrap().unwrap());
    }
    assert_eq!(session.remember(draft("late")).await.unwrap_err().kind(), ErrorKind::Unavailable);
    // The folder is free for the next.
    let next = kernel_at(folder.path(), limits()).await;
    let (_space, session) = space_of(&next).await;
    for id in kept {
        session.get(&id).await.unwrap();
    }
    next.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn an_end_that_takes_too_long_is_told() {
    let (kernel, _folder) = kernel(limits()).await;
    let (_space, session) = space_of(&kernel).await;
    let let_go = occupy(&session);
    let (_, batch) = batch_of(&session, "it waits").await;
    let asked = tokio::spawn({
        let session = session.clone();
        async move { session.commit(batch).await }
    });
    tokio::task::yield_now().await;
    let ended = kernel.shutdown(Duration::from_millis(5)).await.unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::Deadline);
    assert!(ended.to_string().contains("writer:acme/support"), "{ended}");
    drop(let_go);
    // It was handed over already, so it is done.
    asked.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_write_whose_turn_comes_too_late_is_not_made() {
    let (kernel, _folder) = kernel(limits()).await;
    let (_space, session) = space_of(&kernel).await;
    session.clone().with_key("known").unwrap().remember(draft("known")).await.unwrap();
    let let_go = occupy(&session);
    // What is answered without being written leaves no trace in what is written next.
    let again = session.clone().with_key("known").unwrap();
    let again = tokio::spawn(async move { again.remember(draft("known")).await });
    // The first goes to the thread; the second waits behind it.
    let (first, batch) = batch_of(&session, "first").await;
    let asked = tokio::spawn({
        let session = session.clone();
        async move { session.commit(batch).await }
    });
    tokio::task::yield_now().await;
    again.await.unwrap().unwrap();
    let (late, batch) = batch_of(&session, "late").await;
    let hasty = session.clone().with_patience(Duration::from_millis(2));
    assert_eq!(hasty.commit(batch).await.unwrap_err().kind(), ErrorKind::Deadline);
    drop(let_go);
    asked.await.unwrap().unwrap();
    session.remember(draft("next")).await.unwrap();
    session.get(&first).await.unwrap();
    assert_eq!(session.get(&late).await.unwrap_err().kind(), ErrorKind::NotFound);
    let why: Vec<_> = kernel.dead_letters().kept().into_iter().map(|letter| (letter.command, letter.why)).collect();
    assert_eq!(why, [("Commit", Undelivered::Late)]);
    kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn work_that_panics_is_told() {
    let (kernel, _folder) = kernel(limits()).await;
    let (_space, session) = space_of(&kernel).await;
    let failed = session.work(|_, _| -> memos_memory::Result<()> { panic!("a test's panic") }).await;
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Unavailable);
    session.remember(draft("a")).await.unwrap();
    kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn a_space_in_memory_is_a_space() {
    let vault = VaultOptions { disk: Arc::new(MemoryDisk::default()), ..VaultOptions::builtin().unwrap() };
    let kernel = Kernel::open_with("nowhere", KernelOptions { vault, limits: limits() }).await.unwrap();
    let (_space, session) = space_of(&kernel).await;
    let id = session.remember(draft("a")).await.unwrap();
    session.get(&id).await.unwrap();
    // What is dropped ends without an order, too.
}

#[tokio::test]
async fn a_writer_that_is_stopped_while_it_is_begun_again_comes_back() {
    let limits = RuntimeLimits { restart_delay: LONG, ..limits() };
    let (kernel, _folder) = kernel(limits).await;
    let mut facts = kernel.facts().unwrap();
    let (space, session) = space_of(&kernel).await;
    for _ in 0..2 {
        space.fail_writer(ada(), "a test").await.unwrap();
        heard(&mut facts, |fact| matches!(fact, ActorFact::Failed { .. })).await;
        kernel.stop("writer:acme/support", LONG).await.unwrap();
        let id = session.remember(draft("a")).await.unwrap();
        session.get(&id).await.unwrap();
    }
    assert_eq!(kernel.stop("nobody", LONG).await.unwrap_err().kind(), ErrorKind::NotFound);
    kernel.shutdown(LONG).await.unwrap();
}

#[test]
fn outside_of_a_runtime_a_kernel_says_what_it_needs() {
    let mut opening = std::pin::pin!(Kernel::open("nowhere"));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Err(error)) = opening.as_mut().poll(&mut context) else { panic!("it was opened") };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

/// A disk in memory that counts how often a file is flushed.
#[derive(Debug)]
struct CountingDisk {
    disk: MemoryDisk,
    flushes: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct CountingFile {
    file: Box<dyn DiskFile>,
    flushes: Arc<AtomicUsize>,
}

impl CountingDisk {
    fn counting(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(CountingFile { file, flushes: self.flushes.clone() })
    }
}

impl Disk for CountingDisk {
    fn open(&self, path: &Path, create: bool) -> Done<Box<dyn DiskFile>> {
        Ok(self.counting(self.disk.open(path, create)?))
    }
    fn create_private(&self, path: &Path) -> Done<Box<dyn DiskFile>> {
        Ok(self.counting(self.disk.create_private(path)?))
    }
    fn read(&self, path: &Path) -> Done<Vec<u8>> {
        self.disk.read(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> Done<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> Done<()> {
        self.disk.remove(path)
    }
    fn remove_folder(&self, path: &Path) -> Done<()> {
        self.disk.remove_folder(path)
    }
    fn exists(&self, path: &Path) -> bool {
        self.disk.exists(path)
    }
    fn is_folder(&self, path: &Path) -> bool {
        self.disk.is_folder(path)
    }
    fn size(&self, path: &Path) -> Done<u64> {
        self.disk.size(path)
    }
    fn make_folder(&self, path: &Path) -> Done<()> {
        self.disk.make_folder(path)
    }
    fn list(&self, path: &Path) -> Done<Vec<String>> {
        self.disk.list(path)
    }
    fn sync_folder(&self, path: &Path) -> Done<()> {
        self.disk.sync_folder(path)
    }
}

impl DiskFile for CountingFile {
    fn len(&self) -> Done<u64> {
        self.file.len()
    }
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Done<()> {
        self.file.read_at(offset, into)
    }
    fn write_at(&self, offset: u64, written: &[u8]) -> Done<()> {
        self.file.write_at(offset, written)
    }
    fn set_len(&self, len: u64) -> Done<()> {
        self.file.set_len(len)
    }
    fn sync(&self) -> Done<()> {
        self.flushes.fetch_add(1, Ordering::SeqCst);
        self.file.sync()
    }
}

//! What a kernel's meters say of what it did, and who may look at them.

use std::path::Path;
use std::time::Duration;

use memos_memory::cube::{CubeDraft, SemanticType};
use memos_memory::error::ErrorKind;
use memos_memory::governance::Principal;
use memos_memory::vault::VaultOptions;

use super::snapshot::ActorFigures;
use super::watch::{SOCKET, Watcher};
use super::{Kind, Snapshot};
use crate::{Kernel, KernelOptions, RuntimeLimits, Session};

const LONG: Duration = Duration::from_secs(60);

fn limits() -> RuntimeLimits {
    RuntimeLimits { writer_threads: 1, reader_threads: 1, ..RuntimeLimits::default() }
}

async fn kernel_at(folder: &Path, limits: RuntimeLimits) -> Kernel {
    let vault = VaultOptions::builtin().unwrap();
    Kernel::open_with(folder, KernelOptions { vault, limits }).await.unwrap()
}

async fn session_of(kernel: &Kernel) -> Session {
    kernel.space("acme/support").await.unwrap().session(Principal::new("user:ada".parse().unwrap()))
}

fn writer_of(snapshot: &Snapshot) -> &ActorFigures {
    snapshot.actors.iter().find(|actor| actor.kind == "writer").unwrap()
}

async fn remember(session: &Session) {
    session.remember(CubeDraft::text(SemanticType::Fact, "Bo is allergic to peanuts")).await.unwrap();
}

#[tokio::test]
async fn what_a_kernel_does_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = kernel_at(folder.path(), limits()).await;
    let session = session_of(&kernel).await;
    remember(&session).await;
    remember(&session.clone()).await;
    session.ask("What is Bo allergic to?").await.unwrap();
    session.with_key("").map(|_| ()).unwrap_err();
    kernel.meters().count(Kind::Promoted, 3);

    let session = session_of(&kernel).await;
    let snapshot = kernel.meters().snapshot();
    assert_eq!((snapshot.sessions, snapshot.sessions_begun, snapshot.open_spaces), (1, 2, 1));
    let space = &snapshot.spaces[0];
    assert_eq!((space.name.as_str(), space.open, space.reads, space.writes), ("acme/support", true, 1, 2));
    let writer = writer_of(&snapshot);
    assert_eq!((writer.kind.as_str(), writer.actors, writer.places), ("writer", 1, limits().mailbox));
    assert_eq!((writer.wait.count, writer.restarts, writer.dead_letters), (2, 0, 0));
    let commits = &snapshot.commits;
    assert_eq!((commits.groups, commits.batches.sum, commits.failed), (2, 2, 0));
    assert_eq!(commits.events.sum, space.events);
    assert!(commits.flush.p50 > 0.0);
    assert_eq!((snapshot.recall.latency.count, snapshot.recall.rank.count, snapshot.recall.failed), (1, 1, 0));
    let workers: Vec<_> = snapshot.workers.iter().map(|workers| (workers.name.as_str(), workers.queue)).collect();
    assert_eq!(workers, [("read", 0), ("write", 0)]);
    assert_eq!((snapshot.count(Kind::Promoted), snapshot.count(Kind::Denied)), (3, 0));

    // It can be written and read again, and says nothing of what is remembered.
    let text = serde_json::to_string(&snapshot).unwrap();
    assert!(!text.contains("peanuts") && !text.contains("user:ada"));
    assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), snapshot);
    drop(session);
    kernel.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn a_failure_and_what_died_with_it_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = kernel_at(folder.path(), limits()).await;
    let space = kernel.space("acme/support").await.unwrap();
    let session = session_of(&kernel).await;
    remember(&session).await;
    space.fail_writer(Principal::new("user:ada".parse().unwrap()), "a test wants it to").await.unwrap();
    while writer_of(&kernel.meters().snapshot()).restarts == 0 {
        tokio::task::yield_now().await;
    }
    let late = session.clone().with_patience(Duration::ZERO);
    late.remember(CubeDraft::text(SemanticType::Fact, "too late")).await.unwrap_err();
    remember(&session).await;
    assert_eq!(writer_of(&kernel.meters().snapshot()).restarts, 1);
    kernel.shutdown(LONG).await.unwrap();
}

#[test]
fn meters_outlive_their_kernel_and_do_not_keep_it() {
    let folder = tempfile::tempdir().unwrap();
    let meters = crate::block_on(async {
        let kernel = kernel_at(folder.path(), limits()).await;
        remember(&session_of(&kernel).await).await;
        let meters = kernel.meters();
        assert!(!meters.is_over());
        kernel.shutdown(LONG).await?;
        Ok(meters)
    })
    .unwrap();
    assert!(meters.is_over());
    let snapshot = meters.snapshot();
    assert_eq!((snapshot.commits.groups, snapshot.open_spaces, snapshot.uptime), (1, 0, 0));
}

#[cfg(unix)]
mod watched {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[tokio::test]
    async fn another_program_looks_while_the_kernel_runs() {
        let folder = tempfile::tempdir().unwrap();
        let before = Watcher::of(folder.path()).map(|_| ()).unwrap_err();
        assert_eq!(before.kind(), ErrorKind::NotFound, "{before}");
        let kernel = kernel_at(folder.path(), limits()).await;
        let session = session_of(&kernel).await;
        let socket = folder.path().join(SOCKET);
        assert_eq!(kernel.watch_socket().unwrap(), socket);
        let file = std::fs::metadata(&socket).unwrap();
        assert!(file.file_type().is_socket());
        assert_eq!(file.permissions().mode() & 0o777, 0o600);

        let mut watcher = Watcher::of(folder.path()).unwrap();
        assert_eq!(watcher.snapshot().unwrap().commits.groups, 0);
        remember(&session).await;
        let seen = watcher.snapshot().unwrap();
        assert_eq!((seen.commits.groups, seen.process), (1, std::process::id()));

        kernel.shutdown(LONG).await.unwrap();
        assert!(!socket.exists());
        assert_eq!(watcher.snapshot().unwrap_err().kind(), ErrorKind::Unavailable);
    }

    #[tokio::test]
    async fn a_kernel_that_is_dropped_takes_its_socket_with_it() {
        let folder = tempfile::tempdir().unwrap();
        drop(kernel_at(folder.path(), limits()).await);
        assert!(!folder.path().join(SOCKET).exists());
    }

    #[tokio::test]
    async fn only_so_many_look() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = kernel_at(folder.path(), RuntimeLimits { watchers: 1, ..limits() }).await;
        let mut first = Watcher::of(folder.path()).unwrap();
        first.snapshot().unwrap();
        let mut second = Watcher::of(folder.path()).unwrap();
        assert_eq!(second.snapshot().unwrap_err().kind(), ErrorKind::Busy);
        first.snapshot().unwrap();
        drop(first);
        // Its place is free as soon as its thread sees that it has gone.
        while Watcher::of(folder.path()).unwrap().snapshot().is_err() {
            tokio::task::yield_now().await;
        }
        kernel.shutdown(LONG).await.unwrap();
    }

    #[tokio::test]
    async fn a_visitor_who_sends_nonsense_is_sent_away() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = kernel_at(folder.path(), limits()).await;
        let mut visitor = UnixStream::connect(folder.path().join(SOCKET)).unwrap();
        std::io::Write::write_all(&mut visitor, &[b'x'; 64]).unwrap();
        let mut answer = Vec::new();
        std::io::Read::read_to_end(&mut visitor, &mut answer).unwrap();
        assert!(answer.is_empty());
        kernel.shutdown(LONG).await.unwrap();
    }

    #[tokio::test]
    async fn what_a_crash_left_is_replaced_and_what_is_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join(SOCKET);
        drop(UnixListener::bind(&socket).unwrap());
        let first = kernel_at(folder.path(), limits()).await;
        first.watch_socket().unwrap();
        // A second kernel over the same folder works, without a socket.
        let second = kernel_at(folder.path(), limits()).await;
        let why = second.watch_socket().unwrap_err().to_string();
        assert!(why.contains("another kernel"), "{why}");
        second.shutdown(LONG).await.unwrap();
        Watcher::of(folder.path()).unwrap().snapshot().unwrap();
        first.shutdown(LONG).await.unwrap();

        // What is no socket is somebody's, and stays.
        std::fs::write(&socket, "mine").unwrap();
        let third = kernel_at(folder.path(), limits()).await;
        assert!(third.watch_socket().is_err());
        third.shutdown(LONG).await.unwrap();
        assert_eq!(std::fs::read_to_string(&socket).unwrap(), "mine");
    }

    #[tokio::test]
    async fn a_kernel_without_a_socket_works_and_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("a".repeat(120));
        for (folder, watchers, why) in [(long.as_path(), 4, "too long"), (folder.path(), 0, "`watchers` is 0")] {
            let kernel = kernel_at(folder, RuntimeLimits { watchers, ..limits() }).await;
            remember(&session_of(&kernel).await).await;
            let said = kernel.watch_socket().unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
            assert!(!folder.join(SOCKET).exists());
            kernel.shutdown(LONG).await.unwrap();
        }
        let refused = Watcher::of(&long).map(|_| ()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    }
}

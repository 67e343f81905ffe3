//! Looking at a kernel from another program: a socket in its folder answers each line with one snapshot of its meters.
//!
//! Whoever may use the folder's owner's account may look, and nobody else: the socket has mode 0600. It tells figures and names. A
//! thread sleeps before it while nobody looks, so that it costs nothing then; it needs no actor and no tokio, so that a kernel
//! that hangs can still be seen to hang. The socket is there while the kernel runs. One that a crash left behind is replaced; a
//! kernel that finds another one at its folder's socket, or no place for one, runs without.

use std::path::{Path, PathBuf};

use memos_memory::error::{Error, Result};

use super::{Meters, Snapshot};

/// The name of the socket in a kernel's folder.
pub const SOCKET: &str = "kernel.sock";

/// The most bytes that an answer may have.
#[cfg(unix)]
const MOST_BYTES: u64 = 16 << 20;

/// How a kernel can be looked at.
pub(crate) struct Watch {
    served: std::result::Result<door::Door, String>,
}

impl Watch {
    /// Begins to answer, to so many at a time. What is in the way is no failure of the kernel.
    pub(crate) fn begin(folder: &Path, most: usize, meters: Meters) -> Self {
        let served = match most {
            0 => Err("its bound `watchers` is 0".to_owned()),
            most => door::Door::open(folder, most, meters),
        };
        Self { served }
    }

    pub(crate) fn socket(&self) -> Result<PathBuf> {
        match &self.served {
            Ok(door) => Ok(door.path().to_owned()),
            Err(why) => Err(Error::unavailable(format!("the kernel cannot be looked at from outside: {why}"))),
        }
    }

    /// Answers no more, and takes the socket away.
    pub(crate) fn end(&self) {
        if let Ok(door) = &self.served {
            door.close();
        }
    }
}

/// A look at a kernel that runs in another program, or in this one.
pub struct Watcher {
    looking: door::Looking,
}

impl Watcher {
    /// Looks at the kernel that runs in a folder.
    ///
    /// # Errors
    /// `NotFound` when none does; `Invalid` when the folder's name is too long for a socket; `Unavailable` when the kernel may
    /// not be looked at.
    pub fn of(folder: &Path) -> Result<Self> {
        Ok(Self { looking: door::Looking::at(folder)? })
    }

    /// Returns what its meters say now.
    ///
    /// # Errors
    /// `Unavailable` when the kernel has ended or does not answer; `Busy` when as many look already as may.
    pub fn snapshot(&mut self) -> Result<Snapshot> {
        self.looking.snapshot()
    }
}

#[cfg(unix)]
mod door {
    use std::collections::HashMap;
    use std::fs;
    use std::io::{BufRead, BufReader, ErrorKind as IoErrorKind, Read, Write};
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use memos_memory::error::{Error, ErrorKind, Result};
    use parking_lot::Mutex;

    use super::{MOST_BYTES, Meters, SOCKET, Snapshot};

    /// Where a socket is bound before it has its mode. No longer than [`SOCKET`], so that both fit or neither.
    const NEW_SOCKET: &str = "kernel.new";
    /// How long one may take to read an answer, or to give one.
    const PATIENCE: Duration = Duration::from_secs(2);
    /// How long one may be silent.
    const SILENCE: Duration = Duration::from_secs(60);
    /// The most bytes of a line that asks.
    const QUESTION_BYTES: u64 = 64;
    /// At most so often is one answered.
    const PAUSE: Duration = Duration::from_millis(20);

    struct Shared {
        most: usize,
        ended: AtomicBool,
        visitors: Mutex<(u64, HashMap<u64, UnixStream>)>,
        meters: Meters,
    }

    /// The socket of a running kernel.
    pub(super) struct Door {
        path: PathBuf,
        /// Which file it is, as another may have its name by now.
        file: (u64, u64),
        shared: Arc<Shared>,
    }

    impl Door {
        pub(super) fn open(folder: &Path, most: usize, meters: Meters) -> std::result::Result<Self, String> {
            let (path, new) = (folder.join(SOCKET), folder.join(NEW_SOCKET));
            check_length(&path)?;
            make_way(&path)?;
            make_way(&new)?;
            let failed = |what: &str, e: std::io::Error| format!("`{}` cannot be {what}: {e}", path.display());
            let listener = UnixListener::bind(&new).map_err(|e| failed("made", e))?;
            // Nobody finds it under its name before it is closed to others.
            let only_mine = fs::set_permissions(&new, fs::Permissions::from_mode(0o600));
            let file = only_mine.and_then(|()| fs::metadata(&new)).and_then(|file| {
                fs::rename(&new, &path)?;
                Ok((file.dev(), file.ino()))
            });
            let file = file.map_err(|e| {
                // It is in nobody's way under this name.
                let _ = fs::remove_file(&new);
                failed("given its name", e)
            })?;
            let shared = Arc::new(Shared { most, ended: AtomicBool::new(false), visitors: Mutex::default(), meters });
            let serving = shared.clone();
            let thread = std::thread::Builder::new().name("memos-watch".to_owned());
            thread.spawn(move || serving.serve(&listener)).map_err(|e| failed("served", e))?;
            Ok(Self { path, file, shared })
        }

        pub(super) fn path(&self) -> &Path {
            &self.path
        }

        pub(super) fn close(&self) {
            if self.shared.ended.swap(true, Ordering::AcqRel) {
                return;
            }
            let mine = fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.file);
            if mine {
                // The thread sleeps until somebody comes. Should the socket be gone, it sleeps on, and holds nothing.
                let _ = UnixStream::connect(&self.path);
                let _ = fs::remove_file(&self.path);
            }
            for visitor in self.shared.visitors.lock().1.values() {
                // One who has gone is told nothing.
                let _ = visitor.shutdown(std::net::Shutdown::Both);
            }
        }
    }

    impl Drop for Door {
        fn drop(&mut self) {
            self.close();
        }
    }

    fn check_length(path: &Path) -> std::result::Result<(), String> {
        SocketAddr::from_pathname(path).map(|_| ()).map_err(|_| {
            let bytes = path.as_os_str().len();
            format!(
                "`{}` has {bytes} bytes, which is too long for a socket's name; use a shorter folder",
                path.display()
            )
        })
    }

    /// Takes away what a kernel that crashed has left.
    fn make_way(path: &Path) -> std::result::Result<(), String> {
        let Ok(file) = fs::symlink_metadata(path) else { return Ok(()) };
        if !file.file_type().is_socket() {
            return Err(format!("`{}` is there and no socket", path.display()));
        }
        match UnixStream::connect(path) {
            Ok(_) => Err(format!("another kernel runs at `{}`", path.display())),
            Err(e) if e.kind() == IoErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(|e| format!("`{}` cannot be taken away: {e}", path.display()))
            }
            Err(e) => Err(format!("`{}` cannot be looked at: {e}", path.display())),
        }
    }

    impl Shared {
        fn serve(self: Arc<Self>, listener: &UnixListener) {
            for visitor in listener.incoming() {
                if self.ended.load(Ordering::Acquire) {
                    return;
                }
                match visitor {
                    Ok(visitor) => self.admit(visitor),
                    // As many files are open as may be; it passes.
                    Err(_) => std::thread::sleep(PAUSE),
                }
            }
        }

        fn admit(self: &Arc<Self>, mut visitor: UnixStream) {
            let timed = visitor.set_read_timeout(Some(SILENCE)).and(visitor.set_write_timeout(Some(PATIENCE)));
            let (Ok(()), Ok(mine)) = (timed, visitor.try_clone()) else { return };
            let number = {
                let (next, visitors) = &mut *self.visitors.lock();
                if visitors.len() >= self.most {
                    // Who comes in vain is told so, or has gone.
                    let _ = visitor.write_all(b"\n");
                    return;
                }
                *next += 1;
                visitors.insert(*next, mine);
                *next
            };
            let shared = self.clone();
            let show = move || {
                // Whatever ends the visit, it is over.
                let _ = shared.show(visitor);
                shared.visitors.lock().1.remove(&number);
            };
            if std::thread::Builder::new().name("memos-watched".to_owned()).spawn(show).is_err() {
                self.visitors.lock().1.remove(&number);
            }
        }

        /// Answers each line with a snapshot.
        fn show(&self, mut visitor: UnixStream) -> std::io::Result<()> {
            let mut asking = BufReader::new(visitor.try_clone()?);
            let mut question = Vec::new();
            while !self.ended.load(Ordering::Acquire) {
                question.clear();
                (&mut asking).take(QUESTION_BYTES).read_until(b'\n', &mut question)?;
                if question.last() != Some(&b'\n') {
                    return Ok(());
                }
                let mut answer = serde_json::to_vec(&self.meters.snapshot())?;
                answer.push(b'\n');
                visitor.write_all(&answer)?;
                std::thread::sleep(PAUSE);
            }
            Ok(())
        }
    }

    pub(super) struct Looking {
        path: PathBuf,
        answers: BufReader<UnixStream>,
    }

    impl Looking {
        pub(super) fn at(folder: &Path) -> Result<Self> {
            let path = folder.join(SOCKET);
            check_length(&path).map_err(Error::invalid)?;
            let stream = UnixStream::connect(&path).map_err(|e| match e.kind() {
                IoErrorKind::NotFound | IoErrorKind::ConnectionRefused => Error::not_found(format!(
                    "no kernel runs in `{}`; name the folder of one with `--data`, or look at `memos top --demo`",
                    folder.display()
                )),
                _ => Error::unavailable(format!("the kernel in `{}` cannot be looked at: {e}", folder.display())),
            })?;
            let timed = stream.set_read_timeout(Some(PATIENCE)).and(stream.set_write_timeout(Some(PATIENCE)));
            timed.map_err(|e| ended(&path, &e))?;
            Ok(Self { path, answers: BufReader::new(stream) })
        }

        pub(super) fn snapshot(&mut self) -> Result<Snapshot> {
            let mut line = Vec::new();
            // A kernel that shows one in nobody says so before it is asked, and is gone.
            let asked = self.answers.get_mut().write_all(b"snapshot\n");
            let read = (&mut self.answers).take(MOST_BYTES).read_until(b'\n', &mut line);
            if line == b"\n" {
                return Err(Error::new(ErrorKind::Busy, "as many programs look at the kernel as may; try again later"));
            }
            asked.and(read).map_err(|e| ended(&self.path, &e))?;
            serde_json::from_slice(&line).map_err(|e| ended(&self.path, &e))
        }
    }

    fn ended(path: &Path, why: &dyn std::fmt::Display) -> Error {
        Error::unavailable(format!("the kernel at `{}` has ended or does not answer: {why}", path.display()))
    }
}

#[cfg(not(unix))]
mod door {
    use std::convert::Infallible;
    use std::path::Path;

    use memos_memory::error::{Error, Result};

    use super::{Meters, Snapshot};

    const WHY: &str = "this needs a Unix system";

    pub(super) struct Door(Infallible);

    impl Door {
        pub(super) fn open(_: &Path, _: usize, _: Meters) -> std::result::Result<Self, String> {
            Err(WHY.to_owned())
        }

        pub(super) fn path(&self) -> &Path {
            match self.0 {}
        }

        pub(super) fn close(&self) {
            match self.0 {}
        }
    }

    pub(super) struct Looking(Infallible);

    impl Looking {
        pub(super) fn at(_: &Path) -> Result<Self> {
            Err(Error::unavailable(format!("a kernel of another program cannot be looked at: {WHY}")))
        }

        pub(super) fn snapshot(&mut self) -> Result<Snapshot> {
            match self.0 {}
        }
    }
}

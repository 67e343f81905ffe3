//! Files that a command is given, and files that it makes.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind as IoErrorKind, Read, Write};
use std::path::Path;

use memos::{Error, Result};

/// Reads a text file of at most so many bytes.
pub(super) fn read_text(path: &Path, most: usize) -> Result<String> {
    let place = format!("`{}`", path.display());
    let file = File::open(path).map_err(|e| unreadable(&place, e))?;
    text_of(file, &place, most)
}

/// Reads standard input, which is text of at most so many bytes.
pub(super) fn read_standard_input(most: usize) -> Result<String> {
    text_of(std::io::stdin().lock(), "standard input", most)
}

fn text_of(input: impl Read, place: &str, most: usize) -> Result<String> {
    let mut bytes = Vec::new();
    input.take(most as u64 + 1).read_to_end(&mut bytes).map_err(|e| unreadable(place, e))?;
    if bytes.len() > most {
        return Err(Error::invalid(format!("{place} is longer than {most} bytes, which is more than it may have")));
    }
    String::from_utf8(bytes).map_err(|_| Error::invalid(format!("{place} is not text")))
}

fn unreadable(place: &str, e: std::io::Error) -> Error {
    Error::invalid(format!("{place} cannot be read: {e}")).with_source(e)
}

/// Writes a file, in place of the one there is.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|e| unwritable(path, e))
}

/// Writes a file piece by piece; where that fails, the one there is stays as it is.
pub(super) fn replace<T>(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<T>) -> Result<T> {
    let failed = |e: std::io::Error| unwritable(path, e);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    let mut out = BufWriter::new(&mut file);
    let written = write(&mut out)?;
    out.flush().map_err(failed)?;
    drop(out);
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(written)
}

/// Writes a new file that nobody but its owner may read; one that is there is left alone. The parts are written as they
/// are, so that no copy of a secret is made.
pub(super) fn write_secret(path: &Path, parts: &[&str]) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| {
        parts.iter().try_for_each(|part| file.write_all(part.as_bytes()))?;
        file.sync_all()
    });
    written.map_err(|e| match e.kind() {
        IoErrorKind::AlreadyExists => {
            Error::invalid(format!("`{}` is there already and is not overwritten; name another file", path.display()))
        }
        _ => unwritable(path, e),
    })
}

fn unwritable(path: &Path, e: std::io::Error) -> Error {
    Error::unavailable(format!("`{}` cannot be written: {e}", path.display())).with_source(e)
}

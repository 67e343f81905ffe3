//! One file, whole and checked or not there.
//!
//! Until it is, it has `.part` behind its name. It must never know which files make a model.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};
use ureq::Agent;

use super::listing::RemoteFile;
use crate::{Error, ErrorKind, Result};

/// How often in a row a connection may bring nothing new.
const FRUITLESS_ATTEMPTS_MAX: usize = 3;

/// How much is read at a time.
const PIECE_BYTES: usize = 256 << 10;

const GIVEN_UP: &str = "the download was given up; what has come is kept";

/// Fetches a file into a folder, unless it is there.
pub(super) fn file(
    agent: &Agent,
    url: &str,
    file: &RemoteFile,
    folder: &Path,
    told: &mut dyn FnMut(u64) -> bool,
) -> Result<()> {
    let path = folder.join(&file.name);
    if fs::metadata(&path).is_ok_and(|data| data.len() == file.bytes) {
        return if told(file.bytes) { Ok(()) } else { Err(Error::new(ErrorKind::Cancelled, GIVEN_UP)) };
    }
    let part = folder.join(format!("{}.part", file.name));
    let mut output = OpenOptions::new().create(true).append(true).open(&part).map_err(|error| on_disk(&part, error))?;
    output.try_lock().map_err(|_| {
        Error::new(ErrorKind::Busy, format!("`{}` is being fetched by another program: wait for it", file.name))
    })?;
    let mut have = output.metadata().map_err(|error| on_disk(&part, error))?.len();
    if have > file.bytes {
        output.set_len(0).map_err(|error| on_disk(&part, error))?;
        have = 0;
    }
    let mut fruitless = 0;
    while have < file.bytes {
        let before = have;
        match attempt(agent, url, file, &mut output, &mut have, told) {
            Ok(()) => {}
            Err(End::Final(error)) => return Err(error),
            Err(End::Cut(error)) if have <= before => {
                fruitless += 1;
                if fruitless == FRUITLESS_ATTEMPTS_MAX {
                    return Err(error);
                }
            }
            Err(End::Cut(_)) => fruitless = 0,
        }
    }
    output.sync_all().map_err(|error| on_disk(&part, error))?;
    if let Some(expect) = &file.sha256 {
        let found = sha256(&part)?;
        if found != *expect {
            fs::remove_file(&part).map_err(|error| on_disk(&part, error))?;
            return Err(Error::corrupt(format!(
                "`{}` came with the checksum {found} instead of {expect}, and was not kept: fetch it again",
                file.name
            )));
        }
    }
    fs::rename(&part, &path).map_err(|error| on_disk(&path, error))
}

/// Why an attempt ended before the file did.
enum End {
    /// The network's doing: another attempt may bring more.
    Cut(Error),
    /// No attempt would help.
    Final(Error),
}

/// Asks for what is missing, and appends what comes.
fn attempt(
    agent: &Agent,
    url: &str,
    file: &RemoteFile,
    output: &mut File,
    have: &mut u64,
    told: &mut dyn FnMut(u64) -> bool,
) -> std::result::Result<(), End> {
    let cut = |why: &dyn std::fmt::Display| {
        End::Cut(Error::unavailable(format!(
            "`{}` did not come whole ({why}): fetch it again to go on from there",
            file.name
        )))
    };
    let disk = |error: std::io::Error| End::Final(on_disk(Path::new(&file.name), error));
    let response = agent.get(url).header("range", format!("bytes={have}-")).call();
    let mut response = response.map_err(|error| cut(&error))?;
    match response.status().as_u16() {
        206 => {
            let range = response.headers().get("content-range").and_then(|range| range.to_str().ok());
            if range != Some(format!("bytes {have}-{}/{}", file.bytes - 1, file.bytes).as_str()) {
                return Err(cut(&"another part of it was sent than was asked for"));
            }
        }
        // Who knows no ranges sends all of it.
        200 => {
            output.set_len(0).map_err(disk)?;
            *have = 0;
        }
        401 | 403 | 404 => {
            return Err(End::Final(Error::not_found(format!(
                "the hub lists `{}` but does not give it, or to those with an account only: download the model's files by hand \
                 and give their folder",
                file.name
            ))));
        }
        status => return Err(cut(&format_args!("the hub answered {status}"))),
    }
    let mut body = response.body_mut().with_config().limit(u64::MAX).reader().take(file.bytes - *have);
    let mut piece = vec![0; PIECE_BYTES];
    while *have < file.bytes {
        let count = body.read(&mut piece).map_err(|error| cut(&error))?;
        if count == 0 {
            return Err(cut(&"the connection ended early"));
        }
        output.write_all(piece.get(..count).unwrap_or_default()).map_err(disk)?;
        *have += count as u64;
        if !told(*have) {
            return Err(End::Final(Error::new(ErrorKind::Cancelled, GIVEN_UP)));
        }
    }
    Ok(())
}

/// Writes a small file so that it is there whole or not at all.
pub(super) fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = path.with_extension("part");
    let written = File::create(&part).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.and_then(|()| fs::rename(&part, path)).map_err(|error| on_disk(path, error))
}

pub(super) fn on_disk(path: &Path, error: std::io::Error) -> Error {
    Error::unavailable(format!("`{}` cannot be written: {error}", path.display())).with_source(error)
}

fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(|error| on_disk(path, error))?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece).map_err(|error| on_disk(path, error))? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            count => hash.update(piece.get(..count).unwrap_or_default()),
        }
    }
}

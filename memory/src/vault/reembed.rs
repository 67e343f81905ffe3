//! Making all vectors of a space again with another embedder.

use std::fs;
use std::path::Path;

use super::VaultOptions;
use super::projection::indexed_text;
use super::space::{SNAPSHOT_FILE, system_principal};
use crate::cube::{Kind, Payload};
use crate::error::{Error, ErrorKind, Result};
use crate::index::QuantizedVector;
use crate::ledger::{Change, Ledger, NewEvent};

/// Makes all vectors of a space again with another embedder, in one durable step. The space must not be open.
///
/// `progress` is told how many of how many bodies are done.
///
/// # Errors
/// `Busy` when the space is open; `Unavailable` when the embedder or the disk fails. The space is as it was then.
pub(super) fn reembed(folder: &Path, options: &VaultOptions, mut progress: impl FnMut(u64, u64)) -> Result<u64> {
    let mut ledger = Ledger::open(folder, &options.limits)?;
    let reader = ledger.readers().reader()?;
    let head = ledger.head();
    if head.events == 0 {
        return Err(Error::not_found(format!("there is no space in `{}` yet", folder.display())));
    }
    let embedder = &options.embedder;
    let mut vectors = Vec::new();
    for sequence in 0..head.events {
        progress(sequence, head.events);
        let Change::CubeStored(header) = reader.event(sequence)?.change else { continue };
        if header.kind() != Kind::Plaintext {
            continue;
        }
        let body = match reader.body(sequence, &header.fingerprint.content) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            body => body?,
        };
        let payload = Payload::checked(header.form.clone(), body)?;
        let text = indexed_text(&header, payload.as_text().unwrap_or_default());
        vectors.push((sequence, QuantizedVector::of(&embedder.embed(&text)?).to_bytes()));
    }
    let change = Change::EmbedderChanged { embedder: embedder.id().clone() };
    let event = NewEvent { at: options.clock.now(), principal: system_principal()?, change, body: None, vector: None };
    let count = vectors.len() as u64;
    ledger.append_with_vectors(vec![event], vectors)?;
    progress(head.events, head.events);
    match fs::remove_file(folder.join(SNAPSHOT_FILE)) {
        // A snapshot with the vectors of before must not outlive them.
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::unavailable(format!("the old snapshot cannot be removed: {error}")).with_source(error))
        }
        _ => Ok(count),
    }
}

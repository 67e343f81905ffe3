//! Making all vectors of a space again with another embedder.

use super::projection::indexed_text;
use super::space::{Opening, SNAPSHOT_FILE, draw_session, system_principal};
use crate::cube::{Kind, Payload, SpaceName};
use crate::error::{Error, Result};
use crate::index::QuantizedVector;
use crate::keys::RecordKey;
use crate::ledger::{Change, Ledger, NewEvent, vector_row};

/// Texts that are embedded together: enough for an encoder to be quick.
const TEXTS_AT_ONCE: usize = 64;

/// Makes all vectors of a space again with another embedder, in one durable step. The space must not be open.
///
/// `progress` is told how many of how many bodies are done.
///
/// # Errors
/// `Busy` when the space is open; `Unavailable` when the embedder or the disk fails. The space is as it was then.
pub(super) fn reembed(opening: &Opening<'_>, mut progress: impl FnMut(u64, u64)) -> Result<u64> {
    let Opening { folder, options, .. } = opening;
    let fork = |origin: &SpaceName| {
        Err(Error::invalid(format!("it was forked from `{origin}` and uses the vectors of that; merge it back first")))
    };
    let mut ledger = Ledger::open(folder, opening.ledger_options(), |found| opening.ring(found), fork)?;
    let ring = ledger.ring();
    let reader = ledger.readers().reader()?;
    let head = ledger.head();
    if head.events == 0 {
        return Err(Error::not_found(format!("there is no space in `{}` yet", folder.display())));
    }
    let embedder = &options.embedder;
    let session = draw_session(options)?;
    let (mut vectors, mut waiting) = (Vec::new(), Vec::with_capacity(TEXTS_AT_ONCE));
    let mut embed = |waiting: &mut Vec<(u64, String, RecordKey)>| {
        let texts: Vec<&str> = waiting.iter().map(|(_, text, _)| text.as_str()).collect();
        let made = embedder.embed_batch(&texts)?;
        for ((sequence, _, key), vector) in waiting.drain(..).zip(made) {
            vectors.push((sequence, vector_row(&QuantizedVector::of(&vector).to_bytes(), &session, &key)));
        }
        Ok::<_, Error>(())
    };
    progress(0, head.events);
    for sequence in 0..head.events {
        if waiting.len() >= TEXTS_AT_ONCE {
            embed(&mut waiting)?;
            progress(sequence, head.events);
        }
        let Change::CubeStored(mut header) = reader.event(sequence)?.change else { continue };
        if header.kind() != Kind::Plaintext {
            continue;
        }
        let Some(body) = reader.record(sequence, &mut header)? else { continue };
        let Some(key) = ring.record_key(header.seal.ring, header.seal.slot, &session) else { continue };
        let payload = Payload::checked(header.form.clone(), body)?;
        let text = indexed_text(&header, payload.as_text().unwrap_or_default());
        waiting.push((sequence, text, key));
    }
    embed(&mut waiting)?;
    let change = Change::EmbedderChanged { embedder: embedder.id().clone() };
    let event = NewEvent::bare(options.clock.now(), system_principal()?, change);
    let count = vectors.len() as u64;
    ledger.append_with_vectors(vec![event], vectors)?;
    progress(head.events, head.events);
    match options.disk.remove(&folder.join(SNAPSHOT_FILE)) {
        // A snapshot with the vectors of before must not outlive them.
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::unavailable(format!("the old snapshot cannot be removed: {error}")).with_source(error))
        }
        _ => Ok(count),
    }
}

//! Redaction: a memory as those see it who may read it without what is sensitive in it.
//!
//! Two things make it hold. The index has the redacted text of every memory, for everybody: what is sensitive is no term, no
//! piece and no part of a vector, so nobody finds a memory by a number that they may not read, and no score tells whether a
//! guess was right. And where a body or a description is handed out, it is redacted for those without the right. A digest
//! of the whole text would let short secrets be guessed until it fits, so it is not handed out either.
//!
//! The owner loses one thing by that: to find a memory by the sensitive value itself. The kind is found: "phone number".

use std::borrow::Cow;

use super::sensitivity::{find_sensitive, redact};
use crate::cube::{Cube, Digest, Form, Header, Payload};

/// What stands for a whole payload in which nothing can be redacted.
const WITHHELD: &str = "[withheld]";

/// What stands for the digest of a version whose text is not shown as it is.
pub(crate) const NO_DIGEST: Digest = Digest::from_bytes([0; 32]);

/// Returns the text with a marker in place of all that is sensitive.
pub(crate) fn redacted_text(text: &str) -> Cow<'_, str> {
    let spans = find_sensitive(text);
    if spans.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(redact(text, &spans)) }
}

/// Returns a cube without what is sensitive in it.
pub(crate) fn redacted(cube: Cube) -> Cube {
    let text = cube.payload.as_text().map_or(Cow::Borrowed(WITHHELD), redacted_text);
    let payload = Payload::text(text);
    let mut header = redacted_header(cube.header);
    header.form = Form::Plaintext;
    header.fingerprint.bytes = payload.body().len() as u64;
    Cube { header, payload }
}

/// Returns a description without what is sensitive in it, and without what could be compared with a guess.
pub(crate) fn redacted_header(mut header: Header) -> Header {
    let origin = &mut header.origin;
    let named = [&mut origin.task, &mut origin.session, &mut origin.model, &mut origin.speaker, &mut origin.reference];
    let names =
        named.into_iter().flatten().chain([&mut header.title, &mut header.subject, &mut header.lifecycle.reason]);
    for name in names.chain(&mut header.tags).chain(&mut header.path) {
        if let Cow::Owned(redacted) = redacted_text(name) {
            *name = redacted;
        }
    }
    header.seal.digest = NO_DIGEST;
    header.fingerprint.content = NO_DIGEST;
    header.fingerprint.bytes = 0;
    header.chain.parent = header.chain.parent.map(|_| NO_DIGEST);
    header
}

//! Bytes to text: the only place that knows encodings.

use std::borrow::Cow;

use super::SourceLimits;
use crate::error::{Error, Result};

/// Returns the text of a file in UTF-8, or in UTF-16 with a byte order mark, with line feeds as its only line ends.
pub(super) fn decode<'a>(bytes: &'a [u8], limits: &SourceLimits) -> Result<Cow<'a, str>> {
    if bytes.len() > limits.file_bytes {
        let (has, may) = (bytes.len(), limits.file_bytes);
        return Err(Error::invalid(format!(
            "the file has {has} bytes, and {may} are allowed; split it into smaller files"
        )));
    }
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => Cow::Owned(decode_utf16(rest, u16::from_le_bytes)?),
        [0xfe, 0xff, rest @ ..] => Cow::Owned(decode_utf16(rest, u16::from_be_bytes)?),
        [0xef, 0xbb, 0xbf, rest @ ..] => decode_utf8(rest, 3)?,
        _ => decode_utf8(bytes, 0)?,
    };
    if let Some(at) = text.find('\0') {
        return Err(binary(at));
    }
    if text.trim().is_empty() {
        return Err(Error::invalid("the file is empty; there is nothing to read"));
    }
    Ok(if text.contains('\r') { Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")) } else { text })
}

fn decode_utf8(bytes: &[u8], skipped: usize) -> Result<Cow<'_, str>> {
    // Binary files are seldom valid UTF-8, and "binary" is the better advice.
    if bytes.starts_with(b"%PDF-") {
        return Err(Error::invalid("the file is a PDF; convert it to plain text or Markdown first"));
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        return Err(binary(at + skipped));
    }
    std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|error| {
        let at = error.valid_up_to();
        let lines = bytes.iter().take(at).filter(|byte| **byte == b'\n').count();
        let (line, at) = (lines + 1, at + skipped);
        Error::invalid(format!("line {line} is not UTF-8 at byte {at} of the file; convert the file to UTF-8"))
    })
}

fn decode_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let wrong = |at: usize| {
        Error::invalid(format!("the file begins as UTF-16 but is not at byte {at}; convert the file to UTF-8"))
    };
    let mut text = String::with_capacity(bytes.len());
    let mut at = 2;
    for decoded in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        let c = decoded.map_err(|_| wrong(at))?;
        at += 2 * c.len_utf16();
        text.push(c);
    }
    if rest.is_empty() { Ok(text) } else { Err(wrong(at)) }
}

fn binary(at: usize) -> Error {
    Error::invalid(format!("the file is binary: it has a zero byte at byte {at}; give a text file in UTF-8"))
}

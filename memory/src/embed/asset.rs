//! The file with the built-in embedder's weights: its bytes, written by `cargo xtask distill` and read at each start.
//!
//! Writer and reader stand side by side so that they cannot drift apart. All numbers are little-endian.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | magic, `memosemb` |
//! | 4 | version of this layout, 1 |
//! | 4 | CRC-32 (IEEE) of all bytes behind it |
//! | 32 | SHA-256 of the body; its start is the part of the embedder's id behind the colon |
//! | | the body: |
//! | 4 | number of pieces, P |
//! | 4 | dimensions, D |
//! | 4 | bytes of all pieces together, B |
//! | P * D | rows: one signed byte for each dimension, in units of the row's scale |
//! | P * 4 | scales: one f32 for each row, not negative; 0 where a piece says nothing |
//! | P | lengths of the pieces in bytes |
//! | B | the pieces as UTF-8, end to end, in the order of their ids |
//!
//! The CRC is checked at each start, as it takes about a millisecond where the SHA-256 would take tens.

use std::borrow::Cow;
use std::fmt::Write;

use crate::error::{Error, Result};

const MAGIC: &[u8; 8] = b"memosemb";
const VERSION: u32 = 1;
/// Where the bytes begin that the checksum covers.
const CHECKED_START: usize = 16;
const DIGEST_BYTES: usize = 32;
const BODY_START: usize = CHECKED_START + DIGEST_BYTES;
const ROWS_START: usize = BODY_START + 12;
/// Enough to tell weights apart, short enough to read.
const ID_DIGEST_BYTES: usize = 8;
/// The largest absolute value of a quantised number; -128 is not used, so that both signs are alike.
const QUANTISED_MAX: f32 = 127.0;

/// A vector in signed bytes and the scale that turns them back.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantisedRow {
    /// What one step of a value is worth.
    pub scale: f32,
    /// The numbers in steps, -127 to 127.
    pub values: Vec<i8>,
}

impl QuantisedRow {
    /// Returns the closest row that signed bytes can express.
    pub fn from_numbers(row: &[f32]) -> Self {
        let largest = row.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
        let scale = largest / QUANTISED_MAX;
        let quantise = |&number: &f32| if scale > 0.0 { (number / scale).round() as i8 } else { 0 };
        Self { scale, values: row.iter().map(quantise).collect() }
    }
}

/// Returns the body of an asset: the vocabulary and one row for each piece.
///
/// # Errors
///
/// `Invalid` when the rows do not match the vocabulary or each other, or when something does not fit the layout.
pub fn body(vocabulary: &[&str], rows: &[QuantisedRow]) -> Result<Vec<u8>> {
    let dimensions = rows.first().map_or(0, |row| row.values.len());
    let same_length = rows.iter().all(|row| row.values.len() == dimensions);
    if dimensions == 0 || !same_length || rows.len() != vocabulary.len() {
        return Err(Error::invalid("each piece needs one row, and all rows the same length"));
    }
    let count = |number: usize| u32::try_from(number).map_err(|_| Error::invalid("the asset is too large"));
    let mut body = Vec::new();
    body.extend(count(rows.len())?.to_le_bytes());
    body.extend(count(dimensions)?.to_le_bytes());
    body.extend(count(vocabulary.iter().map(|piece| piece.len()).sum())?.to_le_bytes());
    for row in rows {
        body.extend(row.values.iter().map(|value| value.cast_unsigned()));
    }
    for row in rows {
        body.extend(row.scale.to_le_bytes());
    }
    for piece in vocabulary {
        let length = u8::try_from(piece.len())
            .map_err(|_| Error::invalid(format!("the piece `{piece}` is longer than 255 bytes")))?;
        body.push(length);
    }
    body.extend(vocabulary.iter().flat_map(|piece| piece.bytes()));
    Ok(body)
}

/// Returns the asset made of a body and its SHA-256.
pub fn seal(body: &[u8], digest: [u8; DIGEST_BYTES]) -> Vec<u8> {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&digest);
    checksum.update(body);
    let mut asset = Vec::with_capacity(BODY_START + body.len());
    asset.extend(MAGIC);
    asset.extend(VERSION.to_le_bytes());
    asset.extend(checksum.finalize().to_le_bytes());
    asset.extend(digest);
    asset.extend(body);
    asset
}

/// A checked asset. The rows stay where they are, in the program's own bytes.
#[derive(Debug)]
pub struct Asset {
    bytes: Cow<'static, [u8]>,
    dimensions: usize,
    scales: Vec<f32>,
    vocabulary_bytes: usize,
}

impl Asset {
    /// Checks an asset and finds its parts.
    ///
    /// # Errors
    ///
    /// `Corrupt` when anything is not as it was written.
    pub fn open(bytes: Cow<'static, [u8]>) -> Result<Self> {
        check_seal(&bytes)?;
        let mut body = Reader { rest: bytes.get(BODY_START..).unwrap_or_default() };
        let pieces = body.number()?;
        let dimensions = body.number()?;
        let vocabulary_bytes = body.number()?;
        let rows_bytes = pieces.checked_mul(dimensions).filter(|&bytes| bytes > 0);
        body.take(rows_bytes.ok_or_else(|| corrupt("it has no rows"))?)?;
        let scales = body.take(pieces.saturating_mul(4))?.as_chunks::<4>().0.iter();
        let scales: Vec<f32> = scales.map(|bytes| f32::from_le_bytes(*bytes)).collect();
        if !scales.iter().all(|scale| scale.is_finite() && *scale >= 0.0) {
            return Err(corrupt("a scale is not a positive number"));
        }
        body.take(pieces)?;
        body.take(vocabulary_bytes)?;
        if !body.rest.is_empty() {
            return Err(corrupt(format!("{} bytes follow its end", body.rest.len())));
        }
        Ok(Self { bytes, dimensions, scales, vocabulary_bytes })
    }

    /// Returns the length of a row.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Returns all rows, one after the other.
    pub fn rows(&self) -> &[u8] {
        let end = ROWS_START + self.scales.len() * self.dimensions;
        self.bytes.get(ROWS_START..end).unwrap_or_default()
    }

    /// Returns how many pieces there are.
    pub fn pieces(&self) -> usize {
        self.scales.len()
    }

    /// Returns the row of a piece, each byte a signed number, and its scale.
    pub fn row(&self, piece: u32) -> Option<(&[u8], f32)> {
        let piece = piece as usize;
        let scale = *self.scales.get(piece)?;
        let start = ROWS_START + piece * self.dimensions;
        Some((self.bytes.get(start..start + self.dimensions)?, scale))
    }

    /// Returns the pieces in the order of their ids.
    ///
    /// # Errors
    ///
    /// `Corrupt` when the pieces are not the UTF-8 they should be.
    pub fn vocabulary(&self) -> Result<Vec<&str>> {
        let lengths_start = ROWS_START + self.scales.len() * (self.dimensions + 4);
        let mut reader = Reader { rest: self.bytes.get(lengths_start..).unwrap_or_default() };
        let lengths = reader.take(self.scales.len())?;
        let text = reader.take(self.vocabulary_bytes)?;
        let mut rest = std::str::from_utf8(text).map_err(|_| corrupt("its pieces are not UTF-8"))?;
        let mut vocabulary = Vec::with_capacity(lengths.len());
        for &length in lengths {
            let Some((piece, behind)) = rest.split_at_checked(usize::from(length)) else {
                return Err(corrupt("its pieces do not have the lengths it says"));
            };
            vocabulary.push(piece);
            rest = behind;
        }
        if rest.is_empty() { Ok(vocabulary) } else { Err(corrupt("its pieces do not have the lengths it says")) }
    }

    /// Returns the start of the body's SHA-256 in hexadecimal digits: what tells two sets of weights apart.
    pub fn short_digest(&self) -> String {
        let digest = self.bytes.iter().skip(CHECKED_START).take(ID_DIGEST_BYTES);
        digest.fold(String::with_capacity(2 * ID_DIGEST_BYTES), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// Checks the bytes in front of the body.
fn check_seal(bytes: &[u8]) -> Result<()> {
    let mut head = Reader { rest: bytes };
    if head.take(MAGIC.len())? != MAGIC {
        return Err(corrupt("it does not begin with `memosemb`"));
    }
    let version = head.number()?;
    if version != VERSION as usize {
        return Err(corrupt(format!("it has layout {version} and this program reads layout {VERSION}")));
    }
    let expected = head.number()?;
    let found = crc32fast::hash(head.rest) as usize;
    if expected != found {
        return Err(corrupt(format!("its checksum is {found:08x} and should be {expected:08x}")));
    }
    head.take(DIGEST_BYTES)?;
    Ok(())
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(corrupt(format!("it ends {} bytes too early", length - self.rest.len())));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<usize> {
        let bytes = self.take(4)?;
        Ok(bytes.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }
}

fn corrupt(what: impl std::fmt::Display) -> Error {
    Error::corrupt(format!("the weights of the built-in embedder are damaged, {what}; install the program again"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const VOCABULARY: [&str; 3] = ["[UNK]", "né", "##e"];

    fn small() -> Vec<u8> {
        let rows = [[0.0, 0.0], [1.0, -0.5], [-2.0, 0.1]].map(|row| QuantisedRow::from_numbers(&row));
        seal(&body(&VOCABULARY, &rows).unwrap(), [0xab; DIGEST_BYTES])
    }

    #[test]
    fn what_is_written_is_read() {
        let asset = Asset::open(small().into()).unwrap();
        assert_eq!(asset.dimensions(), 2);
        assert_eq!(asset.vocabulary().unwrap(), VOCABULARY);
        assert_eq!(asset.short_digest(), "abababababababab");
        assert_eq!(asset.row(0), Some(([0, 0].as_slice(), 0.0)));
        assert_eq!(asset.row(1), Some(([127, (-64_i8).cast_unsigned()].as_slice(), 1.0 / 127.0)));
        assert_eq!(asset.row(2), Some(([(-127_i8).cast_unsigned(), 6].as_slice(), 2.0 / 127.0)));
        assert_eq!(asset.row(3), None);
    }

    #[test]
    fn every_damaged_byte_and_every_lost_end_is_noticed() {
        let whole = small();
        for position in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[position] ^= 0x10;
            let error = Asset::open(damaged.into()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {position}: {error}");
            let error = Asset::open(whole[..position].to_vec().into()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "end {position}: {error}");
        }
    }

    #[test]
    fn a_sealed_body_that_makes_no_sense_is_refused() {
        let check = |change: fn(&mut Vec<u8>), expect: &str| {
            let mut body = small()[BODY_START..].to_vec();
            change(&mut body);
            let opened = Asset::open(seal(&body, [0; DIGEST_BYTES]).into());
            let message = opened.and_then(|asset| asset.vocabulary().map(|_| ())).unwrap_err().to_string();
            assert!(message.contains(expect), "`{message}` does not contain `{expect}`");
        };
        let lengths = 12 + 3 * 2 + 3 * 4;
        assert_eq!(small()[BODY_START + lengths..][..3], [5, 3, 3]);
        check(|body| body.clear(), "4 bytes too early");
        check(|body| body[..4].fill(0), "no rows");
        check(|body| body[..8].fill(0xff), "too early");
        check(|body| body.push(0), "1 bytes follow");
        check(|body| body[12 + 6..][..4].copy_from_slice(&f32::NAN.to_le_bytes()), "scale");
        check(|body| body[12 + 6..][..4].copy_from_slice(&(-1.0_f32).to_le_bytes()), "scale");
        check(|body| body[12 + 6 + 12] = 4, "lengths");
        check(|body| body[12 + 6 + 12] = 7, "lengths");
        check(|body| *body.last_mut().unwrap() = 0xff, "UTF-8");
    }

    #[test]
    fn rows_that_do_not_fit_are_refused() {
        let row = QuantisedRow::from_numbers(&[1.0]);
        assert!(body(&["a", "b"], std::slice::from_ref(&row)).is_err());
        assert!(body(&["a", "b"], &[row.clone(), QuantisedRow::from_numbers(&[1.0, 2.0])]).is_err());
        assert!(body(&["x".repeat(256).as_str()], &[row]).is_err());
        assert!(body(&[], &[]).is_err());
    }
}

//! The archive around a bundle: an uncompressed ustar file in which every byte is given by the names, sizes and
//! contents.
//!
//! A general reader of archives follows links, long names, sparse files and padding that nobody looks at, each a way to
//! say one thing to a check and another to a reader. This one takes a header only when it is, byte for byte, the header
//! that is written for that name and size. Any program reads such an archive; few others write one.

use std::io::{Read, Write};

use crate::error::{Error, Result};

const BLOCK: usize = 512;

/// What eleven octal digits hold.
const MEMBER_BYTES_MAX: u64 = 0o77_777_777_777;

/// Bytes made room for before any were read, whatever a header says.
const TRUSTED_BYTES: u64 = 64 * 1024;

/// A file in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) bytes: u64,
}

impl Member {
    /// Returns the one header of this name and size: a plain file of mode 644, of nobody, from 1970.
    fn header(&self) -> Result<[u8; BLOCK]> {
        if self.name.is_empty() || self.name.len() > 99 || self.bytes > MEMBER_BYTES_MAX {
            return Err(Error::invalid(format!("`{}` of {} bytes does not fit an archive", self.name, self.bytes)));
        }
        let mut block = [0; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| {
            block.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
        };
        put(0, self.name.as_bytes());
        put(100, b"0000644\x000000000\x000000000\0");
        put(124, format!("{:011o}\0{:011o}\0", self.bytes, 0).as_bytes());
        // The checksum is taken with spaces in its own place.
        put(148, b"        0");
        put(257, b"ustar\x0000");
        put(329, b"0000000\x000000000\0");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        let mut put = |at: usize, bytes: &[u8]| {
            block.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
        };
        put(148, format!("{sum:06o}\0 ").as_bytes());
        Ok(block)
    }

    fn padding(&self) -> usize {
        self.bytes.next_multiple_of(BLOCK as u64).saturating_sub(self.bytes) as usize
    }
}

/// Writes one member and returns how many bytes the archive has grown by.
pub(super) fn write_member(out: &mut impl Write, name: &str, content: &[u8]) -> Result<u64> {
    let member = Member { name: name.to_owned(), bytes: content.len() as u64 };
    let header = member.header()?;
    let padding = vec![0; member.padding()];
    for part in [header.as_slice(), content, &padding] {
        out.write_all(part).map_err(unwritten)?;
    }
    Ok((BLOCK + content.len() + padding.len()) as u64)
}

/// Writes the two empty blocks that end an archive.
pub(super) fn write_end(out: &mut impl Write) -> Result<u64> {
    out.write_all(&[0; 2 * BLOCK]).and_then(|()| out.flush()).map_err(unwritten)?;
    Ok(2 * BLOCK as u64)
}

fn unwritten(error: std::io::Error) -> Error {
    Error::unavailable(format!("the bundle cannot be written: {error}")).with_source(error)
}

/// Reads an archive member by member.
pub(super) struct Archive<R> {
    input: R,
    /// How many more bytes are accepted.
    left: u64,
    most: u64,
}

impl<R: Read> Archive<R> {
    pub(super) fn new(input: R, most: u64) -> Self {
        Self { input, left: most, most }
    }

    /// Returns how many bytes were read.
    pub(super) fn bytes(&self) -> u64 {
        self.most - self.left
    }

    /// Reads the next header; none when the archive is at its end, and nothing follows.
    pub(super) fn next_member(&mut self) -> Result<Option<Member>> {
        let block = self.take(BLOCK as u64)?;
        if block.iter().all(|byte| *byte == 0) {
            if self.take(BLOCK as u64)?.iter().any(|byte| *byte != 0) {
                return Err(Error::invalid("the archive goes on after the block that ends it"));
            }
            let mut beyond = Vec::new();
            (&mut self.input).take(1).read_to_end(&mut beyond).map_err(unreadable)?;
            return match beyond.is_empty() {
                true => Ok(None),
                false => Err(Error::invalid("the archive goes on after its end")),
            };
        }
        let text = |at: usize, most: usize| {
            let field = block.iter().skip(at).take(most).copied().take_while(|byte| *byte != 0).collect();
            String::from_utf8(field).ok()
        };
        let bytes = text(124, 12).and_then(|digits| u64::from_str_radix(&digits, 8).ok());
        let (Some(name), Some(bytes)) = (text(0, 100), bytes) else {
            return Err(Error::invalid("this is no bundle: it does not begin with the header of an archive's file"));
        };
        let member = Member { name, bytes };
        match member.header() {
            Ok(header) if header.as_slice() == block => Ok(Some(member)),
            _ => Err(Error::invalid(format!(
                "the header of `{}` is not as a bundle's are: a plain file of mode 644 without owner and date",
                shown(&member.name)
            ))),
        }
    }

    /// Reads the content of a member, of which at most `most` bytes are accepted.
    pub(super) fn content(&mut self, member: &Member, most: u64) -> Result<Vec<u8>> {
        if member.bytes > most {
            return Err(Error::invalid(format!("it has {} bytes, and at most {most} are accepted", member.bytes)));
        }
        let content = self.take(member.bytes)?;
        if self.take(member.padding() as u64)?.iter().any(|byte| *byte != 0) {
            return Err(Error::invalid("it is followed by bytes that belong to nothing"));
        }
        Ok(content)
    }

    fn take(&mut self, bytes: u64) -> Result<Vec<u8>> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| {
            Error::invalid(format!("the bundle has more than the {} bytes that are accepted", self.most))
        })?;
        let mut content = Vec::with_capacity(bytes.min(TRUSTED_BYTES) as usize);
        (&mut self.input).take(bytes).read_to_end(&mut content).map_err(unreadable)?;
        if (content.len() as u64) < bytes {
            return Err(Error::corrupt("the bundle ends too early; copy it again"));
        }
        Ok(content)
    }
}

fn unreadable(error: std::io::Error) -> Error {
    Error::unavailable(format!("the bundle cannot be read: {error}")).with_source(error)
}

/// Returns a name from outside for a message: short, and without what a terminal would obey.
pub(super) fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(80).collect()
}

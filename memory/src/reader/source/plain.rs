//! Plain text: paragraphs between blank lines or page breaks, with wrapped lines joined.

use super::admission::Admission;
use super::{Document, Part, Section};
use crate::error::{Error, Result};

/// A line of this many characters, followed by another, was wrapped by an editor. A shorter one was ended by its writer,
/// and a longer one is a paragraph on a line of its own.
const WRAPPED_CHARS: std::ops::RangeInclusive<usize> = 50..=120;

pub(super) fn read(name: &str, text: &str, admission: &mut Admission<'_>) -> Result<Part> {
    let mut kept = Vec::new();
    for_each_paragraph(text.split(['\n', '\u{c}']), |paragraph| {
        kept.extend(admission.paragraph(&paragraph)?);
        Ok(())
    })?;
    if kept.is_empty() {
        return Err(Error::invalid("the file holds no text; there is nothing to read"));
    }
    let mut sections = Vec::new();
    admission.section(&mut sections, Section { path: Vec::new(), paragraphs: kept })?;
    Ok(Part::Document(Document { title: name.to_owned(), sections }))
}

/// Hands each paragraph of the lines on as soon as it ends, so that a limit can stop the reading.
pub(super) fn for_each_paragraph<'a>(
    lines: impl Iterator<Item = &'a str>,
    mut found: impl FnMut(String) -> Result<()>,
) -> Result<()> {
    let mut paragraph = String::new();
    let mut previous_chars = 0;
    for line in lines.chain(std::iter::once("")) {
        let line = line.trim_end();
        if line.trim_start().is_empty() {
            if !paragraph.is_empty() {
                found(std::mem::take(&mut paragraph))?;
            }
            continue;
        }
        if !paragraph.is_empty() {
            let wrapped = WRAPPED_CHARS.contains(&previous_chars) && continues(line);
            paragraph.push(if wrapped { ' ' } else { '\n' });
        }
        paragraph.push_str(line);
        previous_chars = line.chars().count();
    }
    Ok(())
}

/// Returns whether a line may go on with the one before: it is no list item, quote, table row or indented line.
fn continues(line: &str) -> bool {
    let marker = line.split(' ').next().unwrap_or("");
    let numbered = marker.trim_end_matches(['.', ')']);
    let is_number = numbered.len() < marker.len() && numbered.chars().all(|c| c.is_ascii_digit());
    !is_number && !marker.is_empty() && !line.starts_with(['-', '*', '+', '•', '>', '|', '\t', '#'])
}

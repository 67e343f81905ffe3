//! Cuts a document into passages short enough to be recalled one by one.
//!
//! A passage is filled with whole paragraphs while they fit. A paragraph that is too long by itself begins a passage of
//! its own and is cut at its lines, a line at its sentences, a sentence between words, and only a word that is too long
//! anywhere.

use super::{Document, SourceLimits};
use crate::error::{Error, Result};
use crate::reader::sentences::sentences;

/// A stretch of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage<'a> {
    /// The headings above it, from the outermost in.
    pub path: &'a [String],
    /// Its text; paragraphs are parted by a blank line.
    pub text: String,
}

impl Document {
    /// Returns the document's passages in order; none crosses a heading.
    ///
    /// # Errors
    /// `Invalid` if there are more than [`SourceLimits::passages`].
    pub fn passages(&self, limits: &SourceLimits) -> Result<Vec<Passage<'_>>> {
        let mut passages = Vec::new();
        for section in &self.sections {
            let room = limits.passages - passages.len();
            let texts = split(&section.paragraphs, limits.passage_chars, room);
            passages.extend(texts.into_iter().map(|text| Passage { path: &section.path, text }));
            if passages.len() > limits.passages {
                let may = limits.passages;
                return Err(Error::invalid(format!("the document has more than {may} passages; split it")));
            }
        }
        Ok(passages)
    }
}

/// Cuts paragraphs into passages of at most `max_chars` characters; a bound of 0 is read as 1.
pub fn split_passages(paragraphs: &[String], max_chars: usize) -> Vec<String> {
    split(paragraphs, max_chars, usize::MAX)
}

/// Cuts as above, and keeps no more than one passage above `room`, which tells that there were too many.
fn split(paragraphs: &[String], max_chars: usize, room: usize) -> Vec<String> {
    let mut filling = Filling { max_chars: max_chars.max(1), room, chars: 0, text: String::new(), done: Vec::new() };
    for paragraph in paragraphs {
        filling.add_paragraph(paragraph);
    }
    filling.end_passage();
    filling.done
}

struct Filling {
    max_chars: usize,
    room: usize,
    chars: usize,
    text: String,
    done: Vec<String>,
}

impl Filling {
    fn add_paragraph(&mut self, paragraph: &str) {
        if self.fits(paragraph) {
            return self.add("\n\n", paragraph);
        }
        self.end_passage();
        for line in paragraph.split('\n') {
            if self.fits(line) {
                self.add("\n", line);
                continue;
            }
            for (at, sentence) in sentences(line).enumerate() {
                self.add_sentence(if at == 0 { "\n" } else { " " }, sentence);
            }
        }
    }

    fn add_sentence(&mut self, mut joint: &str, sentence: &str) {
        if self.fits(sentence) {
            return self.add(joint, sentence);
        }
        for word in sentence.split_whitespace() {
            let mut rest = word;
            while let Some((cut, _)) = rest.char_indices().nth(self.max_chars) {
                let (head, tail) = rest.split_at_checked(cut).unwrap_or((rest, ""));
                self.end_passage();
                self.add("", head);
                rest = tail;
            }
            self.add(joint, rest);
            joint = " ";
        }
    }

    fn fits(&self, piece: &str) -> bool {
        piece.char_indices().nth(self.max_chars).is_none()
    }

    /// Adds a piece that fits into a passage, to this one or the next.
    fn add(&mut self, joint: &str, piece: &str) {
        let chars = piece.chars().count();
        if self.chars > 0 && self.chars + joint.len() + chars > self.max_chars {
            self.end_passage();
        }
        if self.chars > 0 {
            self.text.push_str(joint);
            self.chars += joint.len();
        }
        self.text.push_str(piece);
        self.chars += chars;
    }

    fn end_passage(&mut self) {
        let text = self.text.trim_end();
        if !text.trim_start().is_empty() && self.done.len() <= self.room {
            self.done.push(text.to_owned());
        }
        self.text.clear();
        self.chars = 0;
    }
}

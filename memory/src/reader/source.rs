//! What an input file says, whatever its format: bytes in, conversations and documents out.
//!
//! This room is pure and neutral. It finds who said what and when, or what a document holds under which headings, and keeps
//! the order. It does not judge: facts, entities and times inside the text are found by the rooms that read a [`Source`].
//! It must never know cubes, spaces or storage, and never opens a file, a clock or the network.
//!
//! Whatever is dropped says nothing: white space, control characters, markup, turns without words. What cannot be read is an
//! error that names the file, the place and what to do; no part of a file is passed over because it was not understood.
//!
//! | format | what is read | what it becomes |
//! |---|---|---|
//! | `messages` | JSON: messages, `{"messages": [..]}`, or an array of these | a conversation; each object or inner array is a session |
//! | `messages-jsonl` | the same, one JSON value a line | a conversation; messages in a row are one session |
//! | `locomo` | JSON of the LoCoMo benchmark | a conversation for each sample |
//! | `transcript` | lines `Speaker: text`, see [`Format::Transcript`] | a conversation |
//! | `markdown` | CommonMark with tables and front matter | a document with a section for each heading |
//! | `text` | paragraphs between blank lines | a document of one section |

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::time::Timestamp;

mod admission;
mod decoding;
mod detection;
mod json;
mod limits;
mod locomo;
mod markdown;
mod messages;
#[cfg(test)]
mod mutations;
mod passages;
mod plain;
#[cfg(test)]
mod tests;
mod transcript;

pub use limits::SourceLimits;
pub use locomo::{LocomoQuestion, LocomoSample, read_locomo_questions};
pub use passages::{Passage, split_passages};

use admission::Admission;
use detection::Choice;

/// What an input holds, whatever its format was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file's name without folder and ending.
    pub name: String,
    /// How the input was read.
    pub format: Format,
    /// What was found, in the order of the file; never empty.
    pub parts: Vec<Part>,
}

/// One whole that an input holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Something that was said between speakers.
    Conversation(Conversation),
    /// Something that was written.
    Document(Document),
}

/// Sessions of the same people, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// The conversation's own name, or the file's.
    pub name: String,
    /// The sessions in which something was said; never empty.
    pub sessions: Vec<Session>,
}

/// Turns that were taken at one sitting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The session's own name, or `session N`.
    pub name: String,
    /// When it began: its own date, or the time of its first turn that has one.
    pub at: Option<Timestamp>,
    /// What was said, in order; never empty.
    pub turns: Vec<Turn>,
}

/// One thing that one speaker said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The source's own id of the turn, such as LoCoMo's `dia_id`.
    pub reference: Option<String>,
    /// Who said it; the role where the source names nobody.
    pub speaker: String,
    /// What the speaker is in the conversation.
    pub role: Role,
    /// What was said; empty only where a picture was shared without words.
    pub text: String,
    /// What a shared picture shows.
    pub caption: Option<String>,
    /// When it was said, where the turn itself says so.
    pub at: Option<Timestamp>,
}

/// What a speaker is in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The user of an assistant.
    User,
    /// A language model or an agent.
    Assistant,
    /// Instructions, or text that no speaker said.
    System,
    /// The result of a tool.
    Tool,
    /// A person among persons.
    Person,
}

/// Something written, cut at its headings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The document's own title, or the file's name.
    pub title: String,
    /// The sections that hold text, in order; never empty.
    pub sections: Vec<Section>,
}

/// The text under one heading, up to the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The headings above the text, from the outermost in; at most six, which is Markdown's own bound.
    pub path: Vec<String>,
    /// Plain text. A list is one paragraph with its items as lines, and so is a table with its rows; a block of code is
    /// one paragraph between its fences.
    pub paragraphs: Vec<String>,
}

/// The formats that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Messages as the OpenAI interfaces write them, in one JSON value.
    Messages,
    /// The same, one JSON value a line.
    MessagesJsonl,
    /// Samples of the LoCoMo benchmark.
    Locomo,
    /// Lines `Speaker: text`, with lines that go on; `[2024-05-07 10:30]` or `[10:30]` may stand before the speaker, and
    /// `[shares a picture: CAPTION]` or `[image: CAPTION]` at the end. `# Session 3 - 7 May 2024`, `--- 2024-05-07 ---`
    /// and `Session 3 (1:56 pm on 8 May, 2023)` begin sessions.
    Transcript,
    /// CommonMark.
    Markdown,
    /// Paragraphs.
    Text,
}

impl Format {
    /// Every format, in the order in which they are named to people.
    pub const ALL: [Self; 6] =
        [Self::Messages, Self::MessagesJsonl, Self::Locomo, Self::Transcript, Self::Markdown, Self::Text];

    /// Returns the name by which people choose the format.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::MessagesJsonl => "messages-jsonl",
            Self::Locomo => "locomo",
            Self::Transcript => "transcript",
            Self::Markdown => "markdown",
            Self::Text => "text",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|format| format.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|format| format.name()).collect();
            Error::invalid(format!("`{text}` is not a format; use one of {}", names.join(", ")))
        })
    }
}

/// Reads what the bytes of a file say; the format is found from its name and content where none is given.
///
/// # Errors
/// `Invalid`, naming the file and the place, if the bytes are not text, do not have the format, fit none, hold nothing,
/// or break a limit.
///
/// # Limits
/// See [`SourceLimits`]. The size is checked before anything is read.
pub fn read_source(name: &str, bytes: &[u8], format: Option<Format>, limits: &SourceLimits) -> Result<Source> {
    let file = detection::FileName::new(name);
    read(&file, bytes, format, limits).map_err(|error| error.at(file.shown()))
}

fn read(file: &detection::FileName<'_>, bytes: &[u8], format: Option<Format>, limits: &SourceLimits) -> Result<Source> {
    let text = decoding::decode(bytes, limits)?;
    let mut admission = Admission::new(limits);
    let name = file.stem();
    let choice = match format {
        Some(format) => Choice::given(format, &text, limits)?,
        None => detection::detect(file, &text, limits)?,
    };
    let (format, parts) = match choice {
        Choice::Messages(value) => (Format::Messages, vec![messages::read_json(&name, &value, &mut admission)?]),
        Choice::MessagesJsonl => (Format::MessagesJsonl, vec![messages::read_lines(&name, &text, &mut admission)?]),
        Choice::Locomo(value) => (Format::Locomo, locomo::read(&value, &mut admission)?),
        Choice::Transcript => (Format::Transcript, vec![transcript::read(&name, &text, &mut admission)?]),
        Choice::Markdown => (Format::Markdown, vec![markdown::read(&name, &text, &mut admission)?]),
        Choice::Text => (Format::Text, vec![plain::read(&name, &text, &mut admission)?]),
    };
    Ok(Source { name, format, parts })
}

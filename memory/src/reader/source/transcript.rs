//! Transcripts: text files in which a line begins with its speaker.
//!
//! ```text
//! # Session 3 - 7 May 2024             a session begins; also `--- 2024-05-07 ---`, `## 7 May 2024, 18:30`,
//!                                      `Session 3 (1:56 pm on 8 May, 2023)`, `Date: 2024-05-07`, or the date alone
//! Ada: Hello Bo,                       a turn
//! look at this!                        the turn goes on
//! [10:30] Bo: How nice                 a turn at 10:30 of the session's date, of the next one past midnight
//! [2024-05-07 10:31] Ada: Isn't it?
//! [shares a picture: a red bicycle]    what a picture at the end of a turn shows; also `[image: ..]`, `[photo: ..]`
//! ```
//!
//! A heading with neither date nor number begins a session only where a turn follows it, and a rule without words parts
//! nothing, since pasted Markdown has both. Likewise `Note: ..` within a turn is no speaker; see [`lines`] for who is one.
//! Text before the first speaker is a turn of the `narrator`. The words `User`, `Assistant` and the like give their role.

use jiff::civil::DateTime;

use super::admission::{Admission, clean_label, push_session};
use super::{Conversation, Part, Role, Session, Turn, plain};
use crate::error::{Error, Result};
use crate::time::Timestamp;
use lines::{Line, TurnLine};
use stamps::{Stamp, place};

mod headings;
mod lines;
mod stamps;

pub(super) use lines::looks_like_one;

const NARRATOR: &str = "narrator";

/// The words that open the caption of a picture between square brackets.
const CAPTION_WORDS: &[&str] = &[
    "shares a picture",
    "shared a picture",
    "shares an image",
    "shared an image",
    "shares a photo",
    "shared a photo",
    "picture",
    "image",
    "photo",
];

pub(super) fn read(name: &str, text: &str, admission: &mut Admission<'_>) -> Result<Part> {
    let mut reading = Reading {
        admission,
        sessions: Vec::new(),
        session: Session { name: String::new(), at: None, turns: Vec::new() },
        pending: None,
        title: None,
        anchor: None,
    };
    let lines = lines::read(text);
    let anybody_speaks = lines.iter().any(|line| matches!(line, Line::Turn(_)));
    for (at, line) in lines.into_iter().enumerate() {
        reading.add(at + 1, line)?;
    }
    reading.end_session()?;
    if !anybody_speaks || reading.sessions.is_empty() {
        return Err(Error::invalid("the file holds no turn; write each as `Speaker: text` on a line of its own"));
    }
    let name = reading.title.unwrap_or_else(|| name.to_owned());
    Ok(Part::Conversation(Conversation { name, sessions: reading.sessions }))
}

/// A turn whose lines are still being read.
struct Pending<'a> {
    line: usize,
    speaker: &'a str,
    at: Option<DateTime>,
    lines: Vec<&'a str>,
}

struct Reading<'a, 'b, 'c> {
    admission: &'b mut Admission<'c>,
    sessions: Vec<Session>,
    session: Session,
    pending: Option<Pending<'a>>,
    /// The first heading, if nothing was said under it: it names the conversation.
    title: Option<String>,
    /// The last known date and time, by which a time of day is dated.
    anchor: Option<DateTime>,
}

impl<'a> Reading<'a, '_, '_> {
    fn add(&mut self, number: usize, line: Line<'a>) -> Result<()> {
        match line {
            Line::Session { name, at } => {
                let above = self.end_session()?;
                // `Session 3` and `--- 2024-05-07 ---` with nothing between them are one heading on two lines.
                let name = above.name.map_or_else(|| name.to_owned(), |above| format!("{above} - {name}"));
                self.session.name = self.admission.title(&name).unwrap_or_default();
                self.anchor = at.or(above.at);
                self.session.at = self.anchor.map(Timestamp::from_civil);
            }
            Line::Turn(turn) => {
                self.end_turn()?;
                let at = self.date(number, &turn)?;
                self.pending = Some(Pending { line: number, speaker: turn.speaker, at, lines: vec![turn.text] });
            }
            Line::Text(text) => {
                let narrated = || Pending { line: number, speaker: NARRATOR, at: None, lines: Vec::new() };
                // A blank line says nothing where nobody speaks.
                if self.pending.is_some() || !text.trim().is_empty() {
                    self.pending.get_or_insert_with(narrated).lines.push(text);
                }
            }
            Line::Rule => {}
        }
        Ok(())
    }

    fn date(&mut self, number: usize, turn: &TurnLine<'_>) -> Result<Option<DateTime>> {
        let Some(written) = turn.stamp else { return Ok(None) };
        let at = match Stamp::read(written) {
            Some(Stamp::Dated(at)) => Some(at),
            Some(Stamp::Clock(clock)) => self.anchor.and_then(|anchor| place(clock, anchor)),
            None => {
                let shown = clean_label(written);
                return Err(Error::invalid(format!(
                    "line {number}: `{shown}` is not a time; write it like `2024-05-07 10:30`"
                )));
            }
        };
        self.anchor = at.or(self.anchor);
        Ok(at)
    }

    fn end_turn(&mut self) -> Result<()> {
        let Some(pending) = self.pending.take() else {
            return Ok(());
        };
        let mut text = String::new();
        plain::for_each_paragraph(pending.lines.into_iter(), |paragraph| {
            if !text.is_empty() {
                text.push_str("\n\n");
            }
            text.push_str(&paragraph);
            Ok(())
        })?;
        let (text, caption) = split_caption(&text);
        let turn = Turn {
            reference: None,
            speaker: pending.speaker.to_owned(),
            role: if pending.speaker == NARRATOR { Role::System } else { lines::role(pending.speaker) },
            text: text.to_owned(),
            caption: caption.map(str::to_owned),
            at: pending.at.map(Timestamp::from_civil),
        };
        let turn = self.admission.turn(turn).map_err(|error| error.at(format_args!("line {}", pending.line)))?;
        self.session.turns.extend(turn);
        Ok(())
    }

    /// Ends the session; returns its heading if nothing was said under it and it is not the title.
    fn end_session(&mut self) -> Result<Above> {
        self.end_turn()?;
        let next = Session { name: String::new(), at: None, turns: Vec::new() };
        let session = std::mem::replace(&mut self.session, next);
        if !session.turns.is_empty() || session.name.is_empty() {
            push_session(&mut self.sessions, session);
            return Ok(Above::default());
        }
        let names_a_session = session.at.is_some() || headings::is_numbered(&session.name);
        if self.sessions.is_empty() && self.title.is_none() && !names_a_session {
            self.title = Some(session.name);
            return Ok(Above::default());
        }
        Ok(Above { name: Some(session.name), at: session.at.map(Timestamp::to_civil) })
    }
}

/// A heading straight above another one.
#[derive(Default)]
struct Above {
    name: Option<String>,
    at: Option<DateTime>,
}

/// Cuts the caption of a picture from the end of a turn.
fn split_caption(text: &str) -> (&str, Option<&str>) {
    let Some(inside) = text.trim_end().strip_suffix(']') else {
        return (text, None);
    };
    let opened = inside.rmatch_indices('[').find_map(|(at, _)| {
        let content = inside.get(at + 1..)?;
        CAPTION_WORDS.iter().find_map(|word| {
            let (head, rest) = content.split_at_checked(word.len())?;
            let caption = rest.trim_start();
            let opens = head.eq_ignore_ascii_case(word) && (caption.is_empty() || caption.starts_with(':'));
            opens.then(|| (at, caption.trim_start_matches(':').trim()))
        })
    });
    match opened {
        None => (text, None),
        Some((at, caption)) => {
            let said = inside.get(..at).unwrap_or("").trim_end();
            (said, Some(if caption.is_empty() { "image" } else { caption }))
        }
    }
}

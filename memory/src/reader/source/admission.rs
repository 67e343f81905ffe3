//! The door through which every turn, section and paragraph goes: cleaned, counted, and refused over a limit.

use super::{Conversation, Part, Section, Session, SourceLimits, Turn};
use crate::error::{Error, Result};

/// Counts what one input holds.
pub(super) struct Admission<'a> {
    pub(super) limits: &'a SourceLimits,
    turns: usize,
    sections: usize,
    paragraphs: usize,
}

impl<'a> Admission<'a> {
    pub(super) fn new(limits: &'a SourceLimits) -> Self {
        Self { limits, turns: 0, sections: 0, paragraphs: 0 }
    }

    /// Returns the turn with its texts cleaned, or `None` if it says nothing.
    pub(super) fn turn(&mut self, turn: Turn) -> Result<Option<Turn>> {
        let may = self.limits.turn_bytes;
        let has = turn.text.len() + turn.caption.as_ref().map_or(0, String::len);
        let speaker = clean_label(&turn.speaker);
        if has > may {
            let shown = shorten(&speaker, 40);
            return Err(Error::invalid(format!(
                "the turn of `{shown}` has {has} bytes, and {may} are allowed; split it, or give long texts as documents"
            )));
        }
        let text = clean_text(&turn.text).trim_start().to_owned();
        let caption = turn.caption.map(|caption| clean_label(&caption)).filter(|caption| !caption.is_empty());
        if text.is_empty() && caption.is_none() {
            return Ok(None);
        }
        if speaker.is_empty() {
            return Err(Error::invalid("the turn has no speaker; name who said it"));
        }
        for (what, value) in [("speaker", Some(&speaker)), ("id", turn.reference.as_ref())] {
            let may = self.limits.speaker_chars;
            if let Some(value) = value.filter(|value| value.chars().count() > may) {
                let shown = shorten(value, 40);
                return Err(Error::invalid(format!("the {what} `{shown}` has more than {may} characters; shorten it")));
            }
        }
        self.turns += 1;
        if self.turns > self.limits.turns {
            let may = self.limits.turns;
            return Err(Error::invalid(format!("the file has more than {may} turns; split it into smaller files")));
        }
        Ok(Some(Turn { speaker, text, caption, ..turn }))
    }

    /// Returns the paragraph cleaned, or `None` if it says nothing.
    pub(super) fn paragraph(&mut self, text: &str) -> Result<Option<String>> {
        let text = clean_text(text);
        if text.is_empty() {
            return Ok(None);
        }
        self.paragraphs += 1;
        if self.paragraphs > self.limits.paragraphs {
            let may = self.limits.paragraphs;
            return Err(Error::invalid(format!("the document has more than {may} paragraphs; split it")));
        }
        Ok(Some(text))
    }

    /// Adds a section that holds text.
    pub(super) fn section(&mut self, sections: &mut Vec<Section>, section: Section) -> Result<()> {
        self.sections += 1;
        if self.sections > self.limits.sections {
            let may = self.limits.sections;
            return Err(Error::invalid(format!("the document has more than {may} sections; split it")));
        }
        sections.push(section);
        Ok(())
    }

    /// Returns a name of a conversation, session or document, cut to what a heading may have; `None` if it is empty.
    pub(super) fn title(&self, text: &str) -> Option<String> {
        let label = shorten(&clean_label(text), self.limits.heading_chars);
        (!label.is_empty()).then_some(label)
    }
}

/// Adds a session if something was said in it; it begins with its first timed turn where it has no time itself.
pub(super) fn push_session(sessions: &mut Vec<Session>, mut session: Session) {
    if session.turns.is_empty() {
        return;
    }
    session.at = session.at.or_else(|| session.turns.iter().find_map(|turn| turn.at));
    if session.name.is_empty() {
        session.name = format!("session {}", sessions.len() + 1);
    }
    sessions.push(session);
}

/// Makes the conversation, which must hold a session.
pub(super) fn conversation(name: &str, sessions: Vec<Session>, empty: &str) -> Result<Part> {
    if sessions.is_empty() {
        return Err(Error::invalid(empty));
    }
    Ok(Part::Conversation(Conversation { name: name.to_owned(), sessions }))
}

/// Returns the text with line feeds as its line ends, without control characters, and without white space around it.
///
/// Control characters carry no words, and some of them steer terminals.
fn clean_text(raw: &str) -> String {
    let kept = |c: char| matches!(c, '\n' | '\t') || !(c.is_control() || c == '\u{feff}');
    if raw.chars().all(kept) {
        return trim_lines(raw).to_owned();
    }
    let text: String = raw
        .replace("\r\n", "\n")
        .replace(['\r', '\u{b}', '\u{c}', '\u{85}'], "\n")
        .chars()
        .filter(|c| kept(*c))
        .collect();
    trim_lines(&text).to_owned()
}

/// Cuts blank lines from both ends, and white space from the end, but leaves the first line's indentation to code.
fn trim_lines(text: &str) -> &str {
    let text = text.trim_end();
    let content = text.len() - text.trim_start().len();
    let start = text.get(..content).and_then(|blank| blank.rfind('\n')).map_or(0, |newline| newline + 1);
    let text = text.get(start..).unwrap_or(text);
    if text.contains('\n') { text } else { text.trim_start() }
}

/// Returns the text as one line: white space as single spaces, no control characters.
pub(super) fn clean_label(raw: &str) -> String {
    let mut label = String::new();
    for word in raw.split_whitespace() {
        let before = label.len();
        if before > 0 {
            label.push(' ');
        }
        label.extend(word.chars().filter(|c| !(c.is_control() || *c == '\u{feff}')));
        if label.len() == before + usize::from(before > 0) {
            label.truncate(before);
        }
    }
    label
}

/// Returns at most `chars` characters of the text; a cut one ends in `…`.
pub(super) fn shorten(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some(_) => text.chars().take(chars.saturating_sub(1)).chain(std::iter::once('…')).collect(),
    }
}

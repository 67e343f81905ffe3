//! A card: what of a memory is written into the picture, and how much room it takes.
//!
//! Fonts are not measured here; widths of characters are estimated on the wide side, so that no text leaves its card.

use unicode_width::UnicodeWidthChar;

use crate::cube::{SemanticType, State};
use crate::vault::NeighbourCube;

pub(super) const PADDING: f64 = 12.0;
pub(super) const NAME_SIZE: f64 = 12.5;
pub(super) const DATE_SIZE: f64 = 10.5;
pub(super) const TEXT_SIZE: f64 = 12.0;
pub(super) const LINE_HEIGHT: f64 = 16.0;
const WIDTH: f64 = 220.0;
const CENTRE_WIDTH: f64 = 264.0;
const LINES: usize = 3;
const CENTRE_LINES: usize = 5;

/// What is written of one memory.
#[derive(Debug, Clone)]
pub(super) struct Card {
    pub(super) id: String,
    pub(super) semantic: SemanticType,
    pub(super) state: State,
    pub(super) is_centre: bool,
    pub(super) name: String,
    pub(super) date: String,
    pub(super) lines: Vec<String>,
    /// The whole text, for whoever points at it.
    pub(super) text: String,
    /// What else is known of it, in one line.
    pub(super) about: String,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Card {
    pub(super) fn of(cube: &NeighbourCube) -> Self {
        let is_centre = cube.hops == 0;
        let (width, most) = if is_centre { (CENTRE_WIDTH, CENTRE_LINES) } else { (WIDTH, LINES) };
        let room = width - 2.0 * PADDING;
        let date = cube.observed.to_civil().strftime("%-d %b %Y").to_string();
        let name = match &cube.speaker {
            Some(speaker) => speaker.as_str(),
            None if cube.title.is_empty() => cube.semantic.as_str(),
            // The title of a session's summary is its conversation and its own name; the latter tells more.
            None => cube.title.rsplit('/').next().unwrap_or(&cube.title),
        };
        let name_room = room - width_of(&date, DATE_SIZE) - 8.0;
        let lines = wrap(&cube.text, room, TEXT_SIZE, most);
        let about = [
            format!("{} version {}", cube.semantic, cube.version),
            cube.state.to_string(),
            cube.layer.to_string(),
            cube.id.to_string(),
        ];
        Self {
            id: cube.id.to_string(),
            semantic: cube.semantic,
            state: cube.state,
            is_centre,
            name: cut(name, name_room, NAME_SIZE * 1.06),
            date,
            height: 2.0 * PADDING + LINE_HEIGHT * (1 + lines.len()) as f64 - 1.0,
            lines,
            text: cube.text.trim().to_owned(),
            about: about.join(" · "),
            width,
        }
    }
}

/// Returns about how wide a text is in a common sans-serif font of this size.
pub(super) fn width_of(text: &str, size: f64) -> f64 {
    text.chars().map(width_of_char).sum::<f64>() * size
}

fn width_of_char(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | '’' => 0.31,
        ' ' | 'f' | 't' | 'r' | 'I' | '(' | ')' | '[' | ']' | '/' | '-' | '"' => 0.41,
        'm' | 'M' | 'W' | '@' | '%' | '—' | '…' => 0.97,
        'w' | '&' | '+' => 0.82,
        c if c.is_uppercase() => 0.73,
        c if c.width().unwrap_or(0) == 0 => 0.0,
        c if c.width() == Some(2) => 1.05,
        _ => 0.61,
    }
}

/// Returns the text as one line that fits; a cut one ends in `…`.
pub(super) fn cut(text: &str, room: f64, size: f64) -> String {
    wrap(text, room, size, 1).into_iter().next().unwrap_or_default()
}

/// Returns at most `most` lines that fit; where there is more to say the last one ends in `…`.
fn wrap(text: &str, room: f64, size: f64, most: usize) -> Vec<String> {
    // What could not be shown even in full need not be looked at.
    let text: String = text.chars().take(2_000).collect();
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let with = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
        let is_last = lines.len() + 1 == most;
        if width_of(&with, size) <= room {
            line = with;
        } else if is_last {
            lines.push(ellipsis(&with, room, size));
            return lines;
        } else if line.is_empty() {
            lines.push(ellipsis(word, room, size));
        } else {
            lines.push(std::mem::take(&mut line));
            line = if width_of(word, size) <= room { word.to_owned() } else { ellipsis(word, room, size) };
        }
        if lines.len() == most {
            return lines;
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

fn ellipsis(text: &str, room: f64, size: f64) -> String {
    let mut kept = String::new();
    let mut width = width_of_char('…') * size;
    for c in text.chars() {
        width += width_of_char(c) * size;
        if width > room {
            break;
        }
        kept.push(c);
    }
    // A word that is cut after a letter or two reads worse than none.
    let whole =
        kept.rsplit_once(' ').filter(|(_, tail)| tail.chars().count() < 3).map_or(kept.as_str(), |(head, _)| head);
    format!("{}…", whole.trim_end_matches([' ', ',', '.', ';', ':']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_to_their_room() {
        for (text, most, expect) in [
            ("a short one", 2, vec!["a short one"]),
            ("this one goes over to a second line", 2, vec!["this one goes", "over to a secon…"]),
            ("Donaudampfschifffahrtsgesellschaft here", 2, vec!["Donaudampfsch…", "here"]),
            ("   ", 2, vec![]),
        ] {
            let lines = wrap(text, 112.0, 12.0, most);
            assert_eq!(lines, expect, "{text}");
            assert!(lines.iter().all(|line| width_of(line, 12.0) <= 112.0));
        }
    }
}

//! Standard output: styles, widths, wrapped lines, and pipes that are closed early.
//!
//! What a command says is gathered and written at once. A reader that goes away, such as `head`, is no failure: the rest
//! is dropped silently. Colours are left out where `NO_COLOR` is set or nobody is at a terminal.

use std::fmt::Display;
use std::io::{ErrorKind as IoErrorKind, IsTerminal, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};
use memos::{Error, Result};
use serde::Serialize;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A heading.
pub(super) const TITLE: Style = Style::new().bold();
/// What is there for those who look for it.
pub(super) const DIM: Style = Style::new().dimmed();
/// A name to pick out of a line.
pub(super) const NAME: Style = AnsiColor::Cyan.on_default();
/// A number that says how good something is.
pub(super) const SCORE: Style = AnsiColor::Green.on_default();
/// Something that should not be overlooked.
pub(super) const NOTICE: Style = AnsiColor::Yellow.on_default();
/// Something that went wrong.
pub(super) const FAILURE: Style = AnsiColor::Red.on_default().bold();

/// Columns where nobody is at a terminal, and the bounds at one.
const DEFAULT_COLUMNS: usize = 80;
const FEWEST_COLUMNS: usize = 40;
const MOST_COLUMNS: usize = 110;

/// Returns the text in a style.
pub(super) fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Where a command says what came of it.
pub(super) struct Screen {
    /// Whether programs read along.
    pub(super) json: bool,
    /// Whether only the result is wanted.
    pub(super) quiet: bool,
    /// Columns to lay out for.
    pub(super) columns: usize,
    text: String,
    closed: bool,
}

impl Screen {
    pub(super) fn new(json: bool, quiet: bool) -> Self {
        let at_terminal = std::io::stdout().is_terminal();
        let size = terminal_size::terminal_size().filter(|_| at_terminal);
        let columns = size.map_or(DEFAULT_COLUMNS, |(width, _)| usize::from(width.0));
        Self { json, quiet, columns: columns.clamp(FEWEST_COLUMNS, MOST_COLUMNS), text: String::new(), closed: false }
    }

    /// Adds a line that belongs to the result.
    pub(super) fn result(&mut self, line: impl Display) {
        self.text.push_str(&line.to_string());
        self.text.push('\n');
    }

    /// Adds a line for people; `--quiet` and `--json` leave it out.
    pub(super) fn line(&mut self, line: impl Display) {
        if !self.quiet && !self.json {
            self.result(line);
        }
    }

    /// Adds a text for people, wrapped and indented.
    pub(super) fn paragraph(&mut self, indent: usize, style: Style, text: &str) {
        for line in wrap(text, self.columns.saturating_sub(indent)) {
            self.line(format!("{:indent$}{}", "", paint(style, line)));
        }
    }

    /// Adds the result as JSON.
    pub(super) fn object(&mut self, object: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(object)
            .map_err(|e| Error::invalid(format!("the result cannot be written as JSON: {e}")).with_source(e))?;
        self.result(text);
        Ok(())
    }

    /// Writes what was gathered.
    pub(super) fn flush(&mut self) -> Result<()> {
        let text = std::mem::take(&mut self.text);
        if self.closed || text.is_empty() {
            return Ok(());
        }
        let mut stdout = anstream::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == IoErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            Err(error) => {
                self.closed = true;
                Err(Error::unavailable(format!("the output cannot be written: {error}")).with_source(error))
            }
            Ok(()) => Ok(()),
        }
    }

    /// Returns a bar on standard error, which is seen at a terminal only.
    pub(super) fn progress(&self, what: &str) -> ProgressBar {
        if self.quiet {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(0).with_message(what.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {elapsed}") {
            bar.set_style(style.progress_chars("━╸─"));
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

/// Returns how many columns a text without styles takes.
pub(super) fn columns_of(text: &str) -> usize {
    text.width()
}

/// Returns the text without characters that could steer the terminal; line ends stay.
pub(super) fn printable(text: &str) -> String {
    let text = text.replace('\t', "    ");
    text.chars().filter(|c| *c == '\n' || !c.is_control()).collect()
}

/// Returns the text as one line of at most `columns`; a cut one ends in `…`.
pub(super) fn one_line(text: &str, columns: usize) -> String {
    let line = printable(text).split_whitespace().collect::<Vec<_>>().join(" ");
    if line.width() <= columns {
        return line;
    }
    let (mut cut, mut width) = (String::new(), 1);
    for c in line.chars() {
        width += c.width().unwrap_or(0);
        if width > columns {
            break;
        }
        cut.push(c);
    }
    format!("{}…", cut.trim_end())
}

/// Returns the text in lines of at most `columns`. Its own line ends are kept; a word that is too long is cut.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = Vec::new();
    for paragraph in printable(text).lines() {
        let (mut line, mut width) = (String::new(), 0);
        for word in paragraph.split_whitespace() {
            if width > 0 && width + 1 + word.width() > columns {
                lines.push(std::mem::take(&mut line));
                width = 0;
            }
            if width > 0 {
                line.push(' ');
                width += 1;
            }
            for c in word.chars() {
                let wide = c.width().unwrap_or(0);
                if width + wide > columns && width > 0 {
                    lines.push(std::mem::take(&mut line));
                    width = 0;
                }
                line.push(c);
                width += wide;
            }
        }
        lines.push(line);
    }
    if lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_wrap_at_words_and_cut_what_is_too_long() {
        for (text, columns, expect) in [
            ("one two three", 7, vec!["one two", "three"]),
            ("one\n\ntwo", 7, vec!["one", "", "two"]),
            ("abcdefgh ij", 4, vec!["abcd", "efgh", "ij"]),
            ("日本語 text", 4, vec!["日本", "語", "text"]),
            ("a \u{1b}[31mb", 20, vec!["a [31mb"]),
            ("", 5, vec![""]),
        ] {
            assert_eq!(wrap(text, columns), expect, "{text:?}");
        }
    }

    #[test]
    fn a_line_is_cut_to_its_columns() {
        assert_eq!(one_line("one\n two\tthree", 20), "one two three");
        assert_eq!(one_line("one two three", 8), "one two…");
        assert_eq!(one_line("日本語の本", 6), "日本…");
    }
}

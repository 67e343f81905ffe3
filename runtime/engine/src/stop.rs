//! Text that ends where one of some strings begins, though it comes in pieces.
//!
//! What might be the beginning of a stop string is held back until it is none. The cut falls in the same place however the text
//! is cut into pieces: before the string that was whole first.
//!
//! This room must never know tokens, nor why somebody wants to stop.

use crate::{Error, Result};

/// The most stop strings of one request.
pub const STOPS_MAX: usize = 16;

/// The longest stop string, in bytes. So much text may be held back.
pub const STOP_BYTES_MAX: usize = 256;

/// Watches a stream of text for stop strings.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    strings: Vec<String>,
    /// Text that was not given out yet, because it may be the beginning of a stop string.
    held: String,
    stopped: bool,
}

impl Stop {
    /// Watches for any of these strings; with none, text passes as it is.
    ///
    /// # Errors
    ///
    /// `Invalid` for an empty string, or above [`STOPS_MAX`] or [`STOP_BYTES_MAX`].
    pub fn at(strings: &[String]) -> Result<Self> {
        if strings.len() > STOPS_MAX {
            let count = strings.len();
            return Err(Error::invalid(format!("{count} stop strings are too many: at most {STOPS_MAX}")));
        }
        for string in strings {
            if string.is_empty() {
                return Err(Error::invalid("a stop string is empty, and would end every answer at once: leave it out"));
            }
            if string.len() > STOP_BYTES_MAX {
                return Err(Error::invalid(format!(
                    "the stop string `{}…` is too long: at most {STOP_BYTES_MAX} bytes",
                    string.chars().take(32).collect::<String>()
                )));
            }
        }
        Ok(Self { strings: strings.to_vec(), ..Self::default() })
    }

    /// Takes the next piece of text, and returns what is certain to come before any stop string. After a stop, that is nothing.
    pub fn push(&mut self, text: &str) -> String {
        if self.stopped {
            return String::new();
        }
        self.held.push_str(text);
        let found = self.strings.iter().filter_map(|string| {
            let start = self.held.find(string.as_str())?;
            Some((start + string.len(), start))
        });
        // The one that is whole first; of two that end together, the longer.
        if let Some((_, start)) = found.min() {
            self.stopped = true;
            let mut text = std::mem::take(&mut self.held);
            text.truncate(start);
            return text;
        }
        let open = self.strings.iter().map(|string| begun(&self.held, string)).max().unwrap_or(0);
        let held = self.held.split_off(self.held.len() - open);
        std::mem::replace(&mut self.held, held)
    }

    /// Ends the text, and returns what was held back: it was no stop string after all.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Tells whether a stop string was met.
    pub fn is_met(&self) -> bool {
        self.stopped
    }
}

/// Returns how many bytes at the end of a text are the beginning of a string.
fn begun(text: &str, string: &str) -> usize {
    let longest = text.len().min(string.len() - 1);
    let beginning = |len: &usize| string.get(..*len).is_some_and(|beginning| text.ends_with(beginning));
    (1..=longest).rev().find(beginning).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ErrorKind;

    fn stop(strings: &[&str]) -> Stop {
        Stop::at(&strings.iter().map(|string| (*string).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn text_is_held_back_while_it_may_be_a_stop_string() {
        #[track_caller]
        fn check(strings: &[&str], pieces: &[&str], given: &[&str], rest: &str, met: bool) {
            let mut stop = stop(strings);
            assert_eq!(pieces.iter().map(|piece| stop.push(piece)).collect::<Vec<_>>(), given);
            assert_eq!((stop.finish().as_str(), stop.is_met()), (rest, met));
        }
        check(&[], &["a", "b"], &["a", "b"], "", false);
        check(&["\n\n"], &["a\n", "b\n", "\nc"], &["a", "\nb", ""], "", true);
        check(&["User:"], &["Hi. Us", "er", " says"], &["Hi. ", "", "User says"], "", false);
        check(&["User:"], &["Hi. Us", "er"], &["Hi. ", ""], "User", false);
        check(&["User:"], &["Hi. User: more", "never"], &["Hi. ", ""], "", true);
        check(&["aab"], &["aa", "a", "b"], &["", "a", ""], "", true);
        check(&["é!"], &["caf", "é", "?"], &["caf", "", "é?"], "", false);
        check(&["ab", "b"], &["xab"], &["x"], "", true);
        check(&["abcd", "bc"], &["ab", "cd"], &["", "a"], "", true);
        check(&["abcd", "bc"], &["abcd"], &["a"], "", true);
    }

    #[test]
    fn strings_that_cannot_be_watched_for_are_refused() {
        #[track_caller]
        fn check(strings: &[String], says: &str) {
            let error = Stop::at(strings).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(says), "{error}");
        }
        check(&[String::new()], "is empty");
        check(&["é".repeat(STOP_BYTES_MAX)], "too long");
        check(&vec!["x".to_owned(); STOPS_MAX + 1], "17 stop strings");
        assert!(Stop::at(&vec!["x".repeat(STOP_BYTES_MAX); STOPS_MAX]).is_ok());
    }

    /// Reads character by character, and looks at all that was read.
    fn plainly(strings: &[String], text: &str) -> (String, bool) {
        let mut read = String::new();
        for character in text.chars() {
            read.push(character);
            let ended =
                strings.iter().filter(|string| read.ends_with(string.as_str())).max_by_key(|string| string.len());
            if let Some(string) = ended {
                read.truncate(read.len() - string.len());
                return (read, true);
            }
        }
        (read, false)
    }

    proptest! {
        #[test]
        fn the_cut_does_not_depend_on_the_pieces(
            pieces in proptest::collection::vec("[abé]{0,4}", 0..12), strings in proptest::collection::vec("[abé]{1,5}", 0..4),
        ) {
            let mut stop = Stop::at(&strings).unwrap();
            let mut given = String::new();
            for piece in &pieces {
                given.push_str(&stop.push(piece));
                prop_assert!(stop.held.len() < STOP_BYTES_MAX);
            }
            given.push_str(&stop.finish());
            prop_assert_eq!((given, stop.is_met()), plainly(&strings, &pieces.concat()));
        }
    }
}

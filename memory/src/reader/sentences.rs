//! Cuts text into sentences, so that a memory can be one thing that was said.
//!
//! The rules are for prose and for chat, where people leave out capitals and end a line instead of a sentence:
//!
//! - The end of a line always ends a sentence. Readers of wrapped files join the lines of a paragraph beforehand.
//! - `!` and `?` end one, as do a full stop and an ellipsis when they stand before white space and nothing says otherwise:
//!   titles (`Dr. Bo`), abbreviations (`e.g. this`), initials (`J. R. Ewing`), `No. 5`, and list numbers (`1. first`).
//! - Decimals, addresses and file names are whole, because their points do not stand before white space.
//! - Quotes, brackets, emoji and emoticons that close a sentence belong to it; `"Really?" she asked` goes on.
//! - The full-width marks of Chinese and Japanese end a sentence without white space.
//!
//! It knows English abbreviations alone and never looks at what a sentence means. Every step is linear in the text.

use std::ops::Range;

/// Words that stand before a name or an explanation and so do not end a sentence. Sorted.
const LEADING: &[&str] = &[
    "approx", "ca", "capt", "cf", "col", "dr", "e.g", "eg", "gen", "gov", "hon", "i.e", "ie", "lt", "maj", "mme", "mr",
    "mrs", "ms", "mt", "mx", "pres", "prof", "rep", "rev", "sen", "sgt", "st", "viz", "vs",
];

/// Words that are abbreviations before a number only: `No. 5`, but also `No. I will not.` Sorted.
const BEFORE_NUMBER: &[&str] =
    &["art", "ch", "eq", "fig", "figs", "no", "nos", "nr", "p", "para", "pp", "sec", "tel", "vol"];

/// Abbreviations that may also be the last word: they end a sentence before a capital only. Sorted.
const CLOSING: &[&str] = &[
    "a.d", "a.m", "al", "apr", "apt", "aug", "ave", "b.c", "blvd", "bros", "co", "corp", "dec", "dept", "ed", "eds",
    "est", "etc", "ext", "feb", "fri", "ft", "hr", "hrs", "inc", "jan", "jr", "jul", "jun", "kg", "km", "lb", "lbs",
    "ltd", "max", "min", "mins", "misc", "mon", "nov", "oct", "oz", "p.m", "p.s", "ph.d", "ps", "rd", "sat", "sep",
    "sept", "sq", "sr", "sun", "tbsp", "thu", "thur", "thurs", "tsp", "tue", "tues", "univ", "wed",
];

/// Words that begin a new sentence even after initials: `from the U.S. They left`. Sorted.
const STARTERS: &[&str] = &[
    "a", "after", "all", "also", "an", "and", "another", "as", "at", "because", "before", "both", "but", "every",
    "finally", "he", "her", "here", "his", "how", "however", "i", "i'd", "i'll", "i'm", "i've", "if", "in", "it",
    "it's", "its", "let's", "many", "maybe", "most", "my", "next", "no", "now", "on", "once", "one", "or", "our",
    "perhaps", "she", "since", "so", "some", "that", "that's", "the", "their", "then", "there", "these", "they",
    "this", "those", "to", "today", "we", "well", "what", "when", "where", "which", "while", "who", "why", "with",
    "yes", "you", "your",
];

/// Returns the sentences of the text in order, without the white space around them.
pub fn sentences(text: &str) -> impl Iterator<Item = &str> {
    sentence_ranges(text).filter_map(|range| text.get(range))
}

/// Returns where the sentences of the text lie, as ranges of bytes in order; only white space is left between them.
pub fn sentence_ranges(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut position = 0;
    std::iter::from_fn(move || {
        let rest = text.get(position..)?;
        let start = position + (rest.len() - rest.trim_start().len());
        let sentence = text.get(start..).filter(|rest| !rest.is_empty())?;
        let length = sentence_length(sentence);
        position = start + length;
        let spoken = sentence.get(..length).unwrap_or(sentence).trim_end();
        Some(start..start + spoken.len())
    })
}

/// Returns how many bytes the first sentence of a text has; the text begins with it.
fn sentence_length(text: &str) -> usize {
    let mut searched = 0;
    while let Some(rest) = text.get(searched..) {
        let Some((offset, mark)) = rest.char_indices().find(|(_, c)| is_line_end(*c) || is_mark(*c)) else {
            break;
        };
        let at = searched + offset;
        if is_line_end(mark) {
            return at;
        }
        let stop = Stop::read(text, at);
        if stop.ends_sentence() {
            return stop.end + trailing_feeling(stop.after);
        }
        searched = stop.end;
    }
    text.len()
}

fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{2028}' | '\u{2029}')
}

fn is_mark(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…' | '‽') || is_wide_mark(c)
}

fn is_wide_mark(c: char) -> bool {
    matches!(c, '。' | '！' | '？' | '｡' | '．')
}

fn is_closer(c: char) -> bool {
    matches!(c, '"' | '\'' | '”' | '’' | '»' | '›' | ')' | ']' | '}' | '*' | '_' | '」' | '』' | '）' | '】')
}

/// Emoji and pictures, without arrows and bullets, which begin what follows.
fn is_emoji(c: char) -> bool {
    matches!(c, '\u{2600}'..='\u{27bf}' | '\u{fe0f}' | '\u{200d}' | '\u{1f000}'..='\u{1faff}')
}

/// A run of emoji behind a sentence is shorter than this. Characters.
const FEELING_CHARS: usize = 24;

/// `:)`, `;-D`, `<3`
fn is_emoticon(word: &str) -> bool {
    (2..=4).contains(&word.len()) && word.starts_with([':', ';', '=', '<', '^']) && word.is_ascii()
}

/// Returns the bytes of white space, emoji and emoticons that close the sentence before them: `So good! 😊 Then`.
fn trailing_feeling(after: &str) -> usize {
    let mut taken = 0;
    while let Some(rest) = after.get(taken..) {
        let word = rest.trim_start_matches([' ', '\t']);
        // Looking no further than this keeps text without white space linear.
        let Some((end, _)) =
            word.char_indices().chain([(word.len(), ' ')]).take(FEELING_CHARS).find(|(_, c)| c.is_whitespace())
        else {
            break;
        };
        let Some(word) = word.get(..end).filter(|word| is_emoticon(word) || word.chars().all(is_emoji)) else { break };
        if word.is_empty() {
            break;
        }
        taken += rest.len() - rest.trim_start_matches([' ', '\t']).len() + word.len();
    }
    taken
}

/// A run of marks such as `?!` with the quotes and brackets that close behind it, and what stands around.
struct Stop<'a> {
    before: &'a str,
    marks: &'a str,
    closers: &'a str,
    after: &'a str,
    end: usize,
}

impl<'a> Stop<'a> {
    fn read(text: &'a str, at: usize) -> Self {
        let (before, rest) = text.split_at_checked(at).unwrap_or((text, ""));
        let after_marks = rest.trim_start_matches(is_mark);
        let after = after_marks.trim_start_matches(is_closer);
        let marks = rest.get(..rest.len() - after_marks.len()).unwrap_or(rest);
        let closers = after_marks.get(..after_marks.len() - after.len()).unwrap_or("");
        Self { before, marks, closers, after, end: text.len() - after.len() }
    }

    fn ends_sentence(&self) -> bool {
        if self.marks.chars().any(is_wide_mark) {
            return true;
        }
        let Some(next) = self.after.chars().next() else {
            return true;
        };
        if is_emoji(next) {
            return self.marks != ".";
        }
        if !next.is_whitespace() {
            return false;
        }
        let line = self.after.trim_start_matches([' ', '\t', '\u{a0}']);
        let next_word = line.split(char::is_whitespace).next().unwrap_or("");
        let Some(first) = next_word.chars().next() else {
            return true;
        };
        if !self.closers.is_empty() && first.is_lowercase() {
            return false;
        }
        match self.marks {
            "." => self.full_stop_ends(next_word, first),
            marks if marks.chars().all(|c| matches!(c, '.' | '…')) => {
                !first.is_lowercase() && !matches!(lower(next_word).as_str(), "i" | "i'm" | "i'll" | "i've" | "i'd")
            }
            _ => true,
        }
    }

    fn full_stop_ends(&self, next_word: &str, first: char) -> bool {
        // Looking back for white space stays linear: only a point before white space comes here.
        let last = self.before.rsplit(char::is_whitespace).next().unwrap_or("");
        let word = last.trim_start_matches(|c: char| !c.is_alphanumeric());
        let lowered = lower(word);
        let listed = |words: &[&str]| words.binary_search(&lowered.as_str()).is_ok();
        let numbers_a_list = !word.is_empty() && word.len() == self.before.trim().len() && word.len() <= 3;
        if numbers_a_list && word.chars().all(|c| c.is_ascii_digit()) {
            return false;
        }
        if listed(LEADING) {
            return false;
        }
        if listed(BEFORE_NUMBER) {
            return !first.is_numeric();
        }
        if listed(CLOSING) {
            return first.is_uppercase() || !first.is_alphanumeric();
        }
        if is_initials(word) {
            return !first.is_alphanumeric() || STARTERS.binary_search(&lower(next_word).as_str()).is_ok();
        }
        !first.is_lowercase() || is_whole_word(word)
    }
}

/// Returns the word in lower case without the marks around it, with a straight apostrophe.
fn lower(word: &str) -> String {
    // No word of the lists above is longer; a longer one need not be copied.
    if word.len() > 24 {
        return String::new();
    }
    word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase().replace('’', "'")
}

/// Returns whether a word is one letter, or letters parted by points: `J`, `U.S`.
fn is_initials(word: &str) -> bool {
    let mut parts = word.split('.');
    !word.is_empty() && parts.all(|part| part.chars().count() == 1 && part.chars().all(char::is_alphabetic))
}

/// Returns whether a word before a full stop reads as a word, not an unknown abbreviation, though no capital follows.
fn is_whole_word(word: &str) -> bool {
    let letters = word.chars().filter(|c| c.is_alphabetic()).count();
    letters == 0 || (letters >= 2 && word.chars().any(|c| !c.is_ascii() || "aeiouyAEIOUY".contains(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &[&str]) {
        assert_eq!(sentences(text).collect::<Vec<_>>(), expect, "{text}");
    }

    #[test]
    fn word_lists_are_sorted() {
        for list in [LEADING, BEFORE_NUMBER, CLOSING, STARTERS] {
            assert!(list.is_sorted());
        }
    }

    #[test]
    fn plain_ends() {
        check("", &[]);
        check(" \n\t ", &[]);
        check("One", &["One"]);
        check("One. Two! Three? Four", &["One.", "Two!", "Three?", "Four"]);
        check("i went home. it was nice. bye", &["i went home.", "it was nice.", "bye"]);
        check("What?! No way!!! Yes", &["What?!", "No way!!!", "Yes"]);
        check("First line\nsecond line\r\n\r\nthird", &["First line", "second line", "third"]);
        check("It was 2023. Then 2024. 3 went", &["It was 2023.", "Then 2024.", "3 went"]);
    }

    #[test]
    fn abbreviations_and_initials() {
        check("Dr. Bo met Mrs. Ray. They ate.", &["Dr. Bo met Mrs. Ray.", "They ate."]);
        check("Bring fruit, e.g. pears. Thanks.", &["Bring fruit, e.g. pears.", "Thanks."]);
        check("J. R. Ewing left. Bo stayed.", &["J. R. Ewing left.", "Bo stayed."]);
        check("She lives in the U.S. Senate building.", &["She lives in the U.S. Senate building."]);
        check("She came from the U.S. They did not.", &["She came from the U.S.", "They did not."]);
        check("At 5 p.m. we met. At 6 p.m. Bo left.", &["At 5 p.m. we met.", "At 6 p.m.", "Bo left."]);
        check("See No. 5 and fig. 3. No. I will not.", &["See No. 5 and fig. 3.", "No.", "I will not."]);
        check(
            "Pens, ink, etc. are here. Cups etc. Then plates.",
            &["Pens, ink, etc. are here.", "Cups etc.", "Then plates."],
        );
        check("On Jan. 5 it snowed (approx. ten cm). Cold!", &["On Jan. 5 it snowed (approx. ten cm).", "Cold!"]);
        check("the mngmt. dscn. was odd. ok", &["the mngmt. dscn. was odd.", "ok"]);
    }

    #[test]
    fn numbers_and_addresses() {
        check("It cost 3.50 or v1.2.3. Fine.", &["It cost 3.50 or v1.2.3.", "Fine."]);
        check("See https://a.example/x?y=z.w. It works.", &["See https://a.example/x?y=z.w.", "It works."]);
        check("Mail bo@a.example. now", &["Mail bo@a.example.", "now"]);
        check("1. Boil water\n2. Add tea. Wait.", &["1. Boil water", "2. Add tea.", "Wait."]);
        check("Open notes.txt? yes", &["Open notes.txt?", "yes"]);
    }

    #[test]
    fn quotes_ellipses_and_emoji() {
        check("\"Stop.\" He ran. \"Really?\" she asked.", &["\"Stop.\"", "He ran.", "\"Really?\" she asked."]);
        check("(I know.) Then we left.", &["(I know.)", "Then we left."]);
        check(
            "Well... I think so... maybe. Sure... Bo knows.",
            &["Well... I think so... maybe.", "Sure...", "Bo knows."],
        );
        check("Hm… yes. Hm… Yes.", &["Hm… yes.", "Hm…", "Yes."]);
        check("So good! 😊🎉 See you. → next", &["So good! 😊🎉", "See you.", "→ next"]);
        check("Great!😊 Then home.", &["Great!😊", "Then home."]);
        check("Thanks! :) You too. <3\n;) Bye =D", &["Thanks! :)", "You too. <3", ";) Bye =D"]);
        check("Great!😊then home.", &["Great!", "😊then home."]);
        check("他来了。你好！好", &["他来了。", "你好！", "好"]);
    }

    #[test]
    fn ranges_cover_all_but_white_space() {
        let mut state = 7_u64;
        let alphabet: Vec<char> = "ab A. ?!…\"')\n😊。é1 Dr.".chars().collect();
        for _ in 0..3000 {
            let mut text = String::new();
            for _ in 0..(state % 40) {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                text.push(alphabet[(state >> 33) as usize % alphabet.len()]);
            }
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407) >> 1;
            let mut end = 0;
            for range in sentence_ranges(&text) {
                assert!(range.start >= end && range.end > range.start, "{text:?}");
                assert!(text[end..range.start].trim().is_empty(), "{text:?}");
                assert_eq!(text[range.clone()].trim().len(), range.len(), "{text:?}");
                end = range.end;
            }
            assert!(text[end..].trim().is_empty(), "{text:?}");
        }
    }

    #[test]
    fn long_runs_stay_linear() {
        for piece in [".", "a.", "a. b ", "\" ", "? ", "! 😊", "Dr. ", "...", "(.) ", "a。", ":。", "!😊", "! 😊😊"]
        {
            assert!(sentences(&piece.repeat(50_000)).count() > 0);
        }
    }
}

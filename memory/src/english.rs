//! What this crate knows of English: its words, and a few closed classes of them.
//!
//! The lists hold what English uses to build sentences and questions, and nothing of any subject. A text in another language
//! has none of these words; it is read all the same, without what they would tell.

/// Longest word, in bytes; what is longer is cut there.
const WORD_BYTES: usize = 64;

/// Calls `visit` with each word of a text: lower case, without apostrophes and without a possessive `'s`.
pub(crate) fn each_word(text: &str, mut visit: impl FnMut(&str)) {
    let mut word = String::new();
    for raw in text.split(|c: char| !c.is_alphanumeric() && !is_apostrophe(c)) {
        word.clear();
        let raw = raw.strip_suffix("'s").or_else(|| raw.strip_suffix("\u{2019}s")).unwrap_or(raw);
        for c in raw.chars().filter(|c| !is_apostrophe(*c)) {
            if c.is_ascii() {
                word.push(c.to_ascii_lowercase());
            } else {
                word.extend(c.to_lowercase());
            }
            if word.len() >= WORD_BYTES {
                break;
            }
        }
        if !word.is_empty() {
            visit(&word);
        }
    }
}

fn is_apostrophe(c: char) -> bool {
    c == '\'' || c == '\u{2019}'
}

/// Returns whether a word, in lower case and without apostrophes, only serves to build sentences and questions.
pub fn is_stop_word(word: &str) -> bool {
    STOP_WORDS.binary_search(&word).is_ok()
}

/// Returns whether a word speaks of time.
pub(crate) fn is_time_word(word: &str) -> bool {
    TIME_WORDS.binary_search(&word).is_ok()
}

/// Returns whether a word is a number.
pub(crate) fn is_number_word(word: &str) -> bool {
    NUMBER_WORDS.contains(&word) || word.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns whether a word is one by which speakers speak of themselves.
pub(crate) fn is_first_person(word: &str) -> bool {
    FIRST_PERSON.binary_search(&word).is_ok()
}

/// Function words, question words, and light verbs of reporting.
const STOP_WORDS: &[&str] = &[
    "a",
    "about",
    "according",
    "after",
    "again",
    "all",
    "also",
    "am",
    "an",
    "and",
    "any",
    "are",
    "arent",
    "as",
    "at",
    "be",
    "been",
    "being",
    "but",
    "by",
    "can",
    "cant",
    "could",
    "couldnt",
    "d",
    "describe",
    "described",
    "describes",
    "did",
    "didn",
    "didnt",
    "do",
    "does",
    "doesn",
    "doesnt",
    "doing",
    "don",
    "done",
    "dont",
    "down",
    "for",
    "from",
    "get",
    "gets",
    "getting",
    "go",
    "goes",
    "going",
    "got",
    "had",
    "has",
    "have",
    "having",
    "he",
    "her",
    "hers",
    "herself",
    "him",
    "himself",
    "his",
    "how",
    "i",
    "id",
    "if",
    "ill",
    "im",
    "in",
    "into",
    "is",
    "isn",
    "isnt",
    "it",
    "its",
    "itself",
    "ive",
    "just",
    "let",
    "lets",
    "ll",
    "m",
    "me",
    "mention",
    "mentioned",
    "mentions",
    "more",
    "most",
    "my",
    "myself",
    "no",
    "nor",
    "not",
    "of",
    "off",
    "on",
    "once",
    "only",
    "or",
    "other",
    "our",
    "ours",
    "ourselves",
    "out",
    "over",
    "own",
    "re",
    "s",
    "said",
    "same",
    "say",
    "says",
    "she",
    "shes",
    "should",
    "so",
    "some",
    "such",
    "t",
    "tell",
    "tells",
    "than",
    "that",
    "thats",
    "the",
    "their",
    "theirs",
    "them",
    "themselves",
    "then",
    "there",
    "these",
    "they",
    "theyre",
    "this",
    "those",
    "through",
    "to",
    "told",
    "too",
    "under",
    "until",
    "up",
    "us",
    "ve",
    "very",
    "was",
    "wasn",
    "wasnt",
    "we",
    "went",
    "were",
    "weve",
    "what",
    "whats",
    "when",
    "where",
    "which",
    "while",
    "who",
    "whom",
    "whose",
    "why",
    "will",
    "with",
    "wont",
    "would",
    "wouldnt",
    "you",
    "your",
    "youre",
    "yours",
    "yourself",
    "yourselves",
    "youve",
];

/// Days, months, and words that place something in time.
const TIME_WORDS: &[&str] = &[
    "ago",
    "april",
    "august",
    "day",
    "days",
    "december",
    "evening",
    "february",
    "friday",
    "fridays",
    "january",
    "july",
    "june",
    "just",
    "last",
    "march",
    "may",
    "monday",
    "mondays",
    "month",
    "months",
    "morning",
    "next",
    "night",
    "november",
    "october",
    "recently",
    "saturday",
    "saturdays",
    "september",
    "since",
    "soon",
    "sunday",
    "sundays",
    "thursday",
    "thursdays",
    "today",
    "tomorrow",
    "tonight",
    "tuesday",
    "tuesdays",
    "wednesday",
    "wednesdays",
    "week",
    "weekend",
    "weekends",
    "weeks",
    "year",
    "years",
    "yesterday",
];

const NUMBER_WORDS: &[&str] = &[
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "fifteen",
    "twenty", "thirty", "forty", "fifty", "hundred", "thousand", "half", "dozen",
];

const FIRST_PERSON: &[&str] = &["i", "id", "ill", "im", "ive", "me", "my", "our", "we", "weve"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_normalised() {
        for (text, expect) in [
            ("Mira's boats DON'T sail!", "mira boats dont sail"),
            ("It\u{2019}s the CAFÉ, 555-0147", "it the café 555 0147"),
            ("'' ' --", ""),
        ] {
            let mut words = Vec::new();
            each_word(text, |word| words.push(word.to_owned()));
            assert_eq!(words.join(" "), expect, "{text}");
        }
    }

    #[test]
    fn lists_can_be_searched() {
        assert!(STOP_WORDS.is_sorted() && TIME_WORDS.is_sorted() && FIRST_PERSON.is_sorted());
        assert!(is_stop_word("whose") && !is_stop_word("boat"));
    }
}

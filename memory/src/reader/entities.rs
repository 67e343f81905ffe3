//! Names in a text: people, places and things that begin with a capital inside a sentence.

use std::collections::BTreeSet;

use super::sentences::sentences;

/// Most names taken from one text.
const MOST: usize = 12;

/// Words that begin with a capital for other reasons than being a name.
const NOT_NAMES: &[&str] = &[
    "I",
    "I'm",
    "I've",
    "I'll",
    "I'd",
    "OK",
    "Oh",
    "Yes",
    "No",
    "Hi",
    "Hey",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
    "Mr",
    "Mrs",
    "Ms",
    "Dr",
];

/// Finds names. Words that belong together, such as "Hotel Fyren", are one name; the first word of a sentence is a name
/// only when `known` knows it.
pub(super) fn entities(text: &str, known: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for sentence in sentences(text) {
        let mut name = String::new();
        for (at, raw) in sentence.split_whitespace().enumerate() {
            let word = raw.trim_matches(|c: char| !c.is_alphanumeric());
            let word = word.strip_suffix("'s").or_else(|| word.strip_suffix("\u{2019}s")).unwrap_or(word);
            let capital = word.chars().next().is_some_and(char::is_uppercase);
            let is_name =
                capital && !NOT_NAMES.contains(&word.replace('\u{2019}', "'").as_str()) && (at > 0 || known(word));
            if is_name {
                if !name.is_empty() {
                    name.push(' ');
                }
                name.push_str(word);
            }
            // A name ends with a word that is none, or with a mark behind it.
            if (!is_name || raw.ends_with(|c: char| !c.is_alphanumeric())) && !name.is_empty() {
                found.insert(std::mem::take(&mut name));
            }
        }
        if !name.is_empty() {
            found.insert(name);
        }
    }
    found.into_iter().filter(|name| name.len() > 1 && name.len() <= 64).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found() {
        for (text, expect) in [
            ("Yesterday Mira met Bo in Oslo.", "Bo, Mira, Oslo"),
            ("Mira owns a kayak.", "Mira"),
            ("We ate at Hotel Fyren, and Wendell's dog barked.", "Hotel Fyren, Wendell"),
            ("On Monday I paid. It was fine.", ""),
            ("", ""),
        ] {
            let found = entities(text, |word| word == "Mira");
            assert_eq!(found.into_iter().collect::<Vec<_>>().join(", "), expect, "{text}");
        }
    }
}

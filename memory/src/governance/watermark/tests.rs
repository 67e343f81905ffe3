//! What a mark promises: it is found in excerpts and after copying, by the key alone, and changes nothing that is read.

use super::*;
use crate::embed::{Embedder, builtin};
use crate::governance::sensitivity::{find_sensitive, redact};
use crate::index::TermReader;

const KEY: MarkKey = MarkKey::from_bytes([7; 32]);

const STORY: &str = "Mira's boat lay in the harbour all winter, and nobody had looked after it since the storm. The planks \
were dry, the paint had come off in long strips, and a family of gulls had moved into the cabin. In March she went down to \
see what could be saved; Otto came along with his tools, and they worked until dark. Write to otto@example.org or call \
+44 20 7946 0958 if you want to help them on the weekend. The mast was sound, which was more than they had hoped for, but \
the sails had to be made again from the old pattern that her grandfather left. They asked the sailmaker in the next town, \
who said that it would take until the end of April, and they agreed on a price that both could live with. By summer the \
boat was back in the water, red as it had been, and the gulls had found themselves another home on the roof of the shed.";

fn principal(name: &str) -> PrincipalId {
    name.parse().unwrap()
}

fn marked(text: &str, name: &str) -> String {
    mark(text, &Mark { key: &KEY, sharer: &principal(name) })
}

fn everybody() -> Vec<PrincipalId> {
    ["ada", "bo", "agent:cook"].map(principal).to_vec()
}

/// Returns who is named by the marks of a text, each once.
fn sharers(text: &str) -> Vec<String> {
    let mut names: Vec<String> = find_marks(text, &KEY, &everybody())
        .into_iter()
        .map(|found| found.sharer.map_or("?".into(), String::from))
        .collect();
    names.dedup();
    names
}

#[test]
fn a_mark_names_its_sharer_to_who_holds_the_key() {
    for text in [STORY, "Hi", "Bo likes tea", "5", "", "日本語の本", "a b", " \n"] {
        let text_of_bo = marked(text, "bo");
        assert_eq!(sharers(&text_of_bo), ["user:bo"], "{text:?}");
        assert_eq!(strip(&text_of_bo), text);
        // Marked again it is the same, and marked by another it is theirs.
        assert_eq!(marked(&text_of_bo, "bo"), text_of_bo);
        assert_eq!(sharers(&marked(&text_of_bo, "agent:cook")), ["agent:cook"]);
        let unknown = find_marks(&text_of_bo, &MarkKey::from_bytes([8; 32]), &everybody());
        assert!(!unknown.is_empty() && unknown.iter().all(|found| found.sharer.is_none()));
        let stranger = find_marks(&text_of_bo, &KEY, &[principal("ada")]);
        assert!(stranger.iter().all(|found| found.sharer.is_none()));
    }
    assert_ne!(marked(STORY, "ada"), marked(STORY, "bo"));
}

#[test]
fn every_excerpt_has_a_whole_mark() {
    let text = marked(STORY, "ada");
    let visible: Vec<usize> =
        text.char_indices().filter(|(_, c)| !SYMBOLS.contains(c)).map(|(at, _)| at).chain([text.len()]).collect();
    let mut excerpts = 0;
    for window in visible.windows(EXCERPT + 1) {
        let excerpt = &text[window[0]..window[EXCERPT]];
        assert_eq!(sharers(excerpt), ["user:ada"], "{excerpt}");
        excerpts += 1;
    }
    assert!(excerpts > 300);
}

#[test]
fn a_damaged_mark_is_none() {
    let text = marked("Bo likes tea", "ada");
    let start = text.find(SYMBOLS).unwrap();
    for at in 0..LENGTH {
        let place = start + at * SYMBOL_BYTES;
        let (before, after) = (&text[..place], &text[place..]);
        let symbol = after.chars().next().unwrap();
        let other = if symbol == SYMBOLS[0] { SYMBOLS[1] } else { SYMBOLS[0] };
        let flipped = format!("{before}{other}{}", &after[SYMBOL_BYTES..]);
        assert!(sharers(&flipped).iter().all(|name| name == "?"), "{at}");
        let cut = format!("{before}{}", &after[SYMBOL_BYTES..]);
        assert!(sharers(&cut).iter().all(|name| name == "?"), "{at}");
        assert_eq!(strip(&cut), "Bo likes tea");
    }
}

#[test]
fn what_is_read_stays_the_same() {
    let (text, terms, embedder) = (marked(STORY, "ada"), TermReader::default(), builtin().unwrap());
    assert_eq!(terms.document(&text), terms.document(STORY));
    assert_eq!(embedder.embed(&text).unwrap(), embedder.embed(STORY).unwrap());
    assert_eq!(find_sensitive(&text).len(), find_sensitive(STORY).len());
    assert_eq!(find_sensitive(STORY).len(), 2);
    let redacted = redact(&text, &find_sensitive(&text));
    assert_eq!(strip(&redacted), redact(STORY, &find_sensitive(STORY)));
    assert_eq!(sharers(&redacted), ["user:ada"]);
    assert_eq!(crate::cube::Payload::text(text).as_text(), Some(STORY));
}

#[test]
fn code_numbers_and_scripts_stay_whole() {
    let code = "See:\n```rust\nlet boat be red and go\nfn main of the boat\n```\nand `let it be so` 5 6";
    let text = marked(code, "ada");
    assert!(text.contains("let boat be red and go\nfn main of the boat") && text.contains("`let it be so`"));
    for plain in ["می\u{200c}خواهم", "👩\u{200d}👩\u{200d}👧", "x\u{200d}\u{200c}y", "no marks"] {
        assert_eq!(strip(plain), plain);
        assert_eq!(strip(&marked(plain, "ada")), plain);
    }
}

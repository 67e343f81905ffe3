//! Marks survive what programs do to a text that is copied through them.

#![allow(clippy::unwrap_used)]

use memos_memory::cube::PrincipalId;
use memos_memory::governance::watermark::{Mark, MarkKey, find_marks, mark};
use pulldown_cmark::{Event, Parser};
use unicode_normalization::UnicodeNormalization;

const STORY: &str = "Mira's boat lay in the harbour all winter, and nobody had looked after it since the storm. The planks \
were dry, the paint had come off in long strips, and a family of gulls had moved into the cabin. In March she went down to \
see what could be saved; Otto came along with his tools, and they worked until dark. Write to otto@example.org or call \
+44 20 7946 0958 if you want to help them on the weekend. The mast was sound, which was more than they had hoped for, but \
the sails had to be made again from the old pattern that her grandfather left. They asked the sailmaker in the next town, \
who said that it would take until the end of April, and they agreed on a price that both could live with. By summer the \
boat was back in the water, red as it had been, and the gulls had found themselves another home on the roof of the shed.";

/// Returns who is named by the marks of a text, each once.
fn sharers(text: &str, key: &MarkKey, ada: &PrincipalId) -> Vec<String> {
    let marks = find_marks(text, key, std::slice::from_ref(ada)).into_iter();
    let mut names: Vec<String> = marks.map(|found| found.sharer.map_or("?".into(), String::from)).collect();
    names.dedup();
    names
}

#[test]
fn a_mark_survives_what_copying_does() {
    let (key, ada): (_, PrincipalId) = (MarkKey::from_bytes([7; 32]), "ada".parse().unwrap());
    let text = mark(STORY, &Mark { key: &key, sharer: &ada });
    let json: String = serde_json::from_str(&serde_json::to_string(&text).unwrap()).unwrap();
    let trimmed = format!("  {text}\n\n").trim().to_owned();
    let spaces = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let html = {
        let mut html = String::new();
        for event in Parser::new(&text) {
            if let Event::Text(text) = event {
                html.push_str(&text);
            }
        }
        html
    };
    for (how, copy) in [
        ("json", json),
        ("trim", trimmed),
        ("white space", spaces),
        ("nfc", text.nfc().collect()),
        ("nfd", text.nfd().collect()),
        ("nfkc", text.nfkc().collect()),
        ("nfkd", text.nfkd().collect()),
        ("upper case", text.to_uppercase()),
        ("lower case", text.to_lowercase()),
        ("quoted", text.lines().map(|line| format!("> {line}\n")).collect()),
        ("markdown", html),
    ] {
        assert_eq!(sharers(&copy, &key, &ada), ["user:ada"], "{how}");
    }
}

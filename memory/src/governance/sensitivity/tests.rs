//! Tables of what is found and what is not, redaction, and a storm of random texts.
//!
//! Secrets are put together when the tests run, so that no text of this repository looks like one.

use super::{SensitiveSpan, SensitivityKind, find_sensitive, redact};

mod negatives;
mod positives;

/// Writes what was found as `kind:text`, one after another with ` | ` between.
fn found(text: &str) -> String {
    let lines = find_sensitive(text).into_iter().map(|span| format!("{}:{}", span.kind, &text[span.range]));
    lines.collect::<Vec<_>>().join(" | ")
}

fn check(text: &str, expect: &str) {
    assert_eq!(found(text), expect, "in `{text}`");
}

#[test]
fn kinds_have_one_name_everywhere() {
    for &kind in SensitivityKind::ALL {
        assert_eq!(kind.to_string().parse::<SensitivityKind>().unwrap(), kind);
        assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
    }
    let error = "passport".parse::<SensitivityKind>().unwrap_err();
    assert!(error.to_string().starts_with("`passport` is no kind of sensitive content; use one of email, phone"));
}

#[test]
fn spans_are_replaced_by_their_markers() {
    let text = "Mail bo@example.com or call +47 22 33 44 55.";
    let once = redact(text, &find_sensitive(text));
    assert_eq!(once, "Mail [email] or call [phone number].");
    assert_eq!(redact(&once, &find_sensitive(&once)), once);
}

#[test]
fn wrong_spans_never_show_more() {
    let span = |from: usize, until: usize, kind| SensitiveSpan { range: from..until, kind };
    let text = "aé bcd";
    for (spans, expect) in [
        (vec![], "aé bcd"),
        // Inside a character: all of it goes.
        (vec![span(2, 4, SensitivityKind::Email)], "a[email]bcd"),
        (vec![span(1, 2, SensitivityKind::Email)], "a[email] bcd"),
        (vec![span(4, 99, SensitivityKind::Secret)], "aé [secret]"),
        (vec![span(99, 120, SensitivityKind::Secret)], "aé bcd"),
        (vec![span(usize::MAX - 1, usize::MAX, SensitivityKind::Secret)], "aé bcd"),
        (vec![span(5, 5, SensitivityKind::Secret)], "aé bcd"),
        #[expect(clippy::reversed_empty_ranges)]
        (vec![SensitiveSpan { range: 6..2, kind: SensitivityKind::Secret }], "aé bcd"),
        // Out of order, and overlapping.
        (vec![span(4, 6, SensitivityKind::Phone), span(0, 1, SensitivityKind::Email)], "[email]é [phone number]d"),
        (vec![span(0, 5, SensitivityKind::Email), span(4, 7, SensitivityKind::Phone)], "[email]"),
        (vec![span(0, 7, SensitivityKind::Iban), span(4, 5, SensitivityKind::Phone)], "[bank account]"),
    ] {
        assert_eq!(redact(text, &spans), expect, "{spans:?}");
    }
}

/// A small generator with a seed, so that a failure repeats.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, limit: usize) -> usize {
        // Numerical Recipes' 64-bit linear congruential step; the high bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

const FRAGMENTS: &str = "@ @@ a b.c .com example 7 42 555 1234 4111 1111 + ( ) - -- . .. / : :: ::: = \" ' ` password is for \
    PIN token Bearer api key eyJ AKIA ghp_ sk- -----BEGIN PRIVATE KEY-----END :// NO93 DE89 é 日本 🎉 \
    \u{a0} \n aB3dE5gH7 xYz0Q9 sha256- 192.168 fe80 dead:beef 00 0 999999999999999999999 _ % $ € # call \
    phone";

#[test]
fn random_texts_never_break_it() {
    let pieces: Vec<&str> = FRAGMENTS.split(' ').filter(|piece| !piece.is_empty()).collect();
    let mut seeded = Seeded(11);
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..1 + seeded.below(16) {
            text.push_str(pieces[seeded.below(pieces.len())]);
            if seeded.below(3) == 0 {
                text.push(' ');
            }
        }
        let spans = find_sensitive(&text);
        let mut last_end = 0;
        for span in &spans {
            assert!(text.get(span.range.clone()).is_some_and(|found| !found.is_empty()), "{span:?} in `{text}`");
            assert!(span.range.start >= last_end, "{span:?} overlaps in `{text}`");
            last_end = span.range.end;
        }
        let random_span = SensitiveSpan { range: seeded.below(40)..seeded.below(40), kind: SensitivityKind::Email };
        let _ = redact(&text, &[spans, vec![random_span]].concat());
    }
}

#[test]
fn long_texts_cost_no_more_a_byte() {
    // Each of these would be quadratic if one detector looked around without bound.
    for piece in [
        "a@",
        "1 ",
        "1-",
        "+1 ",
        "(1",
        "eyJaaaaaaaaaaaaaaaaa.",
        "-----BEGIN PRIVATE ",
        "password for a ",
        "a:",
        "aA1/",
        "://a:b",
        "é@",
    ] {
        let text = piece.repeat(300_000 / piece.len());
        let _ = find_sensitive(&text);
    }
}

//! Tables of texts and the windows they mean, session dates, and a storm of random texts.

use jiff::civil::DateTime;

use super::{find_times, parse_session_date};
use crate::time::Timestamp;

mod negatives;
mod positives;

/// A Monday.
const MONDAY: &str = "2023-05-08T13:56";

/// Writes mentions as `text = from..until precision`, with `~` for relative ones, one after another with `; ` between.
fn found(text: &str, anchor: DateTime) -> String {
    let point = |at: Option<Timestamp>| {
        let civil = at.map(|at| at.to_civil().to_string()).unwrap_or_default();
        let civil = civil.strip_suffix(":00").unwrap_or(&civil);
        civil.strip_suffix("T00:00").unwrap_or(civil).to_string()
    };
    let lines = find_times(text, anchor).into_iter().map(|mention| {
        let words = &text[mention.range.clone()];
        let (from, until) = (point(mention.window.from), point(mention.window.until));
        let precision = serde_json::to_value(mention.precision).unwrap();
        let relative = if mention.relative { " ~" } else { "" };
        format!("{words} = {from}..{until} {}{relative}", precision.as_str().unwrap())
    });
    lines.collect::<Vec<_>>().join("; ")
}

fn check(anchor: &str, text: &str, expect: &str) {
    assert_eq!(found(text, anchor.parse().unwrap()), expect, "in `{text}`, written at {anchor}");
}

#[test]
fn session_dates_read() {
    for (text, expect) in [
        ("1:56 pm on 8 May, 2023", "2023-05-08T13:56:00"),
        ("12:09 am on 13 September, 2023", "2023-09-13T00:09:00"),
        ("12:30 pm on 1 January, 2024", "2024-01-01T12:30:00"),
        ("  10:37 am on 27 June, 2023 ", "2023-06-27T10:37:00"),
        ("2023-05-08", "2023-05-08T00:00:00"),
        ("2023-05-08 13:56", "2023-05-08T13:56:00"),
        ("2023-05-08T13:56:07", "2023-05-08T13:56:07"),
        ("2023-05-08T13:56:07.123456Z", "2023-05-08T13:56:07"),
        ("2023-05-08T13:56:00+02:00", "2023-05-08T11:56:00"),
        ("2023-05-08T23:56:00-0530", "2023-05-09T05:26:00"),
        ("2023-05-08 13:56:00 UTC", "2023-05-08T13:56:00"),
        ("2023/05/08 13:56", "2023-05-08T13:56:00"),
        ("May 8, 2023 13:56", "2023-05-08T13:56:00"),
        ("May 8, 2023 at 1:56 PM", "2023-05-08T13:56:00"),
        ("May 8, 2023 at 1:56\u{202f}PM", "2023-05-08T13:56:00"),
        ("Monday, May 8th, 2023", "2023-05-08T00:00:00"),
        ("8 May 2023", "2023-05-08T00:00:00"),
        ("Mon, 08 May 2023 13:56:00 +0200", "2023-05-08T11:56:00"),
        ("Mon, 08 May 2023 13:56:00 GMT", "2023-05-08T13:56:00"),
        ("[08/05/23, 13:56]", "2023-08-05T13:56:00"),
        ("8/5/2023", "2023-08-05T00:00:00"),
        ("25/12/2023", "2023-12-25T00:00:00"),
        ("25.12.2023 08:00", "2023-12-25T08:00:00"),
        ("5/8/23, 1:56 PM", "2023-05-08T13:56:00"),
        ("1683554160", "2023-05-08T13:56:00"),
        ("1683554160123", "2023-05-08T13:56:00.123"),
        ("1683554160.25", "2023-05-08T13:56:00.25"),
        ("20230508", "2023-05-08T00:00:00"),
    ] {
        let read = parse_session_date(text).map(|civil| civil.to_string());
        assert_eq!(read.as_deref(), Some(expect), "in `{text}`");
    }
}

#[test]
fn what_is_no_session_date_reads_as_nothing() {
    for text in [
        "",
        " ",
        "soon",
        "yesterday",
        "May 2023",
        "13:56",
        "2023-13-01",
        "31 February 2023",
        "8 May",
        "12",
        "123456789012345678",
        "1.2.3",
        "session 4",
        "8 May 2023 and 9 May 2023",
        "25:61 on 8 May, 2023",
        "99/99/2023",
        "20231345",
        "2023-05-08T",
        "2023-05-08T13:56:00Z tail",
    ] {
        assert_eq!(parse_session_date(text), None, "in `{text}`");
    }
    assert_eq!(parse_session_date(&"1".repeat(10_000)), None);
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

const FRAGMENTS: &str = "May may 7 7th 31 32 2023 0 00 999999999999 1980s 's ' ’ , . : / - – — 5:30 pm p.m. a.m. noon the \
    last next this past week weekend month year day before after ago in on at by since until from to \
    between and two few couple a of Friday Sat Fridays every summer fall early mid- late end earlier \
    later today tonight yesterday tomorrow Christmas New Eve Easter first half Q1 T10:30 Z +02:00 will \
    was é 日本 🎉 \u{a0} \u{202f} \n é日 o'clock within night morning three days 9999 years decade century \
    quarter 05/07/2023 2023-05-07 -05-07 ( ) $ % # _ in the middle following previous other now other";

#[test]
fn random_texts_never_break_it() {
    let pieces: Vec<&str> = FRAGMENTS.split(' ').filter(|piece| !piece.is_empty()).collect();
    let anchors = ["2023-05-08T13:56", "2024-02-29T00:00", "-009999-01-01T00:00", "9999-12-31T23:59"];
    let mut seeded = Seeded(7);
    for round in 0..20_000 {
        let mut text = String::new();
        for _ in 0..1 + seeded.below(14) {
            text.push_str(pieces[seeded.below(pieces.len())]);
            if seeded.below(4) > 0 {
                text.push(' ');
            }
        }
        let anchor: DateTime = anchors[round % anchors.len()].parse().unwrap();
        let mut last_end = 0;
        for mention in find_times(&text, anchor) {
            assert!(text.get(mention.range.clone()).is_some_and(|words| !words.is_empty()), "{mention:?} in `{text}`");
            assert!(mention.range.start >= last_end, "{mention:?} overlaps in `{text}`");
            last_end = mention.range.end;
            assert!(!mention.window.is_always());
            if let (Some(from), Some(until)) = (mention.window.from, mention.window.until) {
                assert!(from < until, "{mention:?} in `{text}`");
            }
        }
        let _ = parse_session_date(&text);
    }
}

#[test]
fn long_texts_cost_no_more_a_word() {
    // Each of these would be quadratic, or overflow the stack, if one rule could call itself or look ahead without bound.
    for piece in
        ["the day before ", "from May to ", "every ", "Friday, ", "2023-05-", "two or ", "early ", "\u{a0}", "'"]
    {
        let text = piece.repeat(200_000 / piece.len());
        let _ = find_times(&text, MONDAY.parse().unwrap());
    }
    let beyond = format!("{}é yesterday", " ".repeat(super::TEXT_BYTES_MAX - 1));
    assert_eq!(find_times(&beyond, MONDAY.parse().unwrap()), []);
}

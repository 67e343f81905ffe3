//! Broken inputs: thousands of seeded mutations of small ones, and large ones made to hurt, never panic and break no limit.

use super::*;

const SEED: u64 = 0x5eed_0f50_0000_0001;
const ROUNDS: usize = 1500;

const SEEDS: [(&str, &str); 6] = [
    (
        "a.json",
        r#"[{"title":"x","messages":[{"role":"user","name":"Bo","content":[{"type":"text","text":"Hi"},{"type":"image_url"}],"created_at":"2024-05-07T10:00:00Z"},{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}]}]"#,
    ),
    (
        "a.jsonl",
        "{\"role\":\"user\",\"content\":\"é\"}\n{\"messages\":[{\"name\":\"Bo\",\"text\":\"b\",\"timestamp\":1}]}\n",
    ),
    (
        "b.json",
        r#"[{"sample_id":"c","conversation":{"session_1_date_time":"1:56 pm on 8 May, 2023","session_1":[{"speaker":"A","dia_id":"D1:1","text":"x","blip_caption":"y"}]},"qa":[{"question":"q","evidence":["D1:1"],"category":1}]}]"#,
    ),
    (
        "a.txt",
        "# Title\n--- 2024-05-07 ---\n[10:30] Ada: Hé! [image: a]\nmore\n\nBo: no\nSession 2 (1:56 pm on 8 May, 2023)\n**User:** x\n[2024-05-07 10:30] Ada: y\n",
    ),
    (
        "a.md",
        "---\ntitle: t\n---\n# A\n\none **two** [l](u)\n\n- a\n  1. b\n\n| x | y |\n|---|---|\n| 1 | 2 |\n\n```rust\nc\n```\n> q\n\n<div>h</div>\n\nB\n---\n&amp; ![i](j)\n",
    ),
    ("n", "Plain. Text?\n\u{c}\n  more 😊…\n\n[1] end"),
];

struct Random(u64);

impl Random {
    /// xorshift64*
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    const SIGNS: &[u8] = b"[]{}\",:#-*_>|`<&!\\\n\r\t \x0c\x00\xff\xc3()0D.";
    let (from, to) = (random.below(bytes.len() + 1), random.below(bytes.len() + 1));
    let (from, to) = (from.min(to), from.max(to));
    match random.below(6) {
        0 if from < bytes.len() => bytes[from] ^= 1 << random.below(8),
        1 => drop(bytes.drain(from..to)),
        2 => bytes.truncate(to),
        3 => {
            let piece = bytes[from..to].to_vec();
            let at = random.below(bytes.len() + 1);
            bytes.splice(at..at, piece);
        }
        4 => {
            let other = SEEDS[random.below(SEEDS.len())].1.as_bytes();
            let cut = random.below(other.len());
            bytes.splice(from..to, other[cut..].iter().copied());
        }
        _ => {
            let run = vec![SIGNS[random.below(SIGNS.len())]; 1 + random.below(20)];
            bytes.splice(from..from, run);
        }
    }
    bytes.truncate(4000);
}

fn small_limits() -> SourceLimits {
    SourceLimits {
        file_bytes: 3000,
        json_depth: 16,
        json_values: 400,
        turns: 20,
        turn_bytes: 300,
        speaker_chars: 12,
        heading_chars: 20,
        sections: 12,
        paragraphs: 30,
        passage_chars: 25,
        passages: 60,
    }
}

fn assert_within(source: &Source, limits: &SourceLimits) {
    assert!(!source.parts.is_empty());
    let mut turns = 0;
    for part in &source.parts {
        match part {
            Part::Conversation(conversation) => {
                assert!(!conversation.sessions.is_empty() && !conversation.name.is_empty());
                for session in &conversation.sessions {
                    assert!(!session.turns.is_empty() && !session.name.is_empty());
                    turns += session.turns.len();
                    for turn in &session.turns {
                        assert!(!turn.text.is_empty() || turn.caption.is_some());
                        assert!(turn.text.len() <= limits.turn_bytes);
                        assert!((1..=limits.speaker_chars).contains(&turn.speaker.chars().count()));
                        assert!(!turn.text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')));
                    }
                }
            }
            Part::Document(document) => {
                assert!((1..=limits.sections).contains(&document.sections.len()));
                let paragraphs = document.sections.iter().map(|section| section.paragraphs.len());
                assert!((1..=limits.paragraphs).contains(&paragraphs.sum()));
                for section in &document.sections {
                    assert!(section.path.len() <= 6 && !section.paragraphs.is_empty());
                    assert!(section.path.iter().all(|heading| heading.chars().count() <= limits.heading_chars));
                }
                for passage in document.passages(limits).unwrap_or_default() {
                    assert!((1..=limits.passage_chars).contains(&passage.text.chars().count()));
                }
            }
        }
    }
    assert!(turns <= limits.turns);
}

#[test]
fn mutated_inputs_never_panic() {
    let mut random = Random(SEED);
    let (mut read, mut refused) = (0, 0);
    let small = small_limits();
    let default = SourceLimits::default();
    for round in 0..ROUNDS {
        for (name, seed) in SEEDS {
            let mut bytes = seed.as_bytes().to_vec();
            for _ in 0..=random.below(6) {
                mutate(&mut bytes, &mut random);
            }
            let format = (round % 3 == 0).then(|| Format::ALL[random.below(6)]);
            let limits = if round % 2 == 0 { &small } else { &default };
            match read_source(name, &bytes, format, limits) {
                Ok(source) => {
                    assert_within(&source, limits);
                    read += 1;
                }
                Err(error) => {
                    assert!(error.to_string().len() < 1000, "{error}");
                    refused += 1;
                }
            }
            let _ = read_locomo_questions(&bytes);
        }
    }
    assert!(read > ROUNDS && refused > ROUNDS, "mutations are too weak or too strong: {read} read, {refused} refused");
}

/// A reader whose time grows with the square of its input would take minutes for these.
#[test]
fn hurtful_inputs_stay_linear() {
    const BYTES: usize = 100_000;
    #[rustfmt::skip]
    let pieces = [
        "[", "![", "](", "*a_ ", "**", "> ", "- ", "1. ", "`", "``a", "<", "<a ", "<!--", "<script>", "&", "|",
        "|a\n|-\n", "# a\n", "a\n---\n", "\\", "~~a", "[a]: b\n", "a: ", "A: b\n", "[10:30] ", "# A\n", "--- a ---\n",
        "2024-05-07\n", "[image", "\n", "\u{c}", ". ", "\"", "{\"a\":", "\t", "- a\n ", "x[^1]", "  ", "D1:", ": a\n",
        "A\n: ", "。", ":。",
    ];
    for piece in pieces {
        let text = piece.repeat(BYTES / piece.len());
        for format in Format::ALL {
            if let Ok(source) = read_source("a", text.as_bytes(), Some(format), &SourceLimits::default()) {
                for part in &source.parts {
                    if let Part::Document(document) = part {
                        let _ = document.passages(&SourceLimits::default());
                    }
                }
            }
        }
        let _ = read_source("a", text.as_bytes(), None, &SourceLimits::default());
    }
}

//! Holds the cutting of text against the encoder's own tokenizer, through a fixture of what that one said.

use super::*;
use crate::embed::asset::Asset;

#[path = "../../../tests/support/tokenizer_texts.rs"]
mod tokenizer_texts;

/// Four bytes for each text, made by the command `tokenizer-fixture` of xtask.
static FIXTURE: &[u8] = include_bytes!("../../../tests/fixtures/tokenizer.bin");

fn shipped() -> (Vec<String>, WordPiece) {
    let asset = Asset::open(include_bytes!("../../../assets/embedder.bin").as_slice().into()).unwrap();
    let vocabulary = asset.vocabulary().unwrap();
    let word_piece = WordPiece::new(vocabulary.iter().copied()).unwrap();
    (vocabulary.into_iter().map(str::to_owned).collect(), word_piece)
}

#[test]
fn every_text_is_cut_as_the_encoder_cuts_it() {
    let (vocabulary, word_piece) = shipped();
    let (expected, _) = FIXTURE.as_chunks::<4>();
    assert_eq!(expected.len() as u64, tokenizer_texts::TEXTS);
    let [mut unknown, mut chinese, mut accents, mut continued, mut nothing] = [0; 5];
    let mut pieces_in_all = 0;
    for (number, (text, expected)) in tokenizer_texts::texts().zip(expected).enumerate() {
        let ids = word_piece.split(&text);
        let pieces: Vec<&str> = ids.iter().map(|&id| vocabulary[id as usize].as_str()).collect();
        let found = tokenizer_texts::fingerprint(&ids);
        assert_eq!(found, u32::from_le_bytes(*expected), "text {number} {text:?} became {pieces:?}");
        pieces_in_all += ids.len();
        unknown += usize::from(pieces.contains(&UNKNOWN));
        chinese += usize::from(pieces.iter().any(|piece| piece.chars().all(is_chinese)));
        accents += usize::from(text.nfd().any(UnicodeCategories::is_mark_nonspacing));
        continued += usize::from(pieces.iter().any(|piece| piece.starts_with(CONTINUATION)));
        nothing += usize::from(ids.is_empty());
    }
    println!(
        "{pieces_in_all} pieces; texts with an unknown word: {unknown}, with Chinese: {chinese}, with accents: {accents}, \
         with continued words: {continued}, without any piece: {nothing}"
    );
    // A fixture that no longer reaches these would prove little.
    assert!(unknown > 2_000 && chinese > 1_000 && accents > 2_000 && continued > 4_000 && nothing > 50);
}

#[test]
fn texts_are_cut_into_pieces() {
    let (vocabulary, word_piece) = shipped();
    let check = |text: &str, expect: &str| {
        let pieces: Vec<&str> = word_piece.split(text).iter().map(|&id| vocabulary[id as usize].as_str()).collect();
        assert_eq!(pieces.join(" "), expect, "{text:?}");
    };
    check("", "");
    check(" \t\r\n", "");
    check("Bo is allergic to peanuts.", "bo is allergic to peanuts .");
    check("embeddings", "em ##bed ##ding ##s");
    check("CAFÉ cafe\u{301}", "cafe cafe");
    check("a\u{0}b\u{200b}c\u{7}d", "abc ##d");
    check("don't", "don ' t");
    check("[SEP]", "[ sep ]");
    check("中文book", "中 文 book");
    check("\u{37e}", ";");
    check("☃", "[UNK]");
    check(&"a".repeat(101), "[UNK]");
    check(&"\u{301}".repeat(100_000), "");
}

#[test]
fn a_vocabulary_without_an_unknown_piece_is_refused() {
    let error = WordPiece::new(["the", "##s"]).unwrap_err();
    assert!(error.to_string().contains("`[UNK]`"));
}

#[test]
fn a_word_with_an_unknown_end_is_unknown_as_a_whole() {
    let word_piece = WordPiece::new(["##", "[UNK]", "ab", "##c", "##cd"]).unwrap();
    let check = |text: &str, expect: &[u32]| assert_eq!(word_piece.split(text), expect, "{text}");
    check("ab abc abcd abcdc", &[2, 2, 3, 2, 4, 2, 4, 3]);
    check("abx ab c", &[1, 2, 1]);
}

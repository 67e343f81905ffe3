//! Words that nobody has seen: spelt by chance, pronounceable, and parted into those for lessons and those for examinations.

use crate::dice::Dice;

use super::vocabulary::{CONSONANTS, PAIRS, VOWELS};

/// Which words a lesson may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordPool {
    /// Those that the model is taught with.
    Taught,
    /// Those that no lesson has.
    HeldOut,
}

/// One word in eight is held out of all lessons.
const HELD_OUT: u64 = 8;

/// Returns whether a word is kept out of lessons, whatever its case.
pub fn is_held_out(word: &str) -> bool {
    // FNV-1a: any fixed spreading would do.
    let spread = word.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |spread, byte| {
        (spread ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
    });
    (spread >> 32).is_multiple_of(HELD_OUT)
}

/// Makes a word of the pool, in small letters.
pub fn random_word(dice: &mut Dice, pool: WordPool) -> String {
    loop {
        // Two thirds sound like words; the rest is any pieces, so that each piece is met.
        let word = if dice.happens(0.65) { syllables(dice) } else { pieces(dice) };
        if (3..=12).contains(&word.len()) && is_held_out(&word) == (pool == WordPool::HeldOut) {
            return word;
        }
    }
}

fn syllables(dice: &mut Dice) -> String {
    const ONSETS: [&str; 24] = [
        "st", "th", "ch", "sh", "tr", "dr", "br", "cr", "fr", "gr", "pr", "bl", "cl", "fl", "gl", "pl", "sk", "sp",
        "sm", "sn", "sl", "sw", "ph", "wh",
    ];
    const CODAS: [&str; 24] = [
        "nd", "nt", "ng", "ck", "ll", "ss", "tt", "rr", "nn", "rd", "rk", "rn", "rt", "lt", "ld", "lk", "mp", "nk",
        "sk", "st", "sh", "th", "ch", "ns",
    ];
    let mut word = String::new();
    for _ in 0..[1, 2, 2, 2, 3, 3].get(dice.below(6)).copied().unwrap_or(2) {
        match dice.below(10) {
            0 => {}
            1 => word.push_str(dice.pick(&ONSETS).copied().unwrap_or("st")),
            _ => word.push(letter(dice, CONSONANTS)),
        }
        word.push(letter(dice, VOWELS));
        if dice.happens(0.08) {
            word.push(letter(dice, VOWELS));
        }
        match dice.below(10) {
            0 => word.push_str(dice.pick(&CODAS).copied().unwrap_or("nd")),
            1..=3 => word.push(letter(dice, CONSONANTS)),
            _ => {}
        }
    }
    word
}

fn pieces(dice: &mut Dice) -> String {
    let mut word = String::new();
    for _ in 0..dice.between(1, 4) {
        if dice.happens(0.2) {
            let letters = if dice.happens(0.5) { CONSONANTS } else { VOWELS };
            word.push(letter(dice, letters));
        } else {
            word.push_str(dice.pick(&PAIRS).copied().unwrap_or("an"));
        }
    }
    word
}

fn letter(dice: &mut Dice, of: &str) -> char {
    let letters = of.as_bytes();
    letters.get(dice.below(letters.len())).map_or('a', |letter| char::from(*letter))
}

//! Texts that try a tokenizer: the same ones wherever this file is included, so that two tokenizers can be compared by
//! the fingerprints of what they make of them.
//!
//! The characters are such as Unicode 9 has, as the reference tokenizer knows no later ones.

/// How many texts there are.
pub(super) const TEXTS: u64 = 12_000;

/// Returns the texts, always the same.
pub(super) fn texts() -> impl Iterator<Item = String> {
    (0..TEXTS).map(|number| {
        let mut random = Random(number);
        let kind = number % (KINDS.len() as u64 + 1);
        match KINDS.get(kind as usize) {
            Some(make) => make(&mut random),
            // Two kinds side by side: what one leaves open the other goes on with.
            None => any_kind(&mut random) + &any_kind(&mut random),
        }
    })
}

fn any_kind(random: &mut Random) -> String {
    let kind = random.below(KINDS.len() as u32);
    KINDS.get(kind as usize).map_or_else(String::new, |make| make(random))
}

/// Returns 32 bits that tell one sequence of ids from another (FNV-1a).
pub(super) fn fingerprint(ids: &[u32]) -> u32 {
    let bytes = ids.iter().flat_map(|id| id.to_le_bytes());
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

type Make = fn(&mut Random) -> String;

const KINDS: &[Make] = &[
    sentence,
    fragment,
    accented,
    any_characters,
    one_block,
    chinese_among_others,
    emoji,
    controls_and_spaces,
    punctuation,
    long_words,
    combining_runs,
];

const WORDS: &[&str] = &[
    "the",
    "of",
    "and",
    "memory",
    "agent",
    "allergic",
    "peanuts",
    "yesterday",
    "Bo",
    "Ada",
    "kernel",
    "unbelievable",
    "antidisestablishmentarianism",
    "don't",
    "it's",
    "we'll",
    "U.S.A.",
    "e-mail",
    "42",
    "3.14159",
    "1,000,000",
    "2024-05-07",
    "10:30am",
    "$19.99",
    "50%",
    "C++",
    "snake_case",
    "camelCase",
    "HTTPServer",
    "https://example.org/a?b=c&d=e#f",
    "ada@example.org",
    "#hashtag",
    "@mention",
    "[MASK]",
    "[UNK]",
    "[CLS]",
    "##ing",
    "foo/bar",
    "qwrtzpsdfg",
    "I",
    "a",
    "tokenization",
    "embeddings",
    "rust",
    "ractor",
    "hippocampus",
    "Zürich",
    "naïve",
    "café",
    "jalapeño",
    "Straße",
    "œuvre",
    "Ελλάδα",
    "Москва",
    "日本語",
    "한국어",
    "العربية",
    "עברית",
    "हिन्दी",
    "ไทย",
    "Việt",
    "İstanbul",
    "ŁÓDŹ",
    "ﬁnance",
];

const FRAGMENTS: &[&str] = &[
    "Hey Mel! Good to see you! How have you been?",
    "I went to a support group on 7 May 2023, and it was so powerful.",
    "She said: “I'll be back by 10 o'clock — don't wait up…”",
    "fn main() { let x: Vec<u8> = vec![0; 16]; println!(\"{:?}\", x); }",
    "{\"role\": \"user\", \"content\": \"what's my name?\"}",
    "SELECT * FROM cubes WHERE heat > 0.5 ORDER BY created DESC;",
    "Caroline's kids love the beach; they'd go every week if they could!!!",
    "Error: ENOENT: no such file or directory, open '/tmp/データ.txt'",
    "- [x] buy milk\n- [ ] call mum\n\t* don't forget the café",
    "The Größe of the Übung is naïve; cf. Ångström, Łódź & Dvořák.",
    "Москва — столица России. Санкт-Петербург — нет.",
    "Ελληνικά: ΟΔΥΣΣΕΥΣ ὁ ἀνήρ, ἄνδρα μοι ἔννεπε, μοῦσα",
    "私は東京に住んでいます。がぎぐげご ﾊﾝｶｸ パピプペポ",
    "我喜欢吃苹果,你呢?中文and English混排2024年",
    "안녕하세요, 만나서 반갑습니다! 각각 ㄱㄴㄷ",
    "नमस्ते दुनिया, कैसे हो? क्षत्रिय ज़रूर",
    "สวัสดีครับ ยินดีที่ได้รู้จัก น้ำ",
    "مرحبا بالعالم، كَيْفَ حَالُكَ؟ ١٢٣",
    "שָׁלוֹם עֲלֵיכֶם ׳״־",
    "Tiếng Việt rất khó: phở, bún chả, Nguyễn",
    "👨‍👩‍👧‍👦 family 🏳️‍🌈 flag 🇨🇭 👍🏽 ok ❤️ 1️⃣",
    "ﬁ ﬂ ﬀ ½ ² ³ ™ © ® № ℡ Å K Ω ≠ ≮ ≯ ; ` ´",
    "zero\u{200b}width\u{200d}join\u{feff}er soft\u{ad}hyphen nul\u{0}l re\u{fffd}place",
    "tabs\tand\r\nnew\u{b}lines\u{c}feeds\u{85}next\u{2028}line\u{2029}para\u{a0}nbsp\u{3000}wide",
    "e\u{301}\u{323} \u{1e69} s\u{307}\u{323} q\u{307}\u{323} \u{344} \u{340}a",
    "\u{1d165}\u{1d16e} \u{302e}\u{302f}\u{323} a\u{302f}\u{1}\u{302e} \u{ac00}\u{302e} \u{1100}\u{1161}\u{11a8}",
    "\u{f900}\u{fa0e}\u{2f800}\u{20000}\u{2b81f}\u{2b820}\u{2b920}\u{9fff}\u{4dc0}\u{3400}",
    "\u{e000}private\u{f0000}use\u{10fffd}",
    "ǅ ǆ Ǆ ß ẞ ſ ŉ İ I ı K Å Ꭰ ꭰ 𐐀 𐐨 Ω ω ς Σ",
    "¿Qué? ¡Vamos! «guillemets» ‹single› ‚low‘ „double“ ‐‑‒–—― ‖ † ‡ • ‰ ′ ″ ‽ ⁂ § ¶ · ¦",
    "",
    " ",
    "\u{301}",
    "\u{200b}",
];

/// First and last characters of the blocks that characters are drawn from.
const BLOCKS: &[(u32, u32)] = &[
    (0x0000, 0x007f),
    (0x0080, 0x00ff),
    (0x0100, 0x024f),
    (0x0250, 0x02ff),
    (0x0300, 0x036f),
    (0x0370, 0x03ff),
    (0x0400, 0x052f),
    (0x0531, 0x058a),
    (0x0591, 0x05f4),
    (0x0600, 0x06ff),
    (0x0700, 0x074f),
    (0x0900, 0x097f),
    (0x0980, 0x09fb),
    (0x0b82, 0x0bfa),
    (0x0e01, 0x0e5b),
    (0x0f00, 0x0fda),
    (0x10a0, 0x10ff),
    (0x1100, 0x11ff),
    (0x13a0, 0x13fd),
    (0x1780, 0x17f9),
    (0x1e00, 0x1eff),
    (0x1f00, 0x1ffe),
    (0x2000, 0x206f),
    (0x2070, 0x209c),
    (0x20a0, 0x20be),
    (0x20d0, 0x20f0),
    (0x2100, 0x218b),
    (0x2190, 0x23fe),
    (0x2500, 0x27bf),
    (0x2c00, 0x2c5e),
    (0x2e80, 0x2fd5),
    (0x3000, 0x303f),
    (0x3041, 0x30ff),
    (0x3131, 0x318e),
    (0x3400, 0x4db5),
    (0x4e00, 0x9fd5),
    (0xa4d0, 0xa6f7),
    (0xac00, 0xd7a3),
    (0xe000, 0xf8ff),
    (0xf900, 0xfaff),
    (0xfb00, 0xfdfd),
    (0xfe00, 0xfe0f),
    (0xfe20, 0xfe6b),
    (0xff01, 0xffee),
    (0xfff9, 0xfffd),
    (0x10400, 0x1044f),
    (0x1d100, 0x1d1e8),
    (0x1d400, 0x1d7ff),
    (0x1f300, 0x1f64f),
    (0x1f680, 0x1f6d2),
    (0x20000, 0x2a6d6),
    (0x2a700, 0x2ceaf),
    (0x2f800, 0x2fa1d),
    (0xe0001, 0xe007f),
    (0xe0100, 0xe01ef),
];

const COMBINING: &[(u32, u32)] = &[
    (0x0300, 0x036f),
    (0x0591, 0x05bd),
    (0x064b, 0x065f),
    (0x093c, 0x094d),
    (0x1dc0, 0x1df5),
    (0x20d0, 0x20f0),
    (0x302a, 0x302f),
    (0x3099, 0x309a),
    (0xfe20, 0xfe2f),
    (0x1d165, 0x1d172),
];

const CJK: &[(u32, u32)] =
    &[(0x3041, 0x30ff), (0x3400, 0x4db5), (0x4e00, 0x9fd5), (0xac00, 0xd7a3), (0xf900, 0xfad9), (0x20000, 0x2a6d6)];

const EMOJI: &[(u32, u32)] = &[
    (0x1f300, 0x1f64f),
    (0x1f680, 0x1f6d2),
    (0x1f910, 0x1f91e),
    (0x2600, 0x27bf),
    (0x1f1e6, 0x1f1ff),
    (0xfe0e, 0xfe0f),
    (0x200d, 0x200d),
];

const SPACES_AND_CONTROLS: &[(u32, u32)] = &[
    (0x00, 0x20),
    (0x7f, 0xa0),
    (0xad, 0xad),
    (0x1680, 0x1680),
    (0x180e, 0x180e),
    (0x2000, 0x200f),
    (0x2028, 0x202f),
    (0x205f, 0x2064),
    (0x3000, 0x3000),
    (0xfeff, 0xfeff),
    (0xfff9, 0xfffd),
];

const PUNCTUATION: &[(u32, u32)] = &[
    (0x21, 0x2f),
    (0x3a, 0x40),
    (0x5b, 0x60),
    (0x7b, 0x7e),
    (0xa1, 0xbf),
    (0x2010, 0x2027),
    (0x2030, 0x205e),
    (0x2190, 0x21ff),
    (0x2200, 0x22ff),
    (0x2308, 0x230b),
    (0x3001, 0x301f),
    (0xff01, 0xff0f),
];

/// SplitMix64 (Steele, Lea and Flood 2014): small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u32) -> u32 {
        (((self.next() >> 32) * u64::from(bound)) >> 32) as u32
    }

    fn pick<T: Copy + Default>(&mut self, items: &[T]) -> T {
        let index = self.below(items.len() as u32);
        items.get(index as usize).copied().unwrap_or_default()
    }

    fn character(&mut self, blocks: &[(u32, u32)]) -> char {
        let (first, last) = self.pick(blocks);
        char::from_u32(first + self.below(last - first + 1)).unwrap_or('?')
    }

    fn characters(&mut self, blocks: &[(u32, u32)], most: u32) -> String {
        (0..self.below(most + 1)).map(|_| self.character(blocks)).collect()
    }
}

fn sentence(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..random.below(30) + 1 {
        let word = random.pick(WORDS);
        match random.below(12) {
            0 => text.push_str(&word.to_uppercase()),
            1 => text.extend([word, random.pick(&["ly", "ness", "ing", "s", "'s", "-like", "ize"])]),
            _ => text.push_str(word),
        }
        text.push_str(random.pick(&[" ", " ", " ", " ", " ", ", ", ". ", "; ", " - ", "! ", "? ", "\n", ""]));
    }
    text
}

fn fragment(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..random.below(3) + 1 {
        let fragment = random.pick(FRAGMENTS);
        match random.below(6) {
            0 => text.push_str(&fragment.to_uppercase()),
            1 => text.extend(fragment.chars().rev()),
            2 => text.extend(fragment.chars().skip(random.below(20) as usize)),
            3 => text.extend(fragment.chars().filter(|character| *character != ' ')),
            _ => text.push_str(fragment),
        }
    }
    text
}

fn accented(random: &mut Random) -> String {
    let mut text = String::new();
    for character in sentence(random).chars() {
        text.push(character);
        if random.below(4) == 0 {
            text.push_str(&random.characters(COMBINING, 2));
        }
        if random.below(10) == 0 {
            text.push(random.character(&[(0xc0, 0x24f), (0x1e00, 0x1eff)]));
        }
    }
    text
}

fn any_characters(random: &mut Random) -> String {
    random.characters(BLOCKS, 60)
}

fn one_block(random: &mut Random) -> String {
    let block = [random.pick(BLOCKS)];
    let characters = random.below(60);
    (0..characters).map(|_| if random.below(6) == 0 { ' ' } else { random.character(&block) }).collect()
}

fn chinese_among_others(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..random.below(8) + 1 {
        text.push_str(random.pick(WORDS));
        text.push_str(&random.characters(CJK, 6));
        text.push_str(random.pick(&["", " ", "。", "、"]));
    }
    text
}

fn emoji(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..random.below(8) + 1 {
        text.push_str(&random.characters(EMOJI, 4));
        text.push_str(random.pick(&["", " "]));
        text.push_str(random.pick(WORDS));
    }
    text
}

fn controls_and_spaces(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..random.below(10) + 1 {
        for character in random.pick(WORDS).chars() {
            text.push(character);
            if random.below(5) == 0 {
                text.push(random.character(SPACES_AND_CONTROLS));
            }
        }
        text.push_str(&random.characters(SPACES_AND_CONTROLS, 3));
    }
    text
}

fn punctuation(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..random.below(8) + 1 {
        text.push_str(random.pick(&["", "", "word", "I", "7", "é"]));
        text.push_str(&random.characters(PUNCTUATION, 12));
    }
    text
}

/// Words around the length at which they become unknown, some of them long only before or after normalization.
fn long_words(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..random.below(4) + 1 {
        let length = 90 + random.below(20) + 200 * (random.below(8) / 7);
        let unit = random.pick(&["a", "ab", "un", "memory", "é", "e\u{301}", "ж", "각", "が", "q\u{200b}", "ﬁ", "İ"]);
        text.extend(unit.chars().cycle().take(length as usize));
        text.push_str(random.pick(&[" ", "-", "", "中"]));
    }
    text
}

fn combining_runs(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..random.below(6) + 1 {
        text.push(random.character(&[(0x61, 0x7a), (0x3b1, 0x3c9), (0x4e00, 0x4e80), (0xac00, 0xac80), (0x20, 0x20)]));
        for _ in 0..random.below(10) {
            text.push(random.character(COMBINING));
            if random.below(12) == 0 {
                text.push(random.pick(&['\u{1}', '\u{200b}', ' ']));
            }
        }
    }
    text
}

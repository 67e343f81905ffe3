//! The bytes behind every token, by the rules that a tokenizer's decoder names: bytes written as characters, a mark for spaces,
//! single bytes for what is in no piece.
//!
//! It reads a decoder's settings and a vocabulary, and must never know how text is cut into tokens.

use serde_json::Value;

use crate::{Error, Result};

/// The most tokens of a vocabulary. The largest in use have about 262,000.
pub(crate) const VOCABULARY_MAX: usize = 1 << 20;

/// The bytes of every token, and which tokens have none because they steer the model.
pub(crate) struct Pieces {
    rules: Rules,
    bytes: Vec<u8>,
    /// Where the bytes of each token end.
    ends: Vec<usize>,
    control: Vec<bool>,
}

/// How tokens are written in a vocabulary.
#[derive(Default)]
struct Rules {
    /// Every byte is written as one printable character, as GPT-2 began it.
    byte_level: bool,
    /// What stands in a token for something else: most often `▁` for a space.
    replaced: Vec<(String, String)>,
    /// A token `<0x0A>` is one byte.
    byte_fallback: bool,
    /// The tokenizer put a space before the text, which is no part of it.
    leading_space: bool,
    /// Tokens are words with a space between them, but for those that begin with this and continue a word.
    words: Option<String>,
}

impl Pieces {
    /// Works out the bytes of every token.
    pub(super) fn derive(tokenizer: &tokenizers::Tokenizer, decoder: &Value) -> Result<Self> {
        let rules = Rules::read(decoder)?;
        let vocabulary = tokenizer.get_vocab(true);
        let len = vocabulary.values().max().map_or(0, |highest| *highest as usize + 1);
        if len == 0 || len > VOCABULARY_MAX {
            return Err(Error::corrupt(format!(
                "the tokenizer's ids go up to {}: a vocabulary has 1 to {VOCABULARY_MAX} tokens",
                len.saturating_sub(1)
            )));
        }
        let mut written = vec![None; len];
        for (text, id) in &vocabulary {
            if let Some(place) = written.get_mut(*id as usize) {
                *place = Some(text.as_str());
            }
        }
        let added = tokenizer.get_added_tokens_decoder();
        let mut pieces = Self { rules, bytes: Vec::new(), ends: Vec::new(), control: Vec::new() };
        for (id, text) in (0_u32..).zip(written) {
            let control = added.get(&id).is_some_and(|token| token.special);
            if !control {
                pieces.rules.bytes_of(text.unwrap_or_default(), &mut pieces.bytes);
            }
            pieces.ends.push(pieces.bytes.len());
            pieces.control.push(control);
        }
        Ok(pieces)
    }

    /// Returns how many tokens there are, with the gaps between ids.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns the bytes of a token: none for a control token, a gap, or an id beyond the vocabulary.
    pub(crate) fn bytes(&self, token: u32) -> &[u8] {
        let place = token as usize;
        let start = place.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(place).copied().unwrap_or(start);
        self.bytes.get(start..end).unwrap_or_default()
    }

    pub(crate) fn is_control(&self, token: u32) -> bool {
        self.control.get(token as usize).copied().unwrap_or(false)
    }

    /// Tells whether a space before the first token of a text is the tokenizer's own.
    pub(super) fn leading_space(&self) -> bool {
        self.rules.leading_space
    }

    /// Gives the ways in which a character may stand in the vocabulary as a token of its own.
    pub(super) fn written(&self, character: &str) -> Vec<String> {
        if self.rules.byte_level {
            return character.bytes().next().filter(|_| character.len() == 1).map(byte_character).into_iter().collect();
        }
        if let Some(prefix) = &self.rules.words {
            return vec![format!("{prefix}{character}"), character.to_owned()];
        }
        let marks = self.rules.replaced.iter().filter(|(_, meant)| meant == character).map(|(mark, _)| mark.clone());
        marks.chain([character.to_owned()]).collect()
    }

    /// Gives the way in which a byte stands in the vocabulary as a token of its own.
    pub(super) fn byte_written(&self, byte: u8) -> Option<String> {
        if self.rules.byte_level { Some(byte_character(byte)) } else { self.byte_named(byte) }
    }

    /// Gives the name of a byte, as `<0x0A>`, where the vocabulary has such names.
    pub(super) fn byte_named(&self, byte: u8) -> Option<String> {
        self.rules.byte_fallback.then(|| format!("<0x{byte:02X}>"))
    }
}

impl Rules {
    fn read(decoder: &Value) -> Result<Self> {
        let mut rules = Self::default();
        if decoder.is_null() {
            rules.words = Some(String::new());
            rules.leading_space = true;
            return Ok(rules);
        }
        rules.add(decoder)?;
        Ok(rules)
    }

    fn add(&mut self, decoder: &Value) -> Result<()> {
        let text = |name: &str| decoder.get(name).and_then(Value::as_str);
        let kind = text("type").unwrap_or_default();
        match kind {
            "Sequence" => {
                let steps = decoder.get("decoders").and_then(Value::as_array);
                steps.into_iter().flatten().try_for_each(|step| self.add(step))?;
            }
            "ByteLevel" => self.byte_level = true,
            "ByteFallback" => self.byte_fallback = true,
            "Fuse" => {}
            "Metaspace" => {
                self.replaced.push((text("replacement").unwrap_or("▁").to_owned(), " ".to_owned()));
                // Files from before the scheme had a name say it with a yes or no.
                let always = decoder.get("add_prefix_space").and_then(Value::as_bool).unwrap_or(true);
                self.leading_space = text("prepend_scheme").map_or(always, |scheme| scheme != "never");
            }
            "Replace" => match decoder.get("pattern").and_then(|pattern| pattern.get("String")).and_then(Value::as_str)
            {
                Some(mark) if !mark.is_empty() => {
                    self.replaced.push((mark.to_owned(), text("content").unwrap_or_default().to_owned()));
                }
                _ => return Err(unread("Replace by a regular expression")),
            },
            "Strip" => {
                let count = |name: &str| decoder.get(name).and_then(Value::as_u64).unwrap_or(0);
                match (text("content"), count("start"), count("stop")) {
                    (Some(" "), 1, 0) => self.leading_space = true,
                    (_, 0, 0) => {}
                    _ => return Err(unread("Strip of anything but one leading space")),
                }
            }
            "WordPiece" => {
                self.words = Some(text("prefix").unwrap_or("##").to_owned());
                self.leading_space = true;
            }
            other => return Err(unread(other)),
        }
        Ok(())
    }

    fn bytes_of(&self, written: &str, bytes: &mut Vec<u8>) {
        if written.is_empty() {
            return;
        }
        if let Some(byte) = fallback_byte(written).filter(|_| self.byte_fallback) {
            bytes.push(byte);
            return;
        }
        if self.byte_level {
            // A token that was added is written as it is read, and may hold what is no byte's character.
            match written.chars().map(character_byte).collect::<Option<Vec<u8>>>() {
                Some(plain) => bytes.extend(plain),
                None => bytes.extend(written.as_bytes()),
            }
            return;
        }
        if let Some(prefix) = &self.words {
            match written.strip_prefix(prefix.as_str()).filter(|_| !prefix.is_empty()) {
                Some(rest) => bytes.extend(rest.as_bytes()),
                None => bytes.extend(format!(" {written}").as_bytes()),
            }
            return;
        }
        let mut text = written.to_owned();
        for (mark, meant) in &self.replaced {
            text = text.replace(mark.as_str(), meant);
        }
        bytes.extend(text.as_bytes());
    }
}

fn unread(what: &str) -> Error {
    Error::invalid(format!(
        "the tokenizer's decoder `{what}` is not read here: byte level, Metaspace, byte fallback, WordPiece and their sequences are"
    ))
}

/// Reads `<0x0A>`.
fn fallback_byte(written: &str) -> Option<u8> {
    let digits = written.strip_prefix("<0x")?.strip_suffix('>')?;
    let hex = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u8::from_str_radix(digits, 16).ok().filter(|_| hex)
}

/// Tells whether a byte is written as the character with its number. All others follow from 256 on, in order.
fn is_printed(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

fn byte_character(byte: u8) -> String {
    let number = if is_printed(byte) {
        u32::from(byte)
    } else {
        256 + (0..byte).filter(|before| !is_printed(*before)).count() as u32
    };
    char::from_u32(number).map(String::from).unwrap_or_default()
}

fn character_byte(character: char) -> Option<u8> {
    let number = u32::from(character);
    match u8::try_from(number) {
        Ok(byte) => Some(byte).filter(|byte| is_printed(*byte)),
        Err(_) => (0..=u8::MAX).filter(|byte| !is_printed(*byte)).nth((number - 256) as usize),
    }
}

#[cfg(test)]
impl Pieces {
    /// Gives every byte as byte level vocabularies write it.
    pub(super) fn byte_level_alphabet() -> Vec<String> {
        (0..=u8::MAX).map(byte_character).collect()
    }
}

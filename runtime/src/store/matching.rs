//! Whether an offer is one that somebody waits for: by a tag, or by what its own words mean. Pure.
//!
//! An offer is matched by its name and tags alone. By what its memories say it is not: a subscription is no question to
//! memories that its owner may not read.

use memos_memory::error::{Error, Result};
use serde::{Deserialize, Serialize};

use super::limits::StoreLimits;
use super::offer::{check_tags, check_words};

/// How near the words of an offer come to a sentence, at least, where nothing else is said. Chosen by looking at pairs
/// with the built-in embedder: offers of the same topic lie above, others below 0.2.
pub const THRESHOLD: f32 = 0.35;

/// What somebody wants to hear of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interest {
    /// Offers with one of these tags, whatever their case.
    Tags(Vec<String>),
    /// Offers whose words come so near to a sentence.
    Meaning {
        /// The sentence.
        sentence: String,
        /// The least cosine of the angle between the two vectors, from 0 to 1.
        threshold: f32,
    },
}

impl Interest {
    /// Names what a sentence means, with the usual threshold.
    pub fn meaning(sentence: impl Into<String>) -> Self {
        Self::Meaning { sentence: sentence.into(), threshold: THRESHOLD }
    }

    /// Refuses what breaks a limit or fits nothing.
    ///
    /// # Errors
    /// `Invalid`, naming what is wrong.
    pub fn check(&self, limits: &StoreLimits) -> Result<()> {
        match self {
            Self::Tags(tags) if tags.is_empty() => Err(Error::invalid("the subscription names no tag")),
            Self::Tags(tags) => check_tags("the subscription", tags, limits),
            Self::Meaning { sentence, threshold } => {
                if !(0.0..=1.0).contains(threshold) {
                    return Err(Error::invalid(format!("the threshold is {threshold}, and lies between 0 and 1")));
                }
                check_words("the sentence", sentence, limits.sentence_bytes)
            }
        }
    }

    /// Returns the text whose vector it is matched by.
    pub fn sentence(&self) -> Option<&str> {
        match self {
            Self::Tags(_) => None,
            Self::Meaning { sentence, .. } => Some(sentence),
        }
    }
}

/// Why an offer is one that somebody waits for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fits {
    /// It has this tag.
    Tag(String),
    /// Its words come so near.
    Meaning(f32),
}

/// Decides whether an offer of these tags and words fits an interest. Vectors have length one; those of nothing known are
/// empty or zero, and fit nothing.
pub(super) fn fits(interest: &Interest, wanted: &[f32], tags: &[String], words: &[f32]) -> Option<Fits> {
    match interest {
        Interest::Tags(named) => {
            let has = |tag: &&String| named.iter().any(|name| name.to_lowercase() == tag.to_lowercase());
            tags.iter().find(has).cloned().map(Fits::Tag)
        }
        Interest::Meaning { threshold, .. } => {
            let near: f32 = wanted.iter().zip(words).map(|(one, other)| one * other).sum();
            (wanted.len() == words.len() && near > 0.0 && near >= *threshold).then_some(Fits::Meaning(near))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memos_memory::embed::{Embedder, builtin};

    fn tags(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn tags_fit_whatever_their_case() {
        for (wanted, offered, expect) in [
            (&["ops"][..], &["ops"][..], Some("ops")),
            (&["OPS"], &["ops"], Some("ops")),
            (&["food", "ops"], &["deploy", "ops"], Some("ops")),
            (&["op"], &["ops"], None),
            (&["food"], &[], None),
        ] {
            let found = fits(&Interest::Tags(tags(wanted)), &[], &tags(offered), &[]);
            assert_eq!(found, expect.map(|tag| Fits::Tag(tag.to_owned())), "{wanted:?} {offered:?}");
        }
    }

    #[test]
    fn meanings_fit_when_the_words_come_near() {
        let embedder = builtin().unwrap();
        for (sentence, words, expect) in [
            ("how do we deploy services", "deploying services to production, ops", true),
            ("food allergies of our guests", "which guests are allergic to peanuts, kitchen", true),
            ("how do we deploy services", "which guests are allergic to peanuts, kitchen", false),
            ("sailing lessons", "invoices of the harbour office, billing", false),
            ("", "anything", false),
        ] {
            let (wanted, offered) = (embedder.embed(sentence).unwrap(), embedder.embed(words).unwrap());
            let found = fits(&Interest::meaning(sentence), &wanted, &[], &offered);
            let near: f32 = wanted.iter().zip(&offered).map(|(one, other)| one * other).sum();
            assert_eq!(found.is_some(), expect, "{sentence:?} and {words:?}: {near}");
        }
        assert_eq!(fits(&Interest::meaning("x"), &[1.0], &[], &[1.0, 0.0]), None, "of two embedders");
    }

    #[test]
    fn interests_are_checked() {
        let limits = StoreLimits::default();
        let meaning = |threshold| Interest::Meaning { sentence: "x".to_owned(), threshold };
        for (interest, expect) in [
            (Interest::Tags(tags(&["ops"])), true),
            (Interest::Tags(Vec::new()), false),
            (Interest::Tags(vec!["x".to_owned(); 17]), false),
            (meaning(0.5), true),
            (meaning(1.5), false),
            (meaning(f32::NAN), false),
            (Interest::meaning(""), false),
            (Interest::meaning("x".repeat(2000)), false),
        ] {
            assert_eq!(interest.check(&limits).is_ok(), expect, "{interest:?}");
        }
    }
}

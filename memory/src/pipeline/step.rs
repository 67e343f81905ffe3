//! What a step can do: a small set of actions, as plain data. How they are done stands in `run`.
//!
//! Fields that hold texts with places to fill are plain strings; they are read when the pipeline is built.

use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use super::SET;
use crate::cube::{CubeId, Layer, SemanticType, State};
use crate::error::{Error, Result};
use crate::graph::LinkKind;
use crate::limits::Limits;
use crate::time::{Timestamp, Window};

/// A value that is given when the pipeline is run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// What it is, in words.
    #[serde(default)]
    pub about: String,
    /// Its value where none is given; without one it must be given.
    pub default: Option<String>,
}

/// One step, by whose name later steps speak of what it found or made.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The name.
    pub name: String,
    /// What it does.
    pub action: Action,
}

/// Finds memories by a question, as recall does; also those that earlier steps have stored or changed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retrieve {
    /// What is asked; a text with places to fill.
    pub question: String,
    /// The most memories.
    pub memories: usize,
    /// The semantic types that may be found; empty for all.
    #[serde(deserialize_with = "list")]
    pub types: Vec<SemanticType>,
    /// Tags that each must have.
    pub tags: Vec<String>,
    /// Only what was said, seen or true at or after this time.
    #[serde(deserialize_with = "optional")]
    pub since: Option<Timestamp>,
    /// Only what was said, seen or true before this time.
    #[serde(deserialize_with = "optional")]
    pub until: Option<Timestamp>,
    /// Whether archived memories may be found.
    pub archived: bool,
}

impl Default for Retrieve {
    fn default() -> Self {
        Self {
            question: String::new(),
            memories: 10,
            types: Vec::new(),
            tags: Vec::new(),
            since: None,
            until: None,
            archived: false,
        }
    }
}

/// The order of selected memories, by when they were said or seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The oldest first.
    #[default]
    Oldest,
    /// The newest first.
    Newest,
}

/// Takes memories by what is known about them; without a set to take from, and without ids, from the whole space.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Select {
    /// The step from whose memories is taken.
    pub from: Option<String>,
    /// The memories themselves. Each must be there.
    #[serde(deserialize_with = "list")]
    pub ids: Vec<CubeId>,
    /// The states; empty for those that recall finds by itself.
    #[serde(deserialize_with = "list")]
    pub states: Vec<State>,
    /// The semantic types; empty for all.
    #[serde(deserialize_with = "list")]
    pub types: Vec<SemanticType>,
    /// Tags that each must have.
    pub tags: Vec<String>,
    /// Only what was said or seen longer ago.
    #[serde(deserialize_with = "optional")]
    pub older_than: Option<Age>,
    /// Only what was said or seen since.
    #[serde(deserialize_with = "optional")]
    pub newer_than: Option<Age>,
    /// The order.
    pub order: Order,
    /// Takes the first so many; without it, all, and more than a step may hold are refused.
    pub at_most: Option<usize>,
}

/// Adds to each memory of a set: tags, text below its text, or when it is true.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// The set.
    pub of: String,
    /// Tags to add.
    pub tags: Vec<String>,
    /// A text to add below; with places to fill.
    pub append: Option<String>,
    /// Since when it is true.
    #[serde(deserialize_with = "optional")]
    pub valid_from: Option<Timestamp>,
    /// Until when it is true.
    #[serde(deserialize_with = "optional")]
    pub valid_until: Option<Timestamp>,
}

/// Replaces the text of each memory of a set.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Overwrite {
    /// The set.
    pub of: String,
    /// What it says from now on; a text with places to fill.
    pub text: String,
}

/// Makes a text of the sentences that stand for a set, without a model. Nothing is stored.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Summarise {
    /// The set.
    pub of: String,
}

/// Stores a new memory.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// What it says; a text with places to fill.
    pub text: String,
    /// A short name; a text with places to fill.
    pub title: String,
    /// What sort of statement it is.
    #[serde(rename = "type", deserialize_with = "one")]
    pub semantic: SemanticType,
    /// Labels.
    pub tags: Vec<String>,
    /// Who may read it by default.
    #[serde(deserialize_with = "one")]
    pub layer: Layer,
    /// The sets that it was made from.
    pub derived_from: Vec<String>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            text: String::new(),
            title: String::new(),
            semantic: SemanticType::Reflection,
            tags: Vec::new(),
            layer: Layer::Private,
            derived_from: Vec::new(),
        }
    }
}

/// Links each memory of one set to each of another; none to itself.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkEach {
    /// The set that the links leave.
    pub from: String,
    /// What they say.
    #[serde(deserialize_with = "one")]
    pub kind: LinkKind,
    /// The set that they lead to.
    pub to: String,
}

/// Merges a set into one memory: its next version says what all say, the others are linked to it and out of recall.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Merge {
    /// The set.
    pub of: String,
    /// A set of one memory, into which is merged; without it, the first of the set.
    pub into: Option<String>,
    /// What it says from now on; without it, all texts, one below the other.
    pub text: Option<String>,
}

/// Takes each memory of a set to another state.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetState {
    /// The set.
    pub of: String,
    /// The state.
    #[serde(deserialize_with = "one")]
    pub state: State,
    /// Why; a text with places to fill.
    #[serde(default)]
    pub reason: String,
}

/// Stops the whole pipeline, and with it all that it would have written, unless a set has so many memories.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Require {
    /// The set.
    pub of: String,
    /// The fewest.
    pub at_least: Option<usize>,
    /// The most.
    pub at_most: Option<usize>,
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident($data:ident) $kind:literal,)+) => {
        /// What a step does.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Action {
            $($(#[$doc])* $name($data),)+
        }

        impl Action {
            /// Returns the name under which it stands in a file.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$name(_) => $kind,)+ }
            }
        }

        $(impl From<$data> for Action {
            fn from(data: $data) -> Self {
                Self::$name(data)
            }
        })+
    };
}

actions! {
    /// Finds memories by a question.
    Retrieve(Retrieve) "retrieve",
    /// Takes memories by what is known about them.
    Select(Select) "select",
    /// Adds to each memory of a set.
    Augment(Augment) "augment",
    /// Replaces the text of each memory of a set.
    Update(Overwrite) "update",
    /// Makes a text of the sentences that stand for a set.
    Summarise(Summarise) "summarise",
    /// Stores a new memory.
    Store(Store) "store",
    /// Links each memory of one set to each of another.
    Link(LinkEach) "link",
    /// Merges a set into one memory.
    Merge(Merge) "merge",
    /// Takes each memory of a set to another state.
    SetState(SetState) "set_state",
    /// Stops the pipeline unless a set has so many memories.
    Require(Require) "require",
}

impl Action {
    /// Returns whether later steps may speak of its memories.
    pub(super) fn yields_set(&self) -> bool {
        !matches!(self, Self::Link(_) | Self::Require(_))
    }

    /// Returns whether it makes a text of its own.
    pub(super) fn yields_text(&self) -> bool {
        matches!(self, Self::Summarise(_) | Self::Store(_))
    }

    /// Returns the steps whose memories it works on.
    pub(super) fn sets(&self) -> Vec<&str> {
        let named: Vec<&String> = match self {
            Self::Retrieve(_) => Vec::new(),
            Self::Select(select) => select.from.iter().collect(),
            Self::Augment(augment) => vec![&augment.of],
            Self::Update(update) => vec![&update.of],
            Self::Summarise(summarise) => vec![&summarise.of],
            Self::Store(store) => store.derived_from.iter().collect(),
            Self::Link(link) => vec![&link.from, &link.to],
            Self::Merge(merge) => [&merge.of].into_iter().chain(&merge.into).collect(),
            Self::SetState(set) => vec![&set.of],
            Self::Require(require) => vec![&require.of],
        };
        named.into_iter().map(String::as_str).collect()
    }

    /// Returns its texts with places to fill, and whether each is made for every memory of a set.
    pub(super) fn texts(&self) -> Vec<(&str, bool)> {
        match self {
            Self::Retrieve(retrieve) => vec![(&retrieve.question, false)],
            Self::Augment(augment) => augment.append.iter().map(|text| (text.as_str(), true)).collect(),
            Self::Update(update) => vec![(&update.text, true)],
            Self::Store(store) => vec![(&store.text, false), (&store.title, false)],
            Self::Merge(merge) => merge.text.iter().map(|text| (text.as_str(), false)).collect(),
            Self::SetState(set) => vec![(&set.reason, true)],
            Self::Select(_) | Self::Summarise(_) | Self::Link(_) | Self::Require(_) => Vec::new(),
        }
    }

    /// Refuses what would do nothing or cannot be done.
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |why: &str| Err(Error::invalid(why.to_owned()));
        let stretch = |from: Option<Timestamp>, until: Option<Timestamp>| match (from, until) {
            (Some(from), Some(until)) if from >= until => {
                Err(Error::invalid(format!("from {from} until {until} is no stretch of time")))
            }
            _ => Ok(()),
        };
        match self {
            Self::Retrieve(retrieve) => {
                Limits::check("the step", retrieve.memories, SET, "memories")?;
                if retrieve.memories == 0 || retrieve.question.trim().is_empty() {
                    return refuse("ask a question, for at least 1 memory");
                }
                stretch(retrieve.since, retrieve.until)
            }
            Self::Select(select) => {
                Limits::check("the step", select.ids.len(), SET, "ids")?;
                Limits::check("the step", select.at_most.unwrap_or(0), SET, "memories")?;
                if select.from.is_some() && !select.ids.is_empty() {
                    return refuse("take from a step or by ids, not both");
                }
                Ok(())
            }
            Self::Augment(augment) => {
                let valid = augment.valid_from.is_some() || augment.valid_until.is_some();
                if augment.tags.is_empty() && augment.append.is_none() && !valid {
                    return refuse("name `tags`, `append`, `valid_from` or `valid_until`: it would add nothing");
                }
                stretch(augment.valid_from, augment.valid_until)
            }
            Self::Update(update) if update.text.trim().is_empty() => {
                refuse("the `text` is empty; a memory says something")
            }
            Self::Store(store) if store.text.trim().is_empty() => {
                refuse("the `text` is empty; a memory says something")
            }
            Self::SetState(set) if matches!(set.state, State::Erased | State::Merged) => Err(Error::invalid(format!(
                "a step cannot make a memory {}; use `merge`, or erase it by hand",
                set.state
            ))),
            Self::Require(require) if require.at_least.is_none() && require.at_most.is_none() => {
                refuse("name `at_least` or `at_most`: it would require nothing")
            }
            _ => Ok(()),
        }
    }
}

impl Retrieve {
    /// Returns the window that it asks for.
    pub(super) fn window(&self) -> Window {
        Window { from: self.since, until: self.until }
    }
}

/// How long ago: a number and `h`, `d` or `w`, such as `30d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age(i64);

impl Age {
    /// Makes an age of so many milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the point so long before `now`.
    pub(super) fn before(self, now: Timestamp) -> Timestamp {
        Timestamp::from_millis(now.as_millis().saturating_sub(self.0))
    }
}

impl FromStr for Age {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        const HOUR: i64 = 3600 * 1000;
        let unit = text.chars().next_back().and_then(|unit| match unit {
            'h' => Some(HOUR),
            'd' => Some(24 * HOUR),
            'w' => Some(7 * 24 * HOUR),
            _ => None,
        });
        let count = text.get(..text.len().saturating_sub(1)).and_then(|count| count.parse::<u32>().ok());
        let millis = unit.zip(count).and_then(|(unit, count)| unit.checked_mul(i64::from(count)));
        millis.map(Self).ok_or_else(|| {
            Error::invalid(format!("`{text}` is no age; write a number and `h`, `d` or `w`, such as `30d`"))
        })
    }
}

fn one<'de, T: FromStr<Err = Error>, D: Deserializer<'de>>(from: D) -> std::result::Result<T, D::Error> {
    String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
}

fn optional<'de, T: FromStr<Err = Error>, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<T>, D::Error> {
    one(from).map(Some)
}

fn list<'de, T: FromStr<Err = Error>, D: Deserializer<'de>>(from: D) -> std::result::Result<Vec<T>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    texts.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}

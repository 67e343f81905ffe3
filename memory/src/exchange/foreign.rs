//! Reads what other memory systems export: Mem0, Letta, LangGraph's store, and the MemOS of the paper's authors.
//!
//! Each memory becomes an [`Incoming`], which goes through the same rules as a cube of a bundle. Its id follows from
//! the system and from what names it there, so that importing a file twice changes nothing. What has no place here
//! (tools, prompts, vectors of other models, scores) is counted, and the reason is given; the values of environment
//! variables are not looked at.
//!
//! Of everything from elsewhere the origin is `import`, the layer is private unless the source says that it was public,
//! and the author is `user:NAME` or `agent:NAME` where the source's name can be written so, else `agent:SYSTEM`.

mod json;
mod langgraph;
mod letta;
mod mem0;
mod memos_py;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::import::{Incoming, LeftOut, stable_id};
use crate::cube::{Adoption, CubeDraft, CubeId, OriginKind, PrincipalId, SemanticType, Source, State};
use crate::error::{Error, Result};
use crate::graph::{Link, LinkKind};
use crate::limits::Limits;
use crate::time::Timestamp;

/// A system whose exports are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum System {
    /// Mem0: the answer of `get_all`, or an export of the platform.
    Mem0,
    /// Letta: an agent file (`.af`) of either schema.
    Letta,
    /// LangGraph: items of a store, as an array or one in a line.
    Langgraph,
    /// MemOS in Python: `textual_memory.json` of its general or its tree memory.
    MemosPy,
}

impl System {
    /// All systems.
    pub const ALL: &[Self] = &[Self::Mem0, Self::Letta, Self::Langgraph, Self::MemosPy];

    /// Returns the name that people read and write.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mem0 => "mem0",
            Self::Letta => "letta",
            Self::Langgraph => "langgraph",
            Self::MemosPy => "memos-py",
        }
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for System {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|system| system.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|system| system.as_str()).collect();
            Error::invalid(format!("`{text}` is no system whose exports are read; use one of {}", known.join(", ")))
        })
    }
}

/// The bounds within which an export of another system is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignLimits {
    /// Bytes of the file.
    pub bytes: usize,
    /// JSON values in it.
    pub values: usize,
    /// Memories and links in it.
    pub memories: usize,
    /// The bounds of a space, which hold for each cube.
    pub space: Limits,
}

impl Default for ForeignLimits {
    fn default() -> Self {
        Self { bytes: 512 * 1024 * 1024, values: 16_000_000, memories: 1_000_000, space: Limits::default() }
    }
}

/// What was read from another system's export.
#[derive(Debug, Clone)]
pub struct ForeignImport {
    /// Where it comes from.
    pub system: System,
    /// What becomes cubes.
    pub cubes: Vec<Incoming>,
    /// What links them.
    pub links: Vec<Link>,
    /// What has no place here, and why.
    pub left_out: Vec<LeftOut>,
}

/// Reads an export. Without a `system` it is told by the file's keys. `received` stands where the source has no date.
///
/// # Errors
/// `Invalid` when the file is not JSON, not of the system, or above a limit; the message names the place.
pub fn read_foreign(
    bytes: &[u8],
    system: Option<System>,
    received: Timestamp,
    limits: &ForeignLimits,
) -> Result<ForeignImport> {
    let value = json::parse(bytes, limits)?;
    let system = match system.or_else(|| detect(&value)) {
        Some(system) => system,
        None => {
            let found = json::describe(&value);
            return Err(Error::invalid(format!(
                "found {found}, which is no export that is known; name the system if it is one of {}",
                System::ALL.iter().map(|system| system.as_str()).collect::<Vec<_>>().join(", ")
            )));
        }
    };
    let mut reading = Reading::new(system, received, limits);
    match system {
        System::Mem0 => mem0::read(&value, &mut reading),
        System::Letta => letta::read(&value, &mut reading),
        System::Langgraph => langgraph::read(&value, &mut reading),
        System::MemosPy => memos_py::read(&value, &mut reading),
    }
    .map_err(|error| error.at(format_args!("the export of {system}")))?;
    reading.finish()
}

fn detect(value: &Value) -> Option<System> {
    let first = |items: &Value| items.as_array()?.first()?.as_object().cloned();
    match value {
        Value::Object(object) if letta::is_agent_file(object) => Some(System::Letta),
        Value::Object(object) if object.contains_key("nodes") => Some(System::MemosPy),
        Value::Object(object) => {
            let items = ["results", "memories", "items"].iter().find_map(|key| object.get(*key))?;
            detect_item(&first(items)?)
        }
        items => detect_item(&first(items)?),
    }
}

fn detect_item(item: &Map<String, Value>) -> Option<System> {
    let has = |key: &str| item.contains_key(key);
    if langgraph::is_item(item) {
        Some(System::Langgraph)
    } else if memos_py::is_item(item) {
        Some(System::MemosPy)
    } else if has("id") && has("memory") {
        Some(System::Mem0)
    } else {
        None
    }
}

/// A memory as it was found, before it is put into the shape of a cube.
struct Found<'a> {
    /// What names it in its system. It must not change from one export to the next.
    names: &'a [&'a str],
    /// What is given as its source's id.
    named: &'a str,
    text: &'a str,
    author: Option<(&'static str, &'a str)>,
    created: Option<Timestamp>,
    state: State,
    /// All else that a draft can say.
    draft: CubeDraft,
}

/// What was read so far.
struct Reading<'a> {
    system: System,
    received: Timestamp,
    limits: &'a ForeignLimits,
    cubes: Vec<Incoming>,
    links: Vec<Link>,
    left_out: BTreeMap<(&'static str, &'static str), u64>,
    refused: Vec<LeftOut>,
}

impl<'a> Reading<'a> {
    fn new(system: System, received: Timestamp, limits: &'a ForeignLimits) -> Self {
        let (cubes, links, left_out, refused) = Default::default();
        Self { system, received, limits, cubes, links, left_out, refused }
    }

    fn id(&self, names: &[&str]) -> CubeId {
        stable_id(self.system.as_str(), &names.iter().map(|name| name.as_bytes()).collect::<Vec<_>>())
    }

    /// Begins a draft of what comes from elsewhere.
    fn draft(&self, semantic: SemanticType) -> CubeDraft {
        CubeDraft { origin: OriginKind::Import, ..CubeDraft::text(semantic, "") }
    }

    /// Counts what has no place here.
    fn leave_out(&mut self, what: &'static str, why: &'static str, count: usize) {
        if count > 0 {
            *self.left_out.entry((what, why)).or_default() += count as u64;
        }
    }

    /// Takes a memory, and returns its id; none when it says nothing, or more than a cube holds.
    fn add(&mut self, found: Found<'_>) -> Result<Option<CubeId>> {
        if found.text.trim().is_empty() {
            self.leave_out("empty memories", "a memory says something", 1);
            return Ok(None);
        }
        Limits::check("the file", self.cubes.len() + 1, self.limits.memories, "memories")?;
        let id = self.id(found.names);
        let draft = CubeDraft { payload: crate::cube::Payload::text(found.text), ..found.draft };
        if let Err(error) = draft.check(&self.limits.space) {
            let what = format!("memory `{}`", json::shown(found.named));
            self.refused.push(LeftOut { what, why: error.to_string() });
            return Ok(None);
        }
        let class = found.author.and_then(|(class, name)| format!("{class}:{name}").parse().ok());
        let author: PrincipalId = match class {
            Some(author) => author,
            None => format!("agent:{}", self.system).parse()?,
        };
        let source = Source {
            system: self.system.to_string(),
            space: None,
            cube: Some(found.named.to_owned()),
            version: None,
            signer: None,
        };
        let created = found.created.unwrap_or(self.received);
        let adoption = Adoption { draft, author, created, state: found.state, source };
        self.cubes.push(Incoming::new(id, adoption));
        Ok(Some(id))
    }

    fn link(&mut self, from: CubeId, kind: LinkKind, to: CubeId) -> Result<()> {
        Limits::check("the file", self.links.len() + 1, self.limits.memories, "links")?;
        self.links.push(Link { from, kind, to });
        Ok(())
    }

    /// Adds a tag where a cube has room for it.
    fn tag(&mut self, tags: &mut Vec<String>, tag: String) {
        let space = &self.limits.space;
        if tags.len() >= space.tags || tag.len() > space.name_bytes {
            self.leave_out("tags", "a cube has no room for so many, or for one so long", 1);
        } else if !tags.contains(&tag) {
            tags.push(tag);
        }
    }

    /// Makes tags of single values, and leaves out what is nested.
    fn tag_values(&mut self, tags: &mut Vec<String>, values: &Map<String, Value>, without: &[&str]) {
        for (key, value) in values.iter().filter(|(key, _)| !without.contains(&key.as_str())) {
            match json::scalar(value) {
                Some(text) => self.tag(tags, format!("{key}:{text}")),
                None if value.is_null() => {}
                None => self.leave_out("nested values of metadata", "a tag is one value", 1),
            }
        }
    }

    fn finish(self) -> Result<ForeignImport> {
        let mut cubes = self.cubes;
        let mut left_out = self.refused;
        let counted = |((what, why), count): ((&str, &str), u64)| LeftOut {
            what: format!("{count} {what}"),
            why: why.to_owned(),
        };
        left_out.extend(self.left_out.into_iter().map(counted));
        // The same memory may be on two pages of an export. The later one is taken.
        cubes.reverse();
        cubes.sort_by_key(|cube| cube.id);
        cubes.dedup_by_key(|cube| cube.id);
        let mut links = self.links;
        links.sort_unstable();
        links.dedup();
        if cubes.is_empty() && left_out.is_empty() {
            return Err(Error::invalid(format!("the export of {} holds no memory", self.system)));
        }
        Ok(ForeignImport { system: self.system, cubes, links, left_out })
    }
}

#[cfg(test)]
mod tests;

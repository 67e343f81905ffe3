//! A charter as TOML. A key that is not known is refused, since a misspelt rule that is left out is no rule.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use super::{Audit, Base, CHARTER_BYTES, Charter, MEMBER_NAMES, MEMBERS, Member, Policies, Quotas, ROLE_BYTES};
use crate::cube::{GroupName, PrincipalId};
use crate::error::{Error, Result};
use crate::governance::KEEPER;
use crate::governance::quota::Quota;
use crate::lifecycle::Retention;
use crate::limits::Limits;

const DAY_MILLIS: u64 = 24 * 3600 * 1000;

/// The name under which the quota of everybody stands among those of principals.
const DEFAULT: &str = "default";

#[derive(serde::Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct FileCharter {
    policies: FilePolicies,
    members: Option<Roll<FileMember>>,
    quotas: Roll<FileQuota>,
    audit: Audit,
    retention: Option<toml::Spanned<FileRetention>>,
}

#[derive(serde::Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct FilePolicies {
    base: Base,
    text: Option<toml::Spanned<String>>,
}

#[derive(serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct FileMember {
    groups: Vec<GroupName>,
    roles: Vec<Role>,
}

#[derive(serde::Deserialize)]
#[serde(try_from = "String")]
struct Role(String);

#[derive(serde::Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct FileQuota {
    requests_per_second: Option<f64>,
    writes_per_second: Option<f64>,
    burst: Option<u32>,
    memories: Option<u64>,
    bytes: Option<u64>,
}

#[derive(serde::Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct FileRetention {
    archive_below_weight: Option<f32>,
    cold_below_heat: Option<f32>,
    cold_after_days: Option<u32>,
    erase_after_days: Option<Days>,
    most_recalled: Option<usize>,
}

#[derive(serde::Deserialize)]
#[serde(untagged, expecting = "a number of days, or `never`")]
enum Days {
    After(u32),
    Never(Never),
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Never {
    Never,
}

pub(super) fn read(text: &str) -> Result<Charter> {
    Limits::check("the charter", text.len(), CHARTER_BYTES, "bytes")?;
    let file: FileCharter = toml::from_str(text).map_err(|error| {
        let place = error.span().map_or_else(String::new, |span| format!("line {}: ", line_of(text, span.start)));
        Error::invalid(format!("{place}{}", error.message().lines().collect::<Vec<_>>().join("; ")))
    })?;
    let members = match file.members {
        Some(roll) if roll.entries.is_empty() => {
            return Err(Error::invalid(
                "`members` names nobody; name at least one, or leave it out, and callers' own word is taken",
            ));
        }
        roll => roll.unwrap_or_default().entries.into_iter().map(|(id, member)| (id, member.read())).collect(),
    };
    let (retention, most_recalled) = match file.retention {
        None => (Retention::default(), None),
        Some(retention) => {
            let line = line_of(text, retention.span().start);
            retention.into_inner().read().map_err(|error| error.at(format!("line {line}: retention")))?
        }
    };
    let quota = |quota: FileQuota| quota.read();
    let quotas = Quotas {
        default: file.quotas.default.map(quota).unwrap_or_default(),
        principals: file.quotas.entries.into_iter().map(|(id, of)| (id, of.read())).collect(),
    };
    let (policies, audit) = (file.policies.read(text), file.audit);
    Ok(Charter { text: text.to_owned(), policies, members, quotas, audit, retention, most_recalled })
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

impl FilePolicies {
    fn read(self, charter: &str) -> Policies {
        let Some(text) = self.text else { return Policies { base: self.base, ..Policies::default() } };
        let written = charter.get(text.span()).unwrap_or_default();
        // Only where the text stands in the charter as it is, without escapes, are its lines lines of the charter.
        let line_before =
            written.find(text.get_ref().as_str()).map(|offset| line_of(charter, text.span().start + offset) - 1);
        Policies { base: self.base, text: text.into_inner(), line_before }
    }
}

impl FileMember {
    fn read(self) -> Member {
        let roles: BTreeSet<String> = self.roles.into_iter().map(|role| role.0).collect();
        Member { groups: self.groups.into_iter().collect(), roles }
    }
}

impl TryFrom<String> for Role {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        let plain = !text.is_empty() && text.len() <= ROLE_BYTES && !text.chars().any(char::is_control);
        if plain && text.trim() == text {
            return Ok(Self(text));
        }
        Err(Error::invalid(format!("`{text}` is no role; use up to {ROLE_BYTES} bytes without spaces around them")))
    }
}

impl FileQuota {
    fn read(self) -> Quota {
        let Self { requests_per_second, writes_per_second, burst, memories, bytes } = self;
        Quota { requests_per_second, writes_per_second, burst, memories, bytes }
    }
}

impl FileRetention {
    fn read(self) -> Result<(Retention, Option<usize>)> {
        let default = Retention::default();
        let retention = Retention {
            archive_below_weight: self.archive_below_weight.unwrap_or(default.archive_below_weight),
            cold_below_heat: self.cold_below_heat.unwrap_or(default.cold_below_heat),
            cold_after_millis: self
                .cold_after_days
                .map_or(default.cold_after_millis, |days| u64::from(days) * DAY_MILLIS),
            erase_after_millis: match self.erase_after_days {
                None => default.erase_after_millis,
                Some(Days::After(days)) => Some(u64::from(days) * DAY_MILLIS),
                Some(Days::Never(Never::Never)) => None,
            },
        };
        retention.check()?;
        Ok((retention, self.most_recalled))
    }
}

/// What a charter lets stand for somebody.
trait Entry {
    fn check(&self) -> Result<()>;

    /// Whether one entry may stand for everybody who has none.
    const HAS_DEFAULT: bool;
}

impl Entry for FileMember {
    const HAS_DEFAULT: bool = false;

    fn check(&self) -> Result<()> {
        Limits::check("the member", self.groups.len(), MEMBER_NAMES, "groups")?;
        Limits::check("the member", self.roles.len(), MEMBER_NAMES, "roles")
    }
}

impl Entry for FileQuota {
    const HAS_DEFAULT: bool = true;

    fn check(&self) -> Result<()> {
        let Self { requests_per_second, writes_per_second, burst, memories, bytes } = *self;
        Quota { requests_per_second, writes_per_second, burst, memories, bytes }.check()
    }
}

/// A table whose keys are principals. Names have a short form, so that two keys may be the same name.
struct Roll<T> {
    default: Option<T>,
    entries: BTreeMap<PrincipalId, T>,
}

impl<T> Default for Roll<T> {
    fn default() -> Self {
        Self { default: None, entries: BTreeMap::new() }
    }
}

impl<'de, T: Entry + Deserialize<'de>> Deserialize<'de> for Roll<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        from.deserialize_map(Reading(PhantomData))
    }
}

struct Reading<T>(PhantomData<T>);

impl<'de, T: Entry + Deserialize<'de>> Visitor<'de> for Reading<T> {
    type Value = Roll<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table for each principal, such as `\"agent:cook\"`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
        let mut roll = Roll::default();
        while let Some((key, entry)) = map.next_entry::<String, T>()? {
            let refused = |error: Error| A::Error::custom(error.at(format!("`{key}`")));
            entry.check().map_err(refused)?;
            if T::HAS_DEFAULT && key == DEFAULT {
                roll.default = Some(entry);
                continue;
            }
            let id: PrincipalId = key.parse().map_err(A::Error::custom)?;
            if id.as_str() == KEEPER {
                return Err(refused(Error::invalid("it is the space itself, which needs no rules")));
            }
            if roll.entries.insert(id, entry).is_some() {
                return Err(refused(Error::invalid("it is named twice; a name without a class is a user's")));
            }
            Limits::check("the charter", roll.entries.len(), MEMBERS, "names in one table")
                .map_err(A::Error::custom)?;
        }
        Ok(roll)
    }
}

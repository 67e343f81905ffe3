//! The charter of a space: its rules as one text that people write, keep beside their code, and read again later.
//!
//! It says who is a member with which groups and roles, by which policies is decided, how much each may ask for, what goes on
//! record, and how long is kept. It is TOML, with policies in Cedar; `docs/charter.md` has all that can be said. The text is
//! kept as it was written, comments and all, so what is read back is what somebody wrote.
//!
//! [`Charter::rules`] makes [`Rules`] of it, which decide. A charter that does not parse, or of which one policy does not, is
//! refused as a whole; nothing in force changes by that. This room knows no space and no clock.

mod decisions;
mod file;
mod rules;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Principal;
use super::quota::Quota;
use crate::cube::{GroupName, PrincipalId};
use crate::error::Result;
use crate::lifecycle::Retention;

pub use rules::Rules;

/// Bytes of one charter.
pub const CHARTER_BYTES: usize = 64 * 1024;
/// Members of one charter, and principals with a quota of their own.
pub const MEMBERS: usize = 4096;
/// Groups and roles of one member, each.
pub const MEMBER_NAMES: usize = 64;
/// Bytes of a role's name.
pub const ROLE_BYTES: usize = 64;

/// The rules of one space, as they were written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Charter {
    text: String,
    policies: Policies,
    members: BTreeMap<PrincipalId, Member>,
    quotas: Quotas,
    audit: Audit,
    retention: Retention,
    most_recalled: Option<usize>,
}

/// What a charter decides by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Policies {
    base: Base,
    text: String,
    /// The line of the charter before the first one of `text`; none when the text has lines that the charter has not.
    line_before: Option<usize>,
}

/// What the policies of a charter are added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// The rules of the three layers, as [`LayerPolicy`](super::LayerPolicy) has them.
    #[default]
    Layers,
    /// Nothing: what no policy of the charter permits is denied.
    None,
}

/// What the roll says of one member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Member {
    /// The groups they belong to.
    pub groups: BTreeSet<GroupName>,
    /// Their roles in the space.
    pub roles: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct Quotas {
    default: Quota,
    principals: BTreeMap<PrincipalId, Quota>,
}

/// What goes on record. What was denied, and whatever changes something, always does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// Whether reads that were allowed go on record. They do by default.
    pub reads: bool,
}

impl Default for Audit {
    fn default() -> Self {
        Self { reads: true }
    }
}

impl Charter {
    /// Reads a charter. Its policies are read by [`Charter::rules`].
    ///
    /// # Errors
    /// `Invalid`, with the line, when the text is no TOML, has a key that is not known, or a value that cannot be.
    ///
    /// # Limits
    /// [`CHARTER_BYTES`], [`MEMBERS`], [`MEMBER_NAMES`], [`ROLE_BYTES`].
    pub fn parse(text: &str) -> Result<Self> {
        file::read(text)
    }

    /// Makes the rules ready that it states.
    ///
    /// # Errors
    /// `Invalid`, with the line and Cedar's message, when a policy cannot be read or speaks of what there is not.
    ///
    /// # Limits
    /// 1,024 policies, each of 8 KiB, 256 words and signs outside quotes, and brackets 32 deep.
    pub fn rules(self) -> Result<Rules> {
        Rules::of(self)
    }

    /// Returns the text as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns what its policies are added to.
    pub fn base(&self) -> Base {
        self.policies.base
    }

    /// Returns the text of its policies.
    pub fn policies(&self) -> &str {
        &self.policies.text
    }

    /// Returns the roll; empty when membership is open.
    pub fn members(&self) -> &BTreeMap<PrincipalId, Member> {
        &self.members
    }

    /// Returns a principal as the roll knows them. When there is a roll, groups and roles come from there and from nowhere
    /// else: who claims more does not have it, and who is not on it has none. Without a roll the caller's word is taken.
    pub fn enrolled<'a>(&self, principal: &'a Principal) -> Cow<'a, Principal> {
        if self.members.is_empty() {
            return Cow::Borrowed(principal);
        }
        let member = self.members.get(&principal.id);
        let known = member.map_or((None, None), |member| (Some(&member.groups), Some(&member.roles)));
        let same = known.0.map_or(principal.groups.is_empty(), |groups| *groups == principal.groups)
            && known.1.map_or(principal.roles.is_empty(), |roles| *roles == principal.roles);
        if same {
            return Cow::Borrowed(principal);
        }
        let Member { groups, roles } = member.cloned().unwrap_or_default();
        Cow::Owned(Principal { id: principal.id.clone(), groups, roles, context: principal.context.clone() })
    }

    /// Returns how much a principal may ask for: what is said of them, and the default for what is not.
    pub fn quota(&self, principal: &PrincipalId) -> Quota {
        self.quotas.principals.get(principal).copied().unwrap_or_default().or(self.quotas.default)
    }

    /// Returns what goes on record.
    pub fn audit(&self) -> Audit {
        self.audit
    }

    /// Returns how long is kept.
    pub fn retention(&self) -> &Retention {
        &self.retention
    }

    /// Returns how many memories are recalled at most, or none when their number is not bounded.
    pub fn most_recalled(&self) -> Option<usize> {
        self.most_recalled
    }
}

impl fmt::Display for Charter {
    /// Writes the text as it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

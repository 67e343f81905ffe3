//! Policies: who may do what with which cubes. Deny by default.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::cube::{Governance, Grant, Grantee, GroupName, Layer, PrincipalId, Rights};

/// The role whose bearers may read sensitive content that is not their own.
pub const SENSITIVE_READER: &str = "sensitive-reader";

/// Who acts, with what they are known to be. Whoever makes one vouches for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Principal {
    /// The name.
    pub id: PrincipalId,
    /// The groups they belong to.
    pub groups: BTreeSet<GroupName>,
    /// Their roles in the space.
    pub roles: BTreeSet<String>,
}

impl Principal {
    /// Makes a principal without groups and roles.
    pub fn new(id: PrincipalId) -> Self {
        Self { id, groups: BTreeSet::new(), roles: BTreeSet::new() }
    }

    /// Adds a group.
    pub fn in_group(mut self, group: GroupName) -> Self {
        self.groups.insert(group);
        self
    }

    /// Adds a role.
    pub fn with_role(mut self, role: impl Into<String>) -> Self {
        self.roles.insert(role.into());
        self
    }
}

/// What is to be done with a cube.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// To read it or to have it in an answer.
    Read,
    /// To write its next version or change its state.
    Write,
    /// To link it, or to widen who may read it.
    Share,
}

/// All that a policy looks at in a cube. Cubes for which it is the same form one access class.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AccessClass {
    /// Who may read them by default.
    pub layer: Layer,
    /// Whose they are.
    pub owner: PrincipalId,
    /// Rights beyond those of the layer.
    pub grants: Vec<Grant>,
    /// Whether sensitive content was found in them.
    pub sensitive: bool,
}

impl From<&Governance> for AccessClass {
    fn from(governance: &Governance) -> Self {
        let mut grants = governance.grants.clone();
        grants.sort();
        Self {
            layer: governance.layer.clone(),
            owner: governance.owner.clone(),
            grants,
            sensitive: !governance.sensitivity.is_empty(),
        }
    }
}

/// What a policy decided and by which rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Decision {
    /// Whether it may be done.
    pub allowed: bool,
    /// The rule, in words.
    pub rule: &'static str,
}

impl Decision {
    const fn allow(rule: &'static str) -> Self {
        Self { allowed: true, rule }
    }

    const fn deny(rule: &'static str) -> Self {
        Self { allowed: false, rule }
    }
}

/// Decides who may do what.
pub trait Policy: Send + Sync {
    /// Decides one operation of one principal on the cubes of one class.
    fn decide(&self, principal: &Principal, operation: Operation, class: &AccessClass) -> Decision;
}

/// The rules of the three layers: the owner may do all; members read what is shared with their group; everyone reads
/// what is global; grants add to that; sensitive content of others takes a grant or the role [`SENSITIVE_READER`].
#[derive(Debug, Clone, Copy, Default)]
pub struct LayerPolicy;

impl Policy for LayerPolicy {
    fn decide(&self, principal: &Principal, operation: Operation, class: &AccessClass) -> Decision {
        if class.owner == principal.id {
            return Decision::allow("the owner may");
        }
        if class.grants.iter().any(|grant| names(grant, principal) && gives(grant.rights, operation)) {
            return Decision::allow("a grant allows it");
        }
        if operation != Operation::Read {
            return Decision::deny("only the owner or a grant allows changes");
        }
        let readable = match &class.layer {
            Layer::Private => return Decision::deny("it is private"),
            Layer::Shared(group) if principal.groups.contains(group) => "the caller's group shares it",
            Layer::Shared(_) => return Decision::deny("the caller is not in its group"),
            Layer::Global => "it is global",
        };
        if class.sensitive && !principal.roles.contains(SENSITIVE_READER) {
            return Decision::deny("it is sensitive");
        }
        Decision::allow(readable)
    }
}

fn names(grant: &Grant, principal: &Principal) -> bool {
    match &grant.to {
        Grantee::Principal(id) => *id == principal.id,
        Grantee::Group(group) => principal.groups.contains(group),
    }
}

fn gives(rights: Rights, operation: Operation) -> bool {
    match operation {
        Operation::Read => rights.read,
        Operation::Write => rights.write,
        Operation::Share => rights.share,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_and_grants_decide() {
        use Operation::{Read, Share, Write};
        let name = |text: &str| text.parse::<PrincipalId>().unwrap();
        let kitchen: GroupName = "kitchen".parse().unwrap();
        let (owner, stranger) = (Principal::new(name("ada")), Principal::new(name("bo")));
        let member = stranger.clone().in_group(kitchen.clone());
        let trusted = member.clone().with_role(SENSITIVE_READER);
        let class = |layer, sensitive| AccessClass { layer, owner: name("ada"), grants: vec![], sensitive };
        let shared = Layer::Shared(kitchen.clone());
        let rights = Rights { read: true, write: true, share: false };
        let granted = AccessClass {
            grants: vec![Grant { to: Grantee::Principal(name("bo")), rights }],
            ..class(Layer::Private, true)
        };
        for (principal, operation, class, expect) in [
            (&owner, Share, class(Layer::Private, true), true),
            (&stranger, Read, class(Layer::Private, false), false),
            (&stranger, Read, class(Layer::Global, false), true),
            (&stranger, Read, class(Layer::Global, true), false),
            (&stranger, Write, class(Layer::Global, false), false),
            (&stranger, Read, class(shared.clone(), false), false),
            (&member, Read, class(shared.clone(), false), true),
            (&member, Write, class(shared.clone(), false), false),
            (&member, Read, class(shared.clone(), true), false),
            (&trusted, Read, class(shared.clone(), true), true),
            (&trusted, Read, class(Layer::Private, true), false),
            (&stranger, Read, granted.clone(), true),
            (&stranger, Write, granted.clone(), true),
            (&stranger, Share, granted, false),
        ] {
            assert_eq!(
                LayerPolicy.decide(principal, operation, &class).allowed,
                expect,
                "{principal:?} {operation:?} {class:?}"
            );
        }
    }
}

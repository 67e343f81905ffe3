//! Policies: who may do what with which cubes. Deny by default.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::charter::Rules;
use super::quota::Quota;
use super::sensitivity::SensitivityKind;
use crate::cube::{Governance, Grant, Grantee, GroupName, Layer, PrincipalId, Rights};
use crate::time::Timestamp;

/// The role whose bearers may read sensitive content that is not their own.
pub const SENSITIVE_READER: &str = "sensitive-reader";

/// The role whose bearers look after all memories of a space: they erase, unfreeze, and release from legal hold what is not
/// their own, and read nothing by that.
pub const CUSTODIAN: &str = "custodian";

/// In which setting somebody acts: what for, in which task and session, by which model.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct CallingContext {
    /// What for, in a word of the policies: `support`, `billing`.
    pub purpose: Option<String>,
    /// The task.
    pub task: Option<String>,
    /// The session.
    pub session: Option<String>,
    /// The model on whose behalf it is.
    pub model: Option<String>,
}

/// The role whose bearers read the whole audit log of a space.
pub const AUDITOR: &str = "auditor";

/// Who acts, with what they are known to be, and in which setting. Whoever makes one vouches for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Principal {
    /// The name.
    pub id: PrincipalId,
    /// The groups they belong to.
    pub groups: BTreeSet<GroupName>,
    /// Their roles in the space.
    pub roles: BTreeSet<String>,
    /// In which setting they act.
    pub context: CallingContext,
}

impl Principal {
    /// Makes a principal without groups and roles.
    pub fn new(id: PrincipalId) -> Self {
        Self { id, groups: BTreeSet::new(), roles: BTreeSet::new(), context: CallingContext::default() }
    }

    /// Returns the principal as which a space itself acts. Whoever hands it on gives all rights away.
    ///
    /// # Errors
    /// None that can happen: the name is a constant.
    pub fn keeper() -> crate::error::Result<Self> {
        KEEPER.parse().map(Self::new)
    }

    /// Returns whether it is the space itself.
    pub fn is_keeper(&self) -> bool {
        self.id.as_str() == KEEPER
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

    /// Sets what it acts for.
    pub fn acting_for(mut self, purpose: impl Into<String>) -> Self {
        self.context.purpose = Some(purpose.into());
        self
    }

    /// Sets the task it acts in.
    pub fn in_task(mut self, task: impl Into<String>) -> Self {
        self.context.task = Some(task.into());
        self
    }

    /// Sets the session it acts in.
    pub fn in_session(mut self, session: impl Into<String>) -> Self {
        self.context.session = Some(session.into());
        self
    }

    /// Sets the model on whose behalf it acts.
    pub fn by_model(mut self, model: impl Into<String>) -> Self {
        self.context.model = Some(model.into());
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
    /// To link it, or to change who may use it.
    Share,
    /// To destroy it.
    Erase,
    /// To let it be changed again when it is frozen.
    Unfreeze,
    /// To end its legal hold.
    Release,
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
    /// Whether what is sensitive in them is not what their text shows, so that no redaction takes it out.
    pub concealed: bool,
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
            concealed: governance.sensitivity.contains(&SensitivityKind::Concealed),
        }
    }
}

/// How far something may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Not at all; to a reader it is not there.
    Denied,
    /// It may be read without what is sensitive in it. Nothing else can be done redacted.
    Redacted,
    /// As it is.
    Full,
}

/// What a policy decided and by which rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Decision {
    /// How far it may be done.
    pub access: Access,
    /// The rule, in words.
    pub rule: Cow<'static, str>,
}

impl Decision {
    pub(crate) const fn allow(rule: &'static str) -> Self {
        Self { access: Access::Full, rule: Cow::Borrowed(rule) }
    }

    pub(crate) const fn deny(rule: &'static str) -> Self {
        Self { access: Access::Denied, rule: Cow::Borrowed(rule) }
    }

    const fn redact(rule: &'static str) -> Self {
        Self { access: Access::Redacted, rule: Cow::Borrowed(rule) }
    }

    /// Returns whether it may be done as it is. Whoever works on what is really there asks this.
    pub fn allowed(&self) -> bool {
        self.access == Access::Full
    }

    /// Returns whether it may be seen, be it redacted. Whoever asks this must show no more than [`Access`] says.
    pub fn shows(&self) -> bool {
        self.access != Access::Denied
    }
}

/// Decides who may do what.
pub trait Policy: Send + Sync {
    /// Decides one operation of one principal on the cubes of one class at a time.
    fn decide(&self, principal: &Principal, operation: Operation, class: &AccessClass, at: Timestamp) -> Decision;

    /// Decides whether a principal may change the rules of the space at a time. Nobody may by default.
    fn decide_governing(&self, _principal: &Principal, _at: Timestamp) -> Decision {
        Decision::deny("no rule lets anybody change the rules")
    }
}

/// The name in which a space itself acts: its workers, its rules, its record. It may do everything, and no caller acts in
/// its name.
pub const KEEPER: &str = "agent:memos";

/// A policy at one point of time: what decisions are asked of.
#[derive(Clone)]
pub(crate) struct Ruling {
    policy: Arc<dyn Policy>,
    charter: Option<Arc<Rules>>,
    at: Timestamp,
}

impl Ruling {
    pub(crate) fn new(policy: Arc<dyn Policy>, charter: Option<Arc<Rules>>, at: Timestamp) -> Self {
        Self { policy, charter, at }
    }

    /// Returns how much a principal may own and ask for.
    pub(crate) fn quota(&self, principal: &PrincipalId) -> Quota {
        self.charter.as_ref().map_or_else(Quota::default, |rules| rules.charter().quota(principal))
    }

    /// Returns whether a principal has a role: by the roll where there is one, else by its own word.
    pub(crate) fn has_role(&self, principal: &Principal, role: &str) -> bool {
        match &self.charter {
            Some(rules) => rules.charter().enrolled(principal).roles.contains(role),
            None => principal.roles.contains(role),
        }
    }

    /// Decides one operation of one principal on the cubes of one class.
    pub(crate) fn decide(&self, principal: &Principal, operation: Operation, class: &AccessClass) -> Decision {
        if principal.is_keeper() {
            return Decision::allow("the space itself may");
        }
        self.policy.decide(principal, operation, class, self.at)
    }

    /// Decides whether a principal may change the rules of the space.
    pub(crate) fn decide_governing(&self, principal: &Principal) -> Decision {
        if principal.is_keeper() {
            return Decision::allow("the space itself may");
        }
        self.policy.decide_governing(principal, self.at)
    }
}

/// The rules of the three layers: the owner may do all; members read what is shared with their group; everyone reads
/// what is global; grants add to that; sensitive content of others is redacted, but for a grant or the role
/// [`SENSITIVE_READER`].
#[derive(Debug, Clone, Copy, Default)]
pub struct LayerPolicy;

impl Policy for LayerPolicy {
    fn decide_governing(&self, principal: &Principal, _: Timestamp) -> Decision {
        match principal.roles.contains(CUSTODIAN) {
            true => Decision::allow("a custodian may"),
            false => Decision::deny("only a custodian changes the rules"),
        }
    }

    fn decide(&self, principal: &Principal, operation: Operation, class: &AccessClass, _: Timestamp) -> Decision {
        if matches!(operation, Operation::Erase | Operation::Unfreeze | Operation::Release)
            && principal.roles.contains(CUSTODIAN)
        {
            return Decision::allow("a custodian may");
        }
        if operation == Operation::Release {
            return Decision::deny("only a custodian ends a legal hold");
        }
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
            return match class.concealed {
                true => Decision::deny("it is sensitive"),
                false => Decision::redact("it is sensitive, so it is redacted"),
            };
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
        Operation::Erase | Operation::Unfreeze | Operation::Release => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_and_grants_decide() {
        use Access::{Denied, Full, Redacted};
        use Operation::{Read, Share, Write};
        let name = |text: &str| text.parse::<PrincipalId>().unwrap();
        let kitchen: GroupName = "kitchen".parse().unwrap();
        let (owner, stranger) = (Principal::new(name("ada")), Principal::new(name("bo")));
        let member = stranger.clone().in_group(kitchen.clone());
        let trusted = member.clone().with_role(SENSITIVE_READER);
        let class =
            |layer, sensitive| AccessClass { layer, owner: name("ada"), grants: vec![], sensitive, concealed: false };
        let shared = Layer::Shared(kitchen.clone());
        let rights = Rights { read: true, write: true, share: false };
        let granted = AccessClass {
            grants: vec![Grant { to: Grantee::Principal(name("bo")), rights }],
            ..class(Layer::Private, true)
        };
        for (principal, operation, class, expect) in [
            (&owner, Share, class(Layer::Private, true), Full),
            (&stranger, Read, class(Layer::Private, false), Denied),
            (&stranger, Read, class(Layer::Global, false), Full),
            (&stranger, Read, class(Layer::Global, true), Redacted),
            (&stranger, Read, AccessClass { concealed: true, ..class(Layer::Global, true) }, Denied),
            (&stranger, Write, class(Layer::Global, false), Denied),
            (&stranger, Read, class(shared.clone(), false), Denied),
            (&member, Read, class(shared.clone(), false), Full),
            (&member, Write, class(shared.clone(), false), Denied),
            (&member, Read, class(shared.clone(), true), Redacted),
            (&trusted, Read, class(shared.clone(), true), Full),
            (&trusted, Read, class(Layer::Private, true), Denied),
            (&stranger, Read, granted.clone(), Full),
            (&stranger, Write, granted.clone(), Full),
            (&stranger, Share, granted, Denied),
        ] {
            assert_eq!(
                LayerPolicy.decide(principal, operation, &class, Timestamp::from_millis(0)).access,
                expect,
                "{principal:?} {operation:?} {class:?}"
            );
        }
    }
}

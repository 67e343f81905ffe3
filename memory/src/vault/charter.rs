//! The rules of a space: its charter, which is a register of its ledger, and what decides while there is none.
//!
//! Whoever opens the space, in whichever program, is held to its charter. A charter that this program cannot read lets nobody do
//! anything but change it: rules that are not understood are no reason to have none.

use std::sync::Arc;

use super::batch::{Batch, Committed};
use super::registers::Registers;
use super::space::Space;
use crate::cube::CubeId;
use crate::error::{Error, ErrorKind, Result};
use crate::governance::{
    AccessClass, AuditKind, AuditRecord, CUSTODIAN, Charter, Decision, Operation, Outcome, Policy, Principal, Rules,
    Ruling,
};
use crate::time::Timestamp;

/// The register that holds the charter.
pub(super) const CHARTER: &str = "charter";

/// By what a space decides.
#[derive(Clone)]
pub(super) struct SpaceRules {
    pub(super) policy: Arc<dyn Policy>,
    pub(super) charter: Option<Arc<Rules>>,
}

impl SpaceRules {
    /// Returns by what is decided at a time.
    pub(super) fn ruling(&self, at: Timestamp) -> Ruling {
        Ruling::new(self.policy.clone(), self.charter.clone(), at)
    }

    /// Reads the charter among the registers; `otherwise` decides where there is none.
    pub(super) fn of(registers: &Registers, otherwise: &Arc<dyn Policy>) -> Self {
        let Some(text) = registers.get(CHARTER) else { return Self { policy: otherwise.clone(), charter: None } };
        match read_charter(text) {
            Ok(rules) => {
                let rules = Arc::new(rules);
                Self { policy: rules.clone(), charter: Some(rules) }
            }
            Err(_) => Self { policy: Arc::new(Unreadable), charter: None },
        }
    }
}

/// Reads a charter and compiles its policies.
pub(super) fn read_charter(text: &[u8]) -> Result<Rules> {
    let text = std::str::from_utf8(text).map_err(|_| Error::invalid("the charter is not text"))?;
    Charter::parse(text)?.rules()
}

/// Decides for a charter that cannot be read.
struct Unreadable;

impl Policy for Unreadable {
    fn decide(&self, _: &Principal, _: Operation, _: &AccessClass, _: Timestamp) -> Decision {
        Decision::deny("this program cannot read the space's charter")
    }

    fn decide_governing(&self, principal: &Principal, _: Timestamp) -> Decision {
        match principal.roles.contains(CUSTODIAN) {
            true => Decision::allow("a custodian may"),
            false => Decision::deny("this program cannot read the space's charter"),
        }
    }
}

impl Space {
    /// Returns the rules of the space's charter, when it has one.
    pub fn charter(&self) -> Option<Arc<Rules>> {
        match &self.shared().viewed {
            Some(space) => space.charter(),
            None => self.shared().rules.read().charter.clone(),
        }
    }

    /// Gives the space other rules, or takes its charter away. They hold for every read and write that begins after this
    /// returns.
    ///
    /// # Errors
    /// `Denied` when the caller may not change the rules; `Invalid` when the charter cannot be read or its policies do not fit;
    /// the rules stay as they are then.
    pub fn set_charter(&self, caller: &Principal, charter: Option<&str>) -> Result<Committed> {
        if let Some(text) = charter {
            let rules = read_charter(text.as_bytes())?;
            // Rules under which nobody governs can be changed by nobody.
            let still = caller.is_keeper() || rules.decide_governing(caller, self.now()).allowed();
            if !still && self.ruling().decide_governing(caller).allowed() {
                return Err(Error::invalid(format!(
                    "by this charter `{}` may not change the rules any more; give them the role `{CUSTODIAN}` in its roll",
                    caller.id
                )));
            }
        }
        let mut batch = Batch::default();
        batch.set_register(CHARTER, charter.map(|text| text.as_bytes().to_vec()));
        self.commit(caller, batch)
    }

    /// Returns a principal as the space knows them: with the groups and roles of its roll, where it has one.
    pub(crate) fn enrolled(&self, principal: &Principal) -> Principal {
        match self.charter() {
            Some(rules) => rules.charter().enrolled(principal).into_owned(),
            None => principal.clone(),
        }
    }

    /// Returns whether it is put on record that a caller reads, and with what outcome: what is refused always is.
    pub(crate) fn notes_access(&self, caller: &Principal, outcome: Outcome) -> bool {
        if let Some(space) = &self.shared().viewed {
            return space.notes_access(caller, outcome);
        }
        let rules = self.shared().rules.read();
        let noted = |rules: &Arc<Rules>| rules.charter().audit().reads || outcome == Outcome::Denied;
        !caller.is_keeper() && rules.charter.as_ref().is_some_and(noted)
    }

    /// Puts on record, where there is a charter, that a change was refused.
    pub(super) fn note_refusal(&self, caller: &Principal, error: &Error) -> Result<()> {
        if error.kind() != ErrorKind::Denied || !self.notes_access(caller, Outcome::Denied) {
            return Ok(());
        }
        self.note(AuditRecord {
            at: self.now(),
            principal: caller.id.clone(),
            context: caller.context.clone(),
            kind: AuditKind::Change,
            operation: "commit".to_owned(),
            outcome: Outcome::Denied,
            reason: error.to_string(),
            cubes: Vec::new(),
            trace: None,
        })
    }

    /// Puts on record, where the charter asks for it, that somebody asked for memories and how that ended. What the space
    /// itself does is not noted here.
    pub(crate) fn note_access(
        &self,
        caller: &Principal,
        operation: &str,
        outcome: Outcome,
        reason: &str,
        cubes: Vec<CubeId>,
    ) -> Result<()> {
        if let Some(space) = &self.shared().viewed {
            return space.note_access(caller, operation, outcome, reason, cubes);
        }
        if !self.notes_access(caller, outcome) {
            return Ok(());
        }
        self.note(AuditRecord {
            at: self.now(),
            principal: caller.id.clone(),
            context: caller.context.clone(),
            kind: AuditKind::Access,
            operation: operation.to_owned(),
            outcome,
            reason: reason.to_owned(),
            cubes,
            trace: None,
        })
    }
}

//! The rules of a charter, ready to decide.

use std::fmt;

use super::decisions::{DECISION_BYTES, Decisions};
use super::{Base, Charter};
use crate::error::Result;
use crate::governance::{AccessClass, Decision, Operation, Policy, Principal, cedar};
use crate::time::Timestamp;

/// The rules of one charter. What they decide depends on the charter and on what is asked, and on nothing else; it is kept at
/// hand, so asking again costs little.
pub struct Rules {
    charter: Charter,
    policies: cedar::Policies,
    decisions: Decisions,
}

impl Rules {
    pub(super) fn of(charter: Charter) -> Result<Self> {
        let policies =
            cedar::Policies::compile(charter.base() == Base::Layers, charter.policies(), |line| {
                match charter.policies.line_before {
                    Some(before) => format!("line {}", before + line),
                    None => format!("line {line} of the policies"),
                }
            })?;
        Ok(Self { charter, policies, decisions: Decisions::new(DECISION_BYTES) })
    }

    /// Returns the charter that states them.
    pub fn charter(&self) -> &Charter {
        &self.charter
    }
}

impl Policy for Rules {
    fn decide(&self, principal: &Principal, operation: Operation, class: &AccessClass, at: Timestamp) -> Decision {
        let minute = self.policies.minute(operation, at);
        self.decisions.get_or(principal, operation, class, minute, || {
            self.policies.decide(&self.charter.enrolled(principal), operation, class, at)
        })
    }

    fn decide_governing(&self, principal: &Principal, at: Timestamp) -> Decision {
        self.policies.decide_governing(&self.charter.enrolled(principal), at)
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").field("charter", &self.charter).finish_non_exhaustive()
    }
}

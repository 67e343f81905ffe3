//! MemGovernance as pure code: who may do what with a memory, by which charter, and what in a text is sensitive.
//!
//! A decision is a function of what is handed in and of nothing else. It is made twice on each read: once for a whole
//! access class, so that what may not be read is never a candidate, and once more for each result.

mod audit;
mod cedar;
pub mod charter;
mod policy;
pub mod quota;
pub(crate) mod redaction;
pub mod sensitivity;
pub mod watermark;

pub use audit::{AuditKind, AuditQuery, AuditRecord, Outcome};
pub use charter::{CHARTER_BYTES, Charter, Member, Rules};
pub(crate) use policy::Ruling;
pub use policy::{
    AUDITOR, Access, AccessClass, CUSTODIAN, CallingContext, Decision, KEEPER, LayerPolicy, Operation, Policy,
    Principal, SENSITIVE_READER,
};

//! What MemStore keeps in the registers of a space: under which names, and how it is written.
//!
//! A register is JSON with the number of its format, so that a later version can tell what it reads. It holds ids, names,
//! times and terms, never what a memory says.

use memos_memory::cube::{CubeId, PrincipalId};
use memos_memory::error::{Error, Result};
use memos_memory::governance::{AuditKind, AuditRecord, CallingContext, Outcome, Principal};
use memos_memory::time::Timestamp;
use memos_memory::vault::{Batch, Space};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::licence::{Held, held_id};
use super::offer::{LicenceId, OfferId, SubscriptionId};

const HELD: &str = "store/held/";

/// A value with the number of its format.
#[derive(Serialize, Deserialize)]
#[serde(tag = "format", content = "value")]
enum Kept<T> {
    #[serde(rename = "1")]
    First(T),
}

pub(super) fn offer(id: &OfferId) -> String {
    format!("store/offer/{id}")
}

pub(super) fn licence(id: &LicenceId) -> String {
    format!("store/licence/{id}")
}

pub(super) fn subscription(id: &SubscriptionId) -> String {
    format!("store/subscription/{id}")
}

/// Names what somebody holds of an offer.
pub(super) fn held(id: &OfferId, owner: &PrincipalId) -> String {
    format!("{HELD}{}", held_id(id, owner))
}

/// Names the memory that a licence was taken up, which tells what is held under it.
pub(super) fn taken(id: &LicenceId) -> String {
    format!("store/taken/{id}")
}

/// Names the memory that an offer of elsewhere was revoked.
pub(super) fn revoked(id: &OfferId) -> String {
    format!("store/revoked/{id}")
}

/// Puts a value into a register.
pub(super) fn set<T: Serialize>(batch: &mut Batch, name: String, value: T) -> Result<()> {
    let written = serde_json::to_vec(&Kept::First(value));
    let written = written.map_err(|e| Error::invalid(format!("register `{name}` cannot be written: {e}")))?;
    batch.set_register(name, Some(written));
    Ok(())
}

/// Reads a register.
pub(super) fn get<T: DeserializeOwned>(space: &Space, name: &str) -> Result<Option<T>> {
    space.register(name).map(|value| read(name, &value)).transpose()
}

/// Reads all registers whose name begins so.
pub(super) fn all<T: DeserializeOwned>(space: &Space, prefix: &str) -> Result<Vec<T>> {
    space.registers(prefix).iter().map(|(name, value)| read(name, value)).collect()
}

/// Reads all that is held in a space.
pub(super) fn all_held(space: &Space) -> Result<Vec<Held>> {
    all(space, HELD)
}

fn read<T: DeserializeOwned>(name: &str, value: &[u8]) -> Result<T> {
    let read = serde_json::from_slice(value);
    let Kept::First(value) = read.map_err(|e| Error::corrupt(format!("register `{name}` cannot be read: {e}")))?;
    Ok(value)
}

/// Says what was done or refused, for the audit log.
pub(super) fn line(
    principal: &Principal,
    at: Timestamp,
    operation: &str,
    (outcome, reason): (Outcome, String),
    cubes: Vec<CubeId>,
    trace: u128,
) -> AuditRecord {
    let context: CallingContext = principal.context.clone();
    AuditRecord {
        at,
        principal: principal.id.clone(),
        context,
        kind: AuditKind::Store,
        operation: operation.to_owned(),
        outcome,
        reason,
        cubes,
        trace: (trace != 0).then_some(trace),
    }
}

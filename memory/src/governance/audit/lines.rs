//! The audit log as others read it: a JSON object a line, in our own words or in those of the Open Cybersecurity Schema
//! Framework (OCSF 1.3, class API Activity), which the tools of those who watch over systems understand.

use serde_json::{Value, json};

use super::{AuditKind, AuditRecord, Outcome};
use crate::cube::SpaceName;

const OCSF_VERSION: &str = "1.3.0";
const API_ACTIVITY: u64 = 6003;
const APPLICATION_ACTIVITY: u64 = 6;
const INFORMATIONAL: u64 = 1;
/// The severity of what was refused.
const LOW: u64 = 2;

impl AuditRecord {
    /// Returns the line as a JSON object; `event` is where it stands in the ledger of the space.
    pub fn to_json(&self, space: &SpaceName, event: u64) -> Value {
        json!({
            "space": space.as_str(),
            "event": event,
            "at": self.at.to_string(),
            "principal": self.principal.as_str(),
            "context": self.context,
            "kind": self.kind,
            "operation": self.operation,
            "outcome": self.outcome,
            "reason": self.reason,
            "cubes": self.cubes,
            "trace": self.trace.map(|trace| format!("{trace:032x}")),
        })
    }

    /// Returns the line as an OCSF event of the class API Activity.
    pub fn to_ocsf(&self, space: &SpaceName, event: u64) -> Value {
        let activity = self.ocsf_activity();
        let is_success = matches!(self.outcome, Outcome::Done | Outcome::Redacted);
        let severity = if self.outcome == Outcome::Denied { LOW } else { INFORMATIONAL };
        let resources: Vec<Value> =
            self.cubes.iter().map(|cube| json!({ "uid": cube.to_string(), "type": "MemCube" })).collect();
        json!({
            "category_uid": APPLICATION_ACTIVITY,
            "class_uid": API_ACTIVITY,
            "type_uid": API_ACTIVITY * 100 + activity,
            "activity_id": activity,
            "time": self.at.as_millis(),
            "severity_id": severity,
            "status_id": if is_success { 1 } else { 2 },
            "status": self.outcome,
            "status_detail": self.reason,
            "actor": { "user": { "uid": self.principal.as_str(), "name": self.principal.as_str() } },
            "api": { "operation": self.operation, "service": { "name": "memos" }, "group": { "name": self.kind } },
            "src_endpoint": { "name": "memos", "svc_name": space.as_str() },
            "resources": resources,
            "metadata": {
                "version": OCSF_VERSION,
                "product": { "name": "memos", "vendor_name": "memos", "version": env!("CARGO_PKG_VERSION") },
                "uid": format!("{space}#{event}"),
                "correlation_uid": self.trace.map(|trace| format!("{trace:032x}")),
            },
            "unmapped": { "context": self.context },
        })
    }

    /// Create, read, update, delete, or other.
    fn ocsf_activity(&self) -> u64 {
        match (self.kind, self.operation.as_str()) {
            (_, "store" | "link" | "publish" | "begin-space" | "fork-space") => 1,
            (AuditKind::Access, _) => 2,
            (_, "erase" | "unlink" | "clear-register") => 4,
            (AuditKind::Change | AuditKind::Governance, _) => 3,
            _ => 99,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governance::CallingContext;
    use crate::time::Timestamp;

    #[test]
    fn a_line_says_the_same_in_both_words() {
        let record = AuditRecord {
            at: Timestamp::from_millis(1_700_000_000_000),
            principal: "agent:cook".parse().unwrap(),
            context: CallingContext { purpose: Some("dinner".into()), ..CallingContext::default() },
            kind: AuditKind::Access,
            operation: "recall".into(),
            outcome: Outcome::Denied,
            reason: "it is private".into(),
            cubes: Vec::new(),
            trace: Some(10),
        };
        let space = "acme/kitchen".parse().unwrap();
        let line = record.to_json(&space, 7);
        assert_eq!((&line["principal"], &line["outcome"]), (&json!("agent:cook"), &json!("denied")));
        assert_eq!((&line["context"]["purpose"], &line["event"]), (&json!("dinner"), &json!(7)));
        let ocsf = record.to_ocsf(&space, 7);
        assert_eq!((&ocsf["type_uid"], &ocsf["status_id"]), (&json!(600_302), &json!(2)));
        assert_eq!(ocsf["metadata"]["correlation_uid"], json!("0000000000000000000000000000000a"));
        for (kind, operation, activity) in [
            (AuditKind::Change, "store", 1),
            (AuditKind::Access, "get", 2),
            (AuditKind::Change, "update", 3),
            (AuditKind::Change, "erase", 4),
            (AuditKind::Schedule, "promote", 99),
        ] {
            let record = AuditRecord { kind, operation: operation.into(), ..record.clone() };
            assert_eq!(record.ocsf_activity(), activity, "{operation}");
        }
    }
}

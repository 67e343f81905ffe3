//! What a space keeps beside its memories: registers, answers to requests with a name, and the audit log.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;
use std::sync::Arc;

use memos_memory::cube::{CubeDraft, Layer, Payload, SeededIds, SemanticType, State, Update, UpdateMode};
use memos_memory::error::ErrorKind;
use memos_memory::governance::{
    AUDITOR, AuditKind, AuditQuery, AuditRecord, CUSTODIAN, CallingContext, Outcome, Principal,
};
use memos_memory::time::{Clock, Timestamp, Window};
use memos_memory::vault::{Batch, Space, Vault, VaultOptions};

struct Still(i64);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0)
    }
}

fn open_at(folder: &Path, now: i64) -> Space {
    let ids = Arc::new(SeededIds::new(now as u64));
    let options = VaultOptions { clock: Arc::new(Still(now)), ids, ..VaultOptions::builtin().unwrap() };
    Vault::open(folder, options).unwrap().space(&"acme/test".parse().unwrap()).unwrap()
}

fn principal(name: &str) -> Principal {
    Principal::new(name.parse().unwrap())
}

fn register(name: &str, value: Option<&str>) -> Batch {
    let mut batch = Batch::default();
    batch.set_register(name, value.map(|value| value.as_bytes().to_vec()));
    batch
}

fn noted(at: i64, who: &Principal, operation: &str, outcome: Outcome) -> AuditRecord {
    AuditRecord {
        at: Timestamp::from_millis(at),
        principal: who.id.clone(),
        context: CallingContext { purpose: Some("support".into()), ..CallingContext::default() },
        kind: AuditKind::Access,
        operation: operation.into(),
        outcome,
        reason: "a test".into(),
        cubes: Vec::new(),
        trace: Some(7),
    }
}

#[test]
fn registers_are_the_spaces_own_and_stay() {
    let folder = tempfile::tempdir().unwrap();
    let keeper = Principal::keeper().unwrap();
    {
        let space = open_at(folder.path(), 1);
        let denied = space.commit(&principal("user:ada").with_role(CUSTODIAN), register("job/merge", Some("1")));
        assert_eq!(denied.unwrap_err().kind(), ErrorKind::Denied);
        space.commit(&keeper, register("job/merge", Some("1"))).unwrap();
        space.commit(&keeper, register("job/link", Some("5"))).unwrap();
        space.commit(&keeper, register("other", Some("x"))).unwrap();
        space.save_snapshot().unwrap();
        space.commit(&keeper, register("job/merge", Some("2"))).unwrap();
        space.commit(&keeper, register("other", None)).unwrap();
        assert_eq!(space.commit(&keeper, register("other", None)).unwrap().events, 0, "there is nothing to clear");
    }
    let check = |space: &Space| {
        let named: Vec<(String, Vec<u8>)> =
            space.registers("job/").into_iter().map(|(name, value)| (name, value.to_vec())).collect();
        assert_eq!(named, [("job/link".into(), b"5".to_vec()), ("job/merge".into(), b"2".to_vec())]);
        assert!(space.register("other").is_none());
    };
    check(&open_at(folder.path(), 2));
    std::fs::remove_file(folder.path().join("acme/test/projection.bin")).unwrap();
    check(&open_at(folder.path(), 3));
}

#[test]
fn a_request_with_a_name_is_done_once_even_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (ada, bo) = (principal("user:ada"), principal("user:bo"));
    let request = |space: &Space, text: &str| {
        let mut batch = Batch::default();
        batch.store(space.new_id(), CubeDraft::text(SemanticType::Fact, text)).keyed("order 7");
        batch
    };
    let first = {
        let space = open_at(folder.path(), 1);
        let mut refused = Batch::default();
        refused.set_state(space.new_id(), State::Archived, "").keyed("order 7");
        assert_eq!(space.commit(&ada, refused).unwrap_err().kind(), ErrorKind::NotFound, "and is not remembered");
        let first = space.commit(&ada, request(&space, "one table")).unwrap();
        assert_eq!((first.events, first.stored.len()), (2, 1));
        assert_eq!(space.commit(&ada, request(&space, "another table")).unwrap(), first);
        first
    };
    let space = open_at(folder.path(), 2);
    assert_eq!(space.commit(&ada, request(&space, "a third table")).unwrap(), first);
    assert_ne!(space.commit(&bo, request(&space, "Bo's own table")).unwrap(), first, "a name is its principal's");
    // Two that come at once are one.
    let same = || {
        let mut batch = Batch::default();
        batch.store(space.new_id(), CubeDraft::text(SemanticType::Fact, "a chair")).keyed("order 8");
        (ada.clone(), batch)
    };
    let answers = space.commit_each(vec![same(), same(), same()]);
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(space.stats(&ada).cubes, 2);
}

#[test]
fn the_audit_log_has_reads_and_changes_and_shows_each_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let (ada, bo) = (principal("user:ada"), principal("user:bo"));
    let auditor = principal("user:eve").with_role(AUDITOR);
    {
        let space = open_at(folder.path(), 100);
        space.note(noted(90, &bo, "recall", Outcome::Denied)).unwrap();
        let draft = CubeDraft { layer: Layer::Global, ..CubeDraft::text(SemanticType::Fact, "the boat is red") };
        space.remember(&ada, draft).unwrap();
        space.note(noted(100, &ada, "recall", Outcome::Done)).unwrap();
        assert_eq!(space.waiting_records(), 2);
        // Closing the space writes what waits.
    }
    let space = open_at(folder.path(), 200);
    let all = |query: AuditQuery| -> Vec<(String, String)> {
        let lines = space.audit(&auditor, &query).unwrap();
        lines.into_iter().map(|line| (line.record.principal.to_string(), line.record.operation)).collect()
    };
    let line = |who: &str, operation: &str| (who.to_owned(), operation.to_owned());
    assert_eq!(
        all(AuditQuery::default()),
        [
            line("agent:memos", "begin-space"),
            line("user:ada", "store"),
            line("user:bo", "recall"),
            line("user:ada", "recall")
        ]
    );
    assert_eq!(all(AuditQuery { kind: Some(AuditKind::Change), ..AuditQuery::default() }).len(), 2);
    assert_eq!(
        all(AuditQuery { outcome: Some(Outcome::Denied), ..AuditQuery::default() }),
        [line("user:bo", "recall")]
    );
    assert_eq!(all(AuditQuery { most: 1, ..AuditQuery::default() }), [line("user:ada", "recall")]);
    let later = Window { from: Some(Timestamp::from_millis(95)), until: None };
    let late_reads = AuditQuery { window: later, kind: Some(AuditKind::Access), ..AuditQuery::default() };
    assert_eq!(all(late_reads), [line("user:ada", "recall")]);
    let own = space.audit(&bo, &AuditQuery::default()).unwrap();
    assert_eq!(own.len(), 1);
    assert_eq!((own[0].record.trace, own[0].record.context.purpose.as_deref()), (Some(7), Some("support")));
    let mut forged = Batch::default();
    forged.record(noted(1, &ada, "recall", Outcome::Done));
    assert_eq!(space.commit(&bo, forged).unwrap_err().kind(), ErrorKind::Denied);
    space.verify(|_, _| {}).unwrap();
}

#[test]
fn nobody_locks_themselves_out_of_the_rules() {
    let folder = tempfile::tempdir().unwrap();
    let space = open_at(folder.path(), 1);
    let ada = principal("user:ada").with_role(CUSTODIAN);
    let refused = space.set_charter(&ada, Some("[members.\"user:bo\"]\nroles = [\"custodian\"]\n")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    assert!(space.charter().is_none());
    space.set_charter(&ada, Some("[members.\"user:ada\"]\nroles = [\"custodian\"]\n")).unwrap();
    let stranger = principal("user:bo").with_role(CUSTODIAN);
    assert_eq!(space.set_charter(&stranger, None).unwrap_err().kind(), ErrorKind::Denied);
    // What the roll does not know of is not imported as a group's either; who is on it goes on.
    space.set_charter(&principal("user:ada"), None).unwrap();
    assert!(space.charter().is_none());
}

#[test]
fn a_request_is_answered_as_before_though_what_it_was_made_from_has_moved_on() {
    let folder = tempfile::tempdir().unwrap();
    let ada = principal("user:ada");
    let space = open_at(folder.path(), 1);
    let cube = space.remember(&ada, CubeDraft::text(SemanticType::Fact, "a chair")).unwrap();
    let parent = space.get(&ada, &cube).unwrap().1.digest;
    let mode = UpdateMode::Overwrite(Payload::text("a red chair"));
    let mut batch = Batch::default();
    batch.update(Update { cube, parent, mode }).keyed("paint it");
    let first = space.commit(&ada, batch.clone()).unwrap();
    assert_eq!(space.commit(&ada, batch.clone()).unwrap(), first);
    assert_eq!(space.commit_each(vec![(ada.clone(), batch.clone())]).pop().unwrap().unwrap(), first);
    drop(space);
    let space = open_at(folder.path(), 2);
    assert_eq!(space.commit(&ada, batch).unwrap(), first);
    assert_eq!(space.get(&ada, &cube).unwrap().1.version, 2);
}

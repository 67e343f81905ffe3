//! The rules of a space as a kernel keeps them: changed in flight, on record, and at a rate.

use std::time::Duration;

use memos_memory::cube::{
    CubeDraft, CubeId, GovernanceChange, Grant, Grantee, Layer, Rights, SemanticType, Update, UpdateMode,
};
use memos_memory::error::{ErrorKind, Result};
use memos_memory::governance::{AuditKind, AuditQuery, CUSTODIAN, Outcome, Principal};

use crate::actor::Heard;
use crate::{Kernel, SpaceHandle};

const CHARTER: &str = r#"
[members."user:ada"]
groups = ["desk"]
roles = ["custodian"]

[members."agent:cook"]
groups = ["kitchen"]

[members."agent:guest"]
"#;

fn principal(name: &str) -> Principal {
    Principal::new(name.parse().unwrap())
}

fn shared(text: &str, group: &str) -> CubeDraft {
    CubeDraft { layer: Layer::Shared(group.parse().unwrap()), ..CubeDraft::text(SemanticType::Fact, text) }
}

async fn governed(folder: &std::path::Path) -> (Kernel, SpaceHandle, Principal) {
    let kernel = Kernel::open(folder).await.unwrap();
    let space = kernel.space("acme/house").await.unwrap();
    // The first charter is set by whom the program vouches for, all later ones by whom the charter knows.
    let ada = principal("user:ada").with_role(CUSTODIAN);
    space.set_charter(ada.clone(), Some(CHARTER)).await.unwrap();
    (kernel, space, principal("user:ada"))
}

fn kind<T>(outcome: Result<T>) -> Option<ErrorKind> {
    outcome.err().map(|error| error.kind())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_hold_from_the_next_request_on_and_claims_count_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (kernel, space, ada) = governed(folder.path()).await;
    let mut heard = kernel.rule_changes().unwrap();
    let cook = space.session(principal("agent:cook"));
    // A group that the guest claims and the roll does not know of.
    let guest = space.session(principal("agent:guest").in_group("kitchen".parse().unwrap()).with_role(CUSTODIAN));
    let soup = cook.remember(shared("The soup is made of lentils", "kitchen")).await.unwrap();
    assert_eq!(kind(guest.get(&soup).await), Some(ErrorKind::NotFound));
    assert_eq!(kind(space.set_charter(guest_principal(), None).await), Some(ErrorKind::Denied));

    let opened = CHARTER.replace("[members.\"agent:guest\"]", "[members.\"agent:guest\"]\ngroups = [\"kitchen\"]");
    space.set_charter(ada.clone(), Some(&opened)).await.unwrap();
    assert!(guest.get(&soup).await.is_ok());
    assert!(matches!(heard.next().await, Some(Heard::Fact(changed)) if changed.space == *space.name()));
    space.set_charter(ada.clone(), Some(CHARTER)).await.unwrap();
    assert_eq!(kind(guest.get(&soup).await), Some(ErrorKind::NotFound), "what was taken is gone at once");

    let broken = format!("{CHARTER}\n[policies]\ntext = '''permit(principal, action, resource'''\n");
    let refused = space.set_charter(ada, Some(&broken)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    assert_eq!(kind(guest.get(&soup).await), Some(ErrorKind::NotFound), "and the rules stay as they are");
    kernel.shutdown(Duration::from_secs(10)).await.unwrap();
}

fn guest_principal() -> Principal {
    principal("agent:guest").with_role(CUSTODIAN)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_and_refused_is_on_record_and_outlives_the_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let soup: CubeId = {
        let (kernel, space, _) = governed(folder.path()).await;
        let cook = space.session(principal("agent:cook").acting_for("dinner"));
        let soup = cook.remember(shared("The soup is made of lentils", "kitchen")).await.unwrap();
        cook.ask("What is the soup made of?").await.unwrap();
        let guest = space.session(principal("agent:guest"));
        guest.get(&soup).await.unwrap_err();
        let change = GovernanceChange {
            grants: Some(vec![Grant {
                to: Grantee::Principal("agent:guest".parse().unwrap()),
                rights: Rights { read: true, write: false, share: false },
            }]),
            ..GovernanceChange::default()
        };
        let parent = cook.get(&soup).await.unwrap().1.digest;
        let mut batch = memos_memory::vault::Batch::default();
        batch.update(Update { cube: soup, parent, mode: UpdateMode::Govern(Box::new(change)) });
        cook.commit(batch).await.unwrap();
        guest.get(&soup).await.unwrap();
        let mut erasing = memos_memory::vault::Batch::default();
        erasing.set_state(soup, memos_memory::cube::State::Archived, "a guest wants it so");
        assert_eq!(kind(guest.commit(erasing).await), Some(ErrorKind::Denied));
        kernel.shutdown(Duration::from_secs(10)).await.unwrap();
        soup
    };
    let kernel = Kernel::open(folder.path()).await.unwrap();
    let space = kernel.space("acme/house").await.unwrap();
    let audit = |query: AuditQuery| {
        let session = space.session(principal("user:ada"));
        async move { session.work(move |space, me| space.audit(me, &query)).await.unwrap() }
    };
    let denied = audit(AuditQuery { outcome: Some(Outcome::Denied), ..AuditQuery::default() }).await;
    let who: Vec<&str> = denied.iter().map(|line| line.record.principal.as_str()).collect();
    assert_eq!(who, ["agent:guest", "agent:guest"]);
    assert_eq!((denied[0].record.kind, &denied[0].record.cubes[..]), (AuditKind::Access, &[soup][..]));
    let recalls = audit(AuditQuery { operation: Some("recall".into()), ..AuditQuery::default() }).await;
    assert_eq!(recalls.len(), 1);
    assert_eq!(recalls[0].record.context.purpose.as_deref(), Some("dinner"));
    assert_eq!(recalls[0].record.cubes, [soup]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_is_the_principals_and_not_the_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let (kernel, space, ada) = governed(folder.path()).await;
    let slow = format!("{CHARTER}\n[quotas.default]\nrequests_per_second = 0.01\nburst = 3\nmemories = 2\n");
    space.set_charter(ada, Some(&slow)).await.unwrap();
    let outcomes: Vec<Option<ErrorKind>> = {
        let mut outcomes = Vec::new();
        for number in 0..4 {
            // A session of its own for each request.
            let cook = space.session(principal("agent:cook"));
            outcomes.push(kind(cook.remember(shared(&format!("Soup number {number}"), "kitchen")).await));
        }
        outcomes
    };
    assert_eq!(outcomes, [None, None, Some(ErrorKind::Denied), Some(ErrorKind::Busy)]);
    kernel.shutdown(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_acts_as_the_space_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (_kernel, space, _) = governed(folder.path()).await;
    let forged = space.session(Principal::keeper().unwrap());
    assert_eq!(kind(forged.ask("anything").await), Some(ErrorKind::Denied));
    assert_eq!(kind(forged.remember(shared("a lie", "kitchen")).await), Some(ErrorKind::Denied));
    assert_eq!(kind(space.set_charter(Principal::keeper().unwrap(), None).await), Some(ErrorKind::Denied));
}

//! Who may read a memory redacted alone sees no value that is sensitive, in no answer, and learns none by asking.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/seeded.rs"]
mod seeded;
#[path = "support/space.rs"]
mod space;

use std::sync::Arc;

use memos_memory::ErrorKind;
use memos_memory::cube::{CubeDraft, CubeId, Digest, Layer, SemanticType, State, Update, UpdateMode};
use memos_memory::governance::sensitivity::SensitivityKind;
use memos_memory::governance::{Access, Principal, SENSITIVE_READER};
use memos_memory::graph::{Link, LinkKind};
use memos_memory::keys::SeededEntropy;
use memos_memory::limits::Limits;
use memos_memory::operator::{MemoryCall, Receipt, recall};
use memos_memory::vault::{Batch, Space, VaultOptions};

use space::{fact, open, options, principal, quick_folder};

const SECRET: &str = "Bo's phone number is +44 20 7946 0958 and his mail is bo@example.org.";
const SHOWN: &str = "Bo's phone number is [phone number] and his mail is [email].";

struct Kitchen {
    _folder: tempfile::TempDir,
    space: Space,
    ada: Principal,
    member: Principal,
    trusted: Principal,
    id: CubeId,
}

fn shared(text: &str) -> CubeDraft {
    CubeDraft { layer: Layer::Shared("kitchen".parse().unwrap()), ..fact(text) }
}

fn kitchen() -> Kitchen {
    kitchen_with("+44 20 7946 0958", "bo@example.org")
}

fn kitchen_with(number: &str, mail: &str) -> Kitchen {
    let folder = quick_folder();
    // Two kitchens have the same keys, so that only what they hold makes a difference.
    let same_keys = VaultOptions { entropy: Arc::new(SeededEntropy::new(1)), ..options(Limits::default()) };
    let space = open(folder.path(), &same_keys).unwrap();
    let (ada, bo) = (principal("ada"), principal("bo").in_group("kitchen".parse().unwrap()));
    let draft = CubeDraft {
        title: format!("call {number}"),
        tags: vec![mail.into(), "contact".into()],
        ..shared(&SECRET.replace("+44 20 7946 0958", number).replace("bo@example.org", mail))
    };
    let id = space.remember(&ada, draft).unwrap();
    for text in ["The oven is broken again.", "Lemons are in the cold room.", "The phone is on the shelf."] {
        space.remember(&ada, shared(text)).unwrap();
    }
    Kitchen { _folder: folder, space, ada, trusted: bo.clone().with_role(SENSITIVE_READER), member: bo, id }
}

impl Kitchen {
    fn ask(&self, caller: &Principal, question: &str) -> Vec<Receipt> {
        recall(&[&self.space], &MemoryCall::new(caller.clone(), question, self.space.now())).unwrap().receipts
    }
}

/// Refuses any of the values, wherever a thing that is handed out holds them.
fn holds_no_secret(what: &impl std::fmt::Debug) {
    let shown = format!("{what:?}");
    for value in ["7946", "0958", "bo@example"] {
        assert!(!shown.contains(value), "{shown}");
    }
}

#[test]
fn every_way_of_reading_is_redacted() {
    let kitchen = kitchen();
    let Kitchen { space, ada, member, trusted, id, .. } = &kitchen;
    for (caller, text, digest) in [(ada, SECRET, true), (trusted, SECRET, true), (member, SHOWN, false)] {
        let (cube, head) = space.get(caller, id).unwrap();
        assert_eq!(cube.payload.as_text(), Some(text));
        assert_eq!(head.digest != Digest::from_bytes([0; 32]), digest);
        assert_eq!(cube.header.fingerprint.bytes, text.len() as u64);
        assert_eq!(space.versions(caller, id).unwrap()[0].payload.as_text(), Some(text));
        assert_eq!(space.neighbourhood(caller, id, 1, 10).unwrap().cubes[0].text, text);
        let receipt = &kitchen.ask(caller, "what is the phone number and mail of Bo?")[0];
        assert_eq!((receipt.cube, receipt.text.as_str()), (*id, text));
        assert_eq!(receipt.decision.access, if digest { Access::Full } else { Access::Redacted });
    }
    let (cube, head) = space.get(member, id).unwrap();
    // The digest of a short secret could be guessed until it fits.
    assert_eq!(cube.header.fingerprint.content, Digest::from_bytes([0; 32]));
    holds_no_secret(&(cube, head, space.versions(member, id).unwrap()));
    holds_no_secret(&space.neighbourhood(member, id, 1, 10).unwrap());
    holds_no_secret(&kitchen.ask(member, "what is the phone number and mail of Bo?"));
}

#[test]
fn two_spaces_that_differ_in_a_secret_answer_alike() {
    // Ids and time are the same in both, so all that the member is told can be compared as it is.
    let kitchens = [kitchen(), kitchen_with("+44 20 7946 0123", "mo@example.com")];
    let told = |kitchen: &Kitchen, question: &str, tags: &[&str]| {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let call = MemoryCall { tags, ..MemoryCall::new(kitchen.member.clone(), question, kitchen.space.now()) };
        let answer = recall(&[&kitchen.space], &call).unwrap();
        let around = kitchen.space.neighbourhood(&kitchen.member, &kitchen.id, 2, 10).unwrap();
        let (cube, head) = kitchen.space.get(&kitchen.member, &kitchen.id).unwrap();
        let stats = kitchen.space.stats(&kitchen.member);
        (
            serde_json::to_string(&answer.receipts).unwrap(),
            answer.considered,
            serde_json::to_string(&around).unwrap(),
            format!("{cube:?} {head:?} {:?} {}", stats.types, stats.cubes),
        )
    };
    for question in [
        "what is the phone number of Bo?",
        "whose number is +44 20 7946 0958?",
        "whose number is +44 20 7946 0123?",
        "0958",
        "0123 mo",
        "who has the mail bo@example.org or mo@example.com?",
    ] {
        for tags in [&[][..], &["contact"], &["bo@example.org"], &["mo@example.com"]] {
            assert_eq!(told(&kitchens[0], question, tags), told(&kitchens[1], question, tags), "{question} {tags:?}");
        }
    }
    assert!(told(&kitchens[0], "0958", &["contact"]).0.contains(SHOWN));
}

#[test]
fn what_no_redaction_takes_out_is_not_there() {
    let kitchen = kitchen();
    let Kitchen { space, ada, member, trusted, .. } = &kitchen;
    let draft = CubeDraft {
        sensitivity: [SensitivityKind::Secret].into(),
        ..shared("The safe opens to grandmother's birthday.")
    };
    let id = space.remember(ada, draft).unwrap();
    assert!(space.get(ada, &id).is_ok() && space.get(trusted, &id).is_ok());
    assert_eq!(space.get(member, &id).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(kitchen.ask(member, "what does the safe open to?").iter().all(|receipt| receipt.cube != id));
    // What its writer names and its text shows is taken out with it.
    let named = CubeDraft { sensitivity: [SensitivityKind::Email].into(), ..shared("Write to bo@example.org") };
    let id = space.remember(ada, named).unwrap();
    assert_eq!(space.get(member, &id).unwrap().0.payload.as_text(), Some("Write to [email]"));
}

#[test]
fn who_reads_redacted_may_link_to_it_and_change_nothing() {
    let kitchen = kitchen();
    let Kitchen { space, member, id, .. } = &kitchen;
    let note = space.remember(member, CubeDraft::text(SemanticType::Fact, "Ask Bo")).unwrap();
    let mut batch = Batch::default();
    batch.link(Link { from: note, kind: LinkKind::About, to: *id });
    space.commit(member, batch).unwrap();
    let parent = space.get(member, id).unwrap().1.digest;
    let update = Update { cube: *id, parent, mode: UpdateMode::Append("x".into()) };
    assert!(space.update(member, update).is_err());
    let mut batch = Batch::default();
    batch.set_state(*id, State::Archived, "");
    assert_eq!(space.commit(member, batch).unwrap_err().kind(), ErrorKind::Denied);
}

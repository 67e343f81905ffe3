//! Two agents and a shared notebook: what is private stays private, what is shared is found by both, and of two updates of
//! the same version one is refused.
//!
//! `cargo run --example shared_notes`

use memos::prelude::*;

/// Runs the example in a folder that goes away.
pub fn main() -> memos::Result<()> {
    let folder = tempfile::tempdir().map_err(|e| Error::unavailable(e.to_string()))?;
    let vault = Vault::open(folder.path(), VaultOptions::builtin()?)?;
    let space = vault.space(&"acme/kitchen".parse()?)?;
    let kitchen: GroupName = "kitchen".parse()?;
    let cook = Principal::new("agent:cook".parse()?).in_group(kitchen.clone());
    let buyer = Principal::new("agent:buyer".parse()?).in_group(kitchen.clone());

    space.remember(&cook, CubeDraft::text(SemanticType::Instruction, "Never tell the guests what is in the sauce"))?;
    let shared = CubeDraft {
        layer: Layer::Shared(kitchen.clone()),
        grants: vec![Grant { to: Grantee::Group(kitchen), rights: Rights { read: true, write: true, share: false } }],
        ..CubeDraft::text(SemanticType::Fact, "There are 12 lemons left in the pantry")
    };
    let lemons = space.remember(&cook, shared)?;

    // The buyer finds the lemons and not the secret.
    let ask = |caller: &Principal, question: &str| -> memos::Result<Answer> {
        let call = MemoryCall::new(caller.clone(), question, space.now());
        recall(&[&space], &read_question(&[&space], call)?)
    };
    for receipt in ask(&buyer, "How many lemons are left?")?.receipts {
        println!("the buyer recalls {receipt}");
    }
    println!("of the sauce the buyer recalls {} memories", ask(&buyer, "What about the sauce?")?.receipts.len());

    // Both have seen version 1; whoever comes second must look again.
    let seen = space.get(&buyer, &lemons)?.1.digest;
    let count = |text: &str| Update { cube: lemons, parent: seen, mode: UpdateMode::Overwrite(Payload::text(text)) };
    space.update(&cook, count("There are 9 lemons left in the pantry"))?;
    match space.update(&buyer, count("There are 40 lemons left in the pantry")) {
        Err(error) if error.kind() == ErrorKind::Conflict => println!("the buyer is told: {error}"),
        other => println!("that should have been a conflict: {other:?}"),
    }
    for version in space.versions(&buyer, &lemons)? {
        println!("version {}: {}", version.header.version, version.payload.as_text().unwrap_or_default());
    }
    Ok(())
}

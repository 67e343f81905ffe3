//! The examples run, and what they show is so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, unreachable_pub)]
#[path = "../examples/shared_memory/main.rs"]
mod shared_memory;
#[allow(dead_code, unreachable_pub)]
#[path = "../examples/shared_notes.rs"]
mod shared_notes;

#[test]
fn shared_notes_runs() {
    shared_notes::main().unwrap();
}

#[test]
fn shared_memory_tells_what_it_promises() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("picture.html");
    let told = shared_memory::tell(&picture).unwrap().join("\n");
    for line in [
        "finds       Mr Okafor in room 4 must not eat peanuts",
        "a grant allows it",
        "`agent:buyer` may not change cube",
        "is at version 2 by now; read it again",
        "version 3: a grant allows it",
        "because it says the same",
        "because it was learned later",
        "summarise   summarised",
        "it was taken as often as it may be, 1 times",
        "1 copy withdrawn",
        "it was revoked: the oats are not free of nuts",
        "promoter                read      denied  memories are not for advertising",
        "concierge   said        version 3: Mr Okafor in room 6",
    ] {
        assert!(told.contains(line), "nothing says `{line}` in:\n{told}");
    }
    let page = std::fs::read_to_string(&picture).unwrap();
    assert!(page.contains("<svg") && page.contains("Okafor"), "the picture shows what it is of");
}

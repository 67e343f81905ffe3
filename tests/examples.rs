//! The examples run, and what they show is so.

#[allow(dead_code, unreachable_pub)]
#[path = "../examples/shared_notes.rs"]
mod shared_notes;

#[test]
fn shared_notes_runs() {
    shared_notes::main().unwrap();
}

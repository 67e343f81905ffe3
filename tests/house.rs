//! The plan of the house, held by a test: which crate may lean on which, which crate may name which library, and in which
//! room of the code a library may be named.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The crates from the ground up. A crate may name only crates that stand before it.
const FLOORS: &[&str] = &["memos-memory", "memos-engine", "memos-runtime", "memos-agents", "memos"];

/// Crates that make assets and are part of no program.
const WORKSHOP: &[&str] = &["xtask"];

/// Libraries and the crates that may name them. What is not here may not be named at all.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("aes-gcm", &["memos-memory"]),
    ("anstream", &["memos"]),
    ("anstyle", &["memos"]),
    ("anyhow", &["xtask"]),
    ("candle-core", &["memos-engine"]),
    ("candle-nn", &["memos-engine"]),
    ("cedar-policy", &["memos-memory"]),
    ("clap", &["memos"]),
    ("clap_complete", &["memos"]),
    ("crc32fast", &["memos-engine", "memos-memory"]),
    ("ct-merkle", &["memos-memory"]),
    ("dashmap", &["memos-runtime"]),
    ("data-encoding", &["memos-memory"]),
    ("ed25519-dalek", &["memos-memory"]),
    ("etcetera", &["memos"]),
    ("gemm", &["memos-engine"]),
    ("getrandom", &["memos-memory"]),
    ("half", &["memos-engine"]),
    ("indicatif", &["memos", "xtask"]),
    ("jiff", &["memos-memory"]),
    ("lexopt", &["xtask"]),
    ("libm", &["xtask"]),
    ("llguidance", &["memos-engine"]),
    ("memmap2", &["memos-engine"]),
    ("mimalloc", &["memos"]),
    ("minijinja", &["memos-engine"]),
    ("minijinja-contrib", &["memos-engine"]),
    ("multiversion", &["memos-engine", "memos-memory"]),
    ("nalgebra", &["xtask"]),
    ("opentelemetry", &["memos-runtime"]),
    ("opentelemetry-proto", &["memos-runtime"]),
    ("opentelemetry_sdk", &["memos-runtime"]),
    ("parking_lot", &["memos-memory", "memos-runtime"]),
    ("petgraph", &["memos-memory"]),
    ("postcard", &["memos-memory", "memos-runtime"]),
    ("proptest", &["memos-engine", "memos-memory"]),
    ("prost", &["memos-runtime"]),
    ("pulldown-cmark", &["memos-memory"]),
    ("pulp", &["memos-engine"]),
    ("ractor", &["memos-runtime"]),
    ("ratatui", &["memos"]),
    ("rayon", &["memos-engine"]),
    ("redb", &["memos-memory"]),
    ("rust-stemmers", &["memos-memory"]),
    ("rustc-hash", &["memos-memory"]),
    ("safetensors", &["memos-engine", "memos-memory", "xtask"]),
    ("serde", &["memos", "memos-engine", "memos-memory", "memos-runtime"]),
    ("serde_json", &["memos", "memos-engine", "memos-memory", "memos-runtime", "xtask"]),
    ("sha2", &["memos-engine", "memos-memory", "xtask"]),
    ("similar", &["memos"]),
    ("tempfile", &["memos", "memos-engine", "memos-memory", "memos-runtime"]),
    ("terminal_size", &["memos"]),
    ("tokenizers", &["memos-engine", "xtask"]),
    ("tokio", &["memos", "memos-runtime"]),
    ("toml", &["memos-memory"]),
    ("tracing", &["memos-runtime"]),
    ("tracing-opentelemetry", &["memos-runtime"]),
    ("tracing-subscriber", &["memos-runtime"]),
    ("unicode-normalization", &["memos-memory"]),
    ("unicode-width", &["memos"]),
    ("unicode_categories", &["memos-memory"]),
    ("ureq", &["memos-engine"]),
    ("uuid", &["memos-memory"]),
    ("zeroize", &["memos-memory"]),
];

/// Libraries that one room alone may name, so that they can be exchanged there: the name in code, and the room. What stands
/// here twice has two rooms.
const ROOMS: &[(&str, &str)] = &[
    ("aes_gcm", "memory/src/keys/seal.rs"),
    ("cedar_policy", "memory/src/governance/cedar"),
    ("ct_merkle", "memory/src/ledger/merkle"),
    ("data_encoding", "memory/src/ledger/text.rs"),
    ("ed25519_dalek", "memory/src/ledger/head.rs"),
    ("getrandom", "memory/src/keys/master.rs"),
    ("opentelemetry", "runtime/src/telemetry/otlp"),
    ("opentelemetry_proto", "runtime/src/telemetry/otlp"),
    ("opentelemetry_sdk", "runtime/src/telemetry/otlp"),
    ("prost", "runtime/src/telemetry/otlp"),
    ("ractor", "runtime/src/actor"),
    ("redb", "memory/src/ledger/store"),
    ("petgraph", "memory/src/graph/memory_graph.rs"),
    ("rust_stemmers", "memory/src/index/terms.rs"),
    ("safetensors", "memory/src/cube/payload.rs"),
    ("pulldown_cmark", "memory/src/reader/source/markdown"),
    ("tracing_opentelemetry", "runtime/src/telemetry/otlp"),
    ("tracing_subscriber", "runtime/src/telemetry/otlp"),
    ("uuid", "memory/src/cube/id.rs"),
    ("multiversion", "memory/src/kernel.rs"),
    ("unicode_normalization", "memory/src/embed/wordpiece"),
    ("toml", "memory/src/pipeline"),
    ("toml", "memory/src/governance/charter"),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the crates of the workspace and what each names, for building and for testing alike.
fn crates() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("there are packages");
    let names = |package: &serde_json::Value| {
        let dependencies = package["dependencies"].as_array().expect("a package has dependencies");
        dependencies.iter().map(|dependency| dependency["name"].as_str().unwrap().to_owned()).collect()
    };
    packages.iter().map(|package| (package["name"].as_str().unwrap().to_owned(), names(package))).collect()
}

#[test]
fn arrows_point_one_way() {
    for (name, named) in crates() {
        let floor = FLOORS.iter().position(|crate_name| *crate_name == name);
        assert!(floor.is_some() || WORKSHOP.contains(&name.as_str()), "`{name}` has no place in the plan");
        for other in named.iter().filter(|other| other.starts_with("memos") || WORKSHOP.contains(&other.as_str())) {
            let below = FLOORS.iter().position(|crate_name| crate_name == other).unwrap_or(usize::MAX);
            assert!(below < floor.unwrap_or(FLOORS.len()), "`{name}` must not lean on `{other}`");
        }
    }
}

#[test]
fn libraries_are_named_where_they_belong() {
    let mut unused: Vec<(&str, &str)> =
        LIBRARIES.iter().flat_map(|(library, homes)| homes.iter().map(move |home| (*library, *home))).collect();
    for (name, named) in crates() {
        for library in named.iter().filter(|library| !library.starts_with("memos")) {
            let homes = LIBRARIES.iter().find(|(known, _)| known == library).map(|(_, homes)| *homes);
            let homes = homes.unwrap_or_else(|| panic!("`{library}` has no place in the plan; `{name}` names it"));
            assert!(homes.contains(&name.as_str()), "`{name}` must not name `{library}`");
            unused.retain(|(known, home)| !(known == library && *home == name));
        }
    }
    assert!(unused.is_empty(), "the plan has places that nobody uses: {unused:?}");
}

#[test]
fn a_library_stays_in_its_room() {
    let mut files = Vec::new();
    rust_files(&root().join("memory/src"), &mut files);
    rust_files(&root().join("runtime/src"), &mut files);
    assert!(files.len() > 30, "the rooms were not found");
    for (library, room) in ROOMS {
        let named = format!("{library}::");
        let naming: Vec<&PathBuf> =
            files.iter().filter(|file| fs::read_to_string(file).unwrap().contains(&named)).collect();
        let places: Vec<_> =
            naming.iter().map(|file| file.strip_prefix(root()).unwrap().to_string_lossy().into_owned()).collect();
        assert!(places.iter().any(|place| place.starts_with(room)), "`{room}` does not name `{library}`");
        let rooms: Vec<_> = ROOMS.iter().filter(|(known, _)| known == library).map(|(_, room)| *room).collect();
        for place in places {
            let at_home = rooms.iter().any(|room| place.starts_with(room));
            assert!(at_home, "`{place}` names `{library}`, which belongs to {rooms:?}");
        }
    }
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

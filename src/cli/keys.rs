//! `memos keys`: which master key seals which space, a new key, and the change from one to another.
//!
//! A key is never shown, only its id, which tells nothing about it. With `--json`:
//!
//! ```json
//! {"data": "DIR", "key": {"id": "…", "from": "file", "file": "FILE"},
//!  "spaces": [{"name": "home/main", "sealed_by": "…", "opens": true}]}
//! ```
//!
//! where `from` is `file`, `environment` or `folder`, `id` is null when there is no key yet, and `sealed_by` is null
//! for a space that is not encrypted. `keys new` gives `{"id": "…", "file": "FILE"}`, and `keys rotate` `{"from": "…",
//! "to": "…", "spaces": ["home/main"]}` with the spaces that were sealed anew.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use memos::cube::SpaceName;
use memos::disk::SystemDisk;
use memos::keys::{KeyRing, MasterKey, SystemEntropy};
use memos::{Error, Result};
use serde::Serialize;

use super::files;
use super::scope::{KeyOrigin, Scope, named_key};
use super::screen::{DIM, NAME, NOTICE, Screen, paint};
use super::table::Table;

/// The ring of a space, in its folder.
const RING_FILE: &str = "keys.ring";

#[derive(Args)]
pub(super) struct KeysArguments {
    #[command(subcommand)]
    command: Option<KeysCommand>,
}

#[derive(Subcommand)]
enum KeysCommand {
    /// Makes a file with a new master key
    New {
        /// The file, which must not be there yet
        file: PathBuf,
    },
    /// Seals all spaces with another master key; the old one opens nothing after that
    Rotate {
        /// The file with the key from now on, as `memos keys new` makes one
        #[arg(long, value_name = "FILE")]
        new_key_file: PathBuf,
    },
}

pub(super) fn run(arguments: &KeysArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    match &arguments.command {
        None => list(scope, screen),
        Some(KeysCommand::New { file }) => new(file, screen),
        Some(KeysCommand::Rotate { new_key_file }) => rotate(new_key_file, scope, screen),
    }
}

#[derive(Serialize)]
struct Keys {
    data: String,
    key: PresentKey,
    spaces: Vec<SealedSpace>,
}

#[derive(Serialize)]
struct PresentKey {
    id: Option<String>,
    from: &'static str,
    file: Option<String>,
}

#[derive(Serialize)]
struct SealedSpace {
    name: SpaceName,
    sealed_by: Option<String>,
    opens: bool,
}

fn list(scope: &Scope, screen: &mut Screen) -> Result<()> {
    let vault = scope.vault_without_key()?;
    let data = scope.data()?;
    let origin = scope.key_origin()?;
    let id = origin.read()?.map(|key| key.id());
    let mut spaces = Vec::new();
    for name in vault.spaces()? {
        let ring = data.join(name.as_str()).join(RING_FILE);
        let sealed_by =
            if KeyRing::exists(&SystemDisk, &ring) { Some(KeyRing::sealed_by(&SystemDisk, &ring)?) } else { None };
        let opens = sealed_by.is_none() || sealed_by == id;
        spaces.push(SealedSpace { name, sealed_by: sealed_by.map(id_text), opens });
    }
    let (from, file) = match origin {
        KeyOrigin::File(file) => ("file", Some(file)),
        KeyOrigin::Environment => ("environment", None),
        KeyOrigin::Folder(file) => ("folder", Some(file)),
    };
    let file = file.map(|file| file.display().to_string());
    let keys = Keys { data: data.display().to_string(), key: PresentKey { id: id.map(id_text), from, file }, spaces };
    if screen.json {
        return screen.object(&keys);
    }
    print(&keys, screen);
    Ok(())
}

fn print(keys: &Keys, screen: &mut Screen) {
    let place = match &keys.key.file {
        Some(file) => format!("from `{file}`"),
        None => "from the environment, `MEMOS_KEY`".to_owned(),
    };
    match &keys.key.id {
        Some(id) => screen.line(format!("the master key is {} {}", paint(NAME, id), paint(DIM, place))),
        None => screen.line(format!("there is no master key yet {}", paint(DIM, place))),
    }
    let mut table = Table::new(2).words("space", NAME).words("sealed by", DIM).text("");
    for space in &keys.spaces {
        let (sealed_by, says) = match (&space.sealed_by, space.opens) {
            (None, _) => ("–".to_owned(), "not encrypted"),
            (Some(id), true) => (id.clone(), "opens with it"),
            (Some(id), false) => (id.clone(), "needs that key"),
        };
        table.row([space.name.to_string(), sealed_by, says.to_owned()]);
    }
    table.lines(screen.columns).into_iter().for_each(|line| screen.result(line));
}

/// Returns the id of a key as people see it.
fn id_text(id: [u8; 8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Serialize)]
struct NewKey {
    id: String,
    file: String,
}

fn new(file: &Path, screen: &mut Screen) -> Result<()> {
    let key = MasterKey::make(&SystemEntropy)?;
    files::write_secret(file, &[key.to_hex().as_str(), "\n"])?;
    let made = NewKey { id: id_text(key.id()), file: file.display().to_string() };
    if screen.json {
        return screen.object(&made);
    }
    screen.line(format!("made master key {} in {}", paint(NAME, &made.id), made.file));
    screen.paragraph(
        0,
        DIM,
        "keep a copy of it elsewhere: without it nothing that it seals can be read again, by anybody",
    );
    Ok(())
}

#[derive(Serialize)]
struct Rotated {
    from: Option<String>,
    to: String,
    spaces: Vec<SpaceName>,
}

fn rotate(new_key_file: &Path, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let key = named_key(new_key_file)?;
    let origin = scope.key_origin()?;
    let from = origin.read()?.map(|key| key.id());
    if from == Some(key.id()) {
        return Err(Error::invalid("the new key is the one in use; `memos keys new FILE` makes another"));
    }
    let mut vault = scope.vault()?;
    let spaces = vault.rotate(&key)?;
    let rotated = Rotated { from: from.map(id_text), to: id_text(key.id()), spaces };
    if screen.json {
        return screen.object(&rotated);
    }
    let count = rotated.spaces.len();
    let plural = if count == 1 { "space is" } else { "spaces are" };
    screen.line(format!("{count} {plural} sealed by {} now", paint(NAME, &rotated.to)));
    rotated.spaces.iter().for_each(|name| screen.line(format!("  {name}")));
    let old = match &origin {
        // The vault has put the new key in the place of its own.
        KeyOrigin::Folder(file) => format!("`{}` holds the new key now", file.display()),
        KeyOrigin::File(file) => format!("from now on give the new file; `{}` opens nothing any more", file.display()),
        KeyOrigin::Environment => {
            "from now on give the new key; the one in `MEMOS_KEY` opens nothing any more".to_owned()
        }
    };
    screen.paragraph(0, NOTICE, &old);
    screen.paragraph(0, DIM, "a copy of the data folder from before still opens with the old key");
    Ok(())
}

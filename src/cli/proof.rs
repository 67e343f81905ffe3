//! `memos head`, `memos prove` and `memos check-proof`: what a space says of its memory, for those who do not have it.
//!
//! With `--json`, `head` gives the signed head itself, with the fields of [`memos::ledger::SignedHead`]; what `--out`
//! writes is the same in one line. `prove` gives
//!
//! ```json
//! {"space": "home/main", "cube": "…", "event": 12, "events": 40, "revealed": true, "file": "bo.proof", "bytes": 2100}
//! ```
//!
//! and `check-proof`
//!
//! ```json
//! {"holds": true, "space": "home/main", "events": 40, "root": "…", "signed_at": 0, "key": "…", "signer_known": false,
//!  "goes_on_from": {"events": 12, "at": 0},
//!  "event": 12, "at": 0, "principal": "user:ada", "cube": "…", "version": 1, "opened": {"header": {…}, "text": "…"}}
//! ```
//!
//! where `opened` is null unless the proof reveals what was stored, and `signer_known` is true only with `--key`. A
//! proof that does not hold is bad input: an error, and exit code 2.

use std::path::{Path, PathBuf};

use clap::Args;
use memos::Result;
use memos::cube::{Cube, CubeId, Digest, Header, PrincipalId, SpaceName};
use memos::ledger::{Change, Checked, Event, SignedHead, SpaceKey, Trust};
use memos::time::Timestamp;
use memos::vault::{ProofOptions, check_proof};
use serde::Serialize;

use super::files;
use super::ids::{find, short};
use super::receipts::moment;
use super::scope::Scope;
use super::screen::{DIM, NAME, NOTICE, SCORE, Screen, TITLE, paint, printable};
use super::table::Table;

/// Most bytes that are read of a signed head and of a proof; the library checks more closely.
const HEAD_BYTES: usize = 64 << 10;
const PROOF_BYTES: usize = 64 << 20;

#[derive(Args)]
pub(super) struct HeadArguments {
    /// Write it into a file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct ProveArguments {
    /// The memory's id, or a beginning or end of it
    id: String,
    /// The version [default: the present one]
    #[arg(long, value_name = "N")]
    version: Option<u32>,
    /// Show what it says; whoever has the proof can read this one version then
    #[arg(long)]
    reveal: bool,
    /// A signed head from before, to show that everything since was only added
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
    /// Where the proof is written
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Args)]
pub(super) struct CheckProofArguments {
    /// The proof
    file: PathBuf,
    /// The key of the space, as `memos head` shows it to its owner
    #[arg(long, value_name = "HEX")]
    key: Option<SpaceKey>,
    /// A signed head that was kept from before; the proof must go on from it
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
}

pub(super) fn head(arguments: &HeadArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let head = scope.space()?.signed_head()?;
    if let Some(out) = &arguments.out {
        files::write(out, &format!("{}\n", head.to_json()?))?;
    }
    if screen.json {
        return screen.object(&head);
    }
    if screen.quiet {
        screen.result(head.to_json()?);
        return Ok(());
    }
    screen.line(format!("{} has {} events at {}", paint(NAME, &head.space), head.events, head.at));
    let mut table = Table::new(2).words("", DIM).text("");
    table.row(["root".into(), head.root.to_string()]);
    table.row(["last".into(), head.digest.to_string()]);
    table.row(["key".into(), head.key.to_string()]);
    table.lines(screen.columns).into_iter().for_each(|line| screen.line(line));
    let said = match &arguments.out {
        Some(out) => format!("signed and written into {}", out.display()),
        None => "`--out FILE` keeps it, signed; give the key to those who will check proofs".to_owned(),
    };
    screen.paragraph(0, DIM, &said);
    Ok(())
}

#[derive(Serialize)]
struct Proven<'a> {
    space: &'a SpaceName,
    cube: CubeId,
    event: u64,
    events: u64,
    revealed: bool,
    file: String,
    bytes: usize,
}

pub(super) fn prove(arguments: &ProveArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let since = arguments.since.as_deref().map(read_head).transpose()?;
    let space = scope.space()?;
    let id = find(&space, &scope.caller, &arguments.id)?;
    let options = ProofOptions { version: arguments.version, reveal: arguments.reveal, since };
    let proof = space.prove(&scope.caller, &id, &options)?;
    let text = proof.to_json()?;
    files::write(&arguments.out, &text)?;
    let (file, events) = (arguments.out.display().to_string(), proof.head.events);
    if screen.json {
        let (space, event, bytes) = (space.name(), proof.index, text.len());
        return screen.object(&Proven { space, cube: id, event, events, revealed: arguments.reveal, file, bytes });
    }
    screen.line(format!("{file} proves that {} is event {} of {events}", paint(NAME, short(&id)), proof.index));
    let said = match arguments.reveal {
        true => "it shows what this version says; whoever has the file can read it",
        false => "it does not show what the memory says; `--reveal` does",
    };
    screen.line(paint(DIM, said));
    screen.line(paint(DIM, format!("`memos check-proof {file} --key {}` checks it anywhere", proof.head.key)));
    Ok(())
}

fn read_head(path: &Path) -> Result<SignedHead> {
    SignedHead::parse(&files::read_text(path, HEAD_BYTES)?).map_err(|e| e.at(format!("`{}`", path.display())))
}

#[derive(Serialize)]
struct CheckedProof<'a> {
    holds: bool,
    space: &'a SpaceName,
    events: u64,
    root: Digest,
    signed_at: Timestamp,
    key: SpaceKey,
    signer_known: bool,
    goes_on_from: Option<OlderHead>,
    event: u64,
    at: Timestamp,
    principal: &'a PrincipalId,
    cube: Option<CubeId>,
    version: Option<u32>,
    opened: Option<OpenedCube<'a>>,
}

#[derive(Serialize)]
struct OlderHead {
    events: u64,
    at: Timestamp,
}

#[derive(Serialize)]
struct OpenedCube<'a> {
    header: &'a Header,
    text: Option<&'a str>,
}

/// Checks a proof. Nothing of the data folder is looked at.
pub(super) fn check(arguments: &CheckProofArguments, screen: &mut Screen) -> Result<()> {
    let head = arguments.head.as_deref().map(read_head).transpose()?;
    let text = files::read_text(&arguments.file, PROOF_BYTES)?;
    let trust = Trust { key: arguments.key.as_ref(), head: head.as_ref() };
    let checked = check_proof(&text, trust).map_err(|e| e.at(format!("`{}`", arguments.file.display())))?;
    let signer_known = arguments.key.is_some();
    if screen.json {
        return screen.object(&as_object(&checked, signer_known));
    }
    print(&checked, signer_known, screen);
    Ok(())
}

/// Returns which version an event stored, if it stored one.
fn stored(event: &Event) -> Option<&Header> {
    match &event.change {
        Change::CubeStored(header) => Some(header),
        _ => None,
    }
}

fn as_object(checked: &Checked<Event, Cube>, signer_known: bool) -> CheckedProof<'_> {
    let Checked { head, older, index, event, opened } = checked;
    let stored = stored(event);
    CheckedProof {
        holds: true,
        space: &head.space,
        events: head.events,
        root: head.root,
        signed_at: head.at,
        key: head.key,
        signer_known,
        goes_on_from: older.as_ref().map(|older| OlderHead { events: older.events, at: older.at }),
        event: *index,
        at: event.at,
        principal: &event.principal,
        cube: stored.map(|header| header.id),
        version: stored.map(|header| header.version),
        opened: opened.as_ref().map(|cube| OpenedCube { header: &cube.header, text: cube.payload.as_text() }),
    }
}

fn print(checked: &Checked<Event, Cube>, signer_known: bool, screen: &mut Screen) {
    let Checked { head, older, index, event, opened } = checked;
    screen.result(paint(SCORE, "the proof holds"));
    let mut table = Table::new(2).words("", DIM).text("");
    table.row(["space".into(), format!("{}, with {} events", head.space, head.events)]);
    table.row(["event".into(), format!("{index}, written {} by {}", moment(event.at), event.principal)]);
    if let Some(header) = stored(event) {
        table.row(["stored".into(), format!("version {} of {}, a {}", header.version, header.id, header.semantic)]);
    }
    if let Some(older) = older {
        let (events, at) = (older.events, moment(older.at));
        table.row([
            "goes on".into(),
            format!("from the head with {events} events that was signed {at}: nothing before it changed"),
        ]);
    }
    table.row(["signed".into(), format!("{}, with key {}", moment(head.at), head.key)]);
    table.lines(screen.columns).into_iter().for_each(|line| screen.line(line));
    match opened {
        Some(cube) => {
            screen.line("");
            screen.line(paint(DIM, "it says"));
            match cube.payload.as_text() {
                Some(text) if screen.quiet => screen.result(printable(text)),
                Some(text) => screen.paragraph(2, TITLE, text),
                None => screen.line(format!(
                    "  a {} payload of {} bytes",
                    cube.header.kind(),
                    cube.header.fingerprint.bytes
                )),
            }
        }
        None => screen.line(paint(DIM, "the proof does not show what was stored")),
    }
    if !signer_known {
        let said = "without `--key` this shows only that somebody signed it, not that the space did; ask its owner for the key";
        screen.line("");
        screen.paragraph(0, NOTICE, said);
    }
}

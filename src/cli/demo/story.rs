//! The story of the demonstration, gathered from real calls and not yet told.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::ProgressBar;
use memos::cube::{CubeDraft, CubeId, Layer, SemanticType, SpaceName};
use memos::governance::Principal;
use memos::graph::LinkKind;
use memos::operator::{MemoryCall, Receipt, recall};
use memos::reader::source::{SourceLimits, read_source};
use memos::reader::{IngestOptions, IngestReport, ingest, read_question};
use memos::vault::{Space, SpaceStats, Vault};
use memos::{Error, Result};
use serde::Serialize;

use super::super::graph::{PictureForm, around, write_picture};
use super::super::history::{Statement, chain};
use super::super::ingest::IngestedFile;
use super::super::recall::replacement;
use super::material::{
    CHANGED, GUARDED, GUEST, NOTE_KEEPER, NOTES_TAKEN, OWNER, PRIVATE_NOTES, QUESTIONS, REPEATED, TEXTS,
};

/// Memories asked for, and memories looked through for a fact that has changed.
const MEMORIES: usize = 2;
const MEMORIES_LOOKED_THROUGH: usize = 10;
/// Reach and size of the picture.
const HOPS: usize = 3;
const PICTURED: usize = 20;

/// All that is told.
#[derive(Serialize)]
pub(super) struct Story {
    pub(super) data: Option<PathBuf>,
    pub(super) space: SpaceName,
    pub(super) picture: PathBuf,
    pub(super) pictured: usize,
    pub(super) files: Vec<IngestedFile>,
    pub(super) total: IngestReport,
    pub(super) notes: usize,
    /// How long reading took.
    pub(super) seconds: f64,
    pub(super) stats: SpaceStats,
    pub(super) asked: Vec<Asked>,
    pub(super) changed: Changed,
    pub(super) repeated: Vec<Repeated>,
    pub(super) guarded: Vec<Guarded>,
}

/// A question with its answer.
#[derive(Serialize)]
pub(super) struct Asked {
    pub(super) caller: String,
    pub(super) question: String,
    pub(super) receipts: Vec<Receipt>,
    pub(super) considered: usize,
    pub(super) micros: u64,
    /// What holds by now in the place of each memory.
    pub(super) replacements: Vec<Option<String>>,
}

/// A fact that has changed.
#[derive(Serialize)]
pub(super) struct Changed {
    pub(super) question: String,
    pub(super) chain: Vec<Statement>,
    /// The fact that holds, around which the picture is drawn.
    pub(super) holds: CubeId,
}

/// Something that was said again and is kept once.
#[derive(Serialize)]
pub(super) struct Repeated {
    pub(super) question: String,
    pub(super) kept: String,
    pub(super) merged: Vec<String>,
}

/// A question that one gets an answer to and another does not.
#[derive(Serialize)]
pub(super) struct Guarded {
    pub(super) owner: Asked,
    pub(super) guest: Asked,
    /// What the guest is told who asks for the owner's memory by its id.
    pub(super) refusal: Option<String>,
}

impl Story {
    /// Fills a new space, asks it, and draws the picture.
    pub(super) fn gather(vault: &Vault, kept: Option<&Path>, picture: &Path, bar: &ProgressBar) -> Result<Self> {
        let space = vault.space(&"home/main".parse()?)?;
        let owner = principal(OWNER)?;
        let started = Instant::now();
        let (files, total) = read_texts(&space, &owner, bar)?;
        remember_notes(&space)?;
        let seconds = started.elapsed().as_secs_f64();
        let asked =
            QUESTIONS.iter().map(|question| ask(&space, &owner, question, MEMORIES)).collect::<Result<Vec<_>>>()?;
        let changed = changed(&space, &owner)?;
        let around = around(&space, &owner, &changed.holds, HOPS, PICTURED)?;
        write_picture(picture, PictureForm::Html, &around, &format!("memos demo: {CHANGED}"))?;
        Ok(Self {
            data: kept.map(Path::to_path_buf),
            space: space.name().clone(),
            picture: picture.to_path_buf(),
            pictured: around.cubes.len(),
            files,
            total,
            notes: PRIVATE_NOTES.len(),
            seconds,
            stats: space.stats(&owner),
            asked,
            changed,
            repeated: vec![repeated(&space, &owner)?],
            guarded: GUARDED.iter().map(|(question, owner)| guarded(&space, question, owner)).collect::<Result<_>>()?,
        })
    }
}

fn principal(name: &str) -> Result<Principal> {
    name.parse().map(Principal::new)
}

fn read_texts(space: &Space, owner: &Principal, bar: &ProgressBar) -> Result<(Vec<IngestedFile>, IngestReport)> {
    let (mut files, mut total) = (Vec::new(), IngestReport::default());
    for text in TEXTS {
        let source = read_source(text.name, text.content.as_bytes(), None, &SourceLimits::default())?;
        let observed = text.observed.map(str::parse).transpose()?;
        let options = IngestOptions { layer: Layer::Global, observed, ..IngestOptions::default() };
        let report = ingest(space, owner, &source, &options, &mut |done, of| {
            bar.set_length(of as u64);
            bar.set_position(done as u64);
        })?;
        total += report;
        files.push(IngestedFile { path: text.name.to_owned(), format: source.format, report });
    }
    Ok((files, total))
}

fn remember_notes(space: &Space) -> Result<()> {
    let keeper = principal(NOTE_KEEPER)?;
    for note in PRIVATE_NOTES {
        let draft = CubeDraft {
            speaker: Some("Halima".to_owned()),
            observed: Some(NOTES_TAKEN.parse()?),
            ..CubeDraft::text(SemanticType::Event, *note)
        };
        space.remember(&keeper, draft)?;
    }
    Ok(())
}

fn ask(space: &Space, caller: &Principal, question: &str, memories: usize) -> Result<Asked> {
    let call = MemoryCall { memories, ..MemoryCall::new(caller.clone(), question, space.now()) };
    let answer = recall(&[space], &read_question(&[space], call)?)?;
    Ok(Asked {
        caller: caller.id.to_string(),
        question: question.to_owned(),
        replacements: answer.receipts.iter().map(|receipt| replacement(&[space], caller, receipt)).collect(),
        receipts: answer.receipts,
        considered: answer.considered,
        micros: answer.times.total(),
    })
}

/// Finds the statements that replaced each other among the memories that answer.
fn changed(space: &Space, caller: &Principal) -> Result<Changed> {
    let asked = ask(space, caller, CHANGED, MEMORIES_LOOKED_THROUGH)?;
    let mut best = Vec::new();
    for receipt in &asked.receipts {
        let at = receipt.superseded_by.unwrap_or(receipt.cube);
        let found = chain(space, caller, &at)?;
        if found.len() > 1 {
            best = found;
            break;
        }
    }
    let holds = best.last().map(|statement| statement.cube);
    let holds = holds.or_else(|| asked.receipts.first().map(|receipt| receipt.cube));
    let holds = holds.ok_or_else(|| Error::not_found("the demonstration found no answer to its own question"))?;
    Ok(Changed { question: CHANGED.to_owned(), chain: best, holds })
}

/// Finds what was merged into the memory that answers.
fn repeated(space: &Space, caller: &Principal) -> Result<Repeated> {
    let asked = ask(space, caller, REPEATED, MEMORIES_LOOKED_THROUGH)?;
    for receipt in &asked.receipts {
        let around = space.neighbourhood(caller, &receipt.cube, 1, PICTURED)?;
        let into = around.links.iter().filter(|link| link.kind == LinkKind::MergedInto && link.to == receipt.cube);
        let merged: HashSet<CubeId> = into.map(|link| link.from).collect();
        if !merged.is_empty() {
            let texts = around.cubes.iter().filter(|cube| merged.contains(&cube.id)).map(|cube| cube.text.clone());
            return Ok(Repeated { question: REPEATED.to_owned(), kept: receipt.text.clone(), merged: texts.collect() });
        }
    }
    Ok(Repeated { question: REPEATED.to_owned(), kept: String::new(), merged: Vec::new() })
}

fn guarded(space: &Space, question: &str, owner: &str) -> Result<Guarded> {
    let guest = principal(GUEST)?;
    let owner = ask(space, &principal(owner)?, question, 1)?;
    let refusal = owner.receipts.first().and_then(|receipt| space.get(&guest, &receipt.cube).err());
    Ok(Guarded { guest: ask(space, &guest, question, 1)?, owner, refusal: refusal.map(|error| error.to_string()) })
}

//! Between a space and a bundle: export and import. All rules stand in the neighbouring rooms; this one only asks a
//! space and writes to it.
//!
//! What a caller may not read is not exported, and not counted either. What is sensitive and not the caller's own is
//! redacted or left out, and its digests with it, because the digest of a short text gives the text away.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;

use serde::Serialize;

use super::bundle::{
    Bundle, BundleCounts, BundleCube, BundleLedger, BundleLeftOut, BundleLimits, BundleSigner, BundleWriter, Heading,
};
use super::foreign::ForeignImport;
use super::import::{ImportOptions, ImportReport, Incoming, Known, Seen, Step, plan_import};
use crate::cube::{Cube, CubeId, Digest, SemanticType, State};
use crate::error::{Error, Result};
use crate::governance::sensitivity::{find_sensitive, redact};
use crate::governance::{Operation, Outcome, Principal};
use crate::graph::{Link, Slot};
use crate::ledger::{LedgerHead, LedgerReader};
use crate::vault::{Batch, CubeHead, Space};

/// Cubes that stand on one line of the audit log.
const CUBES_ON_A_LINE: usize = 1000;

/// Which cubes are exported. What is empty does not narrow.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// These cubes alone.
    pub cubes: Vec<CubeId>,
    /// Cubes with one of these tags.
    pub tags: Vec<String>,
    /// Cubes of one of these types.
    pub semantic: Vec<SemanticType>,
}

/// What becomes of sensitive content that is not the caller's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sensitive {
    /// It is taken out of the text; a cube of which it cannot be taken out is left out.
    #[default]
    Redacted,
    /// The whole cube is left out.
    LeftOut,
}

/// A mark that tells copies apart. The same text must get the same mark within one receiver's bundles.
#[derive(Clone, Copy)]
pub struct Watermark<'a> {
    /// Names the sharer; stands in the cube's governance.
    pub name: &'a str,
    /// Puts the mark into a text.
    pub apply: &'a dyn Fn(&str) -> String,
}

/// How an export goes.
#[derive(Clone, Copy, Default)]
pub struct ExportOptions<'a> {
    /// What becomes of sensitive content.
    pub sensitive: Sensitive,
    /// What is put into each text.
    pub watermark: Option<Watermark<'a>>,
    /// Who vouches for the bundle.
    pub signer: Option<&'a BundleSigner>,
}

/// What an export wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExportReport {
    /// The digest of the manifest, and so of everything.
    pub manifest: String,
    /// Bytes of the bundle.
    pub bytes: u64,
    /// Cubes in it.
    pub cubes: u64,
    /// Cubes of which the text was redacted.
    pub redacted: u64,
    /// Links in it.
    pub links: u64,
    /// Payloads in files of their own.
    pub bodies: u64,
    /// Cubes that the caller may read and that were left out, by reason.
    pub left_out: BTreeMap<String, u64>,
}

/// Writes what the caller may read and has selected as a bundle.
///
/// # Errors
/// `NotFound` when a selected cube is none that the caller may see; `Invalid` above a limit of bundles; `Corrupt` when
/// what is stored fails its checks; `Unavailable` when a disk fails. What was written so far is no bundle then.
pub fn export(
    space: &Space,
    caller: &Principal,
    selection: &Selection,
    options: ExportOptions<'_>,
    out: impl Write,
) -> Result<ExportReport> {
    let Readable { heads, links, ledger } = Readable::of(space, caller, selection)?;
    let limits = BundleLimits { space: space.limits().clone(), ..BundleLimits::default() };
    let reader = space.ledger()?;
    let mut writer = BundleWriter::new(out, limits);
    let mut exporting = Exporting { space, caller, selection, options, left_out: BTreeMap::new() };
    let mut exported = HashSet::with_capacity(heads.len());
    let mut bodies: BTreeMap<Digest, CubeHead> = BTreeMap::new();
    for head in heads {
        if let Some(cube) = exporting.cube(&reader, &head)? {
            writer.cube(&cube)?;
            exported.insert(cube.id);
            if cube.text.is_none() {
                bodies.entry(cube.content).or_insert(head);
            }
        }
    }
    for link in links.into_iter().filter(|link| exported.contains(&link.from) || exported.contains(&link.to)) {
        writer.link(link)?;
    }
    for head in bodies.values() {
        writer.body(space.cube_at(&reader, head)?.payload.body())?;
    }
    let left_out = exporting.left_out;
    if space.notes_access(caller, Outcome::Done) {
        let cubes: Vec<CubeId> = exported.iter().copied().collect();
        for part in cubes.chunks(CUBES_ON_A_LINE) {
            space.note_access(caller, "export", Outcome::Done, "", part.to_vec())?;
        }
    }
    let root = crate::ledger::root(&reader, ledger.events)?;
    let heading = Heading {
        space: space.name().clone(),
        exported_by: caller.id.clone(),
        exported_at: space.now(),
        ledger: BundleLedger { events: ledger.events, digest: ledger.digest, root: Some(root) },
        left_out: left_out.iter().map(|(why, cubes)| BundleLeftOut { why: why.clone(), cubes: *cubes }).collect(),
        licence: None,
        revoked: None,
    };
    let written = writer.finish(heading, options.signer)?;
    let BundleCounts { cubes, redacted, links, bodies } = written.counts;
    let manifest = written.manifest.to_string();
    Ok(ExportReport { manifest, bytes: written.bytes, cubes, redacted, links, bodies, left_out })
}

/// One consistent point of what the caller may read: heads by ascending id, links ascending.
struct Readable {
    heads: Vec<CubeHead>,
    links: Vec<Link>,
    ledger: LedgerHead,
}

impl Readable {
    fn of(space: &Space, caller: &Principal, selection: &Selection) -> Result<Self> {
        let view = space.view();
        let classes = space.readable(&view, caller);
        let readable =
            |slot: Slot| view.head(slot).filter(|head| head.state != State::Erased && classes.contains(head.class));
        let mut heads = Vec::new();
        if selection.cubes.is_empty() {
            heads.extend((0..view.heads.len() as Slot).filter_map(readable).cloned());
        }
        for cube in &selection.cubes {
            // Asked by name, a cube that may not be seen is one that is not there.
            heads.push(match view.slot(cube).and_then(readable) {
                Some(head) => head.clone(),
                None => {
                    return Err(Error::not_found(format!("there is no cube `{cube}` that the caller may see")));
                }
            });
        }
        heads.sort_by_key(|head| head.id);
        heads.dedup_by_key(|head| head.id);
        let named = |(from, kind, to)| Some(Link { from: readable(from)?.id, kind, to: readable(to)?.id });
        let mut links: Vec<Link> = view.graph().all().filter_map(named).collect();
        links.sort_unstable();
        Ok(Self { heads, links, ledger: view.ledger })
    }
}

struct Exporting<'a> {
    space: &'a Space,
    caller: &'a Principal,
    selection: &'a Selection,
    options: ExportOptions<'a>,
    left_out: BTreeMap<String, u64>,
}

impl Exporting<'_> {
    /// Makes the record of a cube; none when it was not selected or is left out.
    fn cube(&mut self, reader: &LedgerReader, head: &CubeHead) -> Result<Option<BundleCube>> {
        let selection = self.selection;
        if !selection.semantic.is_empty() && !selection.semantic.contains(&head.semantic) {
            return Ok(None);
        }
        let Cube { header, payload } = self.space.cube_at(reader, head)?;
        if !selection.tags.is_empty() && !header.tags.iter().any(|tag| selection.tags.contains(tag)) {
            return Ok(None);
        }
        let mut record = BundleCube::describe(&header, head.state);
        let own = header.governance.owner == self.caller.id;
        if !own {
            // What describes a text may quote it.
            let described = [&mut record.title, &mut record.reason].into_iter().chain(&mut record.tags);
            described.chain(&mut record.path).for_each(|name| *name = redact(name, &find_sensitive(name)));
        }
        let Some(text) = payload.as_text() else {
            if !own && !header.governance.sensitivity.is_empty() {
                return self.leave_out("it is sensitive, and no text that could be redacted");
            }
            return Ok(Some(record));
        };
        let spans = if own { Vec::new() } else { find_sensitive(text) };
        let found = |kind| spans.iter().any(|span| span.kind == kind);
        if !own && (!spans.is_empty() || !header.governance.sensitivity.is_empty()) {
            if self.options.sensitive == Sensitive::LeftOut {
                return self.leave_out("it is sensitive");
            }
            if !header.governance.sensitivity.iter().all(|kind| found(*kind)) {
                return self.leave_out("it is sensitive, and what is could not be found to be redacted");
            }
            record.redacted = true;
        } else {
            record.earlier = self.earlier(head, own)?;
        }
        let text = redact(text, &spans);
        let text = match self.options.watermark {
            None => text,
            Some(watermark) => {
                record.governance.watermark = Some(watermark.name.to_owned());
                record.original = (!record.redacted).then_some(header.fingerprint.content);
                (watermark.apply)(&text)
            }
        };
        Ok(Some(record.with_text(text)))
    }

    /// Returns the digests of earlier versions, as far as the caller may know what they say, and of what a receiver of
    /// marked bundles has seen of them.
    fn earlier(&self, head: &CubeHead, own: bool) -> Result<Vec<Digest>> {
        if head.earlier.is_empty() {
            return Ok(Vec::new());
        }
        let mut digests = Vec::new();
        for version in self.space.versions(self.caller, &head.id)? {
            if version.header.version >= head.version {
                continue;
            }
            let text = version.payload.as_text();
            if !own && text.is_some_and(|text| !find_sensitive(text).is_empty()) {
                continue;
            }
            digests.push(version.header.fingerprint.content);
            if let (Some(watermark), Some(text)) = (self.options.watermark, text) {
                digests.push(Digest::of((watermark.apply)(text).as_bytes()));
            }
        }
        Ok(digests)
    }

    fn leave_out(&mut self, why: &str) -> Result<Option<BundleCube>> {
        *self.left_out.entry(why.to_owned()).or_default() += 1;
        Ok(None)
    }
}

/// Takes the cubes and links of a bundle into a space, in one transaction.
///
/// # Errors
/// `Denied` when the bundle is for MemStore, which holds it to its terms; `Invalid` when something breaks a limit of the
/// space; `Conflict` when a cube changed while the import was planned, and the import may be repeated; `Unavailable` when
/// the disk fails. Nothing was changed then.
pub fn import(space: &Space, caller: &Principal, bundle: Bundle, options: ImportOptions) -> Result<ImportReport> {
    let Heading { licence, revoked, .. } = &bundle.manifest.heading;
    if licence.is_some() || revoked.is_some() {
        return Err(Error::denied(
            "the bundle comes under the terms of an offer; take it, as `memos take FILE` does, in place of importing it",
        ));
    }
    let (cubes, links) = Incoming::of_bundle(bundle)?;
    import_all(space, caller, cubes, &links, options)
}

/// Takes what another system exported into a space, in one transaction.
///
/// # Errors
/// As [`import`].
pub fn import_foreign(
    space: &Space,
    caller: &Principal,
    foreign: ForeignImport,
    options: ImportOptions,
) -> Result<ImportReport> {
    let mut report = import_all(space, caller, foreign.cubes, &foreign.links, options)?;
    report.left_out.extend(foreign.left_out);
    Ok(report)
}

fn import_all(
    space: &Space,
    caller: &Principal,
    cubes: Vec<Incoming>,
    links: &[Link],
    options: ImportOptions,
) -> Result<ImportReport> {
    let reader = space.ledger()?;
    let importer = space.enrolled(caller);
    let plan = plan_import(&importer, cubes, links, |id| known(space, caller, &reader, id), options)?;
    let mut batch = Batch::default();
    for step in plan.steps {
        match step {
            Step::Adopt(id, adoption) => batch.adopt(id, *adoption),
            Step::Update(update) => batch.update(*update),
            Step::Link(link) => batch.link(link),
        };
    }
    if options.dry_run {
        space.check(caller, batch)?;
    } else if !batch.is_empty() {
        space.commit_whole(caller, batch)?;
    }
    Ok(plan.report)
}

/// Says what a space knows of a cube, as far as the caller may know it.
fn known(space: &Space, caller: &Principal, reader: &LedgerReader, id: &CubeId) -> Result<Option<Known>> {
    let found = {
        let view = space.view();
        let Some((head, slot)) = view.slot(id).and_then(|slot| Some((view.head(slot)?, slot))) else {
            return Ok(None);
        };
        let may = |operation| space.decide(&view, caller, operation, slot).allowed();
        if !may(Operation::Read) {
            return Ok(Some(Known::Hidden));
        }
        if head.state == State::Erased {
            return Ok(Some(Known::Erased));
        }
        (head.clone(), may(Operation::Write), may(Operation::Share))
    };
    let (head, may_write, may_share) = found;
    let mut contents = Vec::with_capacity(head.earlier.len() + 1);
    for &event in &head.earlier {
        contents.push(reader.header(event)?.fingerprint.content);
    }
    let header = reader.header(head.event)?;
    contents.push(header.fingerprint.content);
    let system = header.origin.source.map(|source| source.system);
    Ok(Some(Known::Seen(Seen { digest: head.digest, contents, state: head.state, system, may_write, may_share })))
}

#[cfg(test)]
mod tests;

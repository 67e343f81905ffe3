//! `memos import`: memories from a file, be it a bundle or what another system exported.
//!
//! With `--json`:
//!
//! ```json
//! {"space": "home/main", "file": "main.mip", "from": "mip", "origin": {"space": "…", "exported_by": "…", "exported_at": 0}, "signer": "…",
//!  "signer_known": false, "dry_run": false, "new": 18, "updated": 0, "unchanged": 0, "newer_here": 0, "links": 31, "links_left_out": 0,
//!  "sources_left_out": 0, "made_private": 3, "conflicts": [{"cube": "…", "beside": null, "resolved": "…"}],
//!  "left_out": [{"what": "…", "why": "…"}]}
//! ```
//!
//! with the fields of [`memos::exchange::import::ImportReport`]; `origin` and `signer` are null for what another system
//! exported.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use memos::cube::{PrincipalId, SpaceName};
use memos::exchange::bundle::{Bundle, BundleLimits, read_bundle};
use memos::exchange::foreign::{ForeignImport, ForeignLimits, System, read_foreign};
use memos::exchange::import::{ImportOptions, ImportReport, OnConflict};
use memos::exchange::transfer::{import, import_foreign};
use memos::ledger::SpaceKey;
use memos::time::{Clock, SystemClock, Timestamp};
use memos::{Error, ErrorKind, Result};
use serde::Serialize;

use super::erase::counted;
use super::ids::short;
use super::scope::Scope;
use super::screen::{DIM, NAME, Screen, paint};
use super::table::Table;

/// The name of the bundles of this program among the systems that are read.
const OWN_SYSTEM: &str = "mip";
/// Where an archive says that it is one, and what it says.
const ARCHIVE_MARK: (usize, &[u8]) = (257, b"ustar");
/// Rows that people are shown.
const MOST_ROWS: usize = 20;

#[derive(Args)]
pub(super) struct ImportArguments {
    /// A bundle, or what another system exported
    file: PathBuf,
    /// The system that it comes from [default: told by what is in it]
    #[arg(long, value_name = "SYSTEM", value_parser = origins())]
    from: Option<Origin>,
    /// What becomes of a memory that was changed here and there
    #[arg(long, value_name = "RULE", default_value = "keep-ours", value_parser = rules())]
    on_conflict: OnConflict,
    /// Keep what was global, or shared with a group of the importer, so; else all is private
    #[arg(long)]
    keep_layers: bool,
    /// Take a bundle only when it is signed with this key, as `memos head` shows it to the owner of the space it comes from
    #[arg(long, value_name = "HEX")]
    signed_by: Option<SpaceKey>,
    /// Say what would become of it, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// From where a file may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Bundle,
    Other(System),
}

fn origins() -> impl TypedValueParser<Value = Origin> {
    let names = [OWN_SYSTEM].into_iter().chain(System::ALL.iter().map(|system| system.as_str()));
    PossibleValuesParser::new(names).try_map(|name| match name.as_str() {
        OWN_SYSTEM => Ok(Origin::Bundle),
        name => name.parse().map(Origin::Other),
    })
}

fn rules() -> impl TypedValueParser<Value = OnConflict> {
    PossibleValuesParser::new(["keep-ours", "take-theirs", "keep-both"]).map(|name| match name.as_str() {
        "take-theirs" => OnConflict::TakeTheirs,
        "keep-both" => OnConflict::KeepBoth,
        _ => OnConflict::KeepOurs,
    })
}

/// What is to be taken in.
enum Source {
    Bundle(Box<Bundle>),
    Foreign(ForeignImport),
}

#[derive(Serialize)]
struct Imported<'a> {
    space: &'a SpaceName,
    file: String,
    from: &'static str,
    origin: Option<Exporter>,
    signer: Option<String>,
    signer_known: bool,
    dry_run: bool,
    #[serde(flatten)]
    report: ImportReport,
}

#[derive(Serialize)]
struct Exporter {
    space: SpaceName,
    exported_by: PrincipalId,
    exported_at: Timestamp,
}

pub(super) fn run(arguments: &ImportArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let name = scope.space_name()?;
    // What cannot be read must not leave a folder behind.
    let source = read(&arguments.file, arguments.from).map_err(|e| e.at(format!("`{}`", arguments.file.display())))?;
    check_signer(&source, arguments.signed_by.as_ref())?;
    let space = if arguments.dry_run { scope.space()? } else { scope.vault_or_new()?.space(name)? };
    let ImportArguments { on_conflict, keep_layers, dry_run, .. } = *arguments;
    let options = ImportOptions { on_conflict, keep_layers, dry_run };
    let file = arguments.file.display().to_string();
    let signer_known = arguments.signed_by.is_some();
    let (from, origin, signer, report) = match source {
        Source::Bundle(bundle) => {
            let heading = &bundle.manifest.heading;
            let (space_name, exported_by) = (heading.space.clone(), heading.exported_by.clone());
            let origin = Exporter { space: space_name, exported_by, exported_at: heading.exported_at };
            let signer = bundle.signer.map(|signer| signer.to_string());
            (OWN_SYSTEM, Some(origin), signer, import(&space, &scope.caller, *bundle, options)?)
        }
        Source::Foreign(foreign) => {
            (foreign.system.as_str(), None, None, import_foreign(&space, &scope.caller, foreign, options)?)
        }
    };
    let done = Imported { space: name, file, from, origin, signer, signer_known, dry_run, report };
    if screen.json {
        return screen.object(&done);
    }
    print(&done, screen);
    Ok(())
}

fn read(path: &Path, from: Option<Origin>) -> Result<Source> {
    let unreadable = |e: std::io::Error| Error::invalid(format!("it cannot be read: {e}")).with_source(e);
    let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
    let (at, mark) = ARCHIVE_MARK;
    let mut beginning = Vec::new();
    file.by_ref().take((at + mark.len()) as u64).read_to_end(&mut beginning).map_err(unreadable)?;
    let is_archive = beginning.len() > at && beginning.ends_with(mark);
    let looks_like_one = is_archive || path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(OWN_SYSTEM));
    let whole = beginning.as_slice().chain(file);
    let system = match from {
        Some(Origin::Other(system)) => Some(system),
        None if !looks_like_one => None,
        Some(Origin::Bundle) | None => {
            let bundle = read_bundle(whole, &BundleLimits::default()).map_err(|error| match error.kind() {
                // A damaged file that was brought is bad input, not damage of what is kept here.
                ErrorKind::Corrupt => Error::invalid(error.to_string()),
                _ => error,
            })?;
            return Ok(Source::Bundle(Box::new(bundle)));
        }
    };
    let limits = ForeignLimits::default();
    let mut bytes = Vec::new();
    whole.take(limits.bytes as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(Source::Foreign(read_foreign(&bytes, system, SystemClock.now(), &limits)?))
}

fn check_signer(source: &Source, expected: Option<&SpaceKey>) -> Result<()> {
    let Some(expected) = expected else { return Ok(()) };
    match source {
        Source::Bundle(bundle) if bundle.signer.as_ref() == Some(expected) => Ok(()),
        Source::Bundle(bundle) => {
            let found = bundle.signer.map_or_else(|| "nobody".to_owned(), |signer| format!("key {signer}"));
            Err(Error::invalid(format!("the bundle is signed by {found}, and not by {expected}; nothing was taken in")))
        }
        Source::Foreign(_) => Err(Error::invalid("what other systems export is not signed; leave `--signed-by` out")),
    }
}

fn print(done: &Imported<'_>, screen: &mut Screen) {
    let Imported { report, file, .. } = done;
    match &done.origin {
        Some(origin) => {
            let by = done.signer.as_deref().map_or("not signed".to_owned(), |key| format!("signed by {key}"));
            screen.line(paint(DIM, format!("{file}: of {}, exported by {}, {by}", origin.space, origin.exported_by)));
            if done.signer.is_some() && !done.signer_known {
                screen.line(paint(DIM, "whose key that is, only `--signed-by` can tell"));
            }
        }
        None => screen.line(paint(DIM, format!("{file}: of {}", done.from))),
    }
    let mut table = Table::new(2).numbers("").text("");
    for (count, what) in [
        (report.new, "new"),
        (report.updated, "changed there, and updated here"),
        (report.unchanged, "the same here"),
        (report.newer_here, "newer here"),
        (report.conflicts.len() as u64, "changed on both sides"),
        (report.links, "links"),
        (report.made_private, "private here, and not there"),
        (report.links_left_out, "links left out: an end is missing or not yours to link"),
        (report.sources_left_out, "sources left out: they are missing here"),
        (report.left_out.len() as u64, "left out"),
    ] {
        if count > 0 {
            table.row([count.to_string(), what.to_owned()]);
        }
    }
    table.lines(screen.columns).into_iter().for_each(|line| screen.line(line));
    let mut table = Table::new(2).words("", NAME).text("");
    for conflict in report.conflicts.iter().take(MOST_ROWS) {
        table.row([short(&conflict.cube), conflict.resolved.to_owned()]);
    }
    for left_out in report.left_out.iter().take(MOST_ROWS) {
        table.row(["–".to_owned(), format!("{}: {}", left_out.what, left_out.why)]);
    }
    table.lines(screen.columns).into_iter().for_each(|line| screen.line(line));
    screen.result(match done.dry_run {
        true => {
            format!("{} would be taken into {}; nothing was written", counted(report.new + report.updated), done.space)
        }
        false => format!("took {} into {}", counted(report.new + report.updated), done.space),
    });
}

//! `memos export`: memories as a file that other spaces, machines and systems can take in.
//!
//! With `--json`:
//!
//! ```json
//! {"space": "home/main", "file": "main.mip", "signer": "…", "watermark": null,
//!  "manifest": "…", "bytes": 20480, "cubes": 18, "redacted": 1, "links": 31, "bodies": 0, "left_out": {"it is sensitive": 2}}
//! ```
//!
//! with the fields of [`memos::exchange::transfer::ExportReport`].

use std::path::PathBuf;

use clap::Args;
use memos::Result;
use memos::cube::{PrincipalId, SemanticType, SpaceName};
use memos::exchange::transfer::{ExportOptions, ExportReport, Selection, Sensitive, Watermark, export};
use memos::governance::watermark::{Mark, mark};
use serde::Serialize;

use super::erase::counted;
use super::files;
use super::ids::find;
use super::places::size;
use super::scope::Scope;
use super::screen::{DIM, NAME, NOTICE, Screen, paint, printable};

#[derive(Args)]
pub(super) struct ExportArguments {
    /// The file that is written, by custom with the ending `.mip`
    file: PathBuf,
    /// Export this memory alone; may be repeated [default: all that may be read]
    #[arg(long, value_name = "ID")]
    id: Vec<String>,
    /// Export memories of this type; may be repeated
    #[arg(long = "type", value_name = "TYPE", value_parser = super::remember::semantic_types())]
    semantic: Vec<SemanticType>,
    /// Export memories with this tag; may be repeated, and one of them is enough
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Weave a mark into each text that says who exported it; `memos watermark` finds it again
    #[arg(long)]
    watermark: bool,
    /// Leave out the memories of others that hold sensitive content, in place of redacting them
    #[arg(long)]
    leave_out_sensitive: bool,
}

#[derive(Serialize)]
struct Exported<'a> {
    space: &'a SpaceName,
    file: String,
    signer: Option<String>,
    watermark: Option<&'a PrincipalId>,
    #[serde(flatten)]
    report: ExportReport,
}

pub(super) fn run(arguments: &ExportArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let space = scope.space()?;
    let cubes = arguments.id.iter().map(|id| find(&space, &scope.caller, id)).collect::<Result<_>>()?;
    let selection = Selection { cubes, tags: arguments.tag.clone(), semantic: arguments.semantic.clone() };
    let signer = if space.is_encrypted() { Some(space.bundle_signer()?) } else { None };
    let key = if arguments.watermark { Some(space.mark_key()?) } else { None };
    let sharer = &scope.caller.id;
    let apply = |text: &str| key.as_ref().map_or_else(|| text.to_owned(), |key| mark(text, &Mark { key, sharer }));
    let options = ExportOptions {
        sensitive: if arguments.leave_out_sensitive { Sensitive::LeftOut } else { Sensitive::Redacted },
        watermark: key.is_some().then_some(Watermark { name: sharer.as_str(), apply: &apply }),
        signer: signer.as_ref(),
    };
    let report = files::replace(&arguments.file, |out| export(&space, &scope.caller, &selection, options, out))?;
    let signer = signer.map(|signer| signer.key().to_string());
    let (file, watermark) = (arguments.file.display().to_string(), arguments.watermark.then_some(sharer));
    if screen.json {
        return screen.object(&Exported { space: space.name(), file, signer, watermark, report });
    }
    let ExportReport { bytes, cubes, redacted, links, left_out, .. } = &report;
    screen.line(format!(
        "wrote {} of {} and {links} links into {file}, {}",
        counted(*cubes),
        paint(NAME, space.name()),
        size(*bytes)
    ));
    if *redacted > 0 {
        screen.line(paint(NOTICE, format!("{redacted} of them redacted: they hold sensitive content of others")));
    }
    left_out
        .iter()
        .for_each(|(why, count)| screen.line(paint(NOTICE, format!("{count} left out: {}", printable(why)))));
    if let Some(signer) = signer {
        screen.line(paint(DIM, format!("signed; `memos import {file} --signed-by {signer}` takes no other")));
    }
    Ok(())
}

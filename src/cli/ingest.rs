//! `memos ingest`: files and folders become memories.
//!
//! All files are read and checked before the first memory is written, so a wrong one changes nothing. Reading the same
//! file again adds nothing. With `--json`:
//!
//! ```json
//! {"space": "home/main", "files": [{"path": "talk.txt", "format": "transcript", "report": {"turns": 12, …}}],
//!  "total": {"sessions": 1, "turns": 12, "passages": 0, "facts": 2, "cubes": 15, "links": 20, "merged": 0,
//!            "superseded": 1, "sensitive": 0, "skipped": 0}}
//! ```

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use memos::cube::{CubeDraft, Layer, SemanticType, SpaceName};
use memos::limits::Limits;
use memos::reader::source::{Format, Source, SourceLimits, read_source};
use memos::reader::{IngestOptions, IngestReport, ingest};
use memos::time::Timestamp;
use memos::{Error, Result};
use serde::Serialize;

use super::scope::Scope;
use super::screen::{NAME, NOTICE, Screen, one_line, paint, printable};
use super::table::Table;

/// Endings of files that are read in a folder.
const ENDINGS: &[&str] = &["json", "jsonl", "log", "markdown", "md", "ndjson", "text", "transcript", "txt"];
/// Files of one call.
const MOST_FILES: usize = 10_000;
/// Bytes of all files of one call: they are held until all are checked.
const MOST_BYTES: usize = 1024 * 1024 * 1024;
/// Columns of a file's name in the table.
const FILE_COLUMNS: usize = 26;
/// Folders within folders.
const DEEPEST: usize = 32;

#[derive(Args)]
pub(super) struct IngestArguments {
    /// Files, folders, or `-` for standard input. Folders are searched for files ending in json, jsonl, ndjson, md,
    /// markdown, txt, text, log or transcript; hidden ones and links are passed over
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Who may read it: `private`, `shared:GROUP` or `global`
    #[arg(long, default_value = "private")]
    layer: Layer,
    /// The task it belongs to
    #[arg(long)]
    task: Option<String>,
    /// How to read it [default: found from the name and the content]
    #[arg(long, value_parser = formats())]
    format: Option<Format>,
    /// When it was said or seen, where the file does not tell [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
}

fn formats() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::ALL.iter().map(|format| format.name())).try_map(|name| name.parse::<Format>())
}

#[derive(Serialize)]
struct Ingested<'a> {
    space: &'a SpaceName,
    files: Vec<IngestedFile>,
    total: IngestReport,
}

#[derive(Serialize)]
pub(in crate::cli) struct IngestedFile {
    pub(super) path: String,
    #[serde(serialize_with = "as_name")]
    pub(super) format: Format,
    pub(super) report: IngestReport,
}

fn as_name<S: serde::Serializer>(format: &Format, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(format.name())
}

pub(super) fn run(arguments: IngestArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let name = scope.space_name()?;
    if arguments.paths.iter().any(|path| path.as_os_str() == "-") && arguments.format.is_none() {
        return Err(Error::invalid("standard input has no name to find its format from; give `--format`"));
    }
    let sources = read_all(&arguments.paths, arguments.format)?;
    let options = IngestOptions { layer: arguments.layer, task: arguments.task, observed: arguments.at };
    check(&options)?;
    let space = scope.vault_or_new()?.space(name)?;
    let (mut files, mut total) = (Vec::new(), IngestReport::default());
    for (path, source) in sources {
        let bar = screen.progress(&one_line(&path, 30));
        let mut progress = |done: usize, of: usize| {
            bar.set_length(of as u64);
            bar.set_position(done as u64);
        };
        let report = ingest(&space, &scope.caller, &source, &options, &mut progress)
            .map_err(|error| error.at(format!("`{path}`")))?;
        bar.finish_and_clear();
        total += report;
        files.push(IngestedFile { path, format: source.format, report });
    }
    if screen.json {
        return screen.object(&Ingested { space: name, files, total });
    }
    screen.line(format!("read into {} as {}, {}", paint(NAME, name), scope.caller.id, options.layer));
    show_files(screen, &files);
    show_total(screen, &total);
    Ok(())
}

/// Refuses options that no memory may have before a folder is made for it.
fn check(options: &IngestOptions) -> Result<()> {
    let draft = CubeDraft { task: options.task.clone(), ..CubeDraft::text(SemanticType::Message, "any text") };
    draft.check(&Limits::default())
}

/// Shows what was read from each file.
pub(super) fn show_files(screen: &mut Screen, files: &[IngestedFile]) {
    let mut table = Table::new(2)
        .words("", NAME)
        .numbers("sessions")
        .numbers("turns")
        .numbers("passages")
        .numbers("facts")
        .numbers("memories")
        .numbers("links");
    for file in files {
        let report = &file.report;
        let counts = [report.sessions, report.turns, report.passages, report.facts, report.cubes, report.links];
        let counts = counts.iter().map(|count| if *count == 0 { "-".to_owned() } else { count.to_string() });
        table.row([ending_of(&file.path, FILE_COLUMNS)].into_iter().chain(counts));
    }
    table.lines(screen.columns).into_iter().for_each(|line| screen.line(line));
}

/// Returns a path in at most so many columns; of a longer one its end, which tells more.
fn ending_of(path: &str, columns: usize) -> String {
    let path = printable(path);
    let cut = path.chars().count().saturating_sub(columns);
    if cut == 0 { path } else { std::iter::once('…').chain(path.chars().skip(cut + 1)).collect() }
}

/// Shows what came of all files together.
pub(super) fn show_total(screen: &mut Screen, total: &IngestReport) {
    let mut said = vec![format!("{} new memories, {} links", total.cubes, total.links)];
    for (count, what) in [
        (total.superseded, "earlier statements replaced by later ones"),
        (total.merged, "near-duplicates merged"),
        (total.skipped, "there already"),
    ] {
        if count > 0 {
            said.push(format!("{count} {what}"));
        }
    }
    screen.paragraph(0, anstyle::Style::new(), &said.join("; "));
    if total.sensitive > 0 {
        let what = format!("{} hold sensitive content: others see them redacted", total.sensitive);
        screen.line(paint(NOTICE, what));
    }
}

/// Reads all files; nothing is written until the last of them is right.
fn read_all(paths: &[PathBuf], format: Option<Format>) -> Result<Vec<(String, Source)>> {
    let mut files = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            files.push(path.clone());
        } else if path.is_dir() {
            walk(path, 0, &mut files)?;
        } else {
            files.push(path.clone());
        }
    }
    if files.is_empty() {
        return Err(Error::invalid(format!(
            "there is no file to read; folders are searched for {}",
            ENDINGS.join(", ")
        )));
    }
    let limits = SourceLimits::default();
    let (mut sources, mut bytes_left) = (Vec::new(), MOST_BYTES);
    for path in files {
        let name = path.display().to_string();
        let bytes = read(&path, limits.file_bytes.min(bytes_left))?;
        bytes_left = bytes_left.saturating_sub(bytes.len());
        sources.push((name.clone(), read_source(&name, &bytes, format, &limits)?));
    }
    Ok(sources)
}

/// Reads one file, and one byte more than it may have where it is longer.
fn read(path: &Path, most: usize) -> Result<Vec<u8>> {
    let shown = path.display();
    let unreadable = |e: std::io::Error| Error::invalid(format!("`{shown}` cannot be read: {e}")).with_source(e);
    let mut bytes = Vec::new();
    let limit = most as u64 + 1;
    if path.as_os_str() == "-" {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(unreadable)?;
    }
    if bytes.len() > most {
        return Err(Error::invalid(format!(
            "`{shown}` is longer than the {most} bytes that are left for it; split it or read less at once"
        )));
    }
    Ok(bytes)
}

fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    let shown = folder.display();
    if depth > DEEPEST {
        return Err(Error::invalid(format!("`{shown}` lies more than {DEEPEST} folders deep; name it itself")));
    }
    let unreadable = |e: std::io::Error| Error::invalid(format!("`{shown}` cannot be read: {e}")).with_source(e);
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        entries.push((entry.path(), entry.file_type().map_err(unreadable)?));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    for (path, kind) in entries {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if kind.is_dir() {
            walk(&path, depth + 1, files)?;
        } else if kind.is_file() && has_known_ending(&path) {
            if files.len() == MOST_FILES {
                return Err(Error::invalid(format!(
                    "there are more than {MOST_FILES} files; read fewer folders at once"
                )));
            }
            files.push(path);
        }
    }
    Ok(())
}

fn has_known_ending(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

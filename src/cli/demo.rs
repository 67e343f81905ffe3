//! `memos demo`: a memory of its own, filled and asked, so that one sees in a few seconds what memos does.
//!
//! The texts that are read and the questions are bundled with the program; everything else that is shown comes from the
//! same calls that the other commands make. First the story is gathered, then it is told: with `--json` as one object,
//!
//! ```json
//! {"data": "DIR or null", "space": "home/main", "picture": "FILE", "pictured": 12,
//!  "files": [{"path": "…", "format": "…", "report": {…}}], "total": {…}, "notes": 2, "seconds": 0.4, "stats": {…},
//!  "asked": [{"caller": "user:ronja", "question": "…", "receipts": […], "considered": 396, "micros": 900,
//!             "replacements": [null]}],
//!  "changed": {"question": "…", "chain": […], "holds": "…"}, "repeated": [{"question": "…", "kept": "…", "merged": ["…"]}],
//!  "guarded": [{"owner": {…}, "guest": {…}, "refusal": "…"}]}
//! ```

mod material;
mod story;
mod telling;

use std::path::{Path, PathBuf};

use clap::Args;
use memos::vault::{Vault, VaultOptions};
use memos::{Error, Result};

use super::screen::Screen;
use story::Story;

const PICTURE: &str = "memos-demo.html";

/// Shows what memos does.
#[derive(Args)]
pub(super) struct DemoArguments {
    /// Keep the memory in this folder, which must be new or empty; the picture goes there too
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

pub(super) fn run(arguments: &DemoArguments, screen: &mut Screen) -> Result<()> {
    match &arguments.keep {
        Some(folder) => {
            check_empty(folder)?;
            show(folder, Some(folder), &folder.join(PICTURE), screen)
        }
        None => {
            let folder = tempfile::Builder::new().prefix("memos-demo-").tempdir();
            let folder = folder
                .map_err(|e| Error::unavailable(format!("a temporary folder cannot be made: {e}")).with_source(e))?;
            show(folder.path(), None, Path::new(PICTURE), screen)
        }
    }
}

/// Refuses a folder that holds something: a demonstration must not mix with anybody's memory.
fn check_empty(folder: &Path) -> Result<()> {
    match std::fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => {
            Err(Error::invalid(format!("`{}` is not empty; name a new folder for the demonstration", folder.display())))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::invalid(format!("`{}` cannot be used: {error}", folder.display())).with_source(error)),
    }
}

fn show(folder: &Path, kept: Option<&Path>, picture: &Path, screen: &mut Screen) -> Result<()> {
    telling::greet(screen);
    screen.flush()?;
    let bar = screen.progress("reading and asking");
    let vault = Vault::open(folder, VaultOptions::builtin()?)?;
    let story = Story::gather(&vault, kept, picture, &bar)?;
    bar.finish_and_clear();
    if screen.json { screen.object(&story) } else { telling::tell(&story, screen) }
}

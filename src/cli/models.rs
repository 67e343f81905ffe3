//! `memos model`: which model answers, and models fetched by their names.
//!
//! With `--json`, `{"name": "…", "fingerprint": "…", "tokenizer": "…", "layers": 4, …}`; of `fetch` and `list`,
//! `{"models": ["…/org--name/commit"]}`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use memos::error::ErrorKind;
use memos::runtime::engine::{Model, fetch_model, open_model};
use memos::{Error, Result};
use serde_json::json;

use super::Found;
use super::scope::Scope;
use super::screen::{DIM, Screen, paint};

/// The model that commands of the local model take.
#[derive(Args)]
pub(super) struct ModelArgument {
    /// A model's folder or GGUF file [default: the small model inside the program]
    #[arg(long = "model", value_name = "PATH", env = "MEMOS_MODEL", hide_env_values = true)]
    path: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct ModelArguments {
    #[command(subcommand)]
    action: Option<ModelAction>,
    #[command(flatten)]
    model: ModelArgument,
}

#[derive(Subcommand)]
enum ModelAction {
    /// Fetches a published model by its name; needs a network and the feature `hub`
    Fetch {
        /// `org/name`, or `org/name/file.gguf`
        name: String,
        /// A branch, a tag or a commit
        #[arg(long, default_value = "main")]
        revision: String,
        /// The address of a mirror
        #[arg(long, value_name = "URL", env = "HF_ENDPOINT")]
        hub: Option<String>,
    },
    /// Lists the models that were fetched
    List,
}

impl ModelArgument {
    pub(super) fn load(&self) -> Result<Model> {
        open_model(self.path.as_deref()).map_err(|e| match e.kind() {
            // A damaged model is a wrong file, and nothing is wrong with memory.
            ErrorKind::Corrupt => Error::invalid(e.to_string()).with_source(e),
            _ => e,
        })
    }
}

pub(super) fn model(arguments: &ModelArguments, scope: &Scope, screen: &mut Screen) -> Result<Found> {
    match &arguments.action {
        None => inspect(arguments, screen).map(|()| Found::Something),
        Some(ModelAction::Fetch { name, revision, hub }) => {
            let bar = screen.progress(name);
            let folder = fetch_model(name, Some(revision), hub.as_deref(), &models(scope)?, &mut |file, done, all| {
                bar.set_message(file.to_owned());
                bar.set_length(all);
                bar.set_position(done);
                true
            })?;
            bar.finish_and_clear();
            say_folders(&[folder], screen)?;
            Ok(Found::Something)
        }
        Some(ModelAction::List) => {
            let folders = fetched(&models(scope)?)?;
            say_folders(&folders, screen)?;
            Ok(if folders.is_empty() { Found::Nothing } else { Found::Something })
        }
    }
}

/// Models stand beside memory, in one folder for each: `org--name/commit`.
fn models(scope: &Scope) -> Result<PathBuf> {
    Ok(scope.data()?.join("models"))
}

fn fetched(models: &Path) -> Result<Vec<PathBuf>> {
    let failed = |e: std::io::Error| Error::unavailable(format!("`{}` cannot be read: {e}", models.display()));
    let mut found = Vec::new();
    if !models.is_dir() {
        return Ok(found);
    }
    for home in std::fs::read_dir(models).map_err(failed)? {
        let home = home.map_err(failed)?.path();
        if home.is_dir() {
            for folder in std::fs::read_dir(home).map_err(failed)? {
                found.push(folder.map_err(failed)?.path());
            }
        }
    }
    found.retain(|folder| folder.is_dir());
    found.sort();
    Ok(found)
}

fn say_folders(folders: &[PathBuf], screen: &mut Screen) -> Result<()> {
    if screen.json {
        return screen.object(&json!({ "models": folders }));
    }
    folders.iter().for_each(|folder| screen.result(folder.display()));
    if folders.is_empty() {
        screen.line(paint(DIM, "none was fetched; `memos model fetch org/name` does"));
    }
    Ok(())
}

fn inspect(arguments: &ModelArguments, screen: &mut Screen) -> Result<()> {
    let model = arguments.model.load()?;
    let config = model.decoder().config();
    if screen.json {
        return screen.object(&json!({
            "name": model.name(),
            "fingerprint": model.fingerprint(),
            "tokenizer": model.tokenizer().fingerprint(),
            "layers": config.layers,
            "hidden": config.hidden,
            "vocabulary": config.vocabulary,
            "positions": config.positions,
            "segment_bytes_per_token": config.kv_bytes_per_token(),
        }));
    }
    screen.result(model.name());
    for (what, said) in [
        ("fingerprint", model.fingerprint().to_owned()),
        ("tokenizer", model.tokenizer().fingerprint().to_owned()),
        ("shape", format!("{} blocks, width {}, {} tokens", config.layers, config.hidden, config.vocabulary)),
        ("reads at most", format!("{} tokens", config.positions)),
        ("a segment takes", format!("{} bytes a token in F32", config.kv_bytes_per_token())),
    ] {
        screen.line(format!("  {} {said}", paint(DIM, format!("{what:<16}"))));
    }
    Ok(())
}

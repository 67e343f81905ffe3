//! Where memory lies and who acts: the options that all commands share.
//!
//! Commands that read never make anything: a data folder or a space that is not there is said to be missing.
//!
//! The master key comes from the first of these that is given: `--key-file`, the file that `MEMOS_KEY_FILE` names, the
//! key in `MEMOS_KEY`, and else the file `master.key` in the data folder. A key is never an argument, which others on
//! the machine can see, and is never shown.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use etcetera::BaseStrategy;

use memos::cube::{GroupName, PrincipalId, SpaceName};
use memos::disk::SystemDisk;
use memos::embed::{Embedder, builtin};
use memos::governance::Principal;
use memos::keys::MasterKey;
use memos::runtime::encoder::SentenceEncoder;
use memos::vault::{MasterKeySource, Space, Vault, VaultOptions};
use memos::{Error, ErrorKind, Result};

const DEFAULT_SPACE: &str = "home/main";
const DEFAULT_CALLER: &str = "user:me";
/// Holds the key itself.
const KEY_VARIABLE: &str = "MEMOS_KEY";
/// The key in the data folder.
const FOLDER_KEY: &str = "master.key";

/// Where and who.
#[derive(Args)]
pub(super) struct ScopeArguments {
    /// The data folder [default: the platform's folder for data, and in it `memos`]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "MEMOS_DATA",
        hide_env_values = true,
        help_heading = "Everywhere"
    )]
    data: Option<PathBuf>,
    /// The space; `recall` and `stats` take several [default: home/main]
    #[arg(long, global = true, value_name = "ORG/NAME", help_heading = "Everywhere")]
    space: Vec<SpaceName>,
    /// Who acts: `user:NAME` or `agent:NAME` [default: the user who is logged in]
    #[arg(long = "as", global = true, value_name = "WHO", help_heading = "Everywhere")]
    caller: Option<PrincipalId>,
    /// A group they belong to; may be repeated
    #[arg(long, global = true, value_name = "NAME", help_heading = "Everywhere")]
    group: Vec<GroupName>,
    /// A role they have, such as `sensitive-reader`; may be repeated
    #[arg(long, global = true, value_name = "NAME", help_heading = "Everywhere")]
    role: Vec<String>,
    /// What it is for, as far as the rules ask
    #[arg(long, global = true, value_name = "WORD", help_heading = "Everywhere")]
    purpose: Option<String>,
    /// The file with the master key [default: the key in MEMOS_KEY, else `master.key` in the data folder]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "MEMOS_KEY_FILE",
        hide_env_values = true,
        help_heading = "Everywhere"
    )]
    key_file: Option<PathBuf>,
    /// The folder of a sentence encoder, such as all-MiniLM-L6-v2, in the place of the built-in embedder
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "MEMOS_ENCODER",
        hide_env_values = true,
        help_heading = "Everywhere"
    )]
    encoder: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(super) json: bool,
    /// Print the result and nothing around it
    #[arg(long, short, global = true, help_heading = "Everywhere")]
    pub(super) quiet: bool,
}

/// Where memory lies and who acts.
pub(super) struct Scope {
    data: Option<PathBuf>,
    spaces: Vec<SpaceName>,
    key_file: Option<PathBuf>,
    encoder: Option<PathBuf>,
    /// Who acts.
    pub(super) caller: Principal,
}

/// From where the master key comes.
pub(super) enum KeyOrigin {
    /// A file that was named.
    File(PathBuf),
    /// The environment.
    Environment,
    /// The data folder's own file.
    Folder(PathBuf),
}

impl KeyOrigin {
    /// Reads the key; none when it is the data folder's own, and that was not made yet.
    pub(super) fn read(&self) -> Result<Option<MasterKey>> {
        match self {
            Self::File(file) => named_key(file).map(Some),
            Self::Environment => {
                let key = std::env::var(KEY_VARIABLE).unwrap_or_default();
                MasterKey::parse(&key).map(Some).map_err(|e| e.at(format!("`{KEY_VARIABLE}`")))
            }
            Self::Folder(file) if file.exists() => MasterKey::read(&SystemDisk, file).map(Some),
            Self::Folder(_) => Ok(None),
        }
    }
}

/// Reads the key in a file that was named.
pub(super) fn named_key(file: &Path) -> Result<MasterKey> {
    MasterKey::read(&SystemDisk, file).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::invalid(format!("{error}; `memos keys new FILE` makes one")),
        _ => error,
    })
}

impl Scope {
    pub(super) fn new(arguments: ScopeArguments) -> Result<Self> {
        let id = match arguments.caller {
            Some(id) => id,
            None => logged_in().map_or_else(|| DEFAULT_CALLER.parse(), Ok)?,
        };
        let mut caller = Principal::new(id);
        if caller.is_keeper() {
            return Err(Error::invalid(format!("`{}` is the space itself, and nobody acts in its name", caller.id)));
        }
        caller.groups.extend(arguments.group);
        caller.roles.extend(arguments.role);
        caller.context.purpose = arguments.purpose;
        let mut spaces = Vec::new();
        for name in arguments.space {
            if !spaces.contains(&name) {
                spaces.push(name);
            }
        }
        if spaces.is_empty() {
            spaces.push(DEFAULT_SPACE.parse()?);
        }
        Ok(Self { data: arguments.data, spaces, key_file: arguments.key_file, encoder: arguments.encoder, caller })
    }

    /// Returns the data folder.
    pub(super) fn data(&self) -> Result<PathBuf> {
        if let Some(data) = &self.data {
            if data.as_os_str().is_empty() {
                return Err(Error::invalid("the data folder's name is empty; give one with `--data` or `MEMOS_DATA`"));
            }
            return Ok(data.clone());
        }
        let platform = etcetera::base_strategy::choose_native_strategy().map_err(|e| {
            Error::invalid(format!("the platform's data folder is not known ({e}); name one with `--data`"))
                .with_source(e)
        })?;
        Ok(platform.data_dir().join("memos"))
    }

    /// Returns the one space that was named.
    pub(super) fn space_name(&self) -> Result<&SpaceName> {
        match self.spaces.as_slice() {
            [name] => Ok(name),
            _ => Err(Error::invalid("this command works on one space; give `--space` once")),
        }
    }

    /// Returns from where the master key comes.
    pub(super) fn key_origin(&self) -> Result<KeyOrigin> {
        if let Some(file) = &self.key_file {
            if file.as_os_str().is_empty() {
                return Err(Error::invalid(
                    "the key file's name is empty; give one with `--key-file` or `MEMOS_KEY_FILE`",
                ));
            }
            return Ok(KeyOrigin::File(file.clone()));
        }
        Ok(match std::env::var_os(KEY_VARIABLE) {
            Some(_) => KeyOrigin::Environment,
            None => KeyOrigin::Folder(self.data()?.join(FOLDER_KEY)),
        })
    }

    /// Returns what a vault in the data folder works with.
    pub(super) fn options(&self) -> Result<VaultOptions> {
        let origin = self.key_origin()?;
        let given = match origin {
            // The vault makes its own key when it begins.
            KeyOrigin::Folder(_) => None,
            KeyOrigin::File(_) | KeyOrigin::Environment => origin.read()?,
        };
        let master_key = given.map_or(MasterKeySource::Folder, |key| MasterKeySource::Given(Arc::new(key)));
        Ok(VaultOptions { master_key, embedder: self.embedder()?, ..VaultOptions::builtin()? })
    }

    /// Returns what makes vectors of texts: the sentence encoder that was named, else the built-in table.
    pub(super) fn embedder(&self) -> Result<Arc<dyn Embedder>> {
        let Some(folder) = &self.encoder else { return Ok(builtin()?) };
        match SentenceEncoder::load(folder) {
            Ok(encoder) => Ok(Arc::new(encoder)),
            // It is the argument that is wrong, and not the memory.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => {
                Err(Error::invalid(format!("`--encoder`: {error}")).with_source(error))
            }
            Err(error) => Err(error.at("`--encoder`")),
        }
    }

    /// Opens the vault for writing; it is made when it is not there.
    pub(super) fn vault_or_new(&self) -> Result<Vault> {
        let options = self.options()?;
        Vault::open(self.data()?, options)
    }

    /// Returns all spaces that were named.
    pub(super) fn space_names(&self) -> &[SpaceName] {
        &self.spaces
    }

    /// Opens a vault that is there.
    pub(super) fn vault(&self) -> Result<Vault> {
        let data = self.data()?;
        match data.is_dir() {
            true => Vault::open(data, self.options()?),
            false => Err(no_memory(&data)),
        }
    }

    /// Opens a vault that is there for its names alone; no key is read.
    pub(super) fn vault_without_key(&self) -> Result<Vault> {
        let data = self.data()?;
        match data.is_dir() {
            true => {
                Vault::open(data, VaultOptions { master_key: MasterKeySource::Unencrypted, ..VaultOptions::builtin()? })
            }
            false => Err(no_memory(&data)),
        }
    }

    /// Opens the space that was named; it must be there.
    pub(super) fn space(&self) -> Result<Space> {
        let name = self.space_name()?;
        self.vault()?.existing_space(name)
    }

    /// Opens all spaces that were named; they must be there.
    pub(super) fn spaces(&self) -> Result<Vec<Space>> {
        let vault = self.vault()?;
        self.spaces.iter().map(|name| vault.existing_space(name)).collect()
    }
}

fn no_memory(data: &Path) -> Error {
    Error::not_found(format!(
        "there is no memory in `{}` yet; store something with `memos ingest` or `memos remember`, or name another folder with `--data`",
        data.display()
    ))
}

/// Returns the user of this machine as a principal, with what is not allowed in a name left out.
fn logged_in() -> Option<PrincipalId> {
    let name = std::env::var("USER").or_else(|_| std::env::var("USERNAME")).ok()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = name.to_ascii_lowercase().chars().filter(|c| plain(*c)).take(64).collect();
    format!("user:{}", name.trim_start_matches('.')).parse().ok()
}

//! A model's files from the hub, by its name.
//!
//! What the hub says it has is asked first, at one commit; then each file comes into that commit's own folder, checked, and under
//! its name only when it is whole. A download that was cut goes on where it ended, in this run or in a later one.
//!
//! This room must never know what is in the files, and sends nothing but the name of what it asks for.

mod download;
mod listing;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::Agent;

use crate::{Error, Result};
use listing::Listing;

/// Where models are, unless the caller has a mirror.
pub const ENDPOINT: &str = "https://huggingface.co";

/// The largest file that is fetched, in bytes.
pub const FILE_BYTES_MAX: u64 = 64 << 30;

/// The most files of one model.
pub const FILES_MAX: usize = 256;

/// The longest list of a model's files, in bytes.
const LISTING_BYTES_MAX: u64 = 8 << 20;

/// How long a connection may take to be made, and how long it may then say nothing.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);

/// How far a download is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The file that comes now.
    pub file: String,
    /// Bytes of all files that are here.
    pub done_bytes: u64,
    /// Bytes of all files.
    pub total_bytes: u64,
}

/// A place that models are fetched from.
pub struct Hub {
    agent: Agent,
    endpoint: String,
}

impl Hub {
    /// Prepares to fetch from [`ENDPOINT`] or a mirror of it. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// `Invalid` for an address that is neither `https://…` nor on this machine.
    pub fn at(endpoint: &str) -> Result<Self> {
        let endpoint = endpoint.trim_end_matches('/');
        let host = |scheme: &str| endpoint.strip_prefix(scheme).filter(|host| !host.is_empty());
        let on_this_machine = host("http://").is_some_and(|host| {
            let name = host.split(['/', ':']).next().unwrap_or_default();
            name == "localhost" || name == "127.0.0.1"
        });
        if host("https://").is_none() && !on_this_machine {
            return Err(Error::invalid(format!("`{endpoint}` is no address of a hub: it begins with `https://`")));
        }
        let config = Agent::config_builder()
            .https_only(!on_this_machine)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(SILENCE_TIMEOUT))
            .timeout_per_read(Some(SILENCE_TIMEOUT))
            .max_redirects(5)
            // A range is one of the bytes as they are.
            .accept_encoding("identity")
            .user_agent(concat!("memos/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .build();
        Ok(Self { agent: config.into(), endpoint: endpoint.to_owned() })
    }

    /// Fetches a model, and returns the folder its files are in.
    ///
    /// `name` is `org/name`, or `org/name/file.gguf` where a model comes in several such files. `revision` is a branch, a tag or a
    /// commit; without one it is `main`. What is in `cache` already is not fetched again. Without a network, what was fetched
    /// before under the same name and revision is found there. `progress` is told of every piece, and ends the download by `false`.
    ///
    /// # Errors
    ///
    /// `Invalid` for a name that cannot be one and above a limit, `NotFound` where the hub has no such model or it needs an account,
    /// `Corrupt` for a file with a wrong checksum, which is not kept, `Cancelled` by `progress`, and `Unavailable` where the network
    /// or the disk fails; then what has come is kept, and the next call goes on from there.
    pub fn fetch(
        &self,
        name: &str,
        revision: Option<&str>,
        cache: &Path,
        progress: &mut dyn FnMut(&Progress) -> bool,
    ) -> Result<PathBuf> {
        let wanted = Wanted::parse(name, revision.unwrap_or("main"))?;
        let home = cache.join(format!("{}--{}", wanted.owner, wanted.model));
        let known = home.join(wanted.known_name());
        let listing = match self.listing(&wanted) {
            Ok(listing) => listing,
            Err(error) if error.kind() == crate::ErrorKind::Unavailable => {
                let before = fs::read(&known).ok().and_then(|bytes| Listing::read(&bytes, wanted.file).ok());
                let whole = before.filter(|listing| listing.is_whole_in(&home.join(&listing.commit)));
                return whole.map(|listing| home.join(&listing.commit)).ok_or(error);
            }
            Err(error) => return Err(error),
        };
        let folder = home.join(&listing.commit);
        fs::create_dir_all(&folder).map_err(|error| download::on_disk(&folder, error))?;
        let mut done_bytes = 0;
        for file in &listing.files {
            let url =
                format!("{}/{}/{}/resolve/{}/{}", self.endpoint, wanted.owner, wanted.model, listing.commit, file.name);
            let mut told = |bytes: u64| {
                let done_bytes = done_bytes + bytes;
                progress(&Progress { file: file.name.clone(), done_bytes, total_bytes: listing.total_bytes() })
            };
            download::file(&self.agent, &url, file, &folder, &mut told)?;
            done_bytes += file.bytes;
        }
        download::put(&known, listing.written().as_bytes())?;
        Ok(folder)
    }

    fn listing(&self, wanted: &Wanted<'_>) -> Result<Listing> {
        let Wanted { owner, model, revision, .. } = wanted;
        let url = format!("{}/api/models/{owner}/{model}/revision/{revision}?blobs=true", self.endpoint);
        let mut response = self.agent.get(&url).call().map_err(|error| unreached(&self.endpoint, error))?;
        match response.status().as_u16() {
            200 => {}
            401 | 403 | 404 => {
                return Err(Error::not_found(format!(
                    "the hub has no model `{owner}/{model}` at `{revision}`, or gives it to those with an account only: check the \
                     name, or download its files by hand and give their folder"
                )));
            }
            status => return Err(Error::unavailable(format!("`{url}` answered {status}: try again later"))),
        }
        let body = response.body_mut().with_config().limit(LISTING_BYTES_MAX).read_to_vec();
        Listing::read(&body.map_err(|error| unreached(&self.endpoint, error))?, wanted.file)
    }
}

/// What a caller asks for, with nothing in it that could lead out of a folder or an address.
struct Wanted<'a> {
    owner: &'a str,
    model: &'a str,
    file: Option<&'a str>,
    revision: &'a str,
}

impl<'a> Wanted<'a> {
    fn parse(name: &'a str, revision: &'a str) -> Result<Self> {
        let parts: Vec<&str> = name.split('/').collect();
        let (owner, model, file) = match parts.as_slice() {
            [owner, model] => (*owner, *model, None),
            [owner, model, file] if file.ends_with(".gguf") => (*owner, *model, Some(*file)),
            _ => ("", "", None),
        };
        if !is_plain(owner) || !is_plain(model) || !file.is_none_or(is_plain) {
            return Err(Error::invalid(format!(
                "`{name}` is no model's name: give `org/name` or `org/name/file.gguf`"
            )));
        }
        if !is_plain(revision) {
            return Err(Error::invalid(format!("`{revision}` is no revision: give a branch, a tag or a commit")));
        }
        Ok(Self { owner, model, file, revision })
    }

    /// Names the file in the cache that says what was fetched.
    fn known_name(&self) -> String {
        format!("{}.{}.json", self.revision, self.file.unwrap_or("all"))
    }
}

/// Tells whether a name is the same in a folder and in an address, and leads nowhere else.
fn is_plain(name: &str) -> bool {
    let letters = name.bytes().all(|letter| letter.is_ascii_alphanumeric() || b"._-".contains(&letter));
    letters && !name.starts_with('.') && (1..=128).contains(&name.len())
}

fn unreached(endpoint: &str, error: ureq::Error) -> Error {
    Error::unavailable(format!(
        "`{endpoint}` could not be reached ({error}): without a network, give the folder of a model that is on this machine"
    ))
    .with_source(error)
}

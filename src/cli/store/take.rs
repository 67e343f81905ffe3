//! `memos take` and `memos revoke`: what is offered comes here, goes out in a bundle, or is taken back.
//!
//! With `--json`: `take` gives `{"into": "home/main", "taken": {…}}` with the fields of [`memos::runtime::store::Taken`], or
//! `{"into": "…", "notice": {…}}` for a notice; with `--bundle` it gives `{"offer": "…", "file": "…", "to": "…", "bytes": 10240}`.
//! `revoke` gives `{"offer": "…", "withdrawn": 2, "held_back": 0, "elsewhere": 1, "notice": "FILE"}`.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use memos::cube::{PrincipalId, SpaceName};
use memos::exchange::bundle::{BundleLimits, read_bundle};
use memos::governance::Principal;
use memos::ledger::SpaceKey;
use memos::runtime::store::{Arrived, OfferId, Revoked, StoreLimits, StoreSession, Taken};
use memos::{Error, Result};
use serde::Serialize;

use super::Market;
use crate::cli::erase::counted;
use crate::cli::files;
use crate::cli::places::size;
use crate::cli::scope::Scope;
use crate::cli::screen::{DIM, NAME, NOTICE, Screen, paint};

#[derive(Args)]
pub(in crate::cli) struct TakeArguments {
    /// The offer's id, or a beginning or end of it; or a bundle or notice that came from elsewhere
    what: String,
    /// The space that the copies go into; it is made when it is not there [default: the one that is named]
    #[arg(long, value_name = "ORG/NAME")]
    into: Option<SpaceName>,
    /// Whose the copies are [default: the taker's]
    #[arg(long, value_name = "WHO")]
    owner: Option<PrincipalId>,
    /// Names the request: asking again with the same name takes nothing twice
    #[arg(long, value_name = "NAME")]
    request: Option<String>,
    /// Take a bundle only when it is signed with this key
    #[arg(long, value_name = "HEX")]
    signed_by: Option<SpaceKey>,
    /// Write a signed bundle for a receiver elsewhere, in place of making copies here
    #[arg(long, value_name = "FILE", requires_all = ["receiver", "receiver_key"], conflicts_with_all = ["into", "owner", "signed_by"])]
    bundle: Option<PathBuf>,
    /// Who takes the bundle in
    #[arg(long, value_name = "WHO", requires = "bundle")]
    receiver: Option<PrincipalId>,
    /// The key of the one space that takes the bundle in, as `memos head` shows it there
    #[arg(long, value_name = "HEX", requires = "bundle")]
    receiver_key: Option<SpaceKey>,
}

#[derive(Args)]
pub(in crate::cli) struct RevokeArguments {
    /// The offer's id, or a beginning or end of it
    offer: String,
    /// Why, for those who have taken it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Write a signed notice for those who took it in a bundle; they take it as they took that
    #[arg(long, value_name = "FILE")]
    notice: Option<PathBuf>,
}

#[derive(Serialize)]
struct Done<'a> {
    into: &'a SpaceName,
    #[serde(flatten)]
    arrived: &'a Arrived,
}

#[derive(Serialize)]
struct Bundled {
    offer: OfferId,
    file: String,
    to: PrincipalId,
    bytes: usize,
}

#[derive(Serialize)]
struct Withdrawn {
    offer: OfferId,
    #[serde(flatten)]
    revoked: Revoked,
    notice: Option<String>,
}

pub(in crate::cli) fn take(arguments: &TakeArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    if let (Some(file), Some(to), Some(key)) = (&arguments.bundle, &arguments.receiver, &arguments.receiver_key) {
        return bundle(arguments, file, to, *key, scope, screen);
    }
    let path = Path::new(&arguments.what);
    let into = arguments.into.clone().map_or_else(|| scope.space_name().cloned(), Ok)?;
    let arrived = if path.is_file() {
        let bytes = read(path)?;
        // What cannot be read must not leave a folder behind.
        read_bundle(bytes.as_slice(), &BundleLimits::default())
            .map_err(|e| Error::invalid(format!("`{}`: {e}", path.display())))?;
        Market::open(scope, async |market| {
            let space = market.space_or_new(&into).await?;
            market.session.take_bundle(&space, bytes, arguments.owner.clone(), arguments.signed_by).await
        })?
    } else {
        let taken = Market::open(scope, async |market| {
            let offer = market.find(&arguments.what).await?;
            let space = market.space_or_new(&into).await?;
            let session = request(market, arguments)?;
            session.take(&market.space, offer, &space, arguments.owner.clone()).await
        })?;
        Arrived::Taken(Box::new(taken))
    };
    if screen.json {
        return screen.object(&Done { into: &into, arrived: &arrived });
    }
    match &arrived {
        Arrived::Taken(taken) => print(taken, &into, screen),
        Arrived::Notice { offer, withdrawn, held_back } => {
            screen.line(format!("offer {} was revoked", paint(NAME, offer)));
            withdrawal(*withdrawn, *held_back, screen);
        }
    }
    Ok(())
}

/// Returns the session of the caller, whose request has the name that was given.
fn request(market: &Market, arguments: &TakeArguments) -> Result<StoreSession> {
    let session = market.session.clone();
    match &arguments.request {
        Some(key) => session.with_key(key),
        None => Ok(session),
    }
}

fn bundle(
    arguments: &TakeArguments,
    file: &Path,
    to: &PrincipalId,
    key: SpaceKey,
    scope: &Scope,
    screen: &mut Screen,
) -> Result<()> {
    let (offer, bytes) = Market::open(scope, async |market| {
        let offer = market.find(&arguments.what).await?;
        let session = request(market, arguments)?;
        Ok((offer, session.export_offer(&market.space, offer, Principal::new(to.clone()), key).await?))
    })?;
    write(file, &bytes)?;
    let (file, bytes) = (file.display().to_string(), bytes.len());
    if screen.json {
        return screen.object(&Bundled { offer, file, to: to.clone(), bytes });
    }
    screen.line(format!("wrote {file} for {}, {}", paint(NAME, to), size(bytes as u64)));
    screen.line(paint(DIM, format!("`memos take {file}` takes it, once, into the space with that key")));
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let place = path.display();
    let unreadable = |e: std::io::Error| Error::invalid(format!("`{place}` cannot be read: {e}")).with_source(e);
    let most = StoreLimits::default().offer_bytes as u64;
    if fs::metadata(path).map_err(unreadable)?.len() > most {
        return Err(Error::invalid(format!("`{place}` is longer than {most} bytes, which is more than it may have")));
    }
    fs::read(path).map_err(unreadable)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    files::replace(path, |out| {
        out.write_all(bytes).map_err(|e| Error::unavailable(format!("`{}` cannot be written: {e}", path.display())))
    })
}

fn print(taken: &Taken, into: &SpaceName, screen: &mut Screen) {
    let delivered = &taken.delivered;
    for (count, what) in [
        (delivered.updated, "have a next version"),
        (delivered.unchanged, "say what they said"),
        (delivered.withdrawn, "went, as the offer does not hold them any more"),
        (delivered.redacted, "without what is sensitive"),
        (delivered.left_out, "left out"),
    ] {
        if count > 0 {
            screen.line(paint(DIM, format!("{count} {what}")));
        }
    }
    let until = taken.until.map_or_else(String::new, |until| format!(", to be kept until {until}"));
    screen.result(match taken.again {
        true => {
            format!("{} of {} were taken into {into} before{until}", counted(taken.copies.len() as u64), taken.from)
        }
        false => format!("took {} of {} into {into}{until}", counted(taken.copies.len() as u64), taken.from),
    });
}

fn withdrawal(withdrawn: usize, held_back: usize, screen: &mut Screen) {
    screen.line(format!("{} withdrawn", counted(withdrawn as u64)));
    if held_back > 0 {
        screen.line(paint(NOTICE, format!("{} under legal hold stay", counted(held_back as u64))));
    }
}

pub(in crate::cli) fn revoke(arguments: &RevokeArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let (offer, revoked, notice) = Market::open(scope, async |market| {
        let offer = market.find(&arguments.offer).await?;
        let revoked = market.session.revoke(&market.space, offer, arguments.reason.clone()).await?;
        let notice = match &arguments.notice {
            Some(_) => Some(market.session.notice(&market.space, offer).await?),
            None => None,
        };
        Ok((offer, revoked, notice))
    })?;
    if let (Some(file), Some(bytes)) = (&arguments.notice, notice) {
        write(file, &bytes)?;
    }
    let notice = arguments.notice.as_ref().map(|file| file.display().to_string());
    if screen.json {
        return screen.object(&Withdrawn { offer, revoked, notice });
    }
    screen.line(format!("revoked {}", paint(NAME, offer)));
    withdrawal(revoked.withdrawn, revoked.held_back, screen);
    if revoked.elsewhere > 0 {
        let how = notice
            .map_or_else(|| "`--notice FILE` writes what reaches them".to_owned(), |file| format!("send them {file}"));
        screen.line(paint(NOTICE, format!("taken {} in a bundle; {how}", super::times(revoked.elsewhere as u64))));
    }
    Ok(())
}

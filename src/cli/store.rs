//! `memos publish`, `offers`, `subscribe`, `unsubscribe`, `take` and `revoke`: memory that is offered to others and taken
//! under terms.
//!
//! They go through a kernel, whose MemStore holds the terms. Who acts is `--as`, and whoever runs the program vouches for
//! them. The space that is named is the one that offers; for a bundle it is the one that takes it in.

mod offers;
mod publish;
mod take;

use std::time::Duration;

use memos::cube::SpaceName;
use memos::runtime::store::{OfferId, OfferView, StoreSession};
use memos::runtime::{Kernel, KernelOptions, RuntimeLimits, SpaceHandle, block_on};
use memos::{Error, Result};

use super::scope::Scope;

pub(super) use offers::{OffersArguments, SubscribeArguments, UnsubscribeArguments, offers, subscribe, unsubscribe};
pub(super) use publish::{PublishArguments, publish};
pub(super) use take::{RevokeArguments, TakeArguments, revoke, take};

/// How long the kernel has to end.
const ENDING: Duration = Duration::from_secs(60);
/// Fewest characters of an offer's id that are looked up.
const FEWEST: usize = 4;

/// The store of a data folder, with one space of it and the caller at its desk.
struct Market {
    kernel: Kernel,
    space: SpaceHandle,
    session: StoreSession,
}

impl Market {
    /// Opens the kernel, does the work, and ends the kernel. The space must be there.
    fn open<T>(scope: &Scope, work: impl AsyncFnOnce(&Self) -> Result<T>) -> Result<T> {
        let name = scope.space_name()?;
        drop(scope.space()?);
        let options = KernelOptions { vault: scope.options()?, limits: RuntimeLimits::default() };
        block_on(async {
            let kernel = Kernel::open_with(scope.data()?, options).await?;
            let session = kernel.store().await?.session(scope.caller.clone());
            let market = Self { kernel: kernel.clone(), space: kernel.space(name.as_str()).await?, session };
            let done = work(&market).await;
            drop(market);
            kernel.shutdown(ENDING).await?;
            done
        })
    }

    /// Opens another space of the same folder, which is made if it is not there.
    async fn space_or_new(&self, name: &SpaceName) -> Result<SpaceHandle> {
        self.kernel.space(name.as_str()).await
    }

    /// Finds the offer that is meant: by its id, or a beginning or end of it.
    async fn find(&self, typed: &str) -> Result<OfferId> {
        if let Ok(id) = typed.parse() {
            return Ok(id);
        }
        if typed.len() < FEWEST || !typed.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
            return Err(Error::invalid(format!(
                "`{typed}` is not the id of an offer; type at least {FEWEST} digits of its beginning or end, as `memos offers` prints them"
            )));
        }
        let part = typed.to_ascii_lowercase();
        let offers = self.session.offers(&self.space).await?;
        let fits = |offer: &&OfferView| {
            let id = offer.id.to_string();
            id.starts_with(&part) || id.ends_with(&part)
        };
        let mut fitting = offers.iter().filter(fits);
        match (fitting.next(), fitting.next()) {
            (Some(offer), None) => Ok(offer.id),
            (None, _) => Err(Error::not_found(format!(
                "no offer in `{}` has an id that begins or ends in `{typed}`",
                self.space.name()
            ))),
            (Some(_), Some(_)) => Err(Error::invalid(format!("`{typed}` fits several offers; type more of it"))),
        }
    }
}

/// Returns the last group of an id's digits.
fn short(id: &impl ToString) -> String {
    let id = id.to_string();
    id.rsplit('-').next().unwrap_or_default().to_owned()
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

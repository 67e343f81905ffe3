//! `memos publish`: memories that others may take, and under which terms.
//!
//! With `--json`: `{"offer": {…}}` with the fields of [`memos::runtime::store::Offer`].

use clap::{ArgGroup, Args};
use memos::cube::{GroupName, PrincipalId, SpaceName};
use memos::runtime::store::{Offer, OfferDraft, Takers, Terms};
use memos::time::{Clock, SystemClock, Timestamp};
use memos::{Error, Result};
use serde::Serialize;

use super::{Market, times};
use crate::cli::erase::counted;
use crate::cli::govern::millis;
use crate::cli::ids::find;
use crate::cli::scope::Scope;
use crate::cli::screen::{DIM, NAME, Screen, paint, printable};

#[derive(Args)]
#[command(group(ArgGroup::new("takers").required(true).multiple(true)))]
pub(in crate::cli) struct PublishArguments {
    /// The memories, each by its id or a beginning or end of it
    #[arg(value_name = "ID", required_unless_present = "renew")]
    id: Vec<String>,
    /// What the offer is called
    #[arg(long, value_name = "TEXT", required_unless_present = "renew")]
    name: Option<String>,
    /// A label by which it is found; may be repeated
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Somebody who may take it; may be repeated
    #[arg(long, value_name = "WHO", group = "takers")]
    to: Vec<PrincipalId>,
    /// A group whose members may take it; may be repeated
    #[arg(long, value_name = "NAME", group = "takers")]
    to_group: Vec<GroupName>,
    /// Everybody may take it
    #[arg(long, group = "takers")]
    to_everybody: bool,
    /// A space that it may be taken into; may be repeated [default: any]
    #[arg(long, value_name = "ORG/NAME")]
    only_into: Vec<SpaceName>,
    /// How often it may be taken, over all takers [default: as often as anybody likes]
    #[arg(long, value_name = "N")]
    uses: Option<u64>,
    /// For how long it may be taken, and what was taken be kept, such as `90d` [default: for ever]
    #[arg(long = "for", value_name = "TIME", value_parser = millis)]
    time: Option<u64>,
    /// Let those who take it offer it to others
    #[arg(long)]
    pass_on: bool,
    /// Hand over what is sensitive to those who may read it here; to all others it is redacted
    #[arg(long)]
    sensitive: bool,
    /// Leave what was taken where it is when the offer is revoked
    #[arg(long)]
    keep_when_revoked: bool,
    /// Make the next edition of this offer, of what its memories say now
    #[arg(long, value_name = "OFFER", group = "takers",
        conflicts_with_all = ["id", "name", "tag", "to", "to_group", "to_everybody", "only_into", "uses", "time", "pass_on", "sensitive", "keep_when_revoked"])]
    renew: Option<String>,
}

#[derive(Serialize)]
struct Published {
    offer: Offer,
}

pub(in crate::cli) fn publish(arguments: PublishArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let offer = match &arguments.renew {
        Some(offer) => {
            Market::open(scope, async |market| market.session.renew(&market.space, market.find(offer).await?).await)?
        }
        None => {
            let draft = draft(arguments, scope)?;
            Market::open(scope, async |market| market.session.publish(&market.space, draft).await)?
        }
    };
    if screen.json {
        return screen.object(&Published { offer });
    }
    let Terms { uses, until, pass_on, revocable, .. } = &offer.terms;
    screen.result(offer.id);
    let mut says = vec![counted(offer.cubes.len() as u64), format!("edition {}", offer.edition)];
    says.extend(uses.map(|uses| format!("to be taken {}", times(uses))));
    says.extend(until.map(|until| format!("until {until}")));
    says.extend(pass_on.then(|| "may be passed on".to_owned()));
    says.extend((!revocable).then(|| "stays when revoked".to_owned()));
    screen.line(format!("{}: {}", paint(NAME, printable(&offer.name)), says.join(", ")));
    screen.line(paint(DIM, format!("`memos take {} --space {}` takes it", offer.id, offer.space)));
    Ok(())
}

fn draft(arguments: PublishArguments, scope: &Scope) -> Result<OfferDraft> {
    let space = scope.space()?;
    let cubes = arguments.id.iter().map(|id| find(&space, &scope.caller, id)).collect::<Result<_>>()?;
    let until = match arguments.time {
        None => None,
        Some(millis) => {
            let end = i64::try_from(millis).ok().and_then(|millis| SystemClock.now().as_millis().checked_add(millis));
            let too_long = || Error::invalid("the offer would end later than there is a date for; give a shorter time");
            Some(Timestamp::from_millis(end.ok_or_else(too_long)?))
        }
    };
    let takers = Takers {
        everybody: arguments.to_everybody,
        principals: arguments.to.into_iter().collect(),
        groups: arguments.to_group.into_iter().collect(),
        spaces: arguments.only_into.into_iter().collect(),
    };
    let terms = Terms {
        uses: arguments.uses,
        until,
        pass_on: arguments.pass_on,
        sensitive: arguments.sensitive,
        revocable: !arguments.keep_when_revoked,
        takers,
    };
    Ok(OfferDraft { name: arguments.name.unwrap_or_default(), tags: arguments.tag, cubes, terms })
}

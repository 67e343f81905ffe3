//! `memos offers`, `memos subscribe` and `memos unsubscribe`: what can be taken, and what somebody waits for.
//!
//! With `--json`: `offers` gives `{"space": "home/main", "offers": [{…}], "subscriptions": [{…}]}` with the fields of
//! [`memos::runtime::store::OfferView`] and [`memos::runtime::store::StandingInterest`]; with `--matching` each offer has
//! `fits` beside it: `{"offer": {…}, "fits": {"tag": "ops"}}`. `subscribe` gives `{"subscription": {…}}` and `unsubscribe`
//! `{"ended": "…"}`.

use clap::{ArgGroup, Args};
use memos::cube::SpaceName;
use memos::runtime::store::{Fits, Interest, Match, OfferView, StandingInterest, SubscriptionId, THRESHOLD};
use memos::{Error, Result};
use serde::Serialize;

use super::{FEWEST, Market, short};
use crate::cli::Found;
use crate::cli::scope::Scope;
use crate::cli::screen::{DIM, NAME, Screen, paint};
use crate::cli::table::Table;

#[derive(Args)]
pub(in crate::cli) struct OffersArguments {
    /// Only those that can be taken and fit a subscription
    #[arg(long)]
    matching: bool,
}

#[derive(Args)]
#[command(group(ArgGroup::new("interest").required(true)))]
pub(in crate::cli) struct SubscribeArguments {
    /// Offers with this tag; may be repeated, and one of them is enough
    #[arg(long, value_name = "TAG", group = "interest")]
    tag: Vec<String>,
    /// Offers whose words mean something near to this sentence
    #[arg(long, value_name = "SENTENCE", group = "interest")]
    meaning: Option<String>,
    /// How near, from 0 to 1
    #[arg(long, value_name = "COSINE", default_value_t = THRESHOLD, requires = "meaning")]
    nearness: f32,
}

#[derive(Args)]
pub(in crate::cli) struct UnsubscribeArguments {
    /// The subscription's id, or a beginning or end of it
    id: String,
}

#[derive(Serialize)]
struct Listed<'a, T> {
    space: &'a SpaceName,
    offers: Vec<T>,
    subscriptions: Vec<StandingInterest>,
}

#[derive(Serialize)]
struct Subscribed {
    subscription: StandingInterest,
}

#[derive(Serialize)]
struct Unsubscribed {
    ended: SubscriptionId,
}

pub(in crate::cli) fn offers(arguments: &OffersArguments, scope: &Scope, screen: &mut Screen) -> Result<Found> {
    let (matches, offers, subscriptions) = Market::open(scope, async |market| {
        let subscriptions = market.session.subscriptions(&market.space).await?;
        Ok(match arguments.matching {
            true => (market.session.matching(&market.space).await?, Vec::new(), subscriptions),
            false => (Vec::new(), market.session.offers(&market.space).await?, subscriptions),
        })
    })?;
    let space = scope.space_name()?;
    let found = if matches.is_empty() && offers.is_empty() { Found::Nothing } else { Found::Something };
    if screen.json {
        match arguments.matching {
            true => screen.object(&Listed { space, offers: matches, subscriptions })?,
            false => screen.object(&Listed { space, offers, subscriptions })?,
        }
        return Ok(found);
    }
    if found == Found::Nothing {
        screen.line(format!("nothing in {} is offered to {}", paint(NAME, space), scope.caller.id));
    } else {
        let rows: Vec<(&OfferView, String)> = match arguments.matching {
            true => matches.iter().map(|Match { offer, fits }| (offer, fits_text(fits))).collect(),
            false => offers.iter().map(|offer| (offer, offer.tags.join(", "))).collect(),
        };
        print(&rows, if arguments.matching { "fits" } else { "tags" }, screen);
    }
    for subscription in &subscriptions {
        screen.line(paint(DIM, format!("subscribed {}: {}", short(&subscription.id), wanted(&subscription.interest))));
    }
    Ok(found)
}

fn print(rows: &[(&OfferView, String)], last: &'static str, screen: &mut Screen) {
    let mut table = Table::new(0)
        .words("offer", NAME)
        .text("name")
        .words("by", DIM)
        .numbers("memories")
        .numbers("left")
        .text("until")
        .text(last);
    for (offer, said) in rows {
        let left = offer.left.map_or_else(|| "any".to_owned(), |left| left.to_string());
        let until = match (&offer.ended, offer.until) {
            (Some(why), _) => why.clone(),
            (None, Some(until)) => until.to_string(),
            (None, None) => "for ever".to_owned(),
        };
        let by = if offer.is_own { "you".to_owned() } else { offer.publisher.to_string() };
        table.row([short(&offer.id), offer.name.clone(), by, offer.memories.to_string(), left, until, said.clone()]);
    }
    table.lines(screen.columns).into_iter().for_each(|line| screen.result(line));
}

fn fits_text(fits: &Fits) -> String {
    match fits {
        Fits::Tag(tag) => format!("tag {tag}"),
        Fits::Meaning(near) => format!("meaning, {near:.2}"),
    }
}

fn wanted(interest: &Interest) -> String {
    match interest {
        Interest::Tags(tags) => format!("tags {}", tags.join(", ")),
        Interest::Meaning { sentence, threshold } => format!("\u{201c}{sentence}\u{201d}, from {threshold:.2}"),
    }
}

pub(in crate::cli) fn subscribe(arguments: SubscribeArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let interest = match arguments.meaning {
        Some(sentence) => Interest::Meaning { sentence, threshold: arguments.nearness },
        None => Interest::Tags(arguments.tag),
    };
    let subscription = Market::open(scope, async |market| market.session.subscribe(&market.space, interest).await)?;
    if screen.json {
        return screen.object(&Subscribed { subscription });
    }
    screen.result(subscription.id);
    screen.line(paint(DIM, format!("{}; `memos offers --matching` shows what fits", wanted(&subscription.interest))));
    Ok(())
}

pub(in crate::cli) fn unsubscribe(arguments: &UnsubscribeArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let typed = arguments.id.to_ascii_lowercase();
    let ended = Market::open(scope, async |market| {
        let own = market.session.subscriptions(&market.space).await?;
        let fits =
            |id: &String| *id == typed || typed.len() >= FEWEST && (id.starts_with(&typed) || id.ends_with(&typed));
        let fitting: Vec<SubscriptionId> =
            own.iter().map(|standing| standing.id).filter(|id| fits(&id.to_string())).collect();
        match fitting.as_slice() {
            [id] => market.session.unsubscribe(&market.space, *id).await.map(|()| *id),
            [] => Err(Error::not_found(format!("no subscription of `{}` has the id `{typed}`", scope.caller.id))),
            _ => Err(Error::invalid(format!("`{typed}` fits several subscriptions; type more of it"))),
        }
    })?;
    if screen.json {
        return screen.object(&Unsubscribed { ended });
    }
    screen.line(format!("ended {}", paint(NAME, short(&ended))));
    Ok(())
}

//! The market: the baker offers what the house bakes, a neighbour is told and takes it, and the terms hold.

use std::time::Duration;

use memos::prelude::*;
use memos::runtime::store::{Interest, OfferDraft, StoreFact, Takers, Terms};
use tokio::sync::oneshot;

use super::house::{Agent, House, done, expected, short};

const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
const ASKED: &str = "How is bread baked without nuts?";

/// An offer is told to who waits for such, taken once, revoked while it is read, and ended by its licence.
pub(crate) async fn a_neighbour_takes_what_is_offered(house: &House) -> memos::Result<()> {
    house.telling.act("6  A neighbour takes what is offered");
    let (bakery, tearoom) = (Principal::new("agent:bakery".parse()?), Principal::new("agent:tearoom".parse()?));
    let (store, shop) = (house.kernel.store().await?, house.kernel.space("lane/bakery").await?);
    let neighbour = house.agent_at(&shop, bakery.clone());
    let (at_the_house, late) = (store.session(bakery.clone()), store.session(tearoom.clone()));
    let publisher = store.session(Principal::new("agent:baker".parse()?));

    at_the_house.subscribe(&house.memory, Interest::meaning("baking bread without nuts")).await?;
    let mut heard = at_the_house.listen(&house.memory)?;

    let until = Timestamp::from_millis(house.now().as_millis() + MONTH.as_millis() as i64);
    let takers = Takers { principals: [bakery.id, tearoom.id.clone()].into(), ..Takers::default() };
    let mut copies = Vec::new();
    for (name, text, terms) in [
        (
            "rye bread without nuts",
            "Rye bread without nuts: bake at 230 degrees, on a stone that no nut has touched",
            Terms { uses: Some(1), until: Some(until), takers: takers.clone(), ..Terms::default() },
        ),
        (
            "bread and pear tart without nuts",
            "Pear tart without nuts: bake oat crumbs in place of almonds until they are brown",
            Terms { takers, ..Terms::default() },
        ),
    ] {
        let baker = house.agent("agent:baker", "breakfast")?;
        let recipe = CubeDraft { tags: vec!["recipe".to_owned()], ..CubeDraft::text(SemanticType::Instruction, text) };
        let cubes = vec![baker.remember(recipe).await?];
        let draft = OfferDraft { name: name.to_owned(), tags: vec!["recipe".to_owned()], cubes, terms };
        publisher.publish(&house.memory, draft).await?;

        let told = expected(heard.next().await, "offer")?;
        let Heard::Fact(StoreFact::Offered { offer, fits }) = told else { continue };
        neighbour.tell("is told", format!("`{}` of {}, as it fits: {fits:?}", offer.name, offer.publisher));
        let taken = at_the_house.take(&house.memory, offer.id, &shop, None).await?;
        let term = taken.until.map_or_else(|| "no end".to_owned(), |until| format!("an end at {until}"));
        neighbour.tell("takes", format!("{} memory into {}, with {term}", taken.delivered.new, shop.name()));
        copies.push((offer.id, expected(taken.copies.first().copied(), "copy")?));
    }
    let (bread, bread_copy) = *expected(copies.first(), "bread")?;
    let (tart, tart_copy) = *expected(copies.last(), "tart")?;
    if let Err(error) = late.take(&house.memory, bread, &shop, None).await {
        house.telling.tell(tearoom.id.as_str(), "is told", error.to_string().replace(&bread.to_string(), "of bread"));
    }

    // The tart is taken back while the neighbour reads it: from the revocation on, no answer names it.
    let (reads, begun) = oneshot::channel();
    let reader = tokio::spawn(reads_until_gone(neighbour.clone(), tart_copy, reads));
    begun.await.map_err(|e| Error::unavailable(e.to_string()).with_source(e))?;
    let revoked = publisher.revoke(&house.memory, tart, "the oats are not free of nuts").await?;
    house.telling.tell("agent:baker", "revokes", format!("the tart: {} copy withdrawn", revoked.withdrawn));
    tell_is_named(&neighbour, tart_copy, "tart").await?;
    done(reader).await?;
    neighbour.tell("reads on", "and no answer names the tart any more");
    while let Some(Heard::Fact(fact)) = heard.try_next() {
        if let StoreFact::Revoked { reason, .. } = fact {
            neighbour.tell("is told", format!("it was revoked: {reason}"));
        }
    }

    // The licence of the bread runs out.
    tell_is_named(&neighbour, bread_copy, "bread").await?;
    house.passes(MONTH);
    let withdrawn = store.enforce(&shop).await?;
    house.telling.tell("store", "withdraws", format!("{withdrawn} copy, a month later"));
    tell_is_named(&neighbour, bread_copy, "bread").await?;
    if let Err(error) = at_the_house.take(&house.memory, bread, &shop, None).await {
        neighbour.tell("is told", error.to_string().replace(&bread.to_string(), "of bread"));
    }
    Ok(())
}

/// Reads without a pause until no answer names a cube any more.
async fn reads_until_gone(agent: Agent, cube: CubeId, reads: oneshot::Sender<()>) -> memos::Result<()> {
    let mut reads = Some(reads);
    while is_named(&agent, cube).await? {
        // That nobody listens any more is no matter of the reader's.
        let _ = reads.take().map(|reads| reads.send(()));
    }
    Ok(())
}

async fn is_named(agent: &Agent, cube: CubeId) -> memos::Result<bool> {
    Ok(agent.ask(ASKED, "recipe").await?.1.receipts.iter().any(|receipt| receipt.cube == cube))
}

async fn tell_is_named(agent: &Agent, cube: CubeId, what: &str) -> memos::Result<()> {
    let how = if is_named(agent, cube).await? { "an answer names" } else { "no answer names" };
    agent.tell("asks", format!("{ASKED}  {how} the {what} {}", short(&cube)));
    Ok(())
}

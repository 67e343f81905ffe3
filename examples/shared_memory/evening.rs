//! The evening: agents work at once, some are refused, two correct the same fact, workers tidy up, the scheduler says why.

use std::sync::Arc;

use memos::cube::{Revision, VersionRef};
use memos::evolve::{Job, Report};
use memos::prelude::*;
use memos::runtime::scheduler::{DecisionQuery, Scheduling};
use tokio::sync::Barrier;

use super::house::{Agent, House, done, expected, short};

/// What the agents have remembered, for whoever looks back.
pub(crate) struct Found {
    /// What the concierge learned of a guest.
    pub(crate) allergy: CubeId,
    /// What is for the desk alone.
    pub(crate) key: CubeId,
    /// What the cook made of it.
    pub(crate) menu: CubeId,
    /// What the buyer made of that.
    pub(crate) list: CubeId,
}

/// Who may not eat what: what three of the agents ask.
const WHO_EATS_WHAT: &str = "What must guests not eat?";

fn group(name: &str) -> memos::Result<Layer> {
    name.parse().map(Layer::Shared)
}

/// A draft for the desk.
fn at_the_desk(semantic: SemanticType, text: &str) -> memos::Result<CubeDraft> {
    Ok(CubeDraft { layer: group("desk")?, ..CubeDraft::text(semantic, text) })
}

/// A draft for the board of the kitchen: whoever of the kitchen writes it, it is the kitchen's.
fn on_the_board(tag: &str, text: impl Into<String>, from: &[Receipt]) -> memos::Result<CubeDraft> {
    Ok(CubeDraft {
        owner: Some("agent:kitchen".parse()?),
        layer: group("kitchen")?,
        tags: vec![tag.to_owned()],
        derived_from: from.iter().map(version).collect(),
        ..CubeDraft::text(SemanticType::Fact, text)
    })
}

fn version(receipt: &Receipt) -> VersionRef {
    VersionRef { cube: receipt.cube, version: receipt.version }
}

/// Each agent works on its own task, at once with the others. They meet in the memory alone.
pub(crate) async fn agents_work_at_once(house: &House) -> memos::Result<Found> {
    house.telling.act("1  Six agents work at once");
    let buyer = tokio::spawn(buys(house.agent("agent:buyer", "shopping")?));
    let baker = tokio::spawn(bakes(house.agent("agent:baker", "breakfast")?));
    let cook = tokio::spawn(cooks(house.agent("agent:cook", "dinner")?));
    let porter = tokio::spawn(keeps_the_keys(house.agent("agent:porter", "night round")?));
    let promoter = tokio::spawn(writes_a_letter(house.agent("agent:promoter", "letter")?));
    let concierge = tokio::spawn(takes_a_call(house.agent("agent:concierge", "arrival")?));
    done(promoter).await?;
    done(baker).await?;
    let (allergy, key) = (done(concierge).await?, done(porter).await?);
    Ok(Found { allergy, key, menu: done(cook).await?, list: done(buyer).await? })
}

/// The concierge keeps what was said on the telephone, and what follows from it for others.
async fn takes_a_call(concierge: Agent) -> memos::Result<CubeId> {
    const CALL: &[(&str, &str)] = &[
        ("Mr Okafor", "Good afternoon, we have booked room 4 from Friday and would like to dine in the house."),
        ("Concierge", "You are welcome, Mr Okafor. Is there anything that the kitchen should know for the dinner?"),
        ("Mr Okafor", "Yes, I must not eat peanuts. Even a little in the dinner would send me to hospital."),
        ("Concierge", "I tell the kitchen at once, so that the dinner on Friday has no peanuts."),
        ("Mr Okafor", "Thank you. We take the ferry and should be with you at six."),
    ];
    let mut call = Batch::default();
    for (speaker, words) in CALL {
        let draft = at_the_desk(SemanticType::Message, words)?;
        let (speaker, session) = (Some((*speaker).to_owned()), Some("call of Mr Okafor".to_owned()));
        call.store(concierge.session.new_id().await?, CubeDraft { speaker, session, ..draft });
    }
    concierge.session.commit(call).await?;

    let read = Rights { read: true, write: false, share: false };
    let learned = CubeDraft {
        tags: vec!["diet".to_owned()],
        grants: vec![
            Grant { to: Grantee::Group("kitchen".parse()?), rights: read },
            Grant { to: Grantee::Group("desk".parse()?), rights: Rights { write: true, ..read } },
        ],
        ..at_the_desk(SemanticType::Fact, "Mr Okafor in room 4 must not eat peanuts")?
    };
    concierge.remember(learned).await
}

/// The cook waits for what the desk knows, and plans with it.
async fn cooks(cook: Agent) -> memos::Result<CubeId> {
    let van = "The fish van comes into the yard on Friday at seven";
    cook.remember(on_the_board("delivery", van, &[])?).await?;
    let budget = on_the_board("budget", "The dinner budget is 300 euros", &[])?;
    cook.remember(CubeDraft { observed: Some("2026-05-08T09:00:00Z".parse()?), ..budget }).await?;
    let diets = cook.wait_for(WHO_EATS_WHAT, "diet", 1).await?;
    cook.remember(on_the_board("menu", menu("Dinner: satay with sesame sauce", &diets), &diets)?).await
}

async fn bakes(baker: Agent) -> memos::Result<CubeId> {
    let diets = baker.wait_for(WHO_EATS_WHAT, "diet", 1).await?;
    baker.remember(on_the_board("menu", menu("Breakfast: rye bread and pear tart", &diets), &diets)?).await
}

/// Says why a dish is as it is, in the words of those who knew.
fn menu(dish: &str, diets: &[Receipt]) -> String {
    let known: Vec<&str> = diets.iter().map(|receipt| receipt.text.as_str()).collect();
    format!("{dish}, because {}", known.join(" and "))
}

/// The buyer needs both menus, and writes down what others of the kitchen know as well.
async fn buys(buyer: Agent) -> memos::Result<CubeId> {
    let van = "the fish van comes into the yard at seven on Friday";
    buyer.remember(on_the_board("delivery", van, &[])?).await?;
    let budget = on_the_board("budget", "The dinner budget is now 240 euros", &[])?;
    buyer.remember(CubeDraft { observed: Some("2026-05-08T14:00:00Z".parse()?), ..budget }).await?;
    let menus = buyer.wait_for("What is for dinner and for breakfast?", "menu", 2).await?;
    let list = "Shopping list: sesame, chicken, rye flour and pears";
    buyer.remember(on_the_board("shopping", list, &menus)?).await
}

async fn keeps_the_keys(porter: Agent) -> memos::Result<CubeId> {
    let key = at_the_desk(SemanticType::Fact, "The spare key of room 7 lies in the blue drawer")?;
    porter.remember(CubeDraft { tags: vec!["key".to_owned()], ..key }).await
}

async fn writes_a_letter(promoter: Agent) -> memos::Result<CubeId> {
    let plan = "The summer letter goes to the printer on Monday";
    promoter.remember(at_the_desk(SemanticType::Event, plan)?).await
}

/// One is of the wrong group, one comes for the wrong purpose, one may read and not write. To the first two there is nothing.
pub(crate) async fn two_are_refused(house: &House, found: &Found) -> memos::Result<()> {
    house.telling.act("2  Who is refused");
    let buyer = house.agent("agent:buyer", "shopping")?;
    let letter = Principal::new("agent:promoter".parse()?).in_task("letter").acting_for("advertising");
    for (agent, question, tag, named) in [
        (buyer.clone(), "Where is the spare key of room 7?", "key", found.key),
        (house.agent_as(letter), "Who dines in the house?", "diet", found.allergy),
    ] {
        let answer = agent.ask(question, tag).await?.1;
        agent.tell("asks", format!("{question}  {} of {} memories", answer.receipts.len(), answer.considered));
        match agent.session.get(&named).await {
            Err(error) => agent.tell("is told", error.to_string().replace(&named.to_string(), &short(&named))),
            Ok((cube, _)) => agent.tell("sees", cube.payload.as_text().unwrap_or_default()),
        }
    }
    let seen = buyer.session.get(&found.allergy).await?.1.digest;
    let mut batch = Batch::default();
    batch.update(Update {
        cube: found.allergy,
        parent: seen,
        mode: UpdateMode::Overwrite(Payload::text("All eat all")),
    });
    match buyer.session.commit(batch).await {
        Err(error) => {
            buyer.tell("is told", error.to_string().replace(&found.allergy.to_string(), &short(&found.allergy)))
        }
        Ok(_) => buyer.tell("writes", "what it should not"),
    }
    Ok(())
}

/// Two have seen the same version and correct it at once: one of them is told so, looks again, and nothing is lost. The cook
/// hears of it.
pub(crate) async fn two_correct_one_fact(house: &House, found: &Found) -> memos::Result<()> {
    house.telling.act("3  Two correct one fact, and the cook hears of it");
    let cook = tokio::spawn(cooks_anew(house.agent("agent:cook", "dinner")?, found.allergy, found.menu));
    let both_have_seen = Arc::new(Barrier::new(2));
    let mut work = Vec::new();
    for (name, task, old, new) in [
        ("agent:porter", "night round", "peanuts", "peanuts or cashews"),
        ("agent:concierge", "arrival", "room 4", "room 6"),
    ] {
        let agent = house.agent(name, task)?;
        work.push(tokio::spawn(correct(agent, found.allergy, (old, new), both_have_seen.clone())));
    }
    for correction in work {
        done(correction).await?;
    }
    done(cook).await
}

async fn correct(
    agent: Agent,
    cube: CubeId,
    (old, new): (&'static str, &'static str),
    both_have_seen: Arc<Barrier>,
) -> memos::Result<()> {
    let mut is_first = true;
    loop {
        let (seen, head) = agent.session.get(&cube).await?;
        if std::mem::take(&mut is_first) {
            both_have_seen.wait().await;
        }
        let text = seen.payload.as_text().unwrap_or_default().replace(old, new);
        let mut batch = Batch::default();
        batch.update(Update { cube, parent: head.digest, mode: UpdateMode::Overwrite(Payload::text(&text)) });
        match agent.session.commit(batch).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                agent.tell("is told", error.to_string().replace(&cube.to_string(), &short(&cube)));
            }
            committed => {
                let stored = committed?.stored.first().map_or(0, |stored| stored.version);
                agent.tell("corrects", format!("{text}  {}, version {stored}", short(&cube)));
                return Ok(());
            }
        }
    }
}

/// The cook hears of every version of what the menu was made from, and makes the next version of the menu.
async fn cooks_anew(cook: Agent, source: CubeId, menu_cube: CubeId) -> memos::Result<()> {
    let mut changes = cook.session.space().changes()?;
    loop {
        let present = cook.session.get(&source).await?.0.header.version;
        if present >= 3 {
            break;
        }
        changes.next().await.ok_or_else(|| Error::unavailable("the memory was closed"))?;
    }
    let diets = cook.wait_for(WHO_EATS_WHAT, "diet", 1).await?;
    let text = menu("Dinner: satay with sesame sauce", &diets);
    let sources = diets.iter().map(version).collect();
    let revision = Revision { payload: Some(Payload::text(&text)), sources, ..Revision::default() };
    let parent = cook.session.get(&menu_cube).await?.1.digest;
    let mut batch = Batch::default();
    batch.update(Update { cube: menu_cube, parent, mode: UpdateMode::Revise(Box::new(revision)) });
    cook.session.commit(batch).await?;
    cook.tell("rewrites", format!("{text}  {}", short(&menu_cube)));
    Ok(())
}

/// The scheduler was told of each answer. It says what it would load for the cook, and what it has read ahead.
pub(crate) async fn the_scheduler_says_why(house: &House, found: &Found) -> memos::Result<()> {
    house.telling.act("4  What is at hand for the dinner, and why");
    let cook = house.agent("agent:cook", "dinner")?;
    let (call, answer) = cook.ask(WHO_EATS_WHAT, "diet").await?;
    house.scheduler.settle().await?;
    let plan = house.scheduler.plan(&cook.session, &call, &answer).await?;
    for load in plan.loads.iter().filter(|load| load.form.is_some()) {
        house.telling.tell("scheduler", "loads", format!("{}: {}", short(&load.version.cube), load.reason));
    }
    for memory in house.scheduler.working_set(&cook.session).await? {
        let how = if memory.used { "keeps" } else { "read ahead" };
        house.telling.tell("scheduler", how, format!("{}  {}", memory.text, short(&memory.version.cube)));
    }
    let query = DecisionQuery { scheduling: Some(Scheduling::Prefetch), ..DecisionQuery::default() };
    for decision in house.scheduler.journal(&cook.session, query).await? {
        let why = decision.because.to_string().replace(&found.allergy.to_string(), &short(&found.allergy));
        house.telling.tell("scheduler", "says", format!("{}: {why}", short(&decision.version.cube)));
    }
    Ok(())
}

/// What two agents wrote twice is merged, what was learned later holds, and a call that has ended is summarised.
pub(crate) async fn workers_tidy_up(house: &House) -> memos::Result<()> {
    house.telling.act("5  Workers tidy up behind them");
    let mut worked = house.worked.lock().await;
    let mut awaited = vec![Job::Merge, Job::Contradictions];
    while !awaited.is_empty() {
        let heard = expected(worked.next().await, "worker")?;
        if let Heard::Fact(fact) = heard
            && fact.report.total() > 0
        {
            awaited.retain(|job| *job != fact.job);
            tell_report(house, fact.job, &fact.report).await?;
        }
    }
    let space = house.memory.name().clone();
    for job in [Job::Summarise, Job::Link] {
        let report = house.lifecycle.run(&space, job).await?;
        tell_report(house, job, &report).await?;
    }
    Ok(())
}

async fn tell_report(house: &House, job: Job, report: &Report) -> memos::Result<()> {
    let ada = house.agent("user:ada", "looking after the house")?;
    for deed in &report.deeds {
        let (cube, _) = ada.session.get(&deed.cube).await?;
        let with = deed.with.map(|with| format!(" {}", short(&with))).unwrap_or_default();
        let text = cube.payload.as_text().unwrap_or_default().replace('\n', " / ");
        house.telling.tell(job.as_str(), &deed.what.to_string(), format!("{text}  {}", short(&deed.cube)));
        house.telling.tell("", "", format!("because {}{with}", deed.because));
    }
    Ok(())
}

//! A load for who wants to see something: a kernel of its own, some agents who remember and ask, and one who writes a lot now and
//! then. It ends with the look at it, and leaves nothing behind.

use std::time::Duration;

use memos::cube::{CubeDraft, SemanticType};
use memos::governance::Principal;
use memos::runtime::telemetry::Meters;
use memos::runtime::{Kernel, Session, block_on, measure};
use memos::{Error, Result};

use crate::cli::sending;

const SPACES: [&str; 3] = ["harbour/kitchen", "harbour/garden", "harbour/office"];
const AGENTS_EACH: u32 = 4;
const WHO: [&str; 8] = ["Mira", "Tomas", "Ines", "Pavel", "Noor", "Lars", "Keiko", "Omar"];
const WHAT: [&str; 6] = ["likes", "mended", "lost", "planted", "asked for", "painted"];
const WHICH: [&str; 7] =
    ["the red kettle", "a lantern", "the rose", "her notebook", "the ladder", "a compass", "the boat"];
/// How long an agent rests before its next step, at least; every agent has its own measure.
const REST: Duration = Duration::from_millis(15);
/// Every so many steps of the first agent of a space it writes many at once.
const BURST_STEPS: u64 = 150;
const BURST: usize = 48;

/// Looks at the meters of a kernel under load.
pub(super) fn with_load(look: impl FnOnce(Meters) -> Result<()>) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("memos-top-").tempdir();
    let folder =
        folder.map_err(|e| Error::unavailable(format!("a temporary folder cannot be made: {e}")).with_source(e))?;
    block_on(async {
        let kernel = Kernel::open(folder.path()).await?;
        let sending = sending::begin(kernel.meters())?;
        let mut agents = Vec::new();
        for name in SPACES {
            let space = kernel.space(name).await?;
            for number in 0..AGENTS_EACH {
                let agent = Principal::new(format!("agent:{number}").parse()?);
                agents.push(measure::in_background(live(space.session(agent), number)));
            }
        }
        // The load goes on on other threads while this one looks.
        let looked = look(kernel.meters());
        drop(agents);
        kernel.shutdown(Duration::from_secs(5)).await?;
        sending.end();
        looked
    })
}

async fn live(session: Session, number: u32) -> Result<()> {
    let rest = REST * (number + 1);
    for step in 0_u64.. {
        let say = |more: u64| sentence(u64::from(number) * 7919 + step + more);
        let done = match step % 5 {
            0 => session.remember(CubeDraft::text(SemanticType::Fact, say(0))).await.map(drop),
            _ => session.ask(say(step)).await.map(drop),
        };
        // What is busy, or too late, is a thing to look at.
        done.or_else(|error| if error.kind().is_retryable() { Ok(()) } else { Err(error) })?;
        if number == 0 && step % BURST_STEPS == BURST_STEPS - 1 {
            burst(&session, step).await?;
        }
        measure::rest(rest).await;
    }
    Ok(())
}

/// Many who write at once, so that one durable step serves them all.
async fn burst(session: &Session, step: u64) -> Result<()> {
    let many: Vec<_> = (0..BURST)
        .map(|number| {
            let session = session.clone();
            let text = sentence(step * 31 + number as u64);
            measure::in_background(async move {
                session.remember(CubeDraft::text(SemanticType::Fact, text)).await.map(drop)
            })
        })
        .collect();
    measure::rest(Duration::from_millis(200)).await;
    drop(many);
    Ok(())
}

fn sentence(number: u64) -> String {
    let pick = |words: &[&'static str], number: u64| {
        words.get((number % words.len() as u64) as usize).copied().unwrap_or_default()
    };
    let (who, what, which) = (pick(&WHO, number), pick(&WHAT, number / 3), pick(&WHICH, number / 5));
    format!("{who} {what} {which} on day {}", number % 365)
}

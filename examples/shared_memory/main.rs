//! Many agents, one memory: an evening in a guesthouse.
//!
//! Six agents in two groups, the desk and the kitchen, each a task of its own with a session of its own, work at once on what
//! they remember together. They never send each other a message: one learns something, others hear that the memory has
//! changed, ask, and build on what they find. One is refused, two correct the same fact, workers tidy up behind all of them,
//! the scheduler says what it has at hand and why, a neighbour takes what is offered, and at the end the record, the lineage
//! and a picture explain how it all came about.
//!
//! `cargo run --release --example shared_memory`
//!
//! What is printed is what receipts, facts and the audit log say. The agents' wishes are scripted, since no model is needed to
//! show memory; what they find, and what becomes of it, is not.

mod evening;
mod house;
mod looking_back;
mod market;

use std::path::Path;
use std::time::Duration;

use house::House;
use memos::prelude::*;

/// Where the picture of the graph goes.
const PICTURE: &str = "shared-memory.html";

/// Tells the story in a folder that goes away.
pub fn main() -> memos::Result<()> {
    tell(Path::new(PICTURE)).map(drop)
}

/// Tells the story, draws its picture into a file, and returns what it printed.
///
/// # Errors
/// Those of the memory: nothing in the story is expected to fail but what it says is refused.
pub fn tell(picture: &Path) -> memos::Result<Vec<String>> {
    let folder = tempfile::tempdir().map_err(|e| Error::unavailable(e.to_string()).with_source(e))?;
    runtime::block_on(async {
        let house = House::open(folder.path()).await?;
        let found = evening::agents_work_at_once(&house).await?;
        evening::two_are_refused(&house, &found).await?;
        evening::two_correct_one_fact(&house, &found).await?;
        evening::the_scheduler_says_why(&house, &found).await?;
        house.passes(Duration::from_secs(3600));
        evening::workers_tidy_up(&house).await?;
        market::a_neighbour_takes_what_is_offered(&house).await?;
        looking_back::the_record(&house, &found).await?;
        looking_back::the_lineage(&house, &found).await?;
        looking_back::the_picture(&house, &found, picture).await?;
        house.kernel.shutdown(Duration::from_secs(10)).await?;
        Ok(house.telling.lines())
    })
}

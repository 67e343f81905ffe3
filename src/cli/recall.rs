//! `memos recall`: a question, answered with memories.
//!
//! With `--json` the result is one object:
//!
//! ```json
//! {
//!   "question": "…", "caller": {"id": "user:ada", "groups": [], "roles": []}, "spaces": ["home/main"],
//!   "intent": "place", "entities": ["Halima"], "times": [{"from": 0, "until": 1}],
//!   "receipts": [{"space": "…", "cube": "…", "version": 1, "digest": "…", "text": "…", "score": 0.8, "features": [["dense", 0.4]],
//!                 "path": [{"from": "…", "link": "follows", "direction": "forward", "gain": 0.1}], "decision": {…}, …}],
//!   "tokens": 21, "considered": 412, "times_micros": {"embed": 1, "find": 1, "rank": 1, "pack": 1}
//! }
//! ```
//!
//! A receipt has the fields of [`memos::operator::Receipt`]. Times are milliseconds since 1970 in UTC; what a memory says
//! is in `text`. With nothing found `receipts` is empty and the exit code is 3.
//!
//! With `--as-of` the question is put to the spaces as they were known then, and nothing of it is noted. What it says
//! of time, such as "last week", then counts from there too, where the point is a time.

use clap::Args;
use memos::cube::{SemanticType, UseSignal};
use memos::governance::Principal;
use memos::operator::{Answer, AskedTime, Intent, MemoryCall, RecallTimes, Receipt, recall};
use memos::reader::read_question;
use memos::time::{Timestamp, Window};
use memos::vault::{Batch, Point, Space};
use memos::{Error, Result};
use serde::Serialize;

use super::Found;
use super::receipts::{Detail, show_receipt, stretch};
use super::scope::Scope;
use super::screen::{DIM, Screen, TITLE, paint};

#[derive(Args)]
pub(super) struct RecallArguments {
    /// What is asked
    question: String,
    /// The most memories in the answer
    #[arg(long, value_name = "N", default_value_t = 10)]
    memories: usize,
    /// The most tokens in the answer, as estimated
    #[arg(long, value_name = "N", default_value_t = 2000)]
    tokens: usize,
    /// A type of memory that may be in the answer; may be repeated [default: all]
    #[arg(long = "type", value_name = "TYPE", value_parser = super::remember::semantic_types())]
    semantic: Vec<SemanticType>,
    /// A tag that all memories of the answer must have; may be repeated
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// A topic that all memories of the answer must have: the tag `topic:TOPIC`; may be repeated
    #[arg(long, value_name = "TOPIC")]
    topic: Vec<String>,
    /// Only what was said, seen or true at or after this time, such as 2024-05-07 or 2024-05-07T10:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only what was said, seen or true before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Ask what was known at a point: a time, or `#1200` for after 1200 events
    #[arg(long, value_name = "POINT")]
    as_of: Option<Point>,
    /// Only what was true at this time
    #[arg(long, value_name = "TIME")]
    true_at: Option<Timestamp>,
    /// Answer with archived memories too
    #[arg(long)]
    archived: bool,
    /// Show all that made up each score, the links, and the rule that allowed it
    #[arg(long)]
    explain: bool,
}

#[derive(Serialize)]
struct Recalled<'a> {
    question: &'a str,
    caller: &'a Principal,
    spaces: Vec<&'a str>,
    intent: Intent,
    entities: &'a [String],
    times: &'a [AskedTime],
    receipts: &'a [Receipt],
    tokens: usize,
    considered: usize,
    times_micros: RecallTimes,
}

pub(super) fn run(arguments: RecallArguments, scope: &Scope, screen: &mut Screen) -> Result<Found> {
    let window = Window { from: arguments.since, until: arguments.until };
    if let Window { from: Some(since), until: Some(until) } = window
        && since >= until
    {
        return Err(Error::invalid(format!("`--since` {since} is not before `--until` {until}")));
    }
    if arguments.memories == 0 || arguments.tokens == 0 {
        return Err(Error::invalid("an answer of 0 memories or tokens is none; ask for at least 1"));
    }
    let mut spaces = scope.spaces()?;
    let mut now = spaces.first().map_or_else(Timestamp::default, |space| space.now());
    if let Some(point) = arguments.as_of {
        spaces = spaces.iter().map(|space| space.at(point)).collect::<Result<_>>()?;
        if let Point::Time(time) = point {
            now = now.min(time);
        }
    }
    let spaces: Vec<&Space> = spaces.iter().collect();
    let mut tags = arguments.tag;
    tags.extend(arguments.topic.iter().map(|topic| format!("topic:{topic}")));
    let call = MemoryCall {
        semantic: arguments.semantic,
        tags,
        window,
        true_at: arguments.true_at,
        archived: arguments.archived,
        memories: arguments.memories,
        tokens: arguments.tokens,
        ..MemoryCall::new(scope.caller.clone(), arguments.question, now)
    };
    let call = read_question(&spaces, call)?;
    let answer = recall(&spaces, &call)?;
    if screen.json {
        print_json(&spaces, &call, &answer, screen)?;
    } else {
        let detail = if arguments.explain { Detail::Full } else { Detail::Short };
        print(&spaces, &call, &answer, detail, screen);
    }
    screen.flush()?;
    record_use(&spaces, &call.caller, &answer);
    Ok(if answer.receipts.is_empty() { Found::Nothing } else { Found::Something })
}

fn print_json(spaces: &[&Space], call: &MemoryCall, answer: &Answer, screen: &mut Screen) -> Result<()> {
    screen.object(&Recalled {
        question: &call.question,
        caller: &call.caller,
        spaces: spaces.iter().map(|space| space.name().as_str()).collect(),
        intent: call.intent,
        entities: &call.entities,
        times: &call.times,
        receipts: &answer.receipts,
        tokens: answer.tokens,
        considered: answer.considered,
        times_micros: answer.times,
    })
}

fn print(spaces: &[&Space], call: &MemoryCall, answer: &Answer, detail: Detail, screen: &mut Screen) {
    if screen.quiet {
        answer.receipts.iter().for_each(|receipt| screen.result(super::screen::printable(&receipt.text)));
        return;
    }
    if answer.receipts.is_empty() {
        screen.line("nothing found");
        screen.paragraph(
            0,
            DIM,
            &format!("`{}` may read {} memories that the filters let through", call.caller.id, answer.considered),
        );
        return;
    }
    for (at, receipt) in answer.receipts.iter().enumerate() {
        let by = replacement(spaces, &call.caller, receipt);
        show_receipt(screen, at + 1, receipt, by.as_deref(), detail);
        screen.line("");
    }
    screen.line(paint(DIM, counts(answer)));
    if detail == Detail::Full {
        explain(call, answer, screen);
    }
}

/// Returns what the memory says that holds in the place of this one, as far as the caller may read it.
pub(super) fn replacement(spaces: &[&Space], caller: &Principal, receipt: &Receipt) -> Option<String> {
    let space = spaces.iter().find(|space| *space.name() == receipt.space)?;
    let (cube, _) = space.get(caller, receipt.superseded_by.as_ref()?).ok()?;
    cube.payload.as_text().map(str::to_owned)
}

/// Returns how much was found, among how much, how fast.
pub(super) fn counts(answer: &Answer) -> String {
    let (found, among) = (answer.receipts.len(), answer.considered);
    let millis = answer.times.total() as f64 / 1000.0;
    let plural = if found == 1 { "memory" } else { "memories" };
    format!("{found} {plural} of {among}, {} tokens, in {millis:.1} ms", answer.tokens)
}

fn explain(call: &MemoryCall, answer: &Answer, screen: &mut Screen) {
    let times = answer.times;
    screen.line(paint(
        DIM,
        format!("embed {} µs, find {} µs, rank {} µs, pack {} µs", times.embed, times.find, times.rank, times.pack),
    ));
    let mut read: Vec<String> = Vec::new();
    read.extend((call.intent != Intent::Any).then(|| format!("a {}", format!("{:?}", call.intent).to_lowercase())));
    read.extend(call.entities.iter().cloned());
    read.extend(call.times.iter().filter_map(|time| stretch(&time.window)));
    if !read.is_empty() {
        screen.line(format!("{} {}", paint(TITLE, "read in the question:"), read.join(", ")));
    }
}

/// Notes which memories were part of an answer, so that what is used stays at hand.
///
/// The answer is out by then, and where its use cannot be noted it is still right; so a failure is left alone.
fn record_use(spaces: &[&Space], caller: &Principal, answer: &Answer) {
    for space in spaces.iter().filter(|space| !space.is_past()) {
        let used = answer.receipts.iter().filter(|receipt| receipt.space == *space.name());
        let uses: Vec<_> = used.map(|receipt| (receipt.cube, UseSignal::Read)).collect();
        if !uses.is_empty() {
            let mut batch = Batch::default();
            batch.record_use(uses);
            let _ = space.commit(caller, batch);
        }
    }
}

//! Ingesting a source: turns and passages become linked cubes, in batches that are whole or absent.

use std::ops::AddAssign;

use serde::Serialize;

use super::assertions::{FactExtractor, RuleExtractor, Said};
use super::drafts::{self, TurnPlace};
use super::duplicates::{self, Nearness, Terms};
use super::facts::{FactBook, FoundIn};
use super::source::{Conversation, Document, Part, Session, Source, SourceLimits};
use super::summary;
use crate::cube::{CubeDraft, CubeId, Digest, Layer, State};
use crate::error::Result;
use crate::governance::sensitivity::find_sensitive;
use crate::governance::{AccessClass, Principal};
use crate::graph::{Link, LinkKind};
use crate::time::Timestamp;
use crate::vault::{Batch, Space};

/// Changes after which a batch is committed.
const BATCH_CHANGES: usize = 256;

/// How a source is taken in.
#[derive(Debug, Clone)]
pub struct IngestOptions {
    /// Who may read what it becomes.
    pub layer: Layer,
    /// The task it belongs to.
    pub task: Option<String>,
    /// When it was said or seen, where the source does not say.
    pub observed: Option<Timestamp>,
}

impl Default for IngestOptions {
    fn default() -> Self {
        Self { layer: Layer::Private, task: None, observed: None }
    }
}

/// What a source has become.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct IngestReport {
    /// Sessions read.
    pub sessions: usize,
    /// Turns stored.
    pub turns: usize,
    /// Passages of documents stored.
    pub passages: usize,
    /// Facts and preferences found and stored.
    pub facts: usize,
    /// Summaries stored.
    pub summaries: usize,
    /// All cubes stored.
    pub cubes: usize,
    /// Links made.
    pub links: usize,
    /// Turns and passages merged into one that says the same.
    pub merged: usize,
    /// Facts that no longer hold.
    pub superseded: usize,
    /// Turns and passages with sensitive content.
    pub sensitive: usize,
    /// Turns and passages that were there already.
    pub skipped: usize,
}

impl AddAssign for IngestReport {
    fn add_assign(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.turns += other.turns;
        self.passages += other.passages;
        self.facts += other.facts;
        self.summaries += other.summaries;
        self.cubes += other.cubes;
        self.links += other.links;
        self.merged += other.merged;
        self.superseded += other.superseded;
        self.sensitive += other.sensitive;
        self.skipped += other.skipped;
    }
}

/// Takes a source into a space. `progress` is told how many of how many turns and passages are done.
///
/// What is committed stays when an error comes later; reading the source again takes in the rest.
///
/// # Errors
/// `Invalid` when the source breaks a limit; those of [`Space::commit`].
pub fn ingest(
    space: &Space,
    caller: &Principal,
    source: &Source,
    options: &IngestOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<IngestReport> {
    let limits = SourceLimits::default();
    let mut documents = Vec::new();
    let mut total = 0;
    for part in &source.parts {
        match part {
            Part::Conversation(conversation) => {
                total += conversation.sessions.iter().map(|session| session.turns.len()).sum::<usize>()
            }
            Part::Document(document) => {
                let passages = document.passages(&limits)?;
                total += passages.len();
                documents.push((document, passages));
            }
        }
    }
    let mut reading = Reading {
        space,
        caller,
        options,
        batch: Batch::default(),
        pending: Vec::new(),
        facts: FactBook::default(),
        report: IngestReport::default(),
        progress,
        done: 0,
        total,
    };
    let links_before = space.view().graph().links();
    for part in &source.parts {
        if let Part::Conversation(conversation) = part {
            reading.conversation(conversation)?;
        }
    }
    for (document, passages) in documents {
        reading.document(document, &passages, &source.name)?;
    }
    reading.flush()?;
    reading.report.links = space.view().graph().links().saturating_sub(links_before);
    Ok(reading.report)
}

/// Runs another extractor, such as a language model, over messages that are in the space already.
///
/// # Errors
/// Those of the extractor and of [`Space::commit`].
pub fn extract_facts(
    space: &Space,
    caller: &Principal,
    extractor: &dyn FactExtractor,
    messages: &[CubeId],
    options: &IngestOptions,
) -> Result<IngestReport> {
    let mut book = FactBook::default();
    let mut report = IngestReport::default();
    for id in messages {
        let (cube, _) = space.get(caller, id)?;
        let (Some(text), header) = (cube.payload.as_text(), &cube.header) else { continue };
        let speaker = header.origin.speaker.as_deref().unwrap_or_default();
        let found_in = FoundIn {
            message: *id,
            at: header.times.observed,
            speaker,
            session: header.origin.session.as_deref(),
            conversation: header.path.first().map_or("", String::as_str),
            model: extractor.model(),
        };
        let mut batch = Batch::default();
        for assertion in extractor.extract(Said { text, speaker, at: found_in.at.to_civil() })? {
            report += book.record(space, caller, assertion, &found_in, options, &mut batch)?;
        }
        space.commit(caller, batch)?;
    }
    report.cubes = report.facts;
    Ok(report)
}

/// A source on its way in.
struct Reading<'a> {
    space: &'a Space,
    caller: &'a Principal,
    options: &'a IngestOptions,
    batch: Batch,
    /// What the batch stores, to find near-duplicates within it.
    pending: Vec<(CubeId, Option<String>, Terms)>,
    facts: FactBook,
    report: IngestReport,
    progress: &'a mut dyn FnMut(usize, usize),
    done: usize,
    total: usize,
}

impl Reading<'_> {
    fn conversation(&mut self, conversation: &Conversation) -> Result<()> {
        let mut previous_summary = None;
        for (session, number) in conversation.sessions.iter().zip(1..) {
            let digest = summary::digest(
                self.space.terms(),
                &session.turns.iter().map(|turn| turn.text.as_str()).collect::<Vec<_>>(),
            );
            let at = session.at.or(self.options.observed).unwrap_or_else(|| self.space.now());
            let mut place =
                TurnPlace { conversation, session, session_number: number, number: 0, at, topics: &digest.topics };
            let ids = self.turns(session, &mut place)?;
            place.at = at;
            previous_summary = self.summarise(&place, &digest, &ids, previous_summary)?;
            self.report.sessions += 1;
        }
        Ok(())
    }

    fn turns(&mut self, session: &Session, place: &mut TurnPlace<'_>) -> Result<Vec<CubeId>> {
        let mut ids: Vec<CubeId> = Vec::with_capacity(session.turns.len());
        for turn in &session.turns {
            place.number += 1;
            place.at = turn.at.unwrap_or(place.at);
            let draft = drafts::message(turn, place, self.options);
            let said = draft.payload.as_text().unwrap_or_default().to_owned();
            let (id, fresh) = self.take_in(draft)?;
            if let Some(&before) = ids.last() {
                self.link(Link { from: id, kind: LinkKind::Follows, to: before });
            }
            ids.push(id);
            if fresh {
                self.report.turns += 1;
                self.assertions(id, &said, &turn.speaker, place)?;
            }
            self.step()?;
        }
        Ok(ids)
    }

    fn assertions(&mut self, message: CubeId, text: &str, speaker: &str, place: &TurnPlace<'_>) -> Result<()> {
        let session = drafts::session_name(place.conversation, place.session);
        let conversation = &place.conversation.name;
        let found_in = FoundIn { message, at: place.at, speaker, session: Some(&session), conversation, model: None };
        for assertion in RuleExtractor.extract(Said { text, speaker, at: place.at.to_civil() })? {
            let recorded =
                self.facts.record(self.space, self.caller, assertion, &found_in, self.options, &mut self.batch)?;
            self.report.cubes += recorded.facts;
            self.report += recorded;
        }
        if self.batch.is_empty() {
            self.pending.clear();
        }
        Ok(())
    }

    fn summarise(
        &mut self,
        place: &TurnPlace<'_>,
        digest: &summary::Digest,
        turns: &[CubeId],
        previous: Option<CubeId>,
    ) -> Result<Option<CubeId>> {
        let Some(draft) = drafts::summary(place, digest, self.options) else { return Ok(previous) };
        let (id, fresh) = match self.already_there(&draft)? {
            Some(id) => (id, false),
            None => (self.space.new_id(), true),
        };
        if fresh {
            self.batch.store(id, draft);
            self.report.summaries += 1;
            self.report.cubes += 1;
        }
        for &turn in turns {
            self.link(Link { from: id, kind: LinkKind::Summarises, to: turn });
        }
        if let Some(previous) = previous {
            self.link(Link { from: id, kind: LinkKind::Follows, to: previous });
        }
        self.flush()?;
        Ok(Some(id))
    }

    fn document(&mut self, document: &Document, passages: &[super::source::Passage], file: &str) -> Result<()> {
        let mut previous = None;
        for (number, passage) in passages.iter().enumerate() {
            let (id, fresh) = self.take_in(drafts::passage(document, passage, number + 1, file, self.options))?;
            if let Some(before) = previous {
                self.link(Link { from: id, kind: LinkKind::Follows, to: before });
            }
            previous = Some(id);
            self.report.passages += usize::from(fresh);
            self.step()?;
        }
        Ok(())
    }

    /// Stores a draft, or finds that it is there. Returns its id and whether it is new.
    fn take_in(&mut self, draft: CubeDraft) -> Result<(CubeId, bool)> {
        if let Some(id) = self.already_there(&draft)? {
            self.report.skipped += 1;
            return Ok((id, false));
        }
        let id = self.space.new_id();
        let text = draft.payload.as_text().unwrap_or_default();
        let sensitive = !find_sensitive(text).is_empty();
        let near = self.near(&draft, text, sensitive)?;
        self.pending.push((id, draft.speaker.clone(), duplicates::terms_of(self.space.terms(), text)));
        self.batch.store(id, draft);
        self.report.cubes += 1;
        self.report.sensitive += usize::from(sensitive);
        match near {
            Some((other, Nearness::Same)) => {
                self.link(Link { from: id, kind: LinkKind::MergedInto, to: other });
                self.batch.set_state(id, State::Merged, format!("says the same as {other}"));
                self.report.merged += 1;
            }
            Some((other, Nearness::Similar)) => self.link(Link { from: id, kind: LinkKind::Similar, to: other }),
            None => {}
        }
        Ok((id, true))
    }

    fn near(&self, draft: &CubeDraft, text: &str, sensitive: bool) -> Result<Option<(CubeId, Nearness)>> {
        let terms = duplicates::terms_of(self.space.terms(), text);
        let in_batch = self.pending.iter().filter(|(_, speaker, _)| *speaker == draft.speaker);
        let mut in_batch = in_batch.filter_map(|(id, _, other)| Some((*id, duplicates::nearness(&terms, other)?)));
        if let Some(found) = in_batch.find(|(_, nearness)| *nearness == Nearness::Same) {
            return Ok(Some(found));
        }
        let class = AccessClass {
            layer: draft.layer.clone(),
            owner: self.caller.id.clone(),
            grants: Vec::new(),
            sensitive,
            concealed: false,
        };
        duplicates::nearest(self.space, self.caller, &class, draft.semantic, draft.speaker.as_deref(), text)
    }

    /// Returns the cube that this draft has become in an earlier reading.
    fn already_there(&self, draft: &CubeDraft) -> Result<Option<CubeId>> {
        let content = Digest::of(draft.payload.body());
        let heads: Vec<_> = {
            let view = self.space.view();
            let session = draft.session.as_deref().map(|name| view.sessions.find(name));
            let same_session =
                |number: Option<u32>| session.is_none_or(|session| session.is_some() && session == number);
            let slots = view.with_content(&content).iter();
            slots.filter_map(|slot| view.head(*slot)).filter(|head| same_session(head.session)).cloned().collect()
        };
        if heads.is_empty() {
            return Ok(None);
        }
        let ledger = self.space.ledger()?;
        for head in heads {
            let header = ledger.header(*head.earlier.first().unwrap_or(&head.event))?;
            let same = header.fingerprint.content == content
                && header.semantic == draft.semantic
                && header.origin.reference == draft.reference
                && header.governance.owner == self.caller.id
                && header.governance.layer == draft.layer;
            if same {
                return Ok(Some(head.id));
            }
        }
        Ok(None)
    }

    fn link(&mut self, link: Link) {
        self.batch.link(link);
    }

    fn step(&mut self) -> Result<()> {
        self.done += 1;
        (self.progress)(self.done, self.total);
        if self.batch.len() >= BATCH_CHANGES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.space.commit(self.caller, std::mem::take(&mut self.batch))?;
        self.pending.clear();
        Ok(())
    }
}

//! A run: the steps one after the other, each seeing what those before it have found and changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::report::{Change, Report, StepReport};
use super::staged::{Memory, Revise, Staged};
use super::step::{
    Action, Augment, LinkEach, Merge, Order, Overwrite, Require, Retrieve, Select, SetState, Store, Summarise,
};
use super::template::{Field, Fill, Template};
use super::{EACH, LINKS, Pipeline, SET, VALUE_BYTES};
use crate::cube::{CubeDraft, CubeId, OriginKind, State};
use crate::error::{Error, Result};
use crate::governance::Principal;
use crate::governance::sensitivity::{SensitivityKind, find_sensitive};
use crate::graph::{Link, LinkKind};
use crate::limits::Limits;
use crate::operator::MemoryCall;
use crate::reader::sentences::sentences;
use crate::reader::summary;
use crate::time::{Timestamp, Window};
use crate::vault::Space;

/// Sentences that stand for a set whose memories have no subject in common.
const FIRST_SENTENCES: usize = 4;

/// What a step has found or made.
#[derive(Default)]
struct Outcome {
    memories: Vec<CubeId>,
    text: Option<String>,
    changes: Vec<Change>,
}

impl Pipeline {
    /// Runs the steps and writes what they changed: all of it, or nothing.
    ///
    /// # Errors
    /// Each names its step. `Invalid` when a parameter is missing, a requirement is not met or a limit is broken; `NotFound`
    /// and `Denied` when the caller may not see or change what a step names; `Conflict` when something that was read has
    /// changed in the meantime; else as [`Space::commit`]. Nothing was written then.
    pub fn run(&self, space: &Space, caller: &Principal, given: &BTreeMap<String, String>) -> Result<Report> {
        Run::new(self, space, caller, given)?.report(false)
    }

    /// Runs the steps and writes nothing: the report says what would be written.
    ///
    /// # Errors
    /// As [`Pipeline::run`].
    pub fn dry_run(&self, space: &Space, caller: &Principal, given: &BTreeMap<String, String>) -> Result<Report> {
        Run::new(self, space, caller, given)?.report(true)
    }
}

struct Run<'a> {
    pipeline: &'a Pipeline,
    values: HashMap<&'a str, &'a str>,
    staged: Staged<'a>,
    outcomes: HashMap<&'a str, Outcome>,
}

impl<'a> Run<'a> {
    fn new(
        pipeline: &'a Pipeline,
        space: &'a Space,
        caller: &'a Principal,
        given: &'a BTreeMap<String, String>,
    ) -> Result<Self> {
        let known = || pipeline.parameters.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        for (name, value) in given {
            if !pipeline.parameters.contains_key(name) {
                let there = if pipeline.parameters.is_empty() { "it has none".to_owned() } else { known() };
                return Err(Error::invalid(format!("`{name}` is no parameter of the pipeline; there are: {there}")));
            }
            Limits::check(&format!("parameter `{name}`"), value.len(), VALUE_BYTES, "bytes")?;
        }
        let mut values = HashMap::new();
        for (name, parameter) in &pipeline.parameters {
            let value = given.get(name).or(parameter.default.as_ref());
            let value =
                value.ok_or_else(|| Error::invalid(format!("parameter `{name}` has no default; give it a value")))?;
            values.insert(name.as_str(), value.as_str());
        }
        Ok(Self { pipeline, values, staged: Staged::new(space, caller), outcomes: HashMap::new() })
    }

    fn report(mut self, dry_run: bool) -> Result<Report> {
        let mut steps = Vec::with_capacity(self.pipeline.steps.len());
        for (number, step) in self.pipeline.steps.iter().enumerate() {
            self.staged.step = number;
            let mut outcome = self.act(&step.action).map_err(|error| error.at(format!("step `{}`", step.name)))?;
            steps.push(StepReport {
                name: step.name.clone(),
                action: step.action.kind(),
                memories: outcome.memories.clone(),
                text: outcome.text.clone(),
                changes: std::mem::take(&mut outcome.changes),
            });
            self.outcomes.insert(&step.name, outcome);
        }
        let stored = self.staged.finish(dry_run).map_err(|error| {
            let blamed = self.staged.blamed().and_then(|number| self.pipeline.steps.get(number));
            match blamed {
                Some(step) => error.at(format!("step `{}`", step.name)),
                None => error.at("writing what the steps changed"),
            }
        })?;
        Ok(Report { pipeline: self.pipeline.name.clone(), dry_run, steps, stored })
    }

    fn act(&mut self, action: &'a Action) -> Result<Outcome> {
        match action {
            Action::Retrieve(retrieve) => self.retrieve(retrieve),
            Action::Select(select) => self.select(select),
            Action::Augment(augment) => self.augment(augment),
            Action::Update(update) => self.update(update),
            Action::Summarise(summarise) => self.summarise(summarise),
            Action::Store(store) => self.store(store),
            Action::Link(link) => self.link(link),
            Action::Merge(merge) => self.merge(merge),
            Action::SetState(set) => self.set_state(set),
            Action::Require(require) => self.require(require),
        }
    }

    fn set(&self, name: &str) -> Result<Vec<CubeId>> {
        let outcome = self.outcomes.get(name).ok_or_else(|| Error::invalid(format!("there is no step `{name}`")))?;
        Ok(outcome.memories.clone())
    }

    /// Fills a text, and returns with it the kinds of sensitive content of the memories whose words are in it.
    fn fill(&self, text: &str, each: Option<&CubeId>, most: usize) -> Result<(String, BTreeSet<SensitivityKind>)> {
        let mut filling = Filling { run: self, each, most, sensitivity: BTreeSet::new() };
        let text = Template::parse(text)?.fill(&mut filling, most)?;
        Ok((text, filling.sensitivity))
    }

    fn retrieve(&mut self, retrieve: &Retrieve) -> Result<Outcome> {
        let limits = self.staged.space.limits();
        let (question, _) = self.fill(&retrieve.question, None, limits.question_bytes)?;
        let call = MemoryCall {
            semantic: retrieve.types.clone(),
            tags: retrieve.tags.clone(),
            window: retrieve.window(),
            archived: retrieve.archived,
            memories: retrieve.memories,
            tokens: limits.answer_tokens,
            ..MemoryCall::new(self.staged.caller.clone(), question, self.staged.now)
        };
        let memories = self.staged.recall(call)?;
        for id in &memories {
            self.staged.read(id)?;
        }
        Ok(Outcome { memories, ..Outcome::default() })
    }

    fn select(&mut self, select: &Select) -> Result<Outcome> {
        let named = match &select.from {
            Some(step) => Some(self.set(step)?),
            None => (!select.ids.is_empty()).then(|| select.ids.clone()),
        };
        let named_by_id = !select.ids.is_empty();
        let mut found = Vec::new();
        match named {
            Some(ids) => {
                for id in ids {
                    let memory = self.staged.read(&id)?;
                    found.push((memory.header.times.observed, id));
                }
            }
            None => found = self.all(select),
        }
        match select.order {
            Order::Oldest => found.sort_unstable(),
            Order::Newest => found.sort_unstable_by(|a, b| b.cmp(a)),
        }
        found.dedup();
        let mut memories = Vec::new();
        for (_, id) in found {
            if select.at_most.is_some_and(|most| memories.len() >= most) {
                break;
            }
            // Most of a space has other tags; what is not taken need not stay as it is.
            if !self.staged.is_read(&id) && !self.staged.has_tags(&id, &select.tags)? {
                continue;
            }
            let now = self.staged.now;
            if fits(self.staged.read(&id)?, select, named_by_id, now) {
                memories.push(id);
                Limits::check("the step", memories.len(), SET, "memories; narrow it, or say `at_most`")?;
            }
        }
        Ok(Outcome { memories, ..Outcome::default() })
    }

    /// Returns all memories of the space that have the state, type and age that are asked for, with those that the run makes.
    fn all(&self, select: &Select) -> Vec<(Timestamp, CubeId)> {
        let (space, caller) = (self.staged.space, self.staged.caller);
        let view = space.view();
        let readable = space.readable(&view, caller);
        let there = view.heads.iter().filter(|head| {
            let state = self.staged.state_of(&head.id).unwrap_or(head.state);
            readable.contains(head.class)
                && is_state(state, select, false)
                && (select.types.is_empty() || select.types.contains(&head.semantic))
        });
        let there = there.map(|head| (head.observed, head.id));
        there.chain(self.staged.made().map(|memory| (memory.header.times.observed, memory.header.id))).collect()
    }

    fn augment(&mut self, augment: &Augment) -> Result<Outcome> {
        let memories = self.set(&augment.of)?;
        let mut changes = Vec::new();
        for id in &memories {
            let memory = self.staged.memory(id)?;
            let tags: Vec<String> =
                augment.tags.iter().filter(|tag| !memory.header.tags.contains(tag)).cloned().collect();
            let valid = (augment.valid_from.is_some() || augment.valid_until.is_some()).then_some(Window {
                from: augment.valid_from.or(memory.header.times.valid.from),
                until: augment.valid_until.or(memory.header.times.valid.until),
            });
            let valid = valid.filter(|valid| *valid != memory.header.times.valid);
            let mut change = Revise { tags, valid, ..Revise::default() };
            if let Some(append) = &augment.append {
                let before = memory.text.clone().unwrap_or_default();
                let (more, sensitivity) = self.fill(append, Some(id), self.staged.space.limits().text_bytes)?;
                change.text = Some(format!("{before}\n{more}"));
                change.sensitivity = sensitivity;
            }
            if change.text.is_some() || change.valid.is_some() || !change.tags.is_empty() {
                changes.push(self.revise(id, change)?);
            }
        }
        Ok(Outcome { memories, text: None, changes })
    }

    fn update(&mut self, update: &Overwrite) -> Result<Outcome> {
        let memories = self.set(&update.of)?;
        let mut changes = Vec::new();
        for id in &memories {
            let (text, sensitivity) = self.fill(&update.text, Some(id), self.staged.space.limits().text_bytes)?;
            if self.staged.memory(id)?.text.as_ref() != Some(&text) {
                changes.push(self.revise(id, Revise { text: Some(text), sensitivity, ..Revise::default() })?);
            }
        }
        Ok(Outcome { memories, text: None, changes })
    }

    fn revise(&mut self, id: &CubeId, change: Revise) -> Result<Change> {
        let text = |memory: &Memory| memory.text.clone().unwrap_or_default();
        let before = text(self.staged.memory(id)?);
        let (tags, valid) = (change.tags.clone(), change.valid);
        self.staged.revise(id, change)?;
        Ok(Change::Revised { cube: *id, before, after: text(self.staged.memory(id)?), tags, valid })
    }

    fn summarise(&mut self, summarise: &Summarise) -> Result<Outcome> {
        let memories = self.set(&summarise.of)?;
        let mut texts = Vec::new();
        for id in &memories {
            texts.extend(self.staged.memory(id)?.text.as_deref());
        }
        let digest = summary::digest(self.staged.space.terms(), &texts);
        let mut chosen: Vec<String> = digest.sentences.into_iter().map(|(_, sentence)| sentence).collect();
        if chosen.is_empty() {
            let harmless = |sentence: &&str| find_sensitive(sentence).is_empty();
            let firsts = texts.iter().filter_map(|text| sentences(text).next()).filter(harmless);
            chosen = firsts.map(|sentence| sentence.trim().to_owned()).take(FIRST_SENTENCES).collect();
        }
        Ok(Outcome { memories, text: Some(chosen.join(" ")), changes: Vec::new() })
    }

    fn store(&mut self, store: &Store) -> Result<Outcome> {
        let limits = self.staged.space.limits();
        let (text, mut sensitivity) = self.fill(&store.text, None, limits.text_bytes)?;
        let (title, of_title) = self.fill(&store.title, None, limits.name_bytes)?;
        sensitivity.extend(of_title);
        let mut sources = Vec::new();
        for name in &store.derived_from {
            sources.extend(self.set(name)?);
        }
        sources.sort();
        sources.dedup();
        let draft = CubeDraft {
            title,
            tags: store.tags.clone(),
            origin: OriginKind::Inference,
            layer: store.layer.clone(),
            sensitivity,
            ..CubeDraft::text(store.semantic, text.as_str())
        };
        let cube = self.staged.store(draft, &sources)?;
        let changes = vec![Change::Stored { cube, text: text.clone() }];
        Ok(Outcome { memories: vec![cube], text: Some(text), changes })
    }

    fn link(&mut self, link: &LinkEach) -> Result<Outcome> {
        let (from, to) = (self.set(&link.from)?, self.set(&link.to)?);
        Limits::check("the step", from.len().saturating_mul(to.len()), LINKS, "links")?;
        let mut changes = Vec::new();
        for &from in &from {
            for &to in to.iter().filter(|to| **to != from) {
                let link = Link { from, kind: link.kind, to };
                self.staged.link(link)?;
                changes.push(Change::Linked(link));
            }
        }
        Ok(Outcome { changes, ..Outcome::default() })
    }

    fn merge(&mut self, merge: &Merge) -> Result<Outcome> {
        let all = self.set(&merge.of)?;
        let into = match &merge.into {
            Some(step) => match self.set(step)?.as_slice() {
                [id] => *id,
                ids => {
                    return Err(Error::invalid(format!("`{step}` has {} memories; merge into exactly one", ids.len())));
                }
            },
            None => match all.first() {
                Some(id) => *id,
                None => return Ok(Outcome::default()),
            },
        };
        let others: Vec<CubeId> = all.into_iter().filter(|id| *id != into).collect();
        if others.is_empty() {
            return Ok(Outcome { memories: vec![into], ..Outcome::default() });
        }
        let most = self.staged.space.limits().text_bytes;
        let (text, mut sensitivity) = match &merge.text {
            Some(text) => self.fill(text, None, most)?,
            None => (self.joined(&[&[into], others.as_slice()].concat(), "", "\n", most)?, BTreeSet::new()),
        };
        for id in &others {
            sensitivity.extend(self.staged.memory(id)?.header.governance.sensitivity.iter().copied());
        }
        let change = Revise { text: Some(text), sensitivity, sources: others.clone(), ..Revise::default() };
        let mut changes = vec![self.revise(&into, change)?];
        for from in others {
            let link = Link { from, kind: LinkKind::MergedInto, to: into };
            self.staged.link(link)?;
            changes.push(Change::Linked(link));
            changes.extend(self.change_state(&from, State::Merged, format!("merged into {into}"))?);
        }
        Ok(Outcome { memories: vec![into], text: None, changes })
    }

    fn set_state(&mut self, set: &SetState) -> Result<Outcome> {
        let memories = self.set(&set.of)?;
        let mut changes = Vec::new();
        for id in &memories {
            let (reason, _) = self.fill(&set.reason, Some(id), self.staged.space.limits().name_bytes)?;
            changes.extend(self.change_state(id, set.state, reason)?);
        }
        Ok(Outcome { memories, text: None, changes })
    }

    fn change_state(&mut self, id: &CubeId, to: State, reason: String) -> Result<Option<Change>> {
        let from = self.staged.set_state(id, to, reason.clone())?;
        Ok((from != to).then_some(Change::State { cube: *id, from, to, reason }))
    }

    fn require(&mut self, require: &Require) -> Result<Outcome> {
        let count = self.set(&require.of)?.len();
        let of = &require.of;
        if let Some(least) = require.at_least.filter(|least| count < *least) {
            return Err(Error::invalid(format!("`{of}` has {count} memories, and at least {least} are required")));
        }
        if let Some(most) = require.at_most.filter(|most| count > *most) {
            return Err(Error::invalid(format!("`{of}` has {count} memories, and at most {most} are allowed")));
        }
        Ok(Outcome::default())
    }

    /// Joins the texts of memories, of at most `most` bytes.
    fn joined(&self, ids: &[CubeId], before: &str, between: &str, most: usize) -> Result<String> {
        let mut all = String::new();
        for id in ids {
            let Some(text) = &self.staged.memory(id)?.text else { continue };
            if !all.is_empty() {
                all.push_str(between);
            }
            all.push_str(before);
            if before.is_empty() {
                all.push_str(text);
            } else {
                all.push_str(&text.split_whitespace().collect::<Vec<_>>().join(" "));
            }
            Limits::check("the text that it makes", all.len(), most, "bytes")?;
        }
        Ok(all)
    }
}

/// Returns whether a memory is what a step selects, whatever it was taken from.
fn fits(memory: &Memory, select: &Select, named_by_id: bool, now: Timestamp) -> bool {
    let header = &memory.header;
    let observed = header.times.observed;
    is_state(memory.state, select, named_by_id || select.from.is_some())
        && (select.types.is_empty() || select.types.contains(&header.semantic))
        && select.tags.iter().all(|tag| header.tags.contains(tag))
        && select.older_than.is_none_or(|age| observed < age.before(now))
        && select.newer_than.is_none_or(|age| observed >= age.before(now))
}

/// Returns whether a state is asked for; what was named is taken in any state when none is asked for.
fn is_state(state: State, select: &Select, named: bool) -> bool {
    let by_itself = state.is_recalled() || named;
    state != State::Erased && if select.states.is_empty() { by_itself } else { select.states.contains(&state) }
}

struct Filling<'a, 'b> {
    run: &'a Run<'b>,
    each: Option<&'a CubeId>,
    most: usize,
    sensitivity: BTreeSet<SensitivityKind>,
}

impl Filling<'_, '_> {
    fn take_words_of(&mut self, ids: &[CubeId]) -> Result<()> {
        for id in ids {
            let memory = self.run.staged.memory(id)?;
            if !memory.is_redacted {
                self.sensitivity.extend(memory.header.governance.sensitivity.iter().copied());
            }
        }
        Ok(())
    }

    fn field_of_one(&mut self, field: Field) -> Result<String> {
        let id = self.each.ok_or_else(|| Error::invalid(format!("`{{{{{EACH}.{field}}}}}` has no meaning here")))?;
        if matches!(field, Field::Text | Field::Title) {
            self.take_words_of(&[*id])?;
        }
        let memory = self.run.staged.memory(id)?;
        Ok(match field {
            Field::Title => memory.header.title.clone(),
            Field::Id => id.to_string(),
            Field::Speaker => memory.header.origin.speaker.clone().unwrap_or_default(),
            Field::Observed => memory.header.times.observed.to_civil().date().to_string(),
            _ => memory.text.clone().unwrap_or_default(),
        })
    }
}

impl Fill for Filling<'_, '_> {
    fn parameter(&self, name: &str) -> Result<String> {
        let value = self.run.values.get(name).copied();
        value.map(str::to_owned).ok_or_else(|| Error::invalid(format!("`{name}` is no parameter of the pipeline")))
    }

    fn field(&mut self, step: &str, field: Field) -> Result<String> {
        if step == EACH {
            return self.field_of_one(field);
        }
        let run = self.run;
        let outcome = run.outcomes.get(step).ok_or_else(|| Error::invalid(format!("there is no step `{step}`")))?;
        let ids = outcome.memories.as_slice();
        if !matches!(field, Field::Count | Field::Ids) {
            self.take_words_of(ids)?;
        }
        match field {
            Field::Count => Ok(ids.len().to_string()),
            Field::Ids => Ok(ids.iter().map(CubeId::to_string).collect::<Vec<_>>().join(", ")),
            Field::List => run.joined(ids, "- ", "\n", self.most),
            Field::Texts => run.joined(ids, "", "\n\n", self.most),
            _ => match (&outcome.text, ids) {
                (Some(text), _) => Ok(text.clone()),
                (None, [_]) => run.joined(ids, "", "", self.most),
                (None, _) => Err(Error::invalid(format!(
                    "`{step}` has {} memories; write `{{{{{step}.texts}}}}` or `{{{{{step}.list}}}}`",
                    ids.len()
                ))),
            },
        }
    }
}

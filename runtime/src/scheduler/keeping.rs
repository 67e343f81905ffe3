//! The actor of the scheduler: a thin shell that learns from receipts, has things read, asks the planner, and carries out
//! what it says.
//!
//! It owns the working sets, the journal, and what is known of loaded forms. All that waits, reading, writing, building,
//! is done beside it and comes back as a note.

use std::collections::HashMap;
use std::sync::Arc;

use memos_memory::cube::{CubeId, SpaceName, State, VersionRef};
use memos_memory::error::{Error, ErrorKind, Result};
use memos_memory::governance::Principal;
use memos_memory::operator::MemoryCall;
use memos_memory::schedule::{Plan, PlannedStep, Reason, Situation, Step, Wanted, plan};
use memos_memory::time::Timestamp;

use super::forms::{FormTable, Reform, build, reform};
use super::journal::{Because, DecisionQuery, Journal, Occasion, ScheduleDecision, Scheduling};
use super::maker::{FormMaker, FormName, MadeForm};
use super::options::SchedulerOptions;
use super::reading::{Gathered, Request, gather};
use super::working_sets::{Member, Setting, WorkingSets};
use super::writing::{self, Held, Uses, Write, session, write};
use super::{Observation, SchedulerFigures};
use crate::actor::{Behaviour, Broken, Command, Context, Envelope, Reply};
use crate::kernel::WeakKernel;

/// What the scheduler's handle asks of its actor.
pub(super) enum SchedulerCommand {
    Observe(Observation),
    /// To say what lies in a working set, what was used last first.
    Members {
        setting: Setting,
        reply: Reply<Vec<(CubeId, Member)>>,
    },
    Plan {
        setting: Setting,
        call: Box<MemoryCall>,
        gathered: Gathered,
        reply: Reply<Plan>,
    },
    Decisions {
        space: SpaceName,
        query: DecisionQuery,
        reply: Reply<Vec<ScheduleDecision>>,
    },
    Figures(Reply<SchedulerFigures>),
    /// To write what is held, and answer when all that is under way is done.
    Settle(Reply<()>),
}

impl Command for SchedulerCommand {
    fn name(&self) -> &'static str {
        match self {
            Self::Observe(_) => "Observe",
            Self::Members { .. } => "Members",
            Self::Plan { .. } => "Plan",
            Self::Decisions { .. } => "Decisions",
            Self::Figures(_) => "Figures",
            Self::Settle(_) => "Settle",
        }
    }

    fn is_awaited(&self) -> bool {
        match self {
            Self::Observe(_) => true,
            Self::Members { reply, .. } => reply.is_awaited(),
            Self::Plan { reply, .. } => reply.is_awaited(),
            Self::Decisions { reply, .. } => reply.is_awaited(),
            Self::Figures(reply) => reply.is_awaited(),
            Self::Settle(reply) => reply.is_awaited(),
        }
    }
}

/// What the actor tells itself.
pub(super) enum SchedulerNote {
    /// It is time to look after a task.
    LookAfter(Setting),
    Gathered(Setting, Result<Gathered>),
    /// It is time to write what is held.
    WriteHeld,
    /// How many decisions of a write were put on record.
    Written(Write, Result<usize>),
    WriteAgain(Write),
    Archived(ScheduleDecision, Result<()>),
    Reformed(Reform),
    Made(FormName, Result<MadeForm>),
    /// It is time to let go of what is idle.
    Rest,
}

/// The actor's state.
pub(super) struct Keeping {
    kernel: WeakKernel,
    keeper: Principal,
    options: Arc<SchedulerOptions>,
    maker: Option<Arc<dyn FormMaker>>,
    sets: WorkingSets,
    journal: Journal,
    forms: FormTable,
    held: Held,
    /// Uses that are being written.
    writing: HashMap<SpaceName, Uses>,
    /// Part of the keys of what it writes.
    life: String,
    writes: u64,
    is_write_due: bool,
    is_rest_due: bool,
    /// Work that will come back as a note, timers to rest and to write not counted.
    under_way: usize,
    settling: Vec<Reply<()>>,
    figures: SchedulerFigures,
}

impl Keeping {
    pub(super) fn new(
        kernel: WeakKernel,
        keeper: Principal,
        options: Arc<SchedulerOptions>,
        maker: Option<Arc<dyn FormMaker>>,
        loaded: Vec<MadeForm>,
        generation: u64,
    ) -> Self {
        let life = format!("scheduler:{}:{generation}", options.clock.now().as_millis());
        Self {
            kernel,
            keeper,
            maker,
            sets: WorkingSets::new(options.limits.tasks),
            journal: Journal::new(options.limits.journal),
            forms: FormTable::new(loaded),
            held: Held::default(),
            writing: HashMap::new(),
            life,
            writes: 0,
            is_write_due: false,
            is_rest_due: false,
            under_way: 0,
            settling: Vec::new(),
            figures: SchedulerFigures::default(),
            options,
        }
    }

    fn now(&self) -> Timestamp {
        self.options.clock.now()
    }

    /// Begins work beside the actor, or says that it has too much under way.
    fn begin(
        &mut self,
        context: &Context<Self>,
        work: impl Future<Output = SchedulerNote> + Send + 'static,
    ) -> Result<()> {
        context.spawn(work)?;
        self.under_way += 1;
        Ok(())
    }

    /// Learns from one answer.
    fn observe(&mut self, context: &Context<Self>, observation: Observation) {
        let (now, limits) = (self.now(), self.options.limits.clone());
        self.figures.observed += 1;
        self.figures.unseen += observation.unseen as u64;
        let most = self.options.budgets.working_set.saturating_mul(2);
        for (setting, used) in &observation.used {
            for used in used {
                if !self.held.hold_use(&setting.space, used.version.cube, limits.held_uses) {
                    self.figures.lost_uses += 1;
                }
                let number = self.sets.next_use();
                if let Some(set) = self.sets.touch(setting) {
                    let VersionRef { cube, version } = used.version;
                    set.used(cube, version, used.score, number, now, most);
                }
            }
            self.ask_to_look_after(context, setting);
        }
        if self.held.uses() >= limits.held_uses / 2 {
            self.write_held(context);
        }
        self.write_soon(context);
        self.rest_later(context);
    }

    fn ask_to_look_after(&mut self, context: &Context<Self>, setting: &Setting) {
        let Some(set) = self.sets.get_mut(setting) else { return };
        if set.is_looked_after {
            set.is_outdated = true;
            return;
        }
        // With too much under way the next recall of the task asks again.
        if context.after(self.options.limits.look_after, SchedulerNote::LookAfter(setting.clone())).is_ok() {
            set.is_looked_after = true;
            self.under_way += 1;
        }
    }

    /// Has read what a task uses, what stands around it, and what has a form.
    fn look(&mut self, context: &Context<Self>, setting: Setting) {
        let limits = &self.options.limits;
        let mut request = Request { hops: limits.hops, neighbours: limits.neighbours, ..Request::default() };
        request.loaded = self.forms.cubes_of(&setting.space);
        if let Some(set) = self.sets.get_mut(&setting) {
            set.is_outdated = false;
            (request.known, request.seeds) = set.scored(limits.seeds);
        }
        let (kernel, maker) = (self.kernel.clone(), self.maker.clone());
        let looked_at = setting.clone();
        let begun = self.begin(context, async move {
            let gathered = async {
                let session = session(&kernel, &setting.space).await?;
                let mut gathered = session.work(move |space, keeper| gather(space, keeper, request)).await?;
                gathered.price(&setting.space, maker.as_ref()).await?;
                Ok(gathered)
            };
            let gathered = gathered.await;
            SchedulerNote::Gathered(setting, gathered)
        });
        if begun.is_err() {
            self.figures.unread += 1;
            self.looked_after(context, &looked_at);
        }
    }

    fn looked_after(&mut self, context: &Context<Self>, setting: &Setting) {
        let Some(set) = self.sets.get_mut(setting) else { return };
        set.is_looked_after = false;
        if std::mem::take(&mut set.is_outdated) {
            self.ask_to_look_after(context, setting);
        }
    }

    fn gathered(&mut self, context: &Context<Self>, setting: &Setting, gathered: Result<Gathered>) {
        match gathered {
            Ok(mut gathered) => {
                // It was read in the name of the space itself, so what is missing is gone.
                let missing = gathered.missing();
                if let Some(set) = self.sets.get_mut(setting) {
                    set.members.retain(|cube, _| !missing.contains(cube));
                }
                let plan = self.plan(setting, None, &mut gathered);
                let gone = self.forms.forms_of(&setting.space, &missing);
                self.carry_out(context, setting, &plan, gone);
            }
            Err(_) => self.figures.unread += 1,
        }
        self.looked_after(context, setting);
    }

    /// Plans with what the actor itself knows, and keeps what was decided.
    fn plan(&mut self, setting: &Setting, call: Option<&MemoryCall>, gathered: &mut Gathered) -> Plan {
        let now = self.now();
        let (space, set) = (&setting.space, self.sets.get(setting));
        let mut budgets = self.options.budgets;
        for candidate in &mut gathered.candidates {
            let cube = candidate.standing.id;
            let writing = self.writing.get(space).and_then(|uses| uses.get(&cube)).copied().unwrap_or(0);
            for _ in 0..self.held.uses_of(space, &cube).saturating_add(writing) {
                candidate.standing.usage.record(memos_memory::cube::UseSignal::Read, now);
            }
            candidate.at_hand_since = set.and_then(|set| set.members.get(&cube)).map(|member| member.since);
            self.forms.describe(space, candidate);
        }
        // What others hold, and what the reader may not see, is not to be given away.
        self.forms.spend(space, &gathered.candidates, &mut budgets);
        if let Some(set) = set {
            let shown = |cube: &CubeId| gathered.texts.contains_key(cube);
            for (_, member) in set.members.iter().filter(|(cube, _)| !shown(cube)) {
                budgets.working_set = budgets.working_set.saturating_sub(1);
                budgets.working_set_tokens = budgets.working_set_tokens.saturating_sub(member.tokens);
            }
        }
        let (candidates, task) = (&gathered.candidates, setting.task());
        let situation = Situation { call, task, candidates, budgets: &budgets, now };
        let plan = plan(&situation, &self.options.rules);
        if let Some(set) = self.sets.get_mut(setting) {
            set.follow(&plan, gathered, now);
        }
        let occasion = Occasion { at: now, space: &setting.space, setting: setting.name.as_deref() };
        let wanted: HashMap<CubeId, Wanted> =
            gathered.candidates.iter().map(|candidate| (candidate.standing.id, candidate.wanted)).collect();
        for decision in occasion.decisions(&plan, |cube| wanted.get(&cube).copied()) {
            self.keep(decision);
        }
        plan
    }

    /// Keeps a decision in the journal, and holds it to be put on record.
    fn keep(&mut self, decision: ScheduleDecision) {
        let decision = self.journal.keep(decision);
        if !self.held.hold_decision(decision, self.options.limits.held_decisions) {
            self.figures.lost_decisions += 1;
        }
    }

    /// Carries out the steps of a plan that change something outside of the actor, and drops the forms of what is gone.
    fn carry_out(&mut self, context: &Context<Self>, setting: &Setting, plan: &Plan, gone: Vec<FormName>) {
        let name = |step: &PlannedStep, form| FormName { space: setting.space.clone(), version: step.version, form };
        let occasion = Occasion { at: self.now(), space: &setting.space, setting: setting.name.as_deref() };
        let (mut drops, mut builds) = (gone.clone(), Vec::new());
        for name in gone {
            let because = Because::Planned(Reason::NotRecalled { state: State::Erased });
            let decision = occasion.decision(name.version, Scheduling::Demote, because);
            self.keep(ScheduleDecision { form: Some(name.form), ..decision });
        }
        for step in &plan.steps {
            match step.step {
                Step::Demote(form) => drops.extend(self.forms.built_as(&name(step, form))),
                Step::Promote(form) => {
                    let bytes = match step.reason {
                        Reason::Pays { worth } => worth.bytes,
                        _ => 0,
                    };
                    builds.push((name(step, form), bytes));
                }
                Step::Archive => {
                    let because = Because::Planned(step.reason);
                    self.archive(context, occasion.decision(step.version, Scheduling::Archive, because));
                }
                Step::Prefetch | Step::Evict => {}
            }
        }
        self.reform(context, drops, builds);
        self.write_soon(context);
        self.rest_later(context);
    }

    fn archive(&mut self, context: &Context<Self>, decision: ScheduleDecision) {
        let kernel = self.kernel.clone();
        let kept = decision.clone();
        let begun = self.begin(context, async move {
            let reason = decision.because.to_string();
            let done = writing::archive(&kernel, &decision.space, decision.version.cube, reason).await;
            SchedulerNote::Archived(decision, done.map(|_| ()))
        });
        if let Err(error) = begun {
            self.failed(kept, &error);
        }
    }

    /// Says that what was decided could not be done.
    fn failed(&mut self, decision: ScheduleDecision, error: &Error) {
        self.figures.failed += 1;
        self.keep(ScheduleDecision { because: Because::Failed { failed: error.to_string() }, ..decision });
    }

    fn failed_form(&mut self, name: &FormName, scheduling: Scheduling, error: &Error) {
        let occasion = Occasion { at: self.now(), space: &name.space, setting: None };
        let because = Because::Failed { failed: error.to_string() };
        let decision = occasion.decision(name.version, scheduling, because);
        self.failed(ScheduleDecision { form: Some(name.form), ..decision }, error);
    }

    /// Has forms dropped, and others built when that is done, so that there is never more than the budgets allow.
    fn reform(&mut self, context: &Context<Self>, drops: Vec<FormName>, builds: Vec<(FormName, u64)>) {
        let Some(maker) = self.maker.clone() else { return };
        if drops.is_empty() && builds.is_empty() {
            return;
        }
        let dropped: Vec<MadeForm> = drops.iter().filter_map(|name| self.forms.begin_drop(name)).collect();
        builds.iter().for_each(|(name, bytes)| self.forms.begin_build(name, *bytes));
        let names: Vec<FormName> = builds.into_iter().map(|(name, _)| name).collect();
        if let Err(error) = self.begin(context, reform(maker, dropped.clone(), names.clone())) {
            let dropped = dropped.into_iter().map(|form| (form, Err(Error::new(error.kind(), error.to_string()))));
            self.dropped(context, Reform { dropped: dropped.collect(), builds: names });
        }
    }

    fn dropped(&mut self, context: &Context<Self>, reform: Reform) {
        let mut all = true;
        for (form, done) in reform.dropped {
            let name = form.name.clone();
            self.forms.end_drop(form, done.is_ok());
            if let Err(error) = done {
                all = false;
                self.failed_form(&name, Scheduling::Demote, &error);
            }
        }
        for name in reform.builds {
            let begun = match self.maker.clone() {
                // What was not dropped takes the room that this was to have; the next plan decides anew.
                Some(maker) if all => self.begin(context, build(maker, name.clone())),
                _ => Err(Error::new(ErrorKind::Busy, "there is no room for it, as another form was not dropped")),
            };
            if let Err(error) = begun {
                self.made(&name, Err(error));
            }
        }
    }

    fn made(&mut self, name: &FormName, made: Result<MadeForm>) {
        match made {
            Ok(form) => self.forms.end_build(form),
            Err(error) => {
                self.forms.fail_build(name, self.now(), &self.options.limits);
                self.failed_form(name, Scheduling::Promote, &error);
            }
        }
    }

    /// Sees to it that what is held is written soon.
    fn write_soon(&mut self, context: &Context<Self>) {
        if self.is_write_due || self.held.is_empty() {
            return;
        }
        // With too much under way the next decision asks again.
        self.is_write_due = context.after(self.options.limits.write_after, SchedulerNote::WriteHeld).is_ok();
    }

    fn write_held(&mut self, context: &Context<Self>) {
        for (space, uses, decisions) in self.held.take(self.options.limits.uses_per_write) {
            let writing = self.writing.entry(space.clone()).or_default();
            uses.iter().for_each(|(cube, times)| *writing.entry(*cube).or_default() += times);
            self.writes += 1;
            let key = format!("{}:{}", self.life, self.writes);
            self.write(context, Write { space, key, uses, decisions, tries: 0 });
        }
    }

    fn write(&mut self, context: &Context<Self>, mut job: Write) {
        job.tries += 1;
        let (kernel, keeper) = (self.kernel.clone(), self.keeper.clone());
        let (uses, decisions) = (job.uses.clone(), job.decisions.len());
        let space = job.space.clone();
        let begun = self.begin(context, async move {
            let done = write(&kernel, &keeper, &job).await;
            SchedulerNote::Written(job, done)
        });
        if begun.is_err() {
            self.lost(&space, &uses, decisions);
        }
    }

    fn written(&mut self, context: &Context<Self>, job: Write, done: Result<usize>) {
        let limits = &self.options.limits;
        match done {
            Ok(recorded) => {
                self.figures.lost_decisions += job.decisions.len().saturating_sub(recorded) as u64;
                self.figures.written_uses += u64::from(job.uses.values().sum::<u32>());
                self.forget_writing(&job.space, &job.uses);
            }
            Err(error) if error.kind().is_retryable() && job.tries < limits.tries => {
                let (wait, space) = (limits.wait_after(job.tries), job.space.clone());
                let (uses, decisions) = (job.uses.clone(), job.decisions.len());
                match context.after(wait, SchedulerNote::WriteAgain(job)) {
                    Ok(()) => self.under_way += 1,
                    Err(_) => self.lost(&space, &uses, decisions),
                }
            }
            Err(_) => self.lost(&job.space, &job.uses, job.decisions.len()),
        }
    }

    fn lost(&mut self, space: &SpaceName, uses: &Uses, decisions: usize) {
        self.figures.lost_uses += u64::from(uses.values().sum::<u32>());
        self.figures.lost_decisions += decisions as u64;
        self.forget_writing(space, uses);
    }

    fn forget_writing(&mut self, space: &SpaceName, uses: &Uses) {
        let Some(writing) = self.writing.get_mut(space) else { return };
        for (cube, times) in uses {
            if let Some(left) = writing.get_mut(cube) {
                *left = left.saturating_sub(*times);
            }
        }
        writing.retain(|_, left| *left > 0);
        if writing.is_empty() {
            self.writing.remove(space);
        }
    }

    /// Comes back later to let go of what is idle. A scheduler that has nothing sleeps.
    fn rest_later(&mut self, context: &Context<Self>) {
        if self.is_rest_due || (self.sets.len() == 0 && self.forms.is_empty()) {
            return;
        }
        self.is_rest_due = context.after(self.options.limits.task_idle, SchedulerNote::Rest).is_ok();
    }

    fn rest(&mut self, context: &Context<Self>) {
        self.is_rest_due = false;
        self.sets.let_go(self.options.limits.task_idle);
        // What cools is looked at, too, when nobody uses its task any more.
        for space in self.forms.spaces() {
            self.look(context, Setting { space, name: None });
        }
        self.rest_later(context);
    }

    fn figures(&self) -> SchedulerFigures {
        SchedulerFigures {
            tasks: self.sets.len(),
            at_hand: self.sets.members(),
            journal: self.journal.len(),
            forms: self.forms.len(),
            forms_busy: self.forms.busy(),
            set_aside: self.forms.set_aside(),
            ..self.figures
        }
    }

    fn settle(&mut self, context: &Context<Self>) {
        if self.settling.is_empty() {
            return;
        }
        if !self.held.is_empty() && self.under_way == 0 {
            self.write_held(context);
        }
        if self.under_way == 0 {
            self.settling.drain(..).for_each(|reply| reply.send(Ok(())));
        }
    }
}

impl Behaviour for Keeping {
    type Command = SchedulerCommand;
    type Note = SchedulerNote;

    fn handle(
        &mut self,
        context: &mut Context<Self>,
        mut envelope: Envelope<SchedulerCommand>,
    ) -> std::result::Result<(), Broken> {
        match envelope.open() {
            None => {}
            Some(SchedulerCommand::Observe(observation)) => self.observe(context, observation),
            Some(SchedulerCommand::Members { setting, reply }) => {
                let owned = |(cube, member): (CubeId, &Member)| (cube, member.clone());
                let members = self.sets.get(&setting).map(|set| set.in_order().into_iter().map(owned).collect());
                reply.send(Ok(members.unwrap_or_default()));
            }
            Some(SchedulerCommand::Plan { setting, call, mut gathered, reply }) => {
                self.sets.touch(&setting);
                let plan = self.plan(&setting, Some(&call), &mut gathered);
                self.carry_out(context, &setting, &plan, Vec::new());
                reply.send(Ok(plan));
            }
            Some(SchedulerCommand::Decisions { space, query, reply }) => {
                reply.send(Ok(self.journal.find(&space, &query)));
            }
            Some(SchedulerCommand::Figures(reply)) => reply.send(Ok(self.figures())),
            Some(SchedulerCommand::Settle(reply)) => self.settling.push(reply),
        }
        self.settle(context);
        Ok(())
    }

    fn note(&mut self, context: &mut Context<Self>, note: SchedulerNote) -> std::result::Result<(), Broken> {
        if !matches!(note, SchedulerNote::WriteHeld | SchedulerNote::Rest) {
            self.under_way = self.under_way.saturating_sub(1);
        }
        match note {
            SchedulerNote::LookAfter(setting) => self.look(context, setting),
            SchedulerNote::Gathered(setting, gathered) => self.gathered(context, &setting, gathered),
            SchedulerNote::WriteHeld => {
                self.is_write_due = false;
                self.write_held(context);
            }
            SchedulerNote::Written(job, done) => self.written(context, job, done),
            SchedulerNote::WriteAgain(job) => self.write(context, job),
            SchedulerNote::Archived(decision, done) => {
                if let Err(error) = done {
                    self.failed(decision, &error);
                }
            }
            SchedulerNote::Reformed(reform) => self.dropped(context, reform),
            SchedulerNote::Made(name, made) => self.made(&name, made),
            SchedulerNote::Rest => self.rest(context),
        }
        self.settle(context);
        Ok(())
    }
}

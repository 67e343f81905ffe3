//! Holds a history against the ledger: whether there is one order of all that was done, in which every client was told what
//! is so at some point between asking and being told.
//!
//! The ledger names the order of all changes, so there is nothing to search: the order is held against the history. Every
//! acknowledged request stands in it once, whole and at the place that its client was told; nothing stands there that nobody
//! asked for or that the rules forbid; it agrees with real time; and every reading, refusal and change that changed nothing
//! fits at a point of it, behind all that had ended before it began and before all that began when it had ended. The points
//! are found in one sweep over time, each as early as it can be, so it takes about as long as the history is. What holds is
//! more than linearisability of each cube: it is that of the whole space, with batches as single steps.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use memos_memory::cube::{CubeId, Digest, GroupName, PrincipalId, State};
use memos_memory::governance::KEEPER;

use super::history::{Asked, Made, Op, Seen, Told, Written};
use super::model::{Ask, Model, Now, leads};

/// What can be wrong with a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The ledger has something that nobody asked for.
    AskedByNobody,
    /// A batch is there in part, or not in one piece.
    Torn,
    /// A request was done twice.
    DoneTwice,
    /// A request that was acknowledged is not in the ledger, or not where its client was told.
    Lost,
    /// A request was refused, and done.
    RefusedAndDone,
    /// A request was done that the rules forbid.
    Forbidden,
    /// Versions do not follow each other, or one has two digests.
    BrokenChain,
    /// The order of the ledger is not the order of real time.
    OutOfTime,
    /// There is no point at which what the client was told is so.
    FitsNowhere,
    /// A session saw less than it had seen or written before.
    WentBack,
    /// A request that was repeated was answered otherwise.
    AnsweredOtherwise,
}

/// What is wrong, why, and with which cubes.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) wrong: Wrong,
    why: String,
    cubes: Vec<CubeId>,
}

type Checked<T> = Result<T, Violation>;

fn wrong<T>(wrong: Wrong, why: String, cubes: Vec<CubeId>) -> Checked<T> {
    Err(Violation { wrong, why, cubes })
}

impl Violation {
    /// Tells what is wrong, with all that was asked of the cubes and done to them.
    pub(crate) fn tell(&self, ops: &[Op], ledger: &[(PrincipalId, Written)]) -> String {
        let mut text = format!("{:?}: {}\n", self.wrong, self.why);
        for op in ops.iter().filter(|op| op.cubes().iter().any(|cube| self.cubes.contains(cube))) {
            writeln!(text, "{op}").unwrap();
        }
        let names = |written: &Written| cubes_of(written).iter().any(|cube| self.cubes.contains(cube));
        for (at, (who, written)) in ledger.iter().enumerate().filter(|(_, (_, written))| names(written)) {
            writeln!(text, "event {at} by {who}: {written:?}").unwrap();
        }
        text
    }
}

/// Checks the history of one space.
pub(crate) fn check(ops: &[Op], ledger: &[(PrincipalId, Written)]) -> Checked<()> {
    let digests = digests(ops, ledger)?;
    let order = Walk::new(ops, ledger, &digests).run()?;
    order.check_answers()?;
    order.check_sessions()?;
    order.sweep()
}

/// Learns the digests of all versions, as far as somebody told them.
fn digests(ops: &[Op], ledger: &[(PrincipalId, Written)]) -> Checked<HashMap<(CubeId, u32), Digest>> {
    let mut digests: HashMap<(CubeId, u32), Digest> = HashMap::new();
    let seen = ops.iter().filter_map(|op| if let Told::Saw(seen) = &op.told { Some(seen) } else { None }).flatten();
    let seen = seen.map(|seen| (seen.cube, seen.version, seen.digest));
    let parents = ledger.iter().filter_map(|(_, written)| match written {
        Written::Stored { cube, version, parent: Some(parent), .. } => {
            Some((*cube, version.saturating_sub(1), *parent))
        }
        _ => None,
    });
    for (cube, version, digest) in parents.chain(seen) {
        if *digests.entry((cube, version)).or_insert(digest) != digest {
            return wrong(Wrong::BrokenChain, format!("version {version} has two digests"), vec![cube]);
        }
    }
    Ok(digests)
}

/// Whether an event is what was asked for.
fn is_of(ask: &Ask, written: &Written) -> bool {
    match (ask, written) {
        (Ask::Store { cube, .. }, Written::Stored { cube: stored, parent: None, .. }) => cube == stored,
        (Ask::Update { cube, parent, .. }, Written::Stored { cube: stored, parent: Some(of), .. }) => {
            cube == stored && parent == of
        }
        (Ask::State { cube, state, reason }, Written::State { cube: moved, state: to, reason: why }) => {
            cube == moved && state == to && reason == why
        }
        (Ask::Link { from, to }, Written::Linked(a, b)) | (Ask::Unlink { from, to }, Written::Unlinked(a, b)) => {
            from == a && to == b
        }
        (Ask::Erase { cube, reason }, Written::Erased { cubes, reason: why }) => cubes == &[*cube] && reason == why,
        _ => false,
    }
}

fn asks(op: &Op) -> &[Ask] {
    if let Asked::Changes(asks) = &op.asked { asks } else { &[] }
}

/// Goes along the ledger, and finds who asked for each event.
struct Walk<'a> {
    ops: &'a [Op],
    ledger: &'a [(PrincipalId, Written)],
    digests: &'a HashMap<(CubeId, u32), Digest>,
    /// What versions say, as far as somebody saw them.
    texts: HashMap<(CubeId, u32), &'a str>,
    /// The first event of each acknowledged request: how many events it has, and its place among the requests.
    claims: BTreeMap<u64, (u64, usize)>,
    model: Model,
    order: Order<'a>,
}

impl<'a> Walk<'a> {
    fn new(ops: &'a [Op], ledger: &'a [(PrincipalId, Written)], digests: &'a HashMap<(CubeId, u32), Digest>) -> Self {
        let claim = |(place, op): (usize, &Op)| match (&op.asked, &op.told) {
            (Asked::Changes(_), Told::Done { first, events }) if *events > 0 => Some((*first, (*events, place))),
            _ => None,
        };
        let claims = ops.iter().enumerate().filter_map(claim).collect();
        let seen = ops.iter().filter_map(|op| if let Told::Saw(seen) = &op.told { Some(seen) } else { None }).flatten();
        let texts = seen.map(|seen| ((seen.cube, seen.version), seen.text.as_str())).collect();
        let (indexes, timelines) = (vec![None; ops.len()], HashMap::new());
        let order = Order { ops, indexes, count: 0, timelines, rules: Vec::new() };
        Self { ops, ledger, digests, texts, claims, model: Model::default(), order }
    }

    fn run(mut self) -> Checked<Order<'a>> {
        let mut at = 0;
        while let Some((who, written)) = self.ledger.get(at) {
            if *written == Written::Other {
                // A named request that changes nothing has its name in the ledger, and nothing else.
                match self.claimed(at).filter(|place| self.order.indexes[*place].is_none()) {
                    Some(place) => _ = self.take(at, place)?,
                    None => at += 1,
                }
                continue;
            }
            if let Written::Read(cubes) = written {
                self.activate(cubes);
                at += 1;
                continue;
            }
            if let Written::Ruled(barred) = written {
                self.order.count += 1;
                self.order.rules.push((self.order.count, barred.clone()));
                self.model.barred.clone_from(barred);
                at += 1;
                continue;
            }
            if who.as_str() == KEEPER {
                self.keep(at, written)?;
                at += 1;
                continue;
            }
            let place = self.who_asked(at, who, written)?;
            at = self.take(at, place)?;
        }
        for (op, index) in self.ops.iter().zip(&self.order.indexes) {
            match (&op.asked, &op.told) {
                (Asked::Changes(_), Told::Done { events, .. }) if *events > 0 && index.is_none() => {
                    return wrong(Wrong::Lost, format!("#{} was acknowledged and is not there", op.number), op.cubes());
                }
                (_, Told::Refused(_)) if index.is_some() => {
                    return wrong(Wrong::RefusedAndDone, format!("#{} was refused and done", op.number), op.cubes());
                }
                _ => {}
            }
        }
        Ok(self.order)
    }

    /// Takes in what the space did of itself: it moves cubes on as far as the table of states and their writers let it, and
    /// makes of cubes what those may see who may see the cubes.
    fn keep(&mut self, at: usize, written: &Written) -> Checked<()> {
        self.order.count += 1;
        let changed = match written {
            Written::State { cube, state, .. } => self.move_on(cube, *state).map(|()| vec![*cube]),
            Written::Erased { cubes, .. } => cubes
                .iter()
                .map(|cube| self.move_on(cube, State::Erased))
                .collect::<Option<()>>()
                .map(|()| cubes.clone()),
            Written::Stored { cube, version, made, .. } => self.derive(*cube, *version, made).map(|()| vec![*cube]),
            Written::Linked(..) | Written::Unlinked(..) => Some(Vec::new()),
            Written::Read(_) | Written::Ruled(_) | Written::Other => Some(Vec::new()),
        };
        let Some(changed) = changed else {
            return wrong(Wrong::Forbidden, format!("event {at}: the space did {written:?}"), cubes_of(written));
        };
        self.note(&changed);
        Ok(())
    }

    fn move_on(&mut self, cube: &CubeId, state: State) -> Option<()> {
        let now = self.model.cubes.get(cube)?;
        let is_due = match state {
            State::Expired => leads(now.state, state) && (now.is_mortal || self.is_stray(now)),
            State::Erased => now.state == State::Expired,
            state => leads(now.state, state),
        };
        self.model.cubes.get_mut(cube)?.state = state;
        is_due.then_some(())
    }

    /// Returns whether the space has made a cube of what others see now, or nobody.
    fn is_stray(&self, now: &Now) -> bool {
        let stays = |source: &CubeId| self.model.cubes.get(source).is_some_and(|source| source.is_open_as(now));
        !now.sources.iter().all(stays)
    }

    /// Takes in a version that the space made. What it makes of cubes has the owner, layer and grants of all of them; what
    /// was there keeps its own.
    fn derive(&mut self, cube: CubeId, version: u32, made: &Made) -> Option<()> {
        let Made { owner, layer, grants, is_mortal, sources } = made.clone();
        let (state, digest) = (State::Generated, self.digests.get(&(cube, version)).copied());
        let next = Now { version, digest, text: None, state, owner, layer, grants, is_mortal, sources };
        let alike = |source: &CubeId| self.model.cubes.get(source).is_some_and(|source| source.is_open_as(&next));
        let next = match self.model.cubes.get(&cube) {
            Some(now) if now.version + 1 == version && now.is_open_as(&next) => match next.sources == now.sources {
                // What is a client's own says what it said, until another time.
                true if now.sources.is_empty() => Now { state: now.state, text: now.text.clone(), ..next },
                true => Now { state: now.state, ..next },
                // What it was made from before stays in its header, and not in what it says.
                false if next.sources.iter().all(|source| now.sources.contains(source) || alike(source)) => {
                    Now { state: now.state, ..next }
                }
                false => return None,
            },
            None if version == 1 && !next.sources.is_empty() && next.sources.iter().all(alike) => next,
            _ => return None,
        };
        let sources: Vec<&Now> = next.sources.iter().filter_map(|source| self.model.cubes.get(source)).collect();
        let says = |said: &str| {
            let with_same = sources.iter().filter(|source| source.is_open_as(&next));
            with_same.filter_map(|source| source.text.as_ref()).any(|text| sayings(text).any(|saying| saying == said))
        };
        if next.text.is_none() && !self.texts.get(&(cube, version)).is_none_or(|text| sayings(text).all(says)) {
            return None;
        }
        self.model.cubes.insert(cube, next);
        Some(())
    }

    /// Notes what became of cubes.
    fn note(&mut self, cubes: &[CubeId]) {
        for cube in cubes {
            if let Some(now) = self.model.cubes.get(cube) {
                self.order.timelines.entry(*cube).or_default().push((self.order.count, now.clone()));
            }
        }
    }

    /// Takes in that cubes were read.
    fn activate(&mut self, cubes: &[CubeId]) {
        let is_new = |cube: &&CubeId| self.model.cubes.get(cube).is_some_and(|now| now.state == State::Generated);
        let activated: Vec<CubeId> = cubes.iter().filter(is_new).copied().collect();
        for cube in &activated {
            self.model.cubes.get_mut(cube).into_iter().for_each(|now| now.state = State::Activated);
        }
        self.order.count += 1;
        self.note(&activated);
    }

    /// Returns the request whose client was told that an event is of it.
    fn claimed(&self, at: usize) -> Option<usize> {
        let (first, (events, place)) = self.claims.range(..=at as u64).next_back()?;
        ((at as u64) < first + events).then_some(*place)
    }

    /// Finds the request of an event: the one that claims its place, else one whose outcome is not known.
    fn who_asked(&self, at: usize, who: &PrincipalId, written: &Written) -> Checked<usize> {
        if let Some(place) = self.claimed(at) {
            return Ok(place);
        }
        let fits = |op: &Op| op.who.id == *who && asks(op).iter().any(|ask| is_of(ask, written));
        let fitting: Vec<usize> = (0..self.ops.len()).filter(|place| fits(&self.ops[*place])).collect();
        let is_free = |place: &&usize| self.order.indexes[**place].is_none();
        let is_open = |place: &&usize| !matches!(self.ops[**place].told, Told::Done { events, .. } if events > 0);
        match (fitting.iter().filter(is_free).find(is_open), fitting.first()) {
            (Some(place), _) => Ok(*place),
            (None, None) => wrong(Wrong::AskedByNobody, format!("event {at} by {who}: {written:?}"), cubes_of(written)),
            (None, Some(place)) => {
                let op = &self.ops[*place];
                let kind = if self.order.indexes[*place].is_some() { Wrong::DoneTwice } else { Wrong::Lost };
                wrong(kind, format!("event {at} is of #{}, which is elsewhere", op.number), op.cubes())
            }
        }
    }

    /// Takes the events of one request, and returns where the next begin.
    fn take(&mut self, from: usize, place: usize) -> Checked<usize> {
        let op = &self.ops[place];
        if self.order.indexes[place].is_some() {
            return wrong(Wrong::DoneTwice, format!("event {from} does #{} once more", op.number), op.cubes());
        }
        let mut at = from;
        for ask in asks(op) {
            if self.model.is_idle(ask) {
                continue;
            }
            while self.ledger.get(at).is_some_and(|(_, written)| *written == Written::Other) {
                at += 1;
            }
            let Some((_, written)) =
                self.ledger.get(at).filter(|(who, written)| *who == op.who.id && is_of(ask, written))
            else {
                return wrong(Wrong::Torn, format!("event {at} is not the `{ask}` of #{}", op.number), op.cubes());
            };
            self.make(op, ask, written)?;
            at += 1;
        }
        let claimed = match op.told {
            Told::Done { first, events } if events > 0 => first as usize..(first + events) as usize,
            _ => from..at,
        };
        let is_rest_other = (at..claimed.end).all(|at| matches!(self.ledger.get(at), Some((_, Written::Other))));
        if from < claimed.start || at > claimed.end || !is_rest_other {
            let why = format!("#{} is at events {from} to {at}, and its client was told {claimed:?}", op.number);
            return wrong(Wrong::Torn, why, op.cubes());
        }
        self.order.count += 1;
        self.order.indexes[place] = Some(self.order.count);
        self.note(&asks(op).iter().flat_map(Ask::cubes).collect::<Vec<_>>());
        Ok(at)
    }

    fn make(&mut self, op: &Op, ask: &Ask, written: &Written) -> Checked<()> {
        if let Some(kind) = self.model.refusals(&op.who, ask).first() {
            return wrong(Wrong::Forbidden, format!("`{ask}` of #{} was done, and is {kind:?}", op.number), op.cubes());
        }
        self.model.make(&op.who.id, ask);
        if let Written::Stored { cube, version, .. } = written
            && let Some(now) = self.model.cubes.get_mut(cube)
        {
            if now.version != *version {
                let why = format!("#{} made version {version} where {} was next", op.number, now.version);
                return wrong(Wrong::BrokenChain, why, vec![*cube]);
            }
            now.digest = self.digests.get(&(*cube, *version)).copied();
        }
        Ok(())
    }
}

/// Returns what clients say in a text, which no two of them say alike: `says client 3 step 7`.
fn sayings(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("says client ").map(|(at, _)| {
        let end = text[at..].match_indices([' ', '\n']).map(|(end, _)| at + end).nth(3);
        &text[at..end.unwrap_or(text.len())]
    })
}

fn cubes_of(written: &Written) -> Vec<CubeId> {
    match written {
        Written::Stored { cube, .. } | Written::State { cube, .. } => vec![*cube],
        Written::Linked(from, to) | Written::Unlinked(from, to) => vec![*from, *to],
        Written::Erased { cubes, .. } | Written::Read(cubes) => cubes.clone(),
        Written::Ruled(_) | Written::Other => Vec::new(),
    }
}

/// The order in which requests were done.
struct Order<'a> {
    ops: &'a [Op],
    /// The place of each request in the order, counted from 1: the point behind it has the same number.
    indexes: Vec<Option<usize>>,
    count: usize,
    /// What became of each cube, and by which request.
    timelines: HashMap<CubeId, Vec<(usize, Now)>>,
    /// The group that was kept from what is global, from which point on.
    rules: Vec<(usize, Option<GroupName>)>,
}

impl Order<'_> {
    fn now(&self, cube: &CubeId, point: usize) -> Option<&Now> {
        let timeline = self.timelines.get(cube)?;
        let behind = timeline.partition_point(|(index, _)| *index <= point);
        timeline.get(behind.checked_sub(1)?).map(|(_, now)| now)
    }

    fn barred(&self, point: usize) -> Option<&GroupName> {
        let behind = self.rules.partition_point(|(index, _)| *index <= point);
        self.rules.get(behind.checked_sub(1)?)?.1.as_ref()
    }

    /// Returns whether what the client was told is so at a point.
    fn fits(&self, op: &Op, point: usize) -> bool {
        let barred = self.barred(point);
        let sees = |seen: &Seen| {
            self.now(&seen.cube, point).is_some_and(|now| {
                let is_said = now.text.as_ref().is_none_or(|text| *text == seen.text);
                now.shows(&op.who, barred) && (now.version, now.state) == (seen.version, seen.state) && is_said
            })
        };
        match (&op.asked, &op.told) {
            (Asked::Get(_) | Asked::Recall, Told::Saw(seen)) => seen.iter().all(sees),
            (Asked::Get(cube), Told::Refused(_)) => {
                !self.now(cube, point).is_some_and(|now| now.shows(&op.who, barred))
            }
            (Asked::Changes(asks), told) => {
                let named = asks.iter().flat_map(Ask::cubes);
                let here = named.filter_map(|cube| Some((cube, self.now(&cube, point)?.clone())));
                let mut model = Model { cubes: here.collect(), barred: barred.cloned(), ..Model::default() };
                let mut refused = false;
                let mut idle = true;
                for ask in asks {
                    let refusals = model.refusals(&op.who, ask);
                    refused |= matches!(told, Told::Refused(kind) if refusals.contains(kind));
                    idle &= refusals.is_empty() && model.is_idle(ask);
                    model.make(&op.who.id, ask);
                }
                if matches!(told, Told::Refused(_)) { refused } else { idle }
            }
            _ => true,
        }
    }

    /// Finds the first point at which what the client was told is so.
    fn first_fit(&self, op: &Op, from: usize, before: usize) -> Option<usize> {
        let changes = op.cubes().into_iter().filter_map(|cube| self.timelines.get(&cube)).flatten();
        let changes = changes.map(|(index, _)| *index).chain(self.rules.iter().map(|(index, _)| *index));
        let points: BTreeSet<usize> = changes.filter(|index| *index > from).collect();
        std::iter::once(from).chain(points).take_while(|point| *point < before).find(|point| self.fits(op, *point))
    }

    /// Sweeps over real time, and finds a point for each request.
    fn sweep(&self) -> Checked<()> {
        let mut times: Vec<(u64, usize, bool)> = Vec::with_capacity(self.ops.len() * 2);
        for (place, op) in self.ops.iter().enumerate() {
            times.push((op.began, place, true));
            times.extend(op.ended.map(|ended| (ended, place, false)));
        }
        times.sort_unstable();
        let ceilings = self.ceilings();
        // Behind which point everything is that begins now, and was when a request began.
        let mut floor = 0;
        let mut floors = vec![0; self.ops.len()];
        for (time, place, begins) in times {
            let op = &self.ops[place];
            let is_done = self.indexes[place];
            if begins {
                floors[place] = floor;
                if let Some(index) = is_done.filter(|index| *index <= floor) {
                    let why = format!("#{} was done at {index}, and {floor} was there before it began", op.number);
                    return wrong(Wrong::OutOfTime, why, op.cubes());
                }
                continue;
            }
            let point = match (is_done, &op.asked) {
                (Some(index), _) => index,
                (None, Asked::Again(_)) => floors[place],
                (None, _) if op.told == Told::Nothing => floors[place],
                (None, _) => {
                    let before = ceilings.range(time..).next().map_or(usize::MAX, |(_, ceiling)| *ceiling);
                    let Some(point) = self.first_fit(op, floors[place], before) else {
                        let why = format!("{op}: at no point from {} to before {before}", floors[place]);
                        return wrong(Wrong::FitsNowhere, why, op.cubes());
                    };
                    point
                }
            };
            floor = floor.max(point);
        }
        Ok(())
    }

    /// Returns, for times at which a change began, the first point behind all changes that began then or later.
    fn ceilings(&self) -> BTreeMap<u64, usize> {
        let done = self.ops.iter().zip(&self.indexes).filter_map(|(op, index)| Some((op.began, (*index)?)));
        let mut ceilings: BTreeMap<u64, usize> = done.collect();
        let mut least = usize::MAX;
        for ceiling in ceilings.values_mut().rev() {
            least = least.min(*ceiling);
            *ceiling = least;
        }
        ceilings
    }

    fn check_answers(&self) -> Checked<()> {
        let told: HashMap<usize, &Op> = self.ops.iter().map(|op| (op.number, op)).collect();
        for op in self.ops {
            let Asked::Again(number) = &op.asked else { continue };
            let Some(first) = told.get(number) else { continue };
            if op.told != Told::Nothing && first.told != Told::Nothing && op.told != first.told {
                let why = format!("#{} got {:?}, and #{} {:?}", op.number, op.told, first.number, first.told);
                return wrong(Wrong::AnsweredOtherwise, why, first.cubes());
            }
        }
        Ok(())
    }

    fn check_sessions(&self) -> Checked<()> {
        let mut known: HashMap<(usize, CubeId), u32> = HashMap::new();
        for (op, index) in self.ops.iter().zip(&self.indexes) {
            let mut versions = Vec::new();
            if let (Some(index), Told::Done { .. }) = (index, &op.told) {
                let made = op.cubes().into_iter().filter_map(|cube| Some((cube, self.now(&cube, *index)?.version)));
                versions.extend(made);
            }
            if let Told::Saw(seen) = &op.told {
                versions.extend(seen.iter().map(|seen| (seen.cube, seen.version)));
            }
            for (cube, version) in versions {
                let before = known.insert((op.session, cube), version).unwrap_or(0);
                if version < before {
                    let why = format!("#{} saw version {version}, and its session {before} before", op.number);
                    return wrong(Wrong::WentBack, why, vec![cube]);
                }
            }
        }
        Ok(())
    }
}

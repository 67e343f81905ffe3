//! What the scheduler writes: uses, so that heat outlives it, and its decisions, so that they stand on record. Both are
//! held for a while and written together, in the name of the space itself.

use std::collections::BTreeMap;
use std::iter::Peekable;

use memos_memory::cube::{CubeId, SpaceName, State, UseSignal};
use memos_memory::error::{Error, Result};
use memos_memory::governance::{AuditKind, AuditRecord, CallingContext, Outcome, Principal};
use memos_memory::vault::{Batch, Committed, Space};

use super::journal::{Because, ScheduleDecision};
use crate::kernel::WeakKernel;
use crate::vault::Session;

/// Cubes that stand on one line of the audit log.
const CUBES_ON_A_LINE: usize = 1000;

/// How often each cube was used.
pub(super) type Uses = BTreeMap<CubeId, u32>;

/// What waits to be written, for each space.
#[derive(Default)]
pub(super) struct Held {
    spaces: BTreeMap<SpaceName, (Uses, Vec<ScheduleDecision>)>,
    uses: usize,
    decisions: usize,
}

/// One write. It keeps its key through all tries, so that it is made once.
pub(super) struct Write {
    pub(super) space: SpaceName,
    pub(super) key: String,
    pub(super) uses: Uses,
    pub(super) decisions: Vec<ScheduleDecision>,
    pub(super) tries: u32,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.spaces.is_empty()
    }

    /// Holds one use, and returns whether there was place for it.
    pub(super) fn hold_use(&mut self, space: &SpaceName, cube: CubeId, most: usize) -> bool {
        if self.uses >= most {
            return false;
        }
        self.uses += 1;
        *self.of(space).0.entry(cube).or_default() += 1;
        true
    }

    /// Holds one decision, and returns whether there was place for it.
    pub(super) fn hold_decision(&mut self, decision: ScheduleDecision, most: usize) -> bool {
        if self.decisions >= most {
            return false;
        }
        self.decisions += 1;
        let space = decision.space.clone();
        self.of(&space).1.push(decision);
        true
    }

    fn of(&mut self, space: &SpaceName) -> &mut (Uses, Vec<ScheduleDecision>) {
        if !self.spaces.contains_key(space) {
            self.spaces.insert(space.clone(), Default::default());
        }
        self.spaces.entry(space.clone()).or_default()
    }

    pub(super) fn uses(&self) -> usize {
        self.uses
    }

    /// Takes all of it, in portions of so many uses.
    pub(super) fn take(&mut self, most: usize) -> Vec<(SpaceName, Uses, Vec<ScheduleDecision>)> {
        (self.uses, self.decisions) = (0, 0);
        let mut portions = Vec::new();
        for (space, (uses, mut decisions)) in std::mem::take(&mut self.spaces) {
            let mut uses = uses.into_iter().peekable();
            while uses.peek().is_some() || !decisions.is_empty() {
                let portion = portion(&mut uses, most);
                portions.push((space.clone(), portion, std::mem::take(&mut decisions)));
            }
        }
        portions
    }

    /// Returns how often a cube was used, of what waits.
    pub(super) fn uses_of(&self, space: &SpaceName, cube: &CubeId) -> u32 {
        self.spaces.get(space).and_then(|(uses, _)| uses.get(cube)).copied().unwrap_or(0)
    }
}

/// Takes the next uses, at most so many; a cube that was used more often is in the next portions, too.
fn portion(uses: &mut Peekable<impl Iterator<Item = (CubeId, u32)>>, most: usize) -> Uses {
    let (mut portion, mut left) = (Uses::new(), u32::try_from(most).unwrap_or(u32::MAX).max(1));
    while let Some((cube, times)) = uses.peek_mut().filter(|_| left > 0) {
        let taken = (*times).min(left);
        portion.insert(*cube, taken);
        left -= taken;
        *times -= taken;
        if *times == 0 {
            uses.next();
        }
    }
    portion
}

/// Opens a session of the space itself.
pub(super) async fn session(kernel: &WeakKernel, space: &SpaceName) -> Result<Session> {
    let kernel = kernel.upgrade().ok_or_else(|| Error::unavailable("the kernel has ended; open it again"))?;
    kernel.space(space.as_str()).await?.keeper_session()
}

/// Puts decisions on record with a batch: one line for all cubes of which the same was decided for the same reason, in the
/// same setting, one after the other.
fn put_on_record(batch: &mut Batch, keeper: &Principal, decisions: &[ScheduleDecision]) {
    let mut line: Option<AuditRecord> = None;
    for decision in decisions {
        let next = on_record(keeper, decision);
        match &mut line {
            Some(line)
                if (&line.operation, &line.reason, &line.context) == (&next.operation, &next.reason, &next.context)
                    && line.cubes.len() < CUBES_ON_A_LINE =>
            {
                line.cubes.extend(next.cubes);
            }
            _ => {
                if let Some(full) = line.replace(next) {
                    batch.record(full);
                }
            }
        }
    }
    if let Some(line) = line {
        batch.record(line);
    }
}

fn on_record(keeper: &Principal, decision: &ScheduleDecision) -> AuditRecord {
    let named = |kind: &str| {
        let setting = decision.setting.as_deref()?.strip_prefix(kind)?.strip_prefix(':')?;
        Some(setting.to_owned())
    };
    let form = decision.form.map(|form| format!("as {form}: ")).unwrap_or_default();
    let outcome = if matches!(decision.because, Because::Failed { .. }) { Outcome::Failed } else { Outcome::Done };
    AuditRecord {
        at: decision.at,
        principal: keeper.id.clone(),
        context: CallingContext { task: named("task"), session: named("session"), ..CallingContext::default() },
        kind: AuditKind::Schedule,
        operation: decision.scheduling.as_str().to_owned(),
        outcome,
        reason: format!("{form}{}", decision.because),
        cubes: vec![decision.version.cube],
        trace: None,
    }
}

/// Writes uses and decisions of one space, and returns how many decisions were put on record. What was erased meanwhile is
/// left out.
pub(super) async fn write(kernel: &WeakKernel, keeper: &Principal, write: &Write) -> Result<usize> {
    let session = session(kernel, &write.space).await?.with_key(&write.key)?;
    let cubes: Vec<CubeId> = write.uses.keys().copied().collect();
    let present = session.work(move |space, keeper| Ok(present(space, keeper, cubes))).await?;
    let times = |cube: &CubeId| write.uses.get(cube).copied().unwrap_or(0) as usize;
    let uses: Vec<(CubeId, UseSignal)> =
        present.iter().flat_map(|cube| std::iter::repeat_n((*cube, UseSignal::Read), times(cube))).collect();
    let mut batch = Batch::default();
    if !uses.is_empty() {
        batch.record_use(uses);
    }
    put_on_record(&mut batch, keeper, &write.decisions);
    if !batch.is_empty() {
        session.commit(batch).await?;
    }
    Ok(write.decisions.len())
}

fn present(space: &Space, keeper: &Principal, cubes: Vec<CubeId>) -> Vec<CubeId> {
    let versions = space.present_versions(keeper, &cubes);
    cubes.into_iter().zip(versions).filter_map(|(cube, version)| version.map(|_| cube)).collect()
}

/// Archives a memory.
pub(super) async fn archive(kernel: &WeakKernel, space: &SpaceName, cube: CubeId, reason: String) -> Result<Committed> {
    let mut batch = Batch::default();
    batch.set_state(cube, State::Archived, reason);
    session(kernel, space).await?.commit(batch).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_written_in_portions() {
        let id = |number| CubeId::from_bytes([number; 16]);
        for (uses, most, expect) in [
            (vec![], 4, vec![]),
            (vec![(1, 3)], 4, vec![vec![(1, 3)]]),
            (vec![(1, 3), (2, 3)], 4, vec![vec![(1, 3), (2, 1)], vec![(2, 2)]]),
            (vec![(1, 9), (2, 1)], 4, vec![vec![(1, 4)], vec![(1, 4)], vec![(1, 1), (2, 1)]]),
            (vec![(1, 2)], 0, vec![vec![(1, 1)], vec![(1, 1)]]),
        ] {
            let (space, mut held): (SpaceName, Held) = ("acme/support".parse().unwrap(), Held::default());
            for (cube, times) in &uses {
                (0..*times).for_each(|_| assert!(held.hold_use(&space, id(*cube), 10)));
            }
            assert_eq!(held.uses(), uses.iter().map(|(_, times)| times).sum::<usize>());
            let portions: Vec<Vec<(u8, u32)>> = held
                .take(most)
                .iter()
                .map(|(_, uses, _)| uses.iter().map(|(cube, times)| (cube.as_bytes()[0], *times)).collect())
                .collect();
            assert_eq!(portions, expect, "{uses:?} in portions of {most}");
            assert!(held.is_empty() && held.uses() == 0);
        }
        let mut held = Held::default();
        let space: SpaceName = "acme/support".parse().unwrap();
        assert!(held.hold_use(&space, id(1), 1) && !held.hold_use(&space, id(2), 1));
    }

    #[test]
    fn what_waits_for_several_spaces_is_written_in_one_order() {
        let names: Vec<SpaceName> = (10..20).map(|number| format!("acme/s{number}").parse().unwrap()).collect();
        let mut held = Held::default();
        names.iter().rev().for_each(|name| assert!(held.hold_use(name, CubeId::from_bytes([1; 16]), 99)));
        let taken: Vec<SpaceName> = held.take(9).into_iter().map(|(space, ..)| space).collect();
        assert_eq!(taken, names);
    }
}

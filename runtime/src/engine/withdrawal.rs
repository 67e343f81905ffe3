//! Withdrawal: a form goes when its source says something else, rests or was erased, and comes back with a source that rested.
//!
//! What is to be done follows from the ledger alone, so it can be found again after a crash: a form that is in the ledger and
//! whose source is not as it was is withdrawn by whoever looks next. That a form is used which is not withdrawn yet cannot
//! happen: each use asks the sources.

use memos_memory::cube::{CubeId, SpaceName, State, VersionRef};
use memos_memory::error::Result;
use memos_memory::governance::{Outcome, Principal};
use memos_memory::vault::{Batch, Erasure, Space};

use super::Parts;
use super::making::{keeper, line};
use super::record::{self, FormRecord, FormState};
use crate::vault::Session;

/// What is to be done about a form.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Stays,
    /// It rests with its source.
    Rests(String),
    /// It comes back with its source.
    Returns,
    /// It goes for good: what it says is not what its source says.
    Goes(String),
    /// It was asked for and is still to be made.
    IsMade,
}

/// What a look at a space has done, and what is to be made there.
#[derive(Debug, Default)]
pub(super) struct Looked {
    pub(super) withdrawn: Vec<FormRecord>,
    pub(super) to_make: Vec<FormRecord>,
}

/// Decides about one form by its sources' and its own present versions and states.
fn fate(record: &FormRecord, sources: &[Option<(u32, State)>], own: Option<State>) -> Fate {
    if matches!(record.state, FormState::Withdrawn | FormState::Refused) {
        return Fate::Stays;
    }
    for (VersionRef { cube, version }, present) in record.sources.iter().zip(sources) {
        match present {
            None => return Fate::Goes(format!("its source `{cube}` was erased")),
            Some((now, _)) if now != version => {
                return Fate::Goes(format!("its source `{cube}` changed: version {version} became version {now}"));
            }
            Some(_) => {}
        }
    }
    if record.state == FormState::Asked {
        return Fate::IsMade;
    }
    let at_rest = record.sources.iter().zip(sources).find_map(|(source, present)| {
        present
            .filter(|(_, state)| !state.is_recalled())
            .map(|(_, state)| format!("its source `{}` is {state}", source.cube))
    });
    match (own, at_rest) {
        (None, _) => Fate::Goes("its own cube was erased".to_owned()),
        (_, Some(why)) if record.state == FormState::Adopted => Fate::Rests(why),
        (_, None) if record.state == FormState::Resting => Fate::Returns,
        (Some(own), None) if !own.is_recalled() => Fate::Goes(format!("its own cube is {own}")),
        _ => Fate::Stays,
    }
}

/// Withdraws what is to be withdrawn in a space, and says what is to be made.
pub(super) async fn look(parts: &Parts, space: &SpaceName) -> Result<Looked> {
    let keeper = keeper(&parts.kernel()?, space, parts).await?;
    let model = parts.model.clone();
    let found = keeper.work(move |space, keeper| find(space, keeper, &model)).await?;
    let mut looked = Looked::default();
    for (record, fate) in found {
        if fate == Fate::IsMade {
            looked.to_make.push(record);
            continue;
        }
        let record = turn(parts, &keeper, space, record, fate).await?;
        if record.state != FormState::Adopted {
            looked.withdrawn.push(record);
        }
    }
    Ok(looked)
}

/// Withdraws a form because somebody wants it no more.
pub(super) async fn withdraw(parts: &Parts, space: &SpaceName, record: FormRecord, why: &str) -> Result<FormRecord> {
    let keeper = keeper(&parts.kernel()?, space, parts).await?;
    turn(parts, &keeper, space, record, Fate::Goes(why.to_owned())).await
}

/// Carries out what is to be done about a form. Its body goes before its record says so: after a crash in between, the record
/// is found again.
async fn turn(
    parts: &Parts,
    keeper: &Session,
    space: &SpaceName,
    record: FormRecord,
    fate: Fate,
) -> Result<FormRecord> {
    // Out of memory first, whatever becomes of the rest.
    parts.loaded.drop_form(space, &record.key);
    let (state, why) = match fate {
        Fate::Rests(why) => (FormState::Resting, why),
        Fate::Returns => (FormState::Adopted, "its source came back".to_owned()),
        Fate::Goes(why) => (FormState::Withdrawn, why),
        Fate::Stays | Fate::IsMade => return Ok(record),
    };
    let turning = keeper.work(move |space, keeper| {
        if state == FormState::Withdrawn {
            erase(space, keeper, record.cube, &why)?;
        }
        Ok(record.turned(state, why, space.now()))
    });
    let record = turning.await?;
    let mut batch = Batch::default();
    if let Some(cube) = record.cube {
        match state {
            FormState::Resting => {
                batch.set_state(cube, State::Archived, record.why.clone());
            }
            FormState::Adopted => {
                batch.set_state(cube, State::Activated, record.why.clone());
            }
            FormState::Asked | FormState::Refused | FormState::Withdrawn => {}
        }
    }
    record.keep(&mut batch)?;
    batch.record(line(&record, keeper.principal(), Outcome::Done));
    keeper.commit(batch).await?;
    Ok(record)
}

fn find(
    space: &Space,
    keeper: &Principal,
    model: &memos_memory::cube::ModelFingerprint,
) -> Result<Vec<(FormRecord, Fate)>> {
    let records = record::all(space, model)?;
    let found = records.into_iter().map(|record| {
        let cubes: Vec<CubeId> = record.sources.iter().map(|source| source.cube).collect();
        let own = record.cube.and_then(|cube| space.present_states(keeper, &[cube]).into_iter().flatten().next());
        let fate = fate(&record, &space.present_states(keeper, &cubes), own.map(|(_, state)| state));
        (record, fate)
    });
    Ok(found.filter(|(_, fate)| *fate != Fate::Stays).collect())
}

/// Erases a form's cube, unless it is gone already.
fn erase(space: &Space, keeper: &Principal, cube: Option<CubeId>, why: &str) -> Result<()> {
    let Some(cube) = cube else { return Ok(()) };
    if space.present_states(keeper, &[cube]).into_iter().flatten().next().is_none() {
        return Ok(());
    }
    space.erase(keeper, Erasure::Cubes(vec![cube]), why).map(drop)
}

#[cfg(test)]
mod tests {
    use memos_memory::cube::{Digest, Kind, ModelFingerprint};
    use memos_memory::time::Timestamp;

    use super::*;

    #[test]
    fn the_fate_of_a_form_follows_from_its_source() {
        let model = ModelFingerprint { model: Digest::of(b"model"), tokenizer: Digest::of(b"tokenizer") };
        let source = VersionRef { cube: CubeId::from_bytes([1; 16]), version: 2 };
        let asked = FormRecord::asked(Kind::Activation, vec![source], model, Timestamp::default());
        use FormState::{Adopted, Asked, Refused, Resting, Withdrawn};
        use State::{Activated, Archived, Expired, Frozen};
        let fine = Some(Activated);
        for (state, source, own, expect) in [
            (Asked, Some((2, Activated)), None, "made"),
            (Asked, Some((3, Activated)), None, "goes: changed"),
            (Asked, None, None, "goes: erased"),
            (Adopted, Some((2, Activated)), fine, "stays"),
            (Adopted, Some((2, Frozen)), fine, "stays"),
            (Adopted, Some((3, Activated)), fine, "goes: changed"),
            (Adopted, None, fine, "goes: erased"),
            (Adopted, None, None, "goes: erased"),
            (Adopted, Some((2, Archived)), fine, "rests"),
            (Adopted, Some((2, Expired)), fine, "rests"),
            (Adopted, Some((2, Activated)), None, "goes: own"),
            (Adopted, Some((2, Activated)), Some(Archived), "goes: own"),
            (Resting, Some((2, Archived)), Some(Archived), "stays"),
            (Resting, Some((2, Activated)), Some(Archived), "returns"),
            (Resting, Some((3, Archived)), Some(Archived), "goes: changed"),
            (Withdrawn, None, None, "stays"),
            (Refused, Some((3, Activated)), None, "stays"),
        ] {
            let record = FormRecord { state, ..asked.clone() };
            let fate = match fate(&record, &[source], own) {
                Fate::Stays => "stays".to_owned(),
                Fate::Rests(_) => "rests".to_owned(),
                Fate::Returns => "returns".to_owned(),
                Fate::IsMade => "made".to_owned(),
                Fate::Goes(why) => {
                    let kind = ["own", "erased", "changed"].into_iter().find(|kind| why.contains(kind));
                    format!("goes: {}", kind.unwrap_or(&why))
                }
            };
            assert_eq!(fate, expect, "{state:?} {source:?} {own:?}");
        }
    }
}

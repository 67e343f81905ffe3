//! What the scheduler knows of forms beside text: which are loaded, which are being built or dropped, and which failed.
//!
//! What is being built or dropped takes its room until that has ended, so that two plans never give away the same bytes.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use memos_memory::cube::{CubeId, Kind, SpaceName};
use memos_memory::error::{Error, Result};
use memos_memory::schedule::{Budgets, Built, Candidate, FormCost, FormOffer, SetAside};
use memos_memory::time::Timestamp;

use super::keeping::SchedulerNote;
use super::maker::{FormMaker, FormName, MadeForm};
use super::options::SchedulerLimits;

/// A form of a cube, of whichever version.
type Place = (SpaceName, CubeId, Kind);

#[derive(Default)]
pub(super) struct FormTable {
    made: HashMap<Place, MadeForm>,
    /// What is being built or dropped, and its bytes.
    busy: HashMap<Place, u64>,
    aside: HashMap<FormName, SetAside>,
}

fn place(name: &FormName) -> Place {
    (name.space.clone(), name.version.cube, name.form)
}

impl FormTable {
    pub(super) fn new(loaded: Vec<MadeForm>) -> Self {
        let made = loaded.into_iter().map(|form| (place(&form.name), form)).collect();
        Self { made, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.made.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.made.len()
    }

    pub(super) fn busy(&self) -> usize {
        self.busy.len()
    }

    pub(super) fn set_aside(&self) -> usize {
        self.aside.len()
    }

    /// Returns the spaces of which forms are loaded.
    pub(super) fn spaces(&self) -> BTreeSet<SpaceName> {
        self.made.keys().map(|(space, ..)| space.clone()).collect()
    }

    /// Returns the cubes of a space of which forms are loaded.
    pub(super) fn cubes_of(&self, space: &SpaceName) -> Vec<CubeId> {
        let cubes: BTreeSet<CubeId> =
            self.made.keys().filter(|(other, ..)| other == space).map(|(_, cube, _)| *cube).collect();
        cubes.into_iter().collect()
    }

    /// Returns the forms that are loaded of some cubes of a space.
    pub(super) fn forms_of(&self, space: &SpaceName, cubes: &HashSet<CubeId>) -> Vec<FormName> {
        let of_them = |form: &&MadeForm| form.name.space == *space && cubes.contains(&form.name.version.cube);
        self.made.values().filter(of_them).map(|form| form.name.clone()).collect()
    }

    /// Returns the form that is loaded under a name, of whichever version.
    pub(super) fn built_as(&self, name: &FormName) -> Option<FormName> {
        self.made.get(&place(name)).map(|form| form.name.clone())
    }

    /// Says of a candidate which of its forms are loaded and which are set aside. What is being built or dropped is no
    /// offer meanwhile.
    pub(super) fn describe(&self, space: &SpaceName, candidate: &mut Candidate) {
        let (cube, version) = (candidate.standing.id, candidate.version);
        for form in [Kind::Activation, Kind::Parametric] {
            let place = (space.clone(), cube, form);
            if self.busy.contains_key(&place) {
                candidate.forms.retain(|offer| offer.form != form);
                continue;
            }
            let made = self.made.get(&place);
            let built =
                made.map(|made| Built { version: made.name.version.version, bytes: made.bytes, since: made.since });
            match (candidate.forms.iter_mut().find(|offer| offer.form == form), built) {
                (Some(offer), built) => {
                    let version = memos_memory::cube::VersionRef { cube, version };
                    offer.built = built;
                    offer.set_aside = self.aside.get(&FormName { space: space.clone(), version, form }).copied();
                }
                (None, Some(built)) => {
                    // It is loaded, and the engine would not make it again: it stays until others need its room.
                    let cost = FormCost { build_millis: 0.0, saved_millis_per_use: 0.0, bytes: built.bytes };
                    candidate.forms.push(FormOffer { form, cost, built: Some(built), set_aside: None });
                }
                (None, None) => {}
            }
        }
    }

    /// Takes from the budgets what is loaded of others than the candidates, and what is being built or dropped.
    pub(super) fn spend(&self, space: &SpaceName, candidates: &[Candidate], budgets: &mut Budgets) {
        let named: HashSet<CubeId> = candidates.iter().map(|candidate| candidate.standing.id).collect();
        let is_other = |(of, cube, _): &Place| of != space || !named.contains(cube);
        let made = self.made.iter().filter(|(place, _)| is_other(place)).map(|(place, made)| (place, made.bytes));
        for ((_, _, form), bytes) in made.chain(self.busy.iter().map(|(place, bytes)| (place, *bytes))) {
            match form {
                Kind::Parametric => {
                    budgets.adapter_bytes = budgets.adapter_bytes.saturating_sub(bytes);
                    budgets.adapters = budgets.adapters.saturating_sub(1);
                }
                Kind::Activation | Kind::Plaintext => {
                    budgets.activation_bytes = budgets.activation_bytes.saturating_sub(bytes);
                }
            }
        }
        budgets.builds = budgets.builds.saturating_sub(self.busy.len());
    }

    pub(super) fn begin_drop(&mut self, name: &FormName) -> Option<MadeForm> {
        let form = self.made.remove(&place(name))?;
        self.busy.insert(place(name), form.bytes);
        Some(form)
    }

    pub(super) fn end_drop(&mut self, form: MadeForm, is_done: bool) {
        let place = place(&form.name);
        self.busy.remove(&place);
        if !is_done {
            self.made.insert(place, form);
        }
    }

    pub(super) fn begin_build(&mut self, name: &FormName, bytes: u64) {
        self.busy.insert(place(name), bytes);
    }

    pub(super) fn end_build(&mut self, form: MadeForm) {
        let place = place(&form.name);
        self.busy.remove(&place);
        self.aside.remove(&form.name);
        self.made.insert(place, form);
    }

    /// Sets a form aside that could not be built: the longer, the more often it failed.
    pub(super) fn fail_build(&mut self, name: &FormName, now: Timestamp, limits: &SchedulerLimits) {
        self.busy.remove(&place(name));
        let failures = self.aside.get(name).map_or(1, |aside| aside.failures.saturating_add(1));
        if !self.aside.contains_key(name) && self.aside.len() >= limits.set_aside {
            let first = self.aside.iter().min_by_key(|(_, aside)| aside.until).map(|(name, _)| name.clone());
            first.and_then(|first| self.aside.remove(&first));
        }
        let until = now.as_millis().saturating_add(millis(limits.wait_after(failures)));
        self.aside.insert(name.clone(), SetAside { until: Timestamp::from_millis(until), failures });
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// What became of forms that were to be dropped, and what is to be built in their place.
pub(super) struct Reform {
    pub(super) dropped: Vec<(MadeForm, Result<()>)>,
    pub(super) builds: Vec<FormName>,
}

/// Drops forms, one after the other.
pub(super) async fn reform(maker: Arc<dyn FormMaker>, drops: Vec<MadeForm>, builds: Vec<FormName>) -> SchedulerNote {
    let mut dropped = Vec::with_capacity(drops.len());
    for form in drops {
        let (maker, name) = (maker.clone(), form.name.clone());
        let done = survived(async move { maker.drop_form(name).await }).await;
        dropped.push((form, done));
    }
    SchedulerNote::Reformed(Reform { dropped, builds })
}

/// Builds one form.
pub(super) async fn build(maker: Arc<dyn FormMaker>, name: FormName) -> SchedulerNote {
    let asked = name.clone();
    let made = survived(async move {
        let made = maker.build(name.clone()).await?;
        if made.name != name {
            return Err(Error::corrupt(format!(
                "the engine made another form than the {} that was asked for",
                name.form
            )));
        }
        Ok(made)
    });
    let made = made.await;
    SchedulerNote::Made(asked, made)
}

/// Does an engine's work, and makes a panic of it an error.
pub(super) async fn survived<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|_| Err(Error::unavailable("the engine broke down at it; try again later")))
}

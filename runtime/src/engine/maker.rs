//! The scheduler's hand: builds, drops and loads forms of single memories, and says what they cost.

use std::sync::Arc;

use memos_memory::cube::{Kind, SpaceName, VersionRef};
use memos_memory::error::Error;
use memos_memory::schedule::FormCost;

use super::record::{FormRecord, FormState};
use super::{Engine, making};
use crate::scheduler::{FormMaker, FormName, MadeForm, Making};

/// An engine as the scheduler knows it.
pub struct EngineForms {
    engine: Engine,
}

impl EngineForms {
    pub(super) fn new(engine: Engine) -> Arc<Self> {
        Arc::new(Self { engine })
    }
}

impl FormMaker for EngineForms {
    fn costs(&self, _: &SpaceName, _: VersionRef, tokens: usize) -> Making<Vec<(Kind, FormCost)>> {
        let costs = self.engine.costs(tokens);
        Box::pin(async move { Ok(costs) })
    }

    fn build(&self, name: FormName) -> Making<MadeForm> {
        let engine = self.engine.clone();
        Box::pin(async move {
            let record = engine.ask_to_make(name.space.clone(), vec![name.version.cube], name.form, false).await?;
            if record.state != FormState::Adopted {
                return Err(Error::invalid(format!("the {} was not adopted: {}", name.form, record.why)));
            }
            if record.sources != [name.version] {
                let present = record.sources.first().map_or(0, |source| source.version);
                return Err(Error::conflict(format!("memory `{}` is at version {present} by now", name.version.cube)));
            }
            let parts = &engine.parts;
            let keeper = making::keeper(&parts.kernel()?, &name.space, parts).await?;
            let ready = making::ready(parts, &keeper, &name.space, &record).await?;
            Ok(MadeForm { name, bytes: ready.bytes(), since: record.at })
        })
    }

    fn drop_form(&self, name: FormName) -> Making<()> {
        let engine = self.engine.clone();
        Box::pin(async move {
            let forms = engine.parts.loaded.all().into_iter();
            for (space, held) in forms.filter(|(space, held)| is_of(space, &held.record, &name)) {
                engine.parts.loaded.drop_form(&space, &held.record.key);
            }
            Ok(())
        })
    }

    fn loaded(&self) -> Making<Vec<MadeForm>> {
        let forms = self.engine.parts.loaded.all().into_iter();
        let loaded: Vec<MadeForm> = forms
            .filter_map(|(space, held)| {
                let [version] = held.record.sources.as_slice() else { return None };
                let name = FormName { space, version: *version, form: held.record.form };
                Some(MadeForm { name, bytes: held.ready.bytes(), since: held.since })
            })
            .collect();
        Box::pin(async move { Ok(loaded) })
    }
}

fn is_of(space: &SpaceName, record: &FormRecord, name: &FormName) -> bool {
    *space == name.space && record.form == name.form && record.sources == [name.version]
}

//! Pipelines as TOML: one table a step, with a name and one table that says what it does.
//!
//! ```toml
//! name = "weekly-review"
//!
//! [parameters.question]
//! default = "what was decided"
//!
//! [[steps]]
//! name = "found"
//! retrieve = { question = "${question}", memories = 20 }
//!
//! [[steps]]
//! name = "put-away"
//! archive = { of = "found", reason = "reviewed" }
//! ```
//!
//! Keys are those of the data in `step`; `archive` is `set_state` with the state `archived`. A key that is not known is
//! refused, since a misspelt condition that is left out would change the wrong memories.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::step::{
    Action, Augment, LinkEach, Merge, Overwrite, Parameter, Require, Retrieve, Select, SetState, Step, Store, Summarise,
};
use super::{FILE_BYTES, Pipeline};
use crate::cube::State;
use crate::error::{Error, Result};
use crate::limits::Limits;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePipeline {
    name: String,
    #[serde(default)]
    about: String,
    #[serde(default)]
    parameters: BTreeMap<String, Parameter>,
    #[serde(default)]
    steps: Vec<toml::Spanned<FileStep>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileStep {
    name: String,
    retrieve: Option<Retrieve>,
    select: Option<Select>,
    augment: Option<Augment>,
    update: Option<Overwrite>,
    summarise: Option<Summarise>,
    store: Option<Store>,
    link: Option<LinkEach>,
    merge: Option<Merge>,
    set_state: Option<SetState>,
    archive: Option<Archive>,
    require: Option<Require>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Archive {
    of: String,
    #[serde(default)]
    reason: String,
}

pub(super) fn read(text: &str) -> Result<Pipeline> {
    Limits::check("the pipeline's file", text.len(), FILE_BYTES, "bytes")?;
    let file: FilePipeline = toml::from_str(text).map_err(|error| {
        let place = error.span().map_or_else(String::new, |span| format!("line {}: ", line_of(text, span.start)));
        Error::invalid(format!("{place}{}", error.message().lines().collect::<Vec<_>>().join("; ")))
    })?;
    let mut steps = Vec::with_capacity(file.steps.len());
    for step in file.steps {
        let line = line_of(text, step.span().start);
        steps.push(step.into_inner().read().map_err(|error| error.at(format!("line {line}")))?);
    }
    Pipeline { name: file.name, about: file.about, parameters: file.parameters, steps }.check()
}

impl FileStep {
    fn read(self) -> Result<Step> {
        let archive =
            self.archive.map(|archive| SetState { of: archive.of, state: State::Archived, reason: archive.reason });
        let named: [Option<Action>; 11] = [
            self.retrieve.map(Action::from),
            self.select.map(Action::from),
            self.augment.map(Action::from),
            self.update.map(Action::from),
            self.summarise.map(Action::from),
            self.store.map(Action::from),
            self.link.map(Action::from),
            self.merge.map(Action::from),
            self.set_state.map(Action::from),
            archive.map(Action::from),
            self.require.map(Action::from),
        ];
        let mut named = named.into_iter().flatten();
        match (named.next(), named.next()) {
            (Some(action), None) => Ok(Step { name: self.name, action }),
            (None, _) => {
                Err(Error::invalid(format!("step `{}` says nothing to do; add one such as `retrieve`", self.name)))
            }
            (Some(one), Some(other)) => Err(Error::invalid(format!(
                "step `{}` is to `{}` and to `{}`; make two steps of it",
                self.name,
                one.kind(),
                other.kind()
            ))),
        }
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

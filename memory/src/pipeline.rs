//! MemPipeline: several steps over memory as one transaction. Retrieve, augment, update, archive and the like; all of it is
//! written, or none.
//!
//! A [`Pipeline`] is data: a name, parameters, and named steps. It is put together in code with [`Pipeline::builder`], or
//! read from a file with [`Pipeline::from_toml`]; both are checked by the same rules, whole, before anything is run. A run
//! holds what its steps change beside the space, so that later steps see it, and commits once at its end. It conflicts with
//! whoever changed in the meantime what it has read. A dry run takes the same way up to the commit.
//!
//! Texts of steps may hold `${parameter}` and `{{step.field}}`; see the room `template`, where the whole language stands.

mod report;
mod run;
mod staged;
mod step;
mod template;
mod toml;

pub use report::{Change, Report, StepReport, Stored};
pub use step::{
    Action, Age, Augment, LinkEach, Merge, Order, Overwrite, Parameter, Require, Retrieve, Select, SetState, Step,
    Store, Summarise,
};

use std::collections::{BTreeMap, HashMap};

use self::template::Template;
use crate::error::{Error, Result};
use crate::limits::Limits;

/// Steps of one pipeline.
pub const STEPS: usize = 64;
/// Parameters of one pipeline.
pub const PARAMETERS: usize = 64;
/// Memories that one step may find or change.
pub const SET: usize = 1000;
/// Links that one step may make.
pub const LINKS: usize = 4000;
/// Bytes of a pipeline's file, and of all its texts together.
pub const FILE_BYTES: usize = 256 * 1024;
/// Bytes of one parameter's value.
pub const VALUE_BYTES: usize = 16 * 1024;
/// Bytes of the name of a pipeline, step or parameter.
const NAME_BYTES: usize = 64;

/// The name by which a text that is made for each memory speaks of that memory.
const EACH: &str = "it";

/// Named steps that are run as one transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    name: String,
    about: String,
    parameters: BTreeMap<String, Parameter>,
    steps: Vec<Step>,
}

impl Pipeline {
    /// Begins a pipeline.
    pub fn builder(name: impl Into<String>) -> PipelineBuilder {
        let pipeline = Self { name: name.into(), about: String::new(), parameters: BTreeMap::new(), steps: Vec::new() };
        PipelineBuilder { pipeline, twice: None }
    }

    /// Reads a pipeline from TOML.
    ///
    /// # Errors
    /// `Invalid`, with the line, when the text is not TOML, has a key that no step has, or breaks a rule or a limit.
    pub fn from_toml(text: &str) -> Result<Self> {
        self::toml::read(text)
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what it is for, in words; may be empty.
    pub fn about(&self) -> &str {
        &self.about
    }

    /// Returns the parameters by name.
    pub fn parameters(&self) -> &BTreeMap<String, Parameter> {
        &self.parameters
    }

    /// Returns the steps in their order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Refuses what cannot be run, whatever the space holds.
    fn check(self) -> Result<Self> {
        check_name("the pipeline's name", &self.name)?;
        Limits::check("the pipeline", self.steps.len(), STEPS, "steps")?;
        Limits::check("the pipeline", self.parameters.len(), PARAMETERS, "parameters")?;
        if self.steps.is_empty() {
            return Err(Error::invalid("the pipeline has no steps"));
        }
        for (name, parameter) in &self.parameters {
            check_name("a parameter's name", name)?;
            let default = parameter.default.as_deref().unwrap_or_default();
            Limits::check(&format!("parameter `{name}`"), default.len(), VALUE_BYTES, "bytes")?;
        }
        let mut before: HashMap<&str, &Action> = HashMap::new();
        let mut bytes = 0;
        for step in &self.steps {
            check_name("a step's name", &step.name)?;
            let place = format!("step `{}`", step.name);
            step.action.check().map_err(|error| error.at(&place))?;
            for named in step.action.sets() {
                self.check_set(named, &before).map_err(|error| error.at(&place))?;
            }
            for (text, of_each) in step.action.texts() {
                bytes += text.len();
                Limits::check("the pipeline", bytes, FILE_BYTES, "bytes of text")?;
                let template = Template::parse(text).map_err(|error| error.at(&place))?;
                self.check_template(&template, of_each, &before).map_err(|error| error.at(&place))?;
            }
            if step.name == EACH || before.insert(&step.name, &step.action).is_some() {
                return Err(Error::invalid(format!("{place}: the name is taken; give it another")));
            }
        }
        Ok(self)
    }

    fn check_set(&self, named: &str, before: &HashMap<&str, &Action>) -> Result<()> {
        match before.get(named) {
            Some(action) if action.yields_set() => Ok(()),
            Some(action) => Err(Error::invalid(format!("`{named}` is a `{}` step and has no memories", action.kind()))),
            None => Err(Error::invalid(format!("there is no step `{named}` before it"))),
        }
    }

    fn check_template(&self, template: &Template, of_each: bool, before: &HashMap<&str, &Action>) -> Result<()> {
        for name in template.parameters() {
            if !self.parameters.contains_key(name) {
                return Err(Error::invalid(format!("`${{{name}}}` is no parameter of the pipeline")));
            }
        }
        for (step, field) in template.fields() {
            if step == EACH {
                if !of_each || !field.is_of_one() {
                    return Err(Error::invalid(format!("`{{{{{step}.{field}}}}}` has no meaning here")));
                }
                continue;
            }
            match before.get(step) {
                Some(action) if field.is_of_step() && (action.yields_set() || action.yields_text()) => {}
                Some(_) => return Err(Error::invalid(format!("step `{step}` has no `{field}`"))),
                None => return Err(Error::invalid(format!("`{{{{{step}.{field}}}}}` names no step before it"))),
            }
        }
        Ok(())
    }
}

/// A pipeline on its way.
#[derive(Debug, Clone)]
pub struct PipelineBuilder {
    pipeline: Pipeline,
    twice: Option<String>,
}

impl PipelineBuilder {
    /// Says what it is for.
    pub fn about(mut self, about: impl Into<String>) -> Self {
        self.pipeline.about = about.into();
        self
    }

    /// Adds a parameter; one without a default must be given at every run.
    pub fn parameter(mut self, name: impl Into<String>, default: Option<&str>) -> Self {
        let name = name.into();
        let parameter = Parameter { about: String::new(), default: default.map(str::to_owned) };
        if self.pipeline.parameters.insert(name.clone(), parameter).is_some() {
            self.twice = Some(name);
        }
        self
    }

    /// Adds a step.
    pub fn step(mut self, name: impl Into<String>, action: impl Into<Action>) -> Self {
        self.pipeline.steps.push(Step { name: name.into(), action: action.into() });
        self
    }

    /// Checks it and returns it.
    ///
    /// # Errors
    /// `Invalid`, naming the step, when a rule or a limit is broken.
    pub fn build(self) -> Result<Pipeline> {
        if let Some(name) = self.twice {
            return Err(Error::invalid(format!("parameter `{name}` is there twice")));
        }
        self.pipeline.check()
    }
}

fn check_name(what: &str, name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES || !name.bytes().all(plain) {
        return Err(Error::invalid(format!(
            "`{}` is not {what}; use lower-case letters, digits, `_` and `-`, at most {NAME_BYTES} of them",
            name.chars().take(NAME_BYTES).collect::<String>()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

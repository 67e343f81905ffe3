//! Back to text: the sources of a form where they are known, and what can be read out of it where they are not.

use memos_engine::adapter::AdapterMix;
use memos_engine::lesson::{Fact, NOT_KNOWN, RELATIONS};
use memos_engine::model::Model;
use memos_memory::cube::{CubeId, Form, VersionRef};
use memos_memory::error::{Error, Result};
use serde::Serialize;

use super::host::Progress;
use super::shaping::{Ready, load};
use super::{Parts, memory_error};
use crate::vault::Session;

/// The most subjects that an adapter is asked about at a time.
const MOST_SUBJECTS: usize = 64;
/// The most tokens of what it says of one.
const MOST_TOKENS: usize = 32;

/// How a text was brought back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadOutFrom {
    /// It is the text that the form was made from.
    Source(VersionRef),
    /// It was spelt out of a segment's tokens.
    Tokens,
    /// It is what an adapter answered when it was asked. It may be made up.
    Probes,
}

/// A text that was brought back from a form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReadOut {
    /// The text.
    pub text: String,
    /// Where it comes from.
    pub from: ReadOutFrom,
}

pub(super) async fn read_out(
    parts: &Parts,
    session: &Session,
    form: CubeId,
    subjects: Vec<String>,
) -> Result<Vec<ReadOut>> {
    if subjects.len() > MOST_SUBJECTS {
        let found = subjects.len();
        return Err(Error::invalid(format!("{found} subjects are asked for, at most {MOST_SUBJECTS} at a time")));
    }
    let reading = session.work(move |space, caller| {
        let (cube, _) = space.get(caller, &form)?;
        let mut found = Vec::new();
        for source in &cube.header.chain.derived_from {
            // What came after the version that the form was made from is another text.
            let Ok(versions) = space.versions(caller, &source.cube) else { continue };
            let then = versions.into_iter().find(|version| version.header.version == source.version);
            if let Some(text) = then.as_ref().and_then(|then| then.payload.as_text()) {
                found.push(ReadOut { text: text.to_owned(), from: ReadOutFrom::Source(*source) });
            }
        }
        Ok((cube, found))
    });
    let (cube, found) = reading.await?;
    if !found.is_empty() {
        return Ok(found);
    }
    let made_for = match &cube.header.form {
        Form::Plaintext => return Err(Error::invalid(format!("cube `{form}` is text already"))),
        Form::Activation(activation) => &activation.model,
        Form::Parametric(parametric) => &parametric.base,
    };
    if *made_for != parts.model {
        return Err(Error::invalid(format!("the form `{form}` was made for another model; read it out with that one")));
    }
    let work = move |model: &Model, progress: &Progress<'_>| match load(model, &cube.payload)? {
        Ready::Segment(segment) => {
            let text = model.tokenizer().decode(segment.tokens());
            Ok(vec![ReadOut { text: text.trim().to_owned(), from: ReadOutFrom::Tokens }])
        }
        Ready::Adapter(adapter) => {
            let adapters = AdapterMix::one(adapter);
            let mut said = Vec::new();
            for (number, subject) in subjects.iter().enumerate() {
                progress.tell(number, subjects.len())?;
                for relation in 0..RELATIONS.len() {
                    let asked = Fact { subject: subject.clone(), relation, value: String::new() };
                    let Some(question) = asked.questions().into_iter().next() else { continue };
                    let context = model.told(&[]).map_err(memory_error)?;
                    let answer =
                        model.ask(context, &question, adapters.clone(), MOST_TOKENS).map_err(memory_error)?.text;
                    let answer = answer.trim();
                    if !answer.ends_with(NOT_KNOWN) && Fact::read(answer).is_some() {
                        said.push(ReadOut { text: answer.to_owned(), from: ReadOutFrom::Probes });
                    }
                }
            }
            Ok(said)
        }
    };
    parts.host.work(format!("reading out `{form}`"), work).await
}

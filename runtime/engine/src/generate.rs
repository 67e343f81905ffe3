//! Answers, token by token, for several requests on one set of weights.
//!
//! A request brings its memory as text, as segments and as adapters; a step of the batch reads one token for each request that
//! answers, so that the weights are read once for all of them. A request that joins is read in whole before it takes part.
//! What a request says does not depend on who else is in the batch.
//!
//! This room must never know threads, queues or who asks.

use std::sync::Arc;

use crate::adapter::AdapterMix;
use crate::cache::{Cache, KeysValues};
use crate::constraint::Constraint;
use crate::decoder::{Decoder, Turn};
use crate::dice::Dice;
use crate::error::{Error, Result};
use crate::sampling::Sampling;
use crate::stop::Stop;
use crate::tokenizer::{TextStream, Tokenizer};

/// The most requests of one batch.
pub const MAX_REQUESTS: usize = 64;

/// The most tokens of one answer.
pub const MAX_ANSWER_TOKENS: usize = 1 << 16;

/// A memory of a request, in the order in which they stand before the question.
#[derive(Debug, Clone)]
pub enum Context {
    /// Tokens that are to be read.
    Tokens(Vec<u32>),
    /// Keys and values that are there already, for the place where they stand.
    Segment(Arc<KeysValues>),
}

impl Context {
    /// Returns how many tokens it stands for.
    pub fn tokens(&self) -> usize {
        match self {
            Self::Tokens(tokens) => tokens.len(),
            Self::Segment(segment) => segment.tokens,
        }
    }
}

/// What somebody wants answered.
#[derive(Default)]
pub struct Request {
    /// What stands before the question.
    pub context: Vec<Context>,
    /// The question, as the chat template lays it out.
    pub question: Vec<u32>,
    /// What changes the model, from the question on: the memories before it stay as the base reads them, so that segments and
    /// adapters go together.
    pub adapters: AdapterMix,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Where an answer ends, beside the model's own end.
    pub stops: Vec<String>,
    /// What an answer must look like.
    pub constraint: Option<Constraint>,
    /// The most tokens of the answer.
    pub most_tokens: usize,
}

/// Names a request of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(u64);

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The model said its end, or all that the constraint allows is said.
    Finished,
    /// A stop string was met.
    Stopped,
    /// It had as many tokens as it was given.
    Length,
}

/// What a step said of one request.
#[derive(Debug)]
pub struct Said {
    /// Whose it is.
    pub request: RequestId,
    /// The tokens of this step.
    pub token: u32,
    /// The text that is whole with it.
    pub text: String,
    /// Whether and why that was the last.
    pub ended: Option<Ended>,
}

/// What a request has been answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What was said.
    pub text: String,
    /// Its tokens, the end too.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub ended: Ended,
}

/// Requests that are answered together.
pub struct Talk<'m> {
    decoder: &'m Decoder,
    tokenizer: &'m Tokenizer,
    running: Vec<Running>,
    next: u64,
}

struct Running {
    id: RequestId,
    cache: Cache,
    adapters: AdapterMix,
    sampling: Sampling,
    dice: Dice,
    stop: Stop,
    constraint: Option<Constraint>,
    stream: TextStream,
    most_tokens: usize,
    said: Vec<u32>,
}

impl<'m> Talk<'m> {
    /// Begins without requests.
    pub fn new(decoder: &'m Decoder, tokenizer: &'m Tokenizer) -> Self {
        Self { decoder, tokenizer, running: Vec::new(), next: 0 }
    }

    /// Returns how many requests are being answered.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Reads a request's memories and question, and says its first token.
    ///
    /// # Errors
    /// `Busy` with [`MAX_REQUESTS`]; `Invalid` for settings that mean nothing and for more text than the model has positions;
    /// `Mismatch` for a segment of another place.
    pub fn join(&mut self, request: Request) -> Result<Said> {
        if self.running.len() >= MAX_REQUESTS {
            return Err(Error::new(
                crate::ErrorKind::Busy,
                format!("{MAX_REQUESTS} requests are being answered, ask again when one has ended"),
            ));
        }
        if request.most_tokens == 0 || request.most_tokens > MAX_ANSWER_TOKENS {
            return Err(Error::invalid(format!(
                "an answer of {} tokens cannot be given, ask for 1 to {MAX_ANSWER_TOKENS}",
                request.most_tokens
            )));
        }
        request.sampling.check()?;
        let mut running = Running {
            id: RequestId(self.next),
            cache: self.decoder.cache(),
            adapters: request.adapters,
            dice: Dice::new(request.sampling.seed),
            sampling: request.sampling,
            stop: Stop::at(&request.stops)?,
            constraint: request.constraint,
            stream: self.tokenizer.stream(),
            most_tokens: request.most_tokens,
            said: Vec::new(),
        };
        lay_out(self.decoder, &mut running.cache, &request.context)?;
        let logits = self.decoder.prefill(&request.question, &mut running.cache, &running.adapters)?;
        let said = running.choose(self.decoder, &logits.get(0)?.to_vec1()?)?;
        self.next += 1;
        if said.ended.is_none() {
            self.running.push(running);
        }
        Ok(said)
    }

    /// Says the next token of each request. Those that ended are gone afterwards.
    ///
    /// # Errors
    /// Those of a request end that request alone: they are in its place. `Unavailable` when memory runs out.
    pub fn step(&mut self) -> Result<Vec<(RequestId, Result<Said>)>> {
        if self.running.is_empty() {
            return Ok(Vec::new());
        }
        let lasts: Vec<[u32; 1]> =
            self.running.iter().map(|running| [running.said.last().copied().unwrap_or_default()]).collect();
        let mut turns: Vec<Turn<'_>> = self
            .running
            .iter_mut()
            .zip(&lasts)
            .map(|(running, token)| Turn { tokens: token, cache: &mut running.cache, adapters: &running.adapters })
            .collect();
        let logits = self.decoder.step(&mut turns)?;
        let mut all = Vec::with_capacity(self.running.len());
        for (row, running) in self.running.iter_mut().enumerate() {
            let said = logits.get(row)?.to_vec1().map_err(Error::from);
            all.push((running.id, said.and_then(|logits| running.choose(self.decoder, &logits))));
        }
        let mut outcome = all.iter();
        self.running.retain(|_| matches!(outcome.next(), Some((_, Ok(Said { ended: None, .. })))));
        Ok(all)
    }

    /// Forgets a request. One that is not there has ended already.
    pub fn cancel(&mut self, request: RequestId) {
        self.running.retain(|running| running.id != request);
    }

    /// Answers requests to their ends, all at once, in their order.
    ///
    /// # Errors
    /// As [`Talk::join`] and [`Talk::step`]: of the first that fails.
    pub fn answer(&mut self, requests: Vec<Request>) -> Result<Vec<Answer>> {
        let mut answers: Vec<(RequestId, Answer)> = Vec::with_capacity(requests.len());
        for request in requests {
            let said = self.join(request)?;
            let ended = said.ended.unwrap_or(Ended::Length);
            answers.push((said.request, Answer { text: said.text, tokens: vec![said.token], ended }));
        }
        while self.running() > 0 {
            for (id, said) in self.step()? {
                let said = said?;
                if let Some((_, answer)) = answers.iter_mut().find(|(other, _)| *other == id) {
                    answer.text.push_str(&said.text);
                    answer.tokens.push(said.token);
                    answer.ended = said.ended.unwrap_or(answer.ended);
                }
            }
        }
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }
}

/// Puts memories into a cache: segments as they are, texts by reading them. Each text that follows a segment, or is followed by
/// one, is a part of its own.
pub(crate) fn lay_out(decoder: &Decoder, cache: &mut Cache, context: &[Context]) -> Result<()> {
    let base = AdapterMix::default();
    for memory in context {
        match memory {
            Context::Segment(segment) => cache.inject(segment.clone())?,
            Context::Tokens(tokens) => decoder.fill(tokens, cache, &base)?,
        }
    }
    cache.seal()
}

impl Running {
    /// Chooses a token behind logits, and says what it adds.
    fn choose(&mut self, decoder: &Decoder, logits: &[f32]) -> Result<Said> {
        let ends = &decoder.config().end_tokens;
        let allowed = self.constraint.as_mut().map(Constraint::allowed).transpose()?;
        let chance = self.dice.unit();
        let token = self.sampling.choose(logits, allowed.as_ref(), &self.said, chance)?;
        self.said.push(token);
        let mut said = Said { request: self.id, token, text: String::new(), ended: None };
        if ends.contains(&token) {
            said.ended = Some(Ended::Finished);
        } else {
            let mut is_complete = false;
            if let Some(constraint) = &mut self.constraint {
                constraint.accept(token)?;
                is_complete = constraint.is_complete();
            }
            let text = self.stream.push(token).unwrap_or_default();
            said.text = self.stop.push(&text);
            if self.stop.is_met() {
                said.ended = Some(Ended::Stopped);
            } else if is_complete {
                said.ended = Some(Ended::Finished);
            } else if self.said.len() >= self.most_tokens {
                said.ended = Some(Ended::Length);
            }
        }
        if said.ended.is_some() && !self.stop.is_met() {
            let rest = self.stream.finish().unwrap_or_default();
            said.text.push_str(&self.stop.push(&rest));
            said.text.push_str(&self.stop.finish());
        }
        Ok(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::{Adapter, LowRank, Target};
    use crate::model::Model;

    fn mix(model: &Model, seed: u64) -> AdapterMix {
        let config = model.decoder().config();
        let mut dice = Dice::new(seed);
        let mut random = |rows: usize, columns: usize| {
            let numbers: Vec<f32> = (0..rows * columns).map(|_| (dice.normal() * 0.2) as f32).collect();
            candle_core::Tensor::from_vec(numbers, (rows, columns), &candle_core::Device::Cpu).unwrap()
        };
        let changes = (0..config.layers)
            .map(|layer| {
                let (out, width) = Target::Value.shape(config);
                ((layer, Target::Value), LowRank { a: random(4, width), b: random(out, 4) })
            })
            .collect();
        AdapterMix::one(Adapter::new(config, 1.0, &changes).unwrap().into())
    }

    /// Requests with and without adapters and segments, of several lengths.
    fn requests(model: &Model) -> Vec<Request> {
        let memories = ["Mira lives in Oslo. Bo owns a kayak.", "Ada works as a potter. Ada lives in Rome."];
        let segments: Vec<_> = memories.iter().map(|text| model.memorise(text, Vec::new(), 0).unwrap()).collect();
        let questions =
            ["Where does Mira live?", "What does Bo own?", "What does Ada work as?", "Where does Tom live?"];
        let mut requests = Vec::new();
        for (number, question) in questions.iter().cycle().take(8).enumerate() {
            let context = match number % 3 {
                0 => model.told(&memories).unwrap(),
                1 => model.injected(&segments, 2).unwrap(),
                _ => Vec::new(),
            };
            let adapters = if number % 2 == 0 { AdapterMix::default() } else { mix(model, number as u64) };
            let question = model.question_tokens(question).unwrap();
            requests.push(Request { context, question, adapters, most_tokens: 12, ..Request::default() });
        }
        requests
    }

    #[test]
    fn who_else_is_answered_changes_no_answer() {
        let model = Model::small().unwrap();
        let talk = || Talk::new(model.decoder(), model.tokenizer());
        let together = talk().answer(requests(&model)).unwrap();
        let alone: Vec<Answer> =
            requests(&model).into_iter().map(|request| talk().answer(vec![request]).unwrap().remove(0)).collect();
        assert_eq!(together, alone);
        assert_eq!(together[0].text, "Mira lives in Oslo.");
        assert!(together.iter().map(|answer| answer.tokens.len()).collect::<std::collections::HashSet<_>>().len() > 1);
    }

    #[test]
    fn a_request_that_goes_leaves_the_others_alone() {
        let model = Model::small().unwrap();
        let mut talk = Talk::new(model.decoder(), model.tokenizer());
        let mut requests = requests(&model).into_iter();
        let stays = talk.join(requests.next().unwrap()).unwrap();
        let goes = talk.join(requests.next().unwrap()).unwrap();
        talk.cancel(goes.request);
        let mut text = stays.text;
        while talk.running() > 0 {
            for (id, said) in talk.step().unwrap() {
                assert_eq!(id, stays.request);
                text.push_str(&said.unwrap().text);
            }
        }
        assert_eq!(text, "Mira lives in Oslo.");
    }

    #[test]
    fn an_answer_ends_where_it_is_told_to() {
        let model = Model::small().unwrap();
        let ask = |stops: Vec<String>, most_tokens: usize| {
            let context = model.told(&["Mira lives in Oslo."]).unwrap();
            let question = model.question_tokens("Where does Mira live?").unwrap();
            let request = Request { context, question, stops, most_tokens, ..Request::default() };
            Talk::new(model.decoder(), model.tokenizer()).answer(vec![request])
        };
        let answer = ask(Vec::new(), 40).unwrap().remove(0);
        assert_eq!((answer.text.as_str(), answer.ended), ("Mira lives in Oslo.", Ended::Finished));
        let answer = ask(vec![" in Os".to_owned()], 40).unwrap().remove(0);
        assert_eq!((answer.text.as_str(), answer.ended), ("Mira lives", Ended::Stopped));
        let answer = ask(Vec::new(), 3).unwrap().remove(0);
        assert_eq!((answer.tokens.len(), answer.ended), (3, Ended::Length));
        for (stops, most) in [(vec![String::new()], 4), (Vec::new(), 0), (Vec::new(), MAX_ANSWER_TOKENS + 1)] {
            assert_eq!(ask(stops, most).unwrap_err().kind(), crate::ErrorKind::Invalid);
        }
    }

    #[test]
    fn too_much_text_is_refused_before_it_is_read() {
        let model = Model::small().unwrap();
        let positions = model.decoder().config().positions;
        let context = vec![Context::Tokens(vec![300; positions])];
        let error = model.ask(context, "Where does Mira live?", AdapterMix::default(), 4).unwrap_err();
        assert!(error.to_string().contains(&positions.to_string()), "{error}");
    }
}

//! A model as a whole: its decoder, its tokenizer, how it wants text laid out, and the names by which its segments know it.
//!
//! [`Model::small`] ships inside the program, so that every form of memory works without a download.

mod layout;

use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};

use crate::adapter::AdapterMix;
use crate::chat::ChatTemplate;
use crate::config::ModelConfig;
use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::fingerprint;
use crate::generate::{self, Answer, Context, Request, Talk};
use crate::lesson::{Layout, Rows};
use crate::model_files::{LoadingProgress, ModelFiles};
use crate::segment::{self, Expected, Segment, SegmentAbout};
use crate::tokenizer::Tokenizer;
use crate::weights::{Weight, Weights};

/// The small model's weights in F16, made by `cargo xtask teach` (see `assets/README.md`).
const SMALL: &[u8] = include_bytes!("../assets/small.safetensors");

/// So many questions of a list are answered together.
const ASKED_AT_ONCE: usize = 16;

/// A model that is ready to read.
#[derive(Clone)]
pub struct Model {
    parts: Arc<Parts>,
}

struct Parts {
    name: String,
    decoder: Decoder,
    /// As they came: an adapter is taught over them.
    weights: Weights,
    tokenizer: Tokenizer,
    layout: Layout,
    fingerprint: String,
}

impl Model {
    /// Puts a model together.
    ///
    /// # Errors
    /// As [`Decoder::new`]; `Mismatch` where the layout has tokens that the model does not know.
    pub fn new(
        name: impl Into<String>,
        config: ModelConfig,
        weights: Weights,
        tokenizer: Tokenizer,
        layout: Layout,
        device: &Device,
    ) -> Result<Self> {
        if let Some(token) = layout.tokens().find(|token| *token as usize >= config.vocabulary) {
            return Err(Error::mismatch(format!(
                "the layout has token {token}, the model knows {}",
                config.vocabulary
            )));
        }
        let fingerprint = fingerprint::of_model(&config, &weights)?;
        let decoder = Decoder::new(config, &weights, device)?;
        let parts = Parts { name: name.into(), decoder, weights, tokenizer, layout, fingerprint };
        Ok(Self { parts: Arc::new(parts) })
    }

    /// Returns the small model that ships: it reads facts in simple English and answers questions about them.
    ///
    /// # Errors
    /// `Corrupt` when the program itself is damaged.
    pub fn small() -> Result<Self> {
        let tensors = candle_core::safetensors::load_buffer(SMALL, &Device::Cpu)?;
        let weights = Weights::new(tensors.into_iter().map(|(name, tensor)| (name, Weight::Plain(tensor))).collect());
        let tokenizer = crate::lesson::tokenizer()?;
        let config = crate::train::small_model(tokenizer.vocabulary_size());
        Self::new("memos-small", config, weights, tokenizer, Layout::small(), &Device::Cpu)
    }

    /// Opens a model that was published: a folder with `config.json`, `tokenizer.json` and safetensors, or a GGUF file. What lies
    /// beside a GGUF file is preferred to what it says of its tokenizer and chat template itself. Text is laid out by the template,
    /// and plainly where there is none.
    ///
    /// # Errors
    /// As [`ModelFiles::load`]; `NotFound` without a tokenizer.
    pub fn open(path: &Path, device: &Device, tell: impl FnMut(LoadingProgress)) -> Result<Self> {
        let files = ModelFiles::load(path, tell)?;
        let (tokenizer, template) = match (&files.tokenizer, files.words) {
            (Some(file), _) => {
                let folder = file.parent().unwrap_or(path);
                (Tokenizer::from_folder(folder)?, ChatTemplate::from_folder(folder)?)
            }
            (None, Some(words)) => (words.tokenizer, words.template),
            (None, None) => {
                return Err(Error::not_found(format!(
                    "there is no `tokenizer.json` beside `{}`, put the model's own there",
                    path.display()
                )));
            }
        };
        let layout = layout::of_model(&files.config, &tokenizer, template.as_ref())?;
        let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Self::new(name, files.config, files.weights, tokenizer, layout, device)
    }

    /// Opens a model as [`Model::open`] does, on the processor, and tells nobody how far it is.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn open_on_cpu(path: &Path) -> Result<Self> {
        Self::open(path, &Device::Cpu, |_| {})
    }

    /// Returns what people call it.
    pub fn name(&self) -> &str {
        &self.parts.name
    }

    /// Returns its decoder.
    pub fn decoder(&self) -> &Decoder {
        &self.parts.decoder
    }

    /// Returns its weights as they came.
    pub fn weights(&self) -> &Weights {
        &self.parts.weights
    }

    /// Returns its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.parts.tokenizer
    }

    /// Returns how it wants text laid out.
    pub fn layout(&self) -> &Layout {
        &self.parts.layout
    }

    /// Returns its fingerprint: of its shape and all of its numbers.
    pub fn fingerprint(&self) -> &str {
        &self.parts.fingerprint
    }

    /// Returns what a segment must have been made with to be of use to it.
    pub fn expected(&self) -> Expected<'_> {
        Expected {
            model: self.fingerprint(),
            tokenizer: self.tokenizer().fingerprint(),
            config: self.decoder().config(),
            device: self.decoder().device(),
        }
    }

    /// Makes lessons in its layout.
    pub fn rows(&self) -> Rows {
        Rows::new(self.tokenizer().clone(), self.layout().clone())
    }

    /// Returns the tokens of a memory, as they stand before a question.
    ///
    /// # Errors
    /// `Invalid` for a text that is too long.
    pub fn memory_tokens(&self, text: &str) -> Result<Vec<u32>> {
        let layout = self.layout();
        let mut tokens = layout.memory.clone();
        tokens.extend(self.tokenizer().encode_data(text)?);
        tokens.extend(&layout.memory_end);
        Ok(tokens)
    }

    /// Returns the tokens of a question, with what stands around it.
    ///
    /// # Errors
    /// `Invalid` for a text that is too long.
    pub fn question_tokens(&self, question: &str) -> Result<Vec<u32>> {
        let layout = self.layout();
        let mut tokens = layout.question.clone();
        tokens.extend(self.tokenizer().encode_data(question)?);
        tokens.extend(&layout.answer);
        Ok(tokens)
    }

    /// Reads a memory, and returns its keys and values as a segment that can stand anywhere.
    ///
    /// # Errors
    /// `Invalid` for a text that is too long for the model.
    pub fn memorise(&self, text: &str, cubes: Vec<String>, created_ms: u64) -> Result<Segment> {
        let tokens = self.memory_tokens(text)?;
        let keys_values = self.decoder().memorise(&tokens)?;
        let about = SegmentAbout {
            model: self.fingerprint().to_owned(),
            tokenizer: self.tokenizer().fingerprint().to_owned(),
            context: segment::Context::Independent,
            adapter: None,
            cubes,
            created_ms,
        };
        Segment::new(self.decoder().config(), keys_values, &tokens, about)
    }

    /// Lays out memories as text.
    ///
    /// # Errors
    /// `Invalid` for a text that is too long.
    pub fn told(&self, memories: &[&str]) -> Result<Vec<Context>> {
        let mut context = self.begin();
        for memory in memories {
            context.push(Context::Tokens(self.memory_tokens(memory)?));
        }
        Ok(context)
    }

    /// Lays out memories as segments, which are moved behind each other and mended.
    ///
    /// # Errors
    /// As [`Decoder::joined`].
    pub fn injected(&self, segments: &[Segment], mend: usize) -> Result<Vec<Context>> {
        if segments.is_empty() {
            return Ok(self.begin());
        }
        let joined = self.decoder().joined(segments, mend)?;
        Ok(joined.parts.into_iter().map(Context::Segment).collect())
    }

    /// Asks a question behind memories, and takes the likeliest answer.
    ///
    /// # Errors
    /// As [`Talk::join`].
    pub fn ask(
        &self,
        context: Vec<Context>,
        question: &str,
        adapters: AdapterMix,
        most_tokens: usize,
    ) -> Result<Answer> {
        let mut answers = self.ask_all(vec![(context, question)], &adapters, most_tokens)?;
        answers.pop().ok_or_else(|| Error::unavailable("the model gave no answer"))
    }

    /// Asks questions, each behind memories of its own, some at a time, and takes the likeliest answers, in their order.
    ///
    /// # Errors
    /// As [`Talk::join`].
    pub fn ask_all(
        &self,
        asked: Vec<(Vec<Context>, &str)>,
        adapters: &AdapterMix,
        most_tokens: usize,
    ) -> Result<Vec<Answer>> {
        let mut requests = Vec::with_capacity(asked.len());
        for (context, question) in asked {
            let (question, adapters) = (self.question_tokens(question)?, adapters.clone());
            requests.push(Request { context, question, adapters, most_tokens, ..Request::default() });
        }
        let mut talk = Talk::new(self.decoder(), self.tokenizer());
        let mut answers = Vec::with_capacity(requests.len());
        while !requests.is_empty() {
            let some = requests.drain(..requests.len().min(ASKED_AT_ONCE)).collect();
            answers.extend(talk.answer(some)?);
        }
        Ok(answers)
    }

    /// Returns the logits behind a text of tokens: (tokens, vocabulary).
    ///
    /// # Errors
    /// As [`Decoder::step`].
    pub fn logits(&self, tokens: &[u32]) -> Result<Tensor> {
        self.decoder().read_all(tokens, &mut self.decoder().cache(), &AdapterMix::default())
    }

    /// Returns the logits of the first token of an answer to a question behind memories.
    ///
    /// # Errors
    /// As [`Talk::join`].
    pub fn first_logits(&self, context: &[Context], question: &str, adapters: &AdapterMix) -> Result<Vec<f32>> {
        let mut cache = self.decoder().cache();
        generate::lay_out(self.decoder(), &mut cache, context)?;
        let logits = self.decoder().prefill(&self.question_tokens(question)?, &mut cache, adapters)?;
        Ok(logits.get(0)?.to_vec1()?)
    }

    fn begin(&self) -> Vec<Context> {
        let begin = &self.layout().begin;
        if begin.is_empty() { Vec::new() } else { vec![Context::Tokens(begin.clone())] }
    }
}

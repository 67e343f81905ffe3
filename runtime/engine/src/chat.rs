//! Messages to a prompt, by the template that came with the model.
//!
//! A template is a program from a stranger: it gets no files and no other templates, a bounded amount of work, and so a bounded
//! amount of output. What people and tools said goes through it between two marks that no text may hold, so that afterwards it is
//! known which part of the prompt is data, and no message can speak as the template.
//!
//! This room must never know tokens: [`Tokenizer::encode_prompt`](crate::tokenizer::Tokenizer::encode_prompt) makes them.

mod builtins;
#[cfg(test)]
mod tests;

use std::fs;
use std::ops::Range;
use std::path::Path;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Value as Item, context};
use serde_json::Value;

pub use builtins::Date;

use crate::{Error, Result};

/// The largest file with a template, in bytes.
pub const TEMPLATE_FILE_BYTES_MAX: u64 = 4 << 20;

/// The most messages of one prompt.
pub const MESSAGES_MAX: usize = 1024;

/// The longest prompt, in bytes, and the most text that all messages may have.
pub const PROMPT_BYTES_MAX: usize = 4 << 20;

/// How much work a template may do. An instruction costs 1, and so do 64 bytes that it makes.
const FUEL: u64 = 2_000_000;

/// Where a message's own text begins and ends on its way through the template. Unicode keeps both out of any text.
const BEGIN: char = '\u{FDD0}';
const END: char = '\u{FDD1}';

/// Who a message is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Whoever set the model up.
    System,
    /// Whoever it talks with.
    User,
    /// The model.
    Assistant,
    /// A tool that the model has called.
    Tool,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who it is from.
    pub role: Role,
    /// What it says.
    pub content: String,
}

/// A prompt, and which parts of it are data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// All of it.
    pub text: String,
    /// The bytes that came from messages, in order and apart from each other. All else is the template's.
    pub data: Vec<Range<usize>>,
}

/// A model's chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    begin_token: String,
    end_token: String,
}

impl ChatTemplate {
    /// Reads the template from a model's folder: `chat_template.jinja`, or the one in `tokenizer_config.json`; of several the one
    /// called `default`. `None` where the model has none.
    ///
    /// # Errors
    ///
    /// `Corrupt` where a file or the template cannot be read, `Invalid` above [`TEMPLATE_FILE_BYTES_MAX`].
    pub fn from_folder(folder: &Path) -> Result<Option<Self>> {
        let config = read(&folder.join("tokenizer_config.json"))?;
        let config: Value = match &config {
            Some(text) => serde_json::from_str(text).map_err(|error| {
                Error::corrupt(format!("`tokenizer_config.json` in `{}` is not JSON: {error}", folder.display()))
                    .with_source(error)
            })?,
            None => Value::Null,
        };
        let own = read(&folder.join("chat_template.jinja"))?;
        let Some(source) = own.or_else(|| named_template(config.get("chat_template")?)) else {
            return Ok(None);
        };
        Self::new(&source, &token(&config, "bos_token"), &token(&config, "eos_token")).map(Some)
    }

    /// Reads a template, with the text of the tokens that begin and end a conversation.
    ///
    /// # Errors
    ///
    /// `Corrupt` where it is no template, with the line.
    pub fn new(source: &str, begin_token: &str, end_token: &str) -> Result<Self> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(unreadable)?);
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        builtins::add(&mut environment);
        environment.add_template_owned("chat_template", source.to_owned()).map_err(unreadable)?;
        Ok(Self { environment, begin_token: begin_token.to_owned(), end_token: end_token.to_owned() })
    }

    /// Writes the prompt after which the model answers. `today` is for templates that tell the date.
    ///
    /// # Errors
    ///
    /// `Invalid` above a limit, where the template refuses the messages (as for two from one side in a row), does too much, or takes a
    /// message apart so that nobody can tell any more what is data.
    pub fn render(&self, messages: &[Message], today: Date) -> Result<Prompt> {
        if messages.len() > MESSAGES_MAX {
            let count = messages.len();
            return Err(Error::invalid(format!("{count} messages are too many for a prompt: at most {MESSAGES_MAX}")));
        }
        let bytes: usize = messages.iter().map(|message| message.content.len()).sum();
        if bytes > PROMPT_BYTES_MAX {
            return Err(Error::invalid(format!(
                "messages of {bytes} bytes are too long for a prompt: at most {PROMPT_BYTES_MAX}"
            )));
        }
        let messages: Vec<Item> = messages
            .iter()
            .map(|message| context! { role => message.role.name(), content => marked(&message.content) })
            .collect();
        let template = self.environment.get_template("chat_template").map_err(unreadable)?;
        let today = Item::from_object(today);
        let rendered = template
            .render(context! {
                messages, today => today, bos_token => self.begin_token.as_str(), eos_token => self.end_token.as_str(),
                add_generation_prompt => true,
            })
            .map_err(refused)?;
        if rendered.len() > PROMPT_BYTES_MAX {
            return Err(Error::invalid(format!("the prompt is too long: at most {PROMPT_BYTES_MAX} bytes")));
        }
        unmarked(&rendered)
    }
}

fn read(path: &Path) -> Result<Option<String>> {
    let unavailable = |error: std::io::Error| {
        Error::unavailable(format!("`{}` cannot be read: {error}", path.display())).with_source(error)
    };
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unavailable(error)),
        Ok(metadata) if metadata.len() > TEMPLATE_FILE_BYTES_MAX => {
            let path = path.display();
            return Err(Error::invalid(format!("`{path}` is too large: at most {TEMPLATE_FILE_BYTES_MAX} bytes")));
        }
        Ok(_) => {}
    }
    fs::read_to_string(path).map(Some).map_err(unavailable)
}

/// Finds the template, or of several with names the default one.
fn named_template(found: &Value) -> Option<String> {
    let named = || {
        let default = found.as_array()?.iter().find(|entry| entry.get("name").is_some_and(|name| name == "default"));
        default?.get("template")?.as_str()
    };
    found.as_str().or_else(named).map(str::to_owned)
}

/// Finds the text of a token, which is given as it is or within its settings.
fn token(config: &Value, name: &str) -> String {
    let found = config.get(name);
    let text = found.and_then(|token| token.as_str().or_else(|| token.get("content")?.as_str()));
    text.unwrap_or_default().to_owned()
}

/// Puts a message between the marks, with the white space at its ends outside, so that a template may trim it.
fn marked(content: &str) -> String {
    let content = content.replace([BEGIN, END], "\u{FFFD}");
    let inner = content.trim();
    if inner.is_empty() {
        return content;
    }
    let start = content.len() - content.trim_start().len();
    let (before, rest) = content.split_at(start);
    let (inner, after) = rest.split_at(inner.len());
    format!("{before}{BEGIN}{inner}{END}{after}")
}

/// Takes the marks out, and keeps where they were.
fn unmarked(rendered: &str) -> Result<Prompt> {
    let mut prompt = Prompt { text: String::with_capacity(rendered.len()), data: Vec::new() };
    let mut open = None;
    for character in rendered.chars() {
        match (character, open) {
            (BEGIN, None) => open = Some(prompt.text.len()),
            (END, Some(start)) => {
                prompt.data.push(start..prompt.text.len());
                open = None;
            }
            (BEGIN | END, _) => return Err(apart()),
            _ => prompt.text.push(character),
        }
    }
    if open.is_some() {
        return Err(apart());
    }
    Ok(prompt)
}

fn apart() -> Error {
    Error::invalid(
        "the chat template takes a message apart, and what is data could not be told from what is the template's: leave out of \
         messages what the template looks for, such as a model's `</think>`",
    )
}

fn unreadable(error: minijinja::Error) -> Error {
    Error::corrupt(format!("the chat template cannot be read: {error}")).with_source(error)
}

fn refused(error: minijinja::Error) -> Error {
    let said = match error.kind() {
        minijinja::ErrorKind::OutOfFuel => "it does too much".to_owned(),
        _ => error.to_string().replace([BEGIN, END], ""),
    };
    Error::invalid(format!("the chat template refuses these messages: {said}")).with_source(error)
}

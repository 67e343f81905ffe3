//! Makes what the program ships but no compiler makes: the built-in embedder's weights, the small model's, and the fixture that
//! holds the embedder's tokenizer against the encoder's own.
//!
//! These are run by hand when the encoder, the recipe or the layout changes, never in a build. So this crate may take
//! its time, and may depend on what the program must not.

mod distill;
mod encoder;
mod projection;
mod teach;
#[cfg(feature = "oracle")]
mod tokenizer_fixture;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "\
Usage:
  cargo xtask distill --encoder DIR [--out FILE]
      Makes the weights of the built-in embedder from a sentence encoder
      (config.json, tokenizer.json and model.safetensors in DIR).
      Without --out it replaces memory/assets/embedder.bin and
      xtask/projection.bin; with it, it writes FILE and FILE.projection.
  cargo run --release --package xtask --features oracle -- tokenizer-fixture --encoder DIR [--out FILE]
      Writes what the encoder's own tokenizer says about the test texts.
      FILE is memory/tests/fixtures/tokenizer.bin by default.
  cargo run --release --package xtask -- teach [--out DIR] [--steps N]
      Teaches the small model from nothing and examines it. It replaces
      runtime/engine/assets, or fills DIR; with N steps a course it is
      done sooner, and has learnt less.
  cargo run --release --package xtask -- examine
      Examines the small model's weights that ship.
";

/// Finds files of the workspace from wherever the command is run.
const MEMORY_CRATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../memory");

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let Some(command) = Command::from_arguments(lexopt::Parser::from_env())? else {
        print!("{USAGE}");
        return Ok(());
    };
    match command.name.as_str() {
        "distill" => distill::run(&command.encoder()?, command.out),
        "teach" => teach::run(command.out, command.steps),
        "examine" => teach::examine_shipped(),
        #[cfg(not(feature = "oracle"))]
        "tokenizer-fixture" => {
            bail!("this needs the encoder's own tokenizer, run it with `--features oracle` as the usage shows")
        }
        #[cfg(feature = "oracle")]
        "tokenizer-fixture" => tokenizer_fixture::run(&command.encoder()?, command.out),
        other => bail!("there is no command `{other}`, use distill, teach, examine or tokenizer-fixture"),
    }
}

struct Command {
    name: String,
    encoder: Option<PathBuf>,
    out: Option<PathBuf>,
    steps: Option<usize>,
}

impl Command {
    /// Returns the command, or nothing when help is asked for.
    fn from_arguments(mut arguments: lexopt::Parser) -> Result<Option<Self>> {
        use lexopt::prelude::{Long, Short, Value, ValueExt};
        let (mut name, mut encoder, mut out, mut steps) = (None, None, None, None);
        while let Some(argument) = arguments.next()? {
            match argument {
                Value(value) if name.is_none() => name = Some(value.to_string_lossy().into_owned()),
                Long("encoder") => encoder = Some(PathBuf::from(arguments.value()?)),
                Long("out") => out = Some(PathBuf::from(arguments.value()?)),
                Long("steps") => steps = Some(arguments.value()?.parse()?),
                Long("help") | Short('h') => return Ok(None),
                other => return Err(other.unexpected().into()),
            }
        }
        let Some(name) = name else { return Ok(None) };
        Ok(Some(Self { name, encoder, out, steps }))
    }

    fn encoder(&self) -> Result<PathBuf> {
        self.encoder.clone().context("--encoder is missing, name the directory of the sentence encoder")
    }
}

//! `memos remember`: one memory, typed in.
//!
//! With `--json`: `{"space": "home/main", "cube": "…", "version": 1, "sensitivity": ["email"]}`. With `--quiet` the id
//! alone.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use memos::Result;
use memos::cube::{CubeDraft, CubeId, Layer, SemanticType, SpaceName};
use memos::governance::sensitivity::SensitivityKind;
use memos::limits::Limits;
use memos::time::Timestamp;
use serde::Serialize;

use super::ids::short;
use super::scope::Scope;
use super::screen::{DIM, NAME, NOTICE, Screen, paint};

#[derive(Args)]
pub(super) struct RememberArguments {
    /// What is to be remembered
    text: String,
    /// What sort of statement it is
    #[arg(long = "type", value_name = "TYPE", default_value = "fact", value_parser = semantic_types())]
    semantic: SemanticType,
    /// A label; may be repeated
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// A short name for people
    #[arg(long, default_value = "")]
    title: String,
    /// Who may read it: `private`, `shared:GROUP` or `global`
    #[arg(long, default_value = "private")]
    layer: Layer,
    /// The task it belongs to
    #[arg(long)]
    task: Option<String>,
    /// Who said it
    #[arg(long, value_name = "NAME")]
    speaker: Option<String>,
    /// Whose data it is, by which it can be erased [default: the speaker, else the owner]
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// When it was said or seen [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
}

/// Reads a semantic type, and lets help and completions name them all.
pub(super) fn semantic_types() -> impl TypedValueParser<Value = SemanticType> {
    PossibleValuesParser::new(SemanticType::ALL.iter().map(|semantic| semantic.as_str()))
        .try_map(|name| name.parse::<SemanticType>())
}

#[derive(Serialize)]
struct Remembered<'a> {
    space: &'a SpaceName,
    cube: CubeId,
    version: u32,
    sensitivity: Vec<SensitivityKind>,
}

pub(super) fn run(arguments: RememberArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let name = scope.space_name()?;
    let draft = CubeDraft {
        title: arguments.title,
        tags: arguments.tag,
        task: arguments.task,
        speaker: arguments.speaker,
        subject: arguments.subject,
        observed: arguments.at,
        layer: arguments.layer,
        ..CubeDraft::text(arguments.semantic, arguments.text)
    };
    // What would be refused anyway must not leave a folder behind.
    draft.check(&Limits::default())?;
    let space = scope.vault_or_new()?.space(name)?;
    let id = space.remember(&scope.caller, draft)?;
    let (cube, head) = space.get(&scope.caller, &id)?;
    let sensitivity: Vec<SensitivityKind> = cube.header.governance.sensitivity.into_iter().collect();
    if screen.json {
        return screen.object(&Remembered { space: name, cube: id, version: head.version, sensitivity });
    }
    if screen.quiet {
        screen.result(id);
        return Ok(());
    }
    let layer = cube.header.governance.layer;
    screen.line(format!("remembered in {} as {}, {layer}", paint(NAME, name), cube.header.semantic));
    if !sensitivity.is_empty() {
        let kinds: Vec<&str> = sensitivity.iter().map(|kind| kind.as_str()).collect();
        screen.line(paint(NOTICE, format!("holds sensitive content ({}): others see it redacted", kinds.join(", "))));
    }
    screen.line(paint(DIM, format!("id {}, in full {id}", short(&id))));
    Ok(())
}

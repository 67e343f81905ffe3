//! stub
use clap::Args;
use std::path::PathBuf;
use super::scope::Scope; use super::screen::Screen; use memos::Result;
#[derive(Args)]
pub(super) struct DemoArguments { /// Keep the memory in this new folder
    #[arg(long, value_name = "DIR")] keep: Option<PathBuf> }
pub(super) fn run(_a: &DemoArguments, _s: &Scope, _o: &mut Screen) -> Result<()> { let _ = &_a.keep; Ok(()) }

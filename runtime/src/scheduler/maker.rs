//! What the scheduler asks of an engine: to make forms of memories, to say what they cost, and to drop them.

use std::pin::Pin;

use memos_memory::cube::{Kind, SpaceName, VersionRef};
use memos_memory::error::Result;
use memos_memory::schedule::FormCost;
use memos_memory::time::Timestamp;

/// What an engine is at.
pub type Making<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// One form of one version of a memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FormName {
    /// The space of the memory.
    pub space: SpaceName,
    /// The version that it is made from.
    pub version: VersionRef,
    /// Which form.
    pub form: Kind,
}

/// A form that an engine has loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeForm {
    /// Which one.
    pub name: FormName,
    /// Bytes that it takes.
    pub bytes: u64,
    /// Since when it is loaded.
    pub since: Timestamp,
}

/// Makes forms of memories beside their text. What it is asked for is never more than the budgets allow; what it makes is
/// its own, and can be made again from the text.
pub trait FormMaker: Send + Sync + 'static {
    /// Says which forms of a version with so many tokens it could make, and what each costs. Asked often, so it must be
    /// cheap.
    fn costs(&self, space: &SpaceName, version: VersionRef, tokens: usize) -> Making<Vec<(Kind, FormCost)>>;

    /// Builds a form and loads it.
    fn build(&self, name: FormName) -> Making<MadeForm>;

    /// Drops a form. One that is not there is dropped already.
    fn drop_form(&self, name: FormName) -> Making<()>;

    /// Says what is loaded.
    fn loaded(&self) -> Making<Vec<MadeForm>>;
}

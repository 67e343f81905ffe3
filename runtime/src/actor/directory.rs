//! Names of actors, each kernel's own: two kernels of one process do not see each other.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use memos_memory::error::{Error, ErrorKind, Result};
use parking_lot::RwLock;

use super::behaviour::Behaviour;
use super::handle::Handle;

/// The names of one kernel's actors. A name stays with its actor through restarts.
pub struct Directory {
    most: usize,
    names: RwLock<HashMap<String, Arc<dyn Any + Send + Sync>>>,
}

impl Directory {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, names: RwLock::default() }
    }

    /// Gives an actor its name.
    pub(crate) fn enter<B: Behaviour>(&self, handle: &Handle<B>) -> Result<()> {
        let mut names = self.names.write();
        if names.len() >= self.most {
            let full = format!("the kernel has {} names already; stop an actor", names.len());
            return Err(Error::new(ErrorKind::Busy, full));
        }
        if names.contains_key(handle.name()) {
            let taken = format!("there is an actor `{}` already; choose another name", handle.name());
            return Err(Error::conflict(taken));
        }
        names.insert(handle.name().to_owned(), Arc::new(handle.clone()));
        Ok(())
    }

    pub(crate) fn leave(&self, name: &str) {
        self.names.write().remove(name);
    }

    /// Returns the handle of the actor with this name, when it is one of this kind.
    pub fn find<B: Behaviour>(&self, name: &str) -> Option<Handle<B>> {
        self.names.read().get(name)?.downcast_ref::<Handle<B>>().cloned()
    }

    /// Returns all names, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.names.read().keys().cloned().collect();
        names.sort();
        names
    }
}

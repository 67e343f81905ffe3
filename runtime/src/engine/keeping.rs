//! The actor of an engine: it has forms made one after the other, hears of every change, and has withdrawn what is not so any
//! more. It waits for nothing: all work is done beside it and comes back as a note. When it is begun again it looks at every
//! open space, and goes on with what was asked for.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use memos_memory::cube::{CubeId, Kind, SpaceName};
use memos_memory::error::{Error, Result};

use super::record::FormRecord;
use super::withdrawal::Looked;
use super::{Parts, making, withdrawal};
use crate::actor::{Behaviour, Broken, Command, Context, Envelope, Reply};
use crate::lifecycle::Ear;

/// A form that is to be made.
pub(super) struct Order {
    pub(super) space: SpaceName,
    pub(super) cubes: Vec<CubeId>,
    pub(super) form: Kind,
    /// Even where it was refused before.
    pub(super) again: bool,
}

/// What the engine's handle asks of its actor.
pub(super) enum EngineCommand {
    Make {
        order: Order,
        reply: Reply<FormRecord>,
    },
    /// To look at a space now, and answer when what is to be withdrawn is.
    Look {
        space: SpaceName,
        reply: Reply<Vec<FormRecord>>,
    },
}

impl Command for EngineCommand {
    fn name(&self) -> &'static str {
        match self {
            Self::Make { .. } => "Make",
            Self::Look { .. } => "Look",
        }
    }

    fn is_awaited(&self) -> bool {
        match self {
            Self::Make { reply, .. } => reply.is_awaited(),
            Self::Look { reply, .. } => reply.is_awaited(),
        }
    }
}

/// What the actor tells itself.
pub(super) enum EngineNote {
    /// There is news, or it has begun.
    News,
    Looked(SpaceName, Result<Looked>),
    Made(Option<Reply<FormRecord>>, Box<Result<FormRecord>>, String),
}

pub(super) struct Keeping {
    parts: Arc<Parts>,
    ear: Arc<Ear>,
    /// Spaces that are being looked at, and who waits for it; with whether something has changed meanwhile.
    looking: HashMap<SpaceName, Looking>,
    /// Forms that are being made again after a crash.
    resumed: BTreeSet<String>,
}

#[derive(Default)]
struct Looking {
    again: bool,
    waiting: Vec<Reply<Vec<FormRecord>>>,
    next: Vec<Reply<Vec<FormRecord>>>,
}

impl Keeping {
    pub(super) fn new(parts: Arc<Parts>, ear: Arc<Ear>) -> Self {
        Self { parts, ear, looking: HashMap::new(), resumed: BTreeSet::new() }
    }

    fn news(&mut self, context: &Context<Self>) -> std::result::Result<(), Broken> {
        for space in self.ear.take() {
            self.look(context, space, None)?;
        }
        let ear = self.ear.clone();
        let heard = async move {
            ear.heard().await;
            EngineNote::News
        };
        context.spawn(heard).map_err(broken)
    }

    /// Looks at a space, once at a time.
    fn look(
        &mut self,
        context: &Context<Self>,
        space: SpaceName,
        reply: Option<Reply<Vec<FormRecord>>>,
    ) -> std::result::Result<(), Broken> {
        if let Some(looking) = self.looking.get_mut(&space) {
            looking.again = true;
            looking.next.extend(reply);
            return Ok(());
        }
        let waiting = reply.into_iter().collect();
        self.looking.insert(space.clone(), Looking { waiting, ..Looking::default() });
        let parts = self.parts.clone();
        let look = async move {
            let looked = withdrawal::look(&parts, &space).await;
            EngineNote::Looked(space, looked)
        };
        context.spawn(look).map_err(broken)
    }

    fn looked(
        &mut self,
        context: &Context<Self>,
        space: SpaceName,
        looked: Result<Looked>,
    ) -> std::result::Result<(), Broken> {
        let Some(Looking { again, waiting, next }) = self.looking.remove(&space) else { return Ok(()) };
        match looked {
            Ok(Looked { withdrawn, to_make }) => {
                waiting.into_iter().for_each(|reply| reply.send(Ok(withdrawn.clone())));
                for record in to_make {
                    self.resume(context, &space, &record);
                }
            }
            Err(error) => {
                let told = |reply: Reply<_>| reply.send(Err(Error::new(error.kind(), error.to_string())));
                waiting.into_iter().for_each(told);
            }
        }
        if again {
            self.look(context, space.clone(), None)?;
            if let Some(looking) = self.looking.get_mut(&space) {
                looking.waiting.extend(next);
            }
        }
        Ok(())
    }

    /// Goes on with a form that was asked for and that nobody makes.
    fn resume(&mut self, context: &Context<Self>, space: &SpaceName, record: &FormRecord) {
        if self.parts.is_being_made(space, &record.key) || !self.resumed.insert(record.key.clone()) {
            return;
        }
        let cubes = record.sources.iter().map(|source| source.cube).collect();
        let order = Order { space: space.clone(), cubes, form: record.form, again: false };
        if self.make(context, order, None, record.key.clone()).is_err() {
            self.resumed.remove(&record.key);
        }
    }

    fn make(&self, context: &Context<Self>, order: Order, reply: Option<Reply<FormRecord>>, key: String) -> Result<()> {
        let parts = self.parts.clone();
        context.spawn(async move {
            let Order { space, cubes, form, again } = order;
            let made = making::make(&parts, &space, cubes, form, again).await;
            EngineNote::Made(reply, Box::new(made), key)
        })
    }
}

fn broken(error: Error) -> Broken {
    Broken::new(error.to_string())
}

impl Behaviour for Keeping {
    type Command = EngineCommand;
    type Note = EngineNote;

    fn handle(
        &mut self,
        context: &mut Context<Self>,
        mut envelope: Envelope<EngineCommand>,
    ) -> std::result::Result<(), Broken> {
        match envelope.open() {
            Some(EngineCommand::Make { order, reply }) => {
                // A caller whose reply is dropped is told that the engine could not.
                let _ = self.make(context, order, Some(reply), String::new());
            }
            Some(EngineCommand::Look { space, reply }) => self.look(context, space, Some(reply))?,
            None => {}
        }
        Ok(())
    }

    fn note(&mut self, context: &mut Context<Self>, note: EngineNote) -> std::result::Result<(), Broken> {
        match note {
            EngineNote::News => self.news(context)?,
            EngineNote::Looked(space, looked) => self.looked(context, space, looked)?,
            EngineNote::Made(reply, made, key) => {
                self.resumed.remove(&key);
                if let Some(reply) = reply {
                    reply.send(*made);
                }
            }
        }
        Ok(())
    }
}

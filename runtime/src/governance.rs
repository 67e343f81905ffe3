//! MemGovernance in the kernel: the one actor that changes the rules of spaces and puts their audit log on disk, and the
//! rates at which principals may ask.
//!
//! What the rules are, and what they decide, is pure and stands in `memos-memory`; decisions are made where memories are
//! read and written, so nobody walks around this actor by not asking it.

mod rates;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::{Arc, Weak};

use memos_memory::cube::SpaceName;
use memos_memory::vault::Committed;

use crate::actor::{Behaviour, Broken, Call, Command, Context, Envelope, Reply};
use crate::kernel::Shared;
use crate::vault::Room;
pub(crate) use rates::Rates;

/// The rules of a space were changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulesChanged {
    /// The space.
    pub space: SpaceName,
    /// The event that holds the new charter.
    pub event: u64,
}

/// What the governor can be asked to do.
pub(crate) enum GovernorCommand {
    /// To give a space other rules; none takes its charter away.
    SetCharter { room: Arc<Room>, charter: Option<String>, reply: Reply<Committed> },
    /// To see to it that what was noted in a space is written soon.
    Noted { room: Weak<Room>, space: SpaceName },
}

impl Command for GovernorCommand {
    fn name(&self) -> &'static str {
        match self {
            Self::SetCharter { .. } => "SetCharter",
            Self::Noted { .. } => "Noted",
        }
    }

    fn is_awaited(&self) -> bool {
        match self {
            Self::SetCharter { reply, .. } => reply.is_awaited(),
            Self::Noted { .. } => true,
        }
    }
}

/// What the governor tells itself.
pub(crate) enum GovernorNote {
    /// What was noted in a space has waited long enough.
    Write { room: Weak<Room>, space: SpaceName },
    /// A change of rules has ended.
    Changed(Option<RulesChanged>),
}

/// The governor of one kernel.
pub(crate) struct Governor {
    kernel: Weak<Shared>,
    /// The spaces in which lines wait to be written.
    noted: HashSet<SpaceName>,
}

impl Governor {
    pub(crate) fn new(kernel: Weak<Shared>) -> Self {
        Self { kernel, noted: HashSet::new() }
    }

    fn set_charter(
        &self,
        context: &Context<Self>,
        call: Call,
        room: Arc<Room>,
        charter: Option<String>,
        reply: Reply<Committed>,
    ) {
        let Some(kernel) = self.kernel.upgrade() else { return };
        let changed = async move {
            let space = room.name().clone();
            let entered = room.visit().await;
            let done = match entered {
                Err(error) => Err(error),
                Ok((_visit, loaded)) => {
                    let principal = call.principal.clone();
                    let change = move || loaded.space()?.set_charter(&principal, charter.as_deref());
                    kernel.writers.run(call.deadline, change).await
                }
            };
            let changed = done.as_ref().ok().map(|done| RulesChanged { space, event: done.first_event });
            reply.send(done);
            GovernorNote::Changed(changed)
        };
        // Without a place for the work its reply is dropped, which tells the caller.
        let _ = context.spawn(changed);
    }

    fn write(&mut self, room: &Weak<Room>, space: &SpaceName) {
        self.noted.remove(space);
        if let Some(room) = room.upgrade() {
            room.write_records();
        }
    }
}

impl Behaviour for Governor {
    type Command = GovernorCommand;
    type Note = GovernorNote;

    fn handle(
        &mut self,
        context: &mut Context<Self>,
        mut envelope: Envelope<GovernorCommand>,
    ) -> std::result::Result<(), Broken> {
        match envelope.open() {
            Some(GovernorCommand::SetCharter { room, charter, reply }) => {
                self.set_charter(context, envelope.call.clone(), room, charter, reply);
            }
            Some(GovernorCommand::Noted { room, space }) => {
                let Some(kernel) = self.kernel.upgrade() else { return Ok(()) };
                let write = GovernorNote::Write { room: room.clone(), space: space.clone() };
                if self.noted.insert(space.clone()) && context.after(kernel.limits.audit_delay, write).is_err() {
                    self.write(&room, &space);
                }
            }
            None => {}
        }
        Ok(())
    }

    fn note(&mut self, _: &mut Context<Self>, note: GovernorNote) -> std::result::Result<(), Broken> {
        match note {
            GovernorNote::Write { room, space } => self.write(&room, &space),
            GovernorNote::Changed(changed) => {
                if let Some((kernel, changed)) = self.kernel.upgrade().zip(changed) {
                    kernel.rules.publish(&changed);
                }
            }
        }
        Ok(())
    }
}

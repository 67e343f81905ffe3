//! The door through which bytes of other machines come in on the library's cluster.
//!
//! What the library decodes lands in a mailbox without a bound. So a door holds nothing: it hands each message on at once,
//! to where a place is taken or the answer is that there is none. It believes nothing either: what it hands on are bytes.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use memos_memory::error::{Error, ErrorKind, Result};
use ractor::message::{BoxedDowncastErr, SerializedMessage};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, pg};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::shell::Later;

/// What a message is called on the wire, with its version.
const VARIANT: &str = "memos sealed request 1";

/// Bytes from another machine, and the way back.
pub(crate) struct Letter {
    bytes: Vec<u8>,
    reply: RpcReplyPort<Vec<u8>>,
}

impl ractor::Message for Letter {
    fn serializable() -> bool {
        true
    }

    fn serialize(self) -> std::result::Result<SerializedMessage, BoxedDowncastErr> {
        let Self { bytes: args, reply } = self;
        Ok(SerializedMessage::Call { variant: VARIANT.to_owned(), args, reply, metadata: None })
    }

    /// Reads a letter. The library drops what is none.
    fn deserialize(message: SerializedMessage) -> std::result::Result<Self, BoxedDowncastErr> {
        match message {
            SerializedMessage::Call { variant, args, reply, .. } if variant == VARIANT => {
                Ok(Self { bytes: args, reply })
            }
            _ => Err(BoxedDowncastErr),
        }
    }
}

type Answering = Box<dyn Fn(Vec<u8>) -> Later<Vec<u8>> + Send + Sync>;

struct Doorkeeper;

impl Actor for Doorkeeper {
    type Msg = Letter;
    type State = Answering;
    type Arguments = Answering;

    async fn pre_start(
        &self,
        _: ActorRef<Letter>,
        answering: Answering,
    ) -> std::result::Result<Answering, ActorProcessingErr> {
        Ok(answering)
    }

    async fn handle(
        &self,
        _: ActorRef<Letter>,
        Letter { bytes, reply }: Letter,
        answering: &mut Answering,
    ) -> std::result::Result<(), ActorProcessingErr> {
        // Whether there is a place is decided here, before anything waits.
        let answer: Pin<Box<dyn Future<Output = Vec<u8>> + Send>> = answering(bytes);
        tokio::spawn(async move {
            // Who has gone is not told.
            let _ = reply.send(answer.await);
        });
        Ok(())
    }
}

/// A door that other machines of the cluster find under its group's name. It is shut when this is dropped.
pub struct Door(ActorCell);

impl Door {
    /// Opens a door. `answering` takes a place for the bytes, or has none, before it returns; what it returns waits.
    pub(crate) async fn open(
        group: &str,
        answering: impl Fn(Vec<u8>) -> Later<Vec<u8>> + Send + Sync + 'static,
    ) -> Result<Self> {
        let opened = Doorkeeper::spawn(None, Doorkeeper, Box::new(answering)).await;
        let (actor, _) = opened.map_err(|e| Error::unavailable(format!("the door could not be opened: {e}")))?;
        let cell = actor.get_cell();
        pg::join(group.to_owned(), vec![cell.clone()]);
        Ok(Self(cell))
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.0.stop(None);
    }
}

/// Sends bytes through one of the doors of a group, of this machine or another, and returns what comes back.
///
/// # Errors
/// `NotFound` when there is no door of this name; `Deadline` when nothing comes back in time; `Unavailable` when the door is
/// shut meanwhile.
pub async fn send_through(group: &str, bytes: Vec<u8>, patience: Duration) -> Result<Vec<u8>> {
    let none = || Error::not_found(format!("no machine of the cluster has a door `{group}`"));
    let door = pg::get_members(&group.to_owned()).into_iter().next().ok_or_else(none)?;
    let (reply, answer) = oneshot::channel();
    let shut = || Error::unavailable(format!("the door `{group}` was shut before the answer came; try again"));
    door.send_message(Letter { bytes, reply: reply.into() }).map_err(|_| shut())?;
    let late = |_| Error::new(ErrorKind::Deadline, format!("no answer came from the door `{group}` in time"));
    timeout(patience, answer).await.map_err(late)?.map_err(|_| shut())
}

#[cfg(test)]
impl Door {
    /// Puts bytes into the mailbox as the library does with what another machine sent, and returns the way back.
    pub(crate) fn receive(&self, variant: Option<&str>, bytes: Vec<u8>) -> oneshot::Receiver<Vec<u8>> {
        let (reply, answer) = oneshot::channel();
        let variant = variant.unwrap_or(VARIANT).to_owned();
        let call = SerializedMessage::Call { variant, args: bytes, reply: reply.into(), metadata: None };
        self.0.send_serialized(call).unwrap();
        answer
    }

    /// Puts a message into the mailbox to which there is no answer.
    pub(crate) fn receive_cast(&self, bytes: Vec<u8>) {
        let cast = SerializedMessage::Cast { variant: VARIANT.to_owned(), args: bytes, metadata: None };
        self.0.send_serialized(cast).unwrap();
    }

    /// Writes a letter as it goes over the wire, and reads what comes there.
    pub(crate) fn over_the_wire(bytes: Vec<u8>) -> (Vec<u8>, oneshot::Receiver<Vec<u8>>) {
        use ractor::Message as _;
        let (reply, answer) = oneshot::channel();
        let written = Letter { bytes, reply: reply.into() }.serialize().unwrap();
        let Letter { bytes, reply } = Letter::deserialize(written).unwrap();
        reply.send(bytes.clone()).unwrap();
        (bytes, answer)
    }
}

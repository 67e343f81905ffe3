//! What a client asks for, asked of a kernel.
#![allow(dead_code)]

use std::sync::Arc;
use std::time::Duration;

use memos_memory::Result;
use memos_memory::cube::{CubeDraft, CubeId, GovernanceChange, Lifespan, Payload, SemanticType, Update, UpdateMode};
use memos_memory::governance::Principal;
use memos_memory::graph::{Link, LinkKind};
use memos_memory::vault::{Batch, Committed, Erasure, Space};
use memos_runtime::{Kernel, ReadPoint, Session};

use super::history::{Asked, Seen, Told};
use super::model::Ask;

/// One request as it travels.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) who: Arc<Principal>,
    pub(crate) space: &'static str,
    pub(crate) asked: Asked,
    pub(crate) key: String,
    /// What the client has seen of the space, and must see again.
    pub(crate) after: ReadPoint,
}

/// What comes back, and what the client has seen by then.
pub(crate) type Answer = (Result<Told>, ReadPoint);

/// A way from clients to a kernel.
pub(crate) trait Wire: Send + Sync + 'static {
    fn ask(&self, request: Request) -> impl Future<Output = Answer> + Send;
}

/// The way of a client in the same process.
impl Wire for Kernel {
    async fn ask(&self, request: Request) -> Answer {
        serve(self, request, Duration::from_secs(2)).await
    }
}

/// Does what a request asks for.
pub(crate) async fn serve(kernel: &Kernel, request: Request, patience: Duration) -> Answer {
    let session = match kernel.space(request.space).await {
        Ok(space) => space.session(Principal::clone(&request.who)).with_patience(patience).after(request.after),
        Err(error) => return (Err(error), request.after),
    };
    let told = ask(&session, &request).await;
    (told, session.point())
}

/// Asks once.
async fn ask(session: &Session, request: &Request) -> Result<Told> {
    match &request.asked {
        Asked::Get(cube) => {
            let (cube, head) = session.get(cube).await?;
            let text = cube.payload.as_text().unwrap_or_default().to_owned();
            let (cube, version, digest, state) = (head.id, head.version, head.digest, head.state);
            Ok(Told::Saw(vec![Seen { cube, version, digest, text, state }]))
        }
        Asked::Recall => {
            let receipts = session.ask("what of the harbour").await?.receipts.into_iter();
            Ok(Told::Saw(
                receipts
                    .map(|receipt| Seen {
                        cube: receipt.cube,
                        version: receipt.version,
                        digest: receipt.digest,
                        text: receipt.text,
                        state: receipt.state,
                    })
                    .collect(),
            ))
        }
        Asked::Changes(asks) => match &asks[..] {
            [Ask::Erase { cube, reason }] => {
                let (cube, reason) = (*cube, reason.clone());
                let erasure =
                    move |space: &Space, who: &Principal| space.erase(who, Erasure::Cubes(vec![cube]), reason);
                Ok(Told::Done { first: session.work(erasure).await?.event, events: 1 })
            }
            asks => {
                let Committed { first_event, events, .. } =
                    session.clone().with_key(&request.key)?.commit(batch_of(asks)).await?;
                Ok(Told::Done { first: first_event, events })
            }
        },
        Asked::Again(_) => {
            // What it holds is not looked at.
            let session = session.clone().with_key(&request.key)?;
            let Committed { first_event, events, .. } = session.commit(Batch::default()).await?;
            Ok(Told::Done { first: first_event, events })
        }
    }
}

/// Returns what a client tells: of the harbour facts, of all else in talks of its own, each forty steps long.
fn draft_of(text: &str) -> CubeDraft {
    let words: Vec<&str> = text.split(' ').collect();
    let [_, _, place, _, _, client, _, step, ..] = words[..] else { panic!("`{text}` is told by no client") };
    let draft = CubeDraft::text(SemanticType::Fact, text.to_owned());
    let draft = CubeDraft { tags: vec![format!("entity:{place}")], ..draft };
    if place == "harbour" {
        return draft;
    }
    let talk = format!("client {client} talk {}", step.parse::<usize>().unwrap() / 40);
    CubeDraft {
        semantic: SemanticType::Message,
        session: Some(talk),
        speaker: Some(format!("client {client}")),
        ..draft
    }
}

fn batch_of(asks: &[Ask]) -> Batch {
    let mut batch = Batch::default();
    let follows = |from: &CubeId, to: &CubeId| Link { from: *from, kind: LinkKind::Follows, to: *to };
    for ask in asks {
        match ask {
            Ask::Store { cube, text, layer, lives } => {
                let lifespan = lives.map_or(Lifespan::Forever, Lifespan::TimeToLiveMillis);
                batch.store(*cube, CubeDraft { layer: layer.clone(), lifespan, ..draft_of(text) })
            }
            Ask::Update { cube, parent, text: Some(text), .. } => {
                let mode = UpdateMode::Overwrite(Payload::text(text.clone()));
                batch.update(Update { cube: *cube, parent: *parent, mode })
            }
            Ask::Update { cube, parent, text: None, layer, grants } => {
                let change = GovernanceChange { layer: layer.clone(), grants: grants.clone(), ..Default::default() };
                let mode = UpdateMode::Govern(Box::new(change));
                batch.update(Update { cube: *cube, parent: *parent, mode })
            }
            Ask::State { cube, state, reason } => batch.set_state(*cube, *state, reason.clone()),
            Ask::Link { from, to } => batch.link(follows(from, to)),
            Ask::Unlink { from, to } => batch.unlink(follows(from, to)),
            Ask::Erase { .. } => unreachable!("an erasure is no part of a batch"),
        };
    }
    batch
}

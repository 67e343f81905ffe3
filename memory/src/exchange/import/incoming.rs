//! What an import is asked to take: a cube from elsewhere with what is needed to compare it.

use crate::cube::{Adoption, CubeDraft, CubeId, Digest, Form, Payload, Source, VersionRef};
use crate::error::{Error, Result};
use crate::exchange::bundle::{Bundle, BundleCube};
use crate::graph::Link;

/// The name of this system in the sources of what comes from it.
pub(super) const MEMOS: &str = "memos";

/// A cube on its way in.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The id under which it is looked for here.
    pub id: CubeId,
    /// The digest of what it says.
    pub content: Digest,
    /// The digest of what it said before a watermark was put in.
    pub original: Option<Digest>,
    /// The digests of what its earlier versions said, oldest first.
    pub earlier: Vec<Digest>,
    /// Whether sensitive content was taken out.
    pub redacted: bool,
    /// All that is kept of it.
    pub adoption: Adoption,
}

impl Incoming {
    /// Makes one of a memory without a history.
    pub fn new(id: CubeId, adoption: Adoption) -> Self {
        let content = Digest::of(adoption.draft.payload.body());
        Self { id, content, original: None, earlier: Vec::new(), redacted: false, adoption }
    }

    /// Names it for people: by the id that it has where it comes from.
    pub(super) fn what(&self) -> String {
        let named = self.adoption.source.cube.as_ref();
        format!("cube `{}`", named.map_or_else(|| self.id.to_string(), Clone::clone))
    }

    /// Takes a bundle apart into its cubes and links.
    ///
    /// # Errors
    /// `Invalid` when a body is not there, which no bundle that was read lacks.
    pub fn of_bundle(bundle: Bundle) -> Result<(Vec<Self>, Vec<Link>)> {
        let links = bundle.links.iter().map(|link| link.link()).collect();
        let space = bundle.manifest.heading.space.to_string();
        let signer = bundle.signer.map(|key| key.to_string());
        let bodies = bundle.bodies;
        let take = |mut cube: BundleCube| {
            let payload = match cube.text.take() {
                Some(text) => Payload::text(text),
                None => {
                    let body = bodies.get(&cube.content).cloned();
                    let body = body.ok_or_else(|| Error::invalid(format!("cube `{}` has no body", cube.id)))?;
                    Payload::checked(Form::from(&cube.form), body)?
                }
            };
            let source = Source {
                system: MEMOS.to_owned(),
                space: Some(space.clone()),
                cube: Some(cube.id.to_string()),
                version: Some(cube.version),
                signer: signer.clone(),
            };
            Ok(Self::of_cube(cube, payload, source))
        };
        Ok((bundle.cubes.into_iter().map(take).collect::<Result<_>>()?, links))
    }

    fn of_cube(cube: BundleCube, payload: Payload, source: Source) -> Self {
        let valid = cube.valid();
        let draft = CubeDraft {
            title: cube.title,
            tags: cube.tags,
            path: cube.path,
            origin: cube.origin.kind,
            task: cube.origin.task,
            session: cube.origin.session,
            model: cube.origin.model,
            speaker: cube.origin.speaker,
            reference: cube.origin.reference,
            subject: Some(cube.subject).filter(|subject| !subject.is_empty()),
            observed: Some(cube.observed),
            valid,
            layer: cube.governance.layer,
            lifespan: cube.governance.lifespan.into(),
            legal_hold: cube.governance.legal_hold,
            priority: cube.governance.priority,
            sensitivity: cube.governance.sensitivity,
            derived_from: cube
                .derived_from
                .iter()
                .map(|source| VersionRef { cube: source.cube, version: source.version.max(1) })
                .collect(),
            ..CubeDraft::new(cube.semantic, payload)
        };
        let (author, created, state) = (cube.origin.principal, cube.created, cube.state);
        Self {
            id: cube.id,
            content: cube.content,
            original: cube.original,
            earlier: cube.earlier,
            redacted: cube.redacted,
            adoption: Adoption { draft, author, created, state, source },
        }
    }
}

/// Returns the id that follows from names: a UUID of version 8, the same wherever and whenever it is made.
///
/// Ids from outside are put through this before they name a cube here, so that nobody can aim at the id of another's
/// cube.
pub fn stable_id(purpose: &str, names: &[&[u8]]) -> CubeId {
    let lengths: Vec<[u8; 8]> = names.iter().map(|name| (name.len() as u64).to_le_bytes()).collect();
    let mut parts: Vec<&[u8]> = vec![b"memos id\0", purpose.as_bytes(), b"\0"];
    // With its length before it, no name can pass for the end of one and the beginning of the next.
    names.iter().zip(&lengths).for_each(|(name, length)| parts.extend([length.as_slice(), name]));
    let digest = Digest::of_parts(&parts);
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest.as_bytes()).enumerate().for_each(|(at, (to, from))| {
        *to = match at {
            6 => from & 0x0f | 0x80,
            8 => from & 0x3f | 0x80,
            _ => *from,
        };
    });
    CubeId::from_bytes(bytes)
}

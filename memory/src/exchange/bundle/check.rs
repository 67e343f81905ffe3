//! What must hold of every cube and link of a bundle. The writer and the reader ask the same.

use super::BundleLimits;
use super::record::{BundleCube, BundleForm, BundleLink};
use crate::cube::{CubeId, Digest, Grantee, State};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::time::Window;

/// Refuses a cube that breaks a limit, or whose parts do not fit each other.
pub(super) fn check_cube(cube: &BundleCube, limits: &BundleLimits) -> Result<()> {
    check_extent(cube, limits)?;
    if cube.version == 0 {
        return Err(Error::invalid("versions are counted from 1"));
    }
    if cube.state == State::Erased {
        return Err(Error::invalid("it is erased, and what is erased does not travel"));
    }
    if let Window { from: Some(from), until: Some(until) } = cube.valid()
        && from >= until
    {
        return Err(Error::invalid(format!("valid from {from} until {until} is no stretch of time")));
    }
    for grant in &cube.governance.grants {
        parse_grantee(&grant.to)?;
    }
    match (&cube.form, &cube.text) {
        (BundleForm::Plaintext, Some(text)) => check_text(cube, text, &limits.space),
        (BundleForm::Plaintext, None) => Err(Error::invalid("it is plaintext and has no `text`")),
        (_, Some(_)) => Err(Error::invalid("it has a `text` and is not plaintext")),
        (_, None) if cube.redacted || cube.original.is_some() => {
            Err(Error::invalid("only a text is redacted or marked"))
        }
        (_, None) => Ok(()),
    }
}

fn check_text(cube: &BundleCube, text: &str, limits: &Limits) -> Result<()> {
    Limits::check("the text", text.len(), limits.text_bytes, "bytes")?;
    if text.bytes().all(|byte| byte.is_ascii_whitespace()) {
        return Err(Error::invalid("the text is empty; a memory says something"));
    }
    if cube.bytes != text.len() as u64 || cube.content != Digest::of(text.as_bytes()) {
        return Err(Error::corrupt("the text is not the one of its digest"));
    }
    // The digest of a short text gives the text away to who tries them all.
    if cube.redacted && !(cube.earlier.is_empty() && cube.original.is_none()) {
        return Err(Error::invalid("it is redacted, and yet names digests of what the text was before"));
    }
    Ok(())
}

fn check_extent(cube: &BundleCube, limits: &BundleLimits) -> Result<()> {
    let space = &limits.space;
    Limits::check("the cube", cube.tags.len(), space.tags, "tags")?;
    Limits::check("the cube's path", cube.path.len(), space.tags, "steps")?;
    Limits::check("the cube", cube.governance.grants.len(), space.grants, "grants")?;
    Limits::check("the cube", cube.derived_from.len(), space.derived_from, "sources")?;
    Limits::check("the cube", cube.earlier.len(), limits.earlier, "earlier versions")?;
    let origin = &cube.origin;
    let source = origin.source.as_ref();
    let named =
        [&origin.task, &origin.session, &origin.model, &origin.speaker, &origin.reference, &cube.governance.watermark];
    let sourced = source.into_iter().flat_map(|source| [&source.space, &source.cube, &source.signer]);
    let names = named.into_iter().chain(sourced).flatten();
    let names = names.chain([&cube.title, &cube.subject, &cube.reason]).chain(&cube.tags).chain(&cube.path);
    for name in names.chain(source.map(|source| &source.system)) {
        Limits::check("a name of the cube", name.len(), space.name_bytes, "bytes")?;
    }
    if let BundleForm::Parametric(form) = &cube.form {
        for target in &form.targets {
            Limits::check("a name of the cube", target.name.len(), space.name_bytes, "bytes")?;
        }
    }
    if cube.text.is_none() && cube.bytes > space.body_bytes as u64 {
        let (bytes, most) = (cube.bytes, space.body_bytes);
        return Err(Error::invalid(format!("the payload has {bytes} bytes, and at most {most} are accepted")));
    }
    Ok(())
}

/// Reads whom a grant is for: a principal, or `group:NAME`.
pub(super) fn parse_grantee(text: &str) -> Result<Grantee> {
    match text.strip_prefix("group:") {
        Some(group) => group.parse().map(Grantee::Group),
        None => text.parse().map(Grantee::Principal),
    }
}

/// Refuses a link that does not say the truth of its ends. `cubes` are the ids in the bundle, ascending.
pub(super) fn check_link(link: &BundleLink, cubes: &[CubeId]) -> Result<()> {
    let here = |id: &CubeId| cubes.binary_search(id).is_ok();
    match (here(&link.from), here(&link.to)) {
        _ if link.from == link.to => Err(Error::invalid("a cube cannot be linked to itself")),
        (false, false) => Err(Error::invalid("neither of its cubes is in the bundle")),
        (from, to) if link.foreign == (from && to) => Err(Error::invalid(match link.foreign {
            true => "it is marked as foreign, and both of its cubes are in the bundle",
            false => "one of its cubes is not in the bundle, and it is not marked as foreign",
        })),
        _ => Ok(()),
    }
}

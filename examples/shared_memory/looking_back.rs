//! Looking back: who did what by whose leave, what was made from what, and how it all hangs together.

use std::path::Path;

use memos::cube::VersionRef;
use memos::governance::{AuditKind, AuditQuery, AuditRecord, Outcome};
use memos::picture::Picture;
use memos::prelude::*;
use memos::vault::AuditLine;

use super::evening::Found;
use super::house::{Agent, House, expected, short};

/// Reach and size of the picture.
const HOPS: usize = 6;
const MOST_PICTURED: usize = 40;

fn custodian(house: &House) -> memos::Result<Agent> {
    house.agent("user:ada", "looking back")
}

/// Returns lines of the audit log, those included that wait to be written.
async fn lines(agent: &Agent, query: AuditQuery) -> memos::Result<Vec<AuditLine>> {
    let read = agent.session.work(move |space, caller| {
        space.write_records()?;
        space.audit(caller, &query)
    });
    read.await
}

/// The audit log: all about one memory, all that was refused, and all that was handed over.
pub(crate) async fn the_record(house: &House, found: &Found) -> memos::Result<()> {
    house.scheduler.settle().await?;
    let ada = custodian(house)?;
    for (title, query) in [
        (
            "7  On record: all that was done with what the concierge learned",
            AuditQuery { cube: Some(found.allergy), ..AuditQuery::default() },
        ),
        ("8  On record: all that was refused", AuditQuery { outcome: Some(Outcome::Denied), ..AuditQuery::default() }),
        (
            "9  On record: what was offered and taken",
            AuditQuery { kind: Some(AuditKind::Store), outcome: Some(Outcome::Done), ..AuditQuery::default() },
        ),
    ] {
        house.telling.act(title);
        let mut told: Vec<String> = Vec::new();
        for line in lines(&ada, query).await? {
            let AuditRecord { principal, operation, outcome, reason, .. } = line.record;
            // Who waits asks often, and it is on record each time; here it is told once.
            let what = format!("{operation:<9} {outcome:<7} {reason}");
            let line = format!("{principal} {what}");
            if !told.contains(&line) {
                house.telling.tell(principal.as_str(), "", what);
                told.push(line);
            }
        }
    }
    Ok(())
}

/// How the fact came to say what it says, and what the shopping list was made from.
pub(crate) async fn the_lineage(house: &House, found: &Found) -> memos::Result<()> {
    house.telling.act("10  What the fact has said, and what was made from it");
    let (ada, allergy, list) = (custodian(house)?, found.allergy, found.list);
    let versions = ada.session.work(move |space, caller| space.versions(caller, &allergy)).await?;
    for cube in &versions {
        let (header, text) = (&cube.header, cube.payload.as_text().unwrap_or_default());
        let said = format!("version {}: {text}", header.version);
        house.telling.tell(header.origin.principal.as_str(), "said", said);
    }
    let lineage = ada.session.work(move |space, caller| {
        let mut steps = Vec::new();
        made_from(space, caller, VersionRef { cube: list, version: 1 }, 0, &mut steps)?;
        Ok(steps)
    });
    for (depth, by, text) in lineage.await? {
        let arrow = if depth == 0 { "" } else { "← " };
        house.telling.tell(&by, "wrote", format!("{:1$}{arrow}{text}", "", depth * 2));
    }
    Ok(())
}

/// Collects a version and, below it, the versions that it was made from.
fn made_from(
    space: &Space,
    caller: &Principal,
    version: VersionRef,
    depth: usize,
    steps: &mut Vec<(usize, String, String)>,
) -> memos::Result<()> {
    let versions = space.versions(caller, &version.cube)?;
    let cube = versions.into_iter().find(|cube| cube.header.version == version.version);
    let cube = expected(cube, "version that a memory was made from")?;
    let text = cube.payload.as_text().unwrap_or_default();
    let told = format!("{text}  {}, version {}", short(&version.cube), version.version);
    steps.push((depth, cube.header.origin.principal.to_string(), told));
    cube.header.chain.derived_from.iter().try_for_each(|source| made_from(space, caller, *source, depth + 1, steps))
}

/// Draws what hangs together with the fact, as the custodian may see it.
pub(crate) async fn the_picture(house: &House, found: &Found, path: &Path) -> memos::Result<()> {
    house.telling.act("11  A picture of it");
    let (ada, allergy) = (custodian(house)?, found.allergy);
    let around =
        ada.session.work(move |space, caller| space.neighbourhood(caller, &allergy, HOPS, MOST_PICTURED)).await?;
    let page = Picture::of(&around, "harbour/house: what Mr Okafor must not eat")?.html();
    std::fs::write(path, page).map_err(|e| {
        Error::unavailable(format!("the picture `{}` cannot be written: {e}", path.display())).with_source(e)
    })?;
    let (cubes, links, file) = (around.cubes.len(), around.links.len(), path.display());
    house.telling.tell("ada", "draws", format!("{cubes} memories and {links} links into {file}, for any browser"));
    Ok(())
}

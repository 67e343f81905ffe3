//! `memos spaces`, `memos stats`, `memos reembed`: what is where, how much, and how it is embedded.
//!
//! With `--json`: `spaces` gives `{"data": "DIR", "spaces": [{"name": "home/main", "stats": {…}, "error": null}]}`, `stats`
//! gives `{"spaces": [{…}]}` and `reembed` gives `{"space": "home/main", "vectors": 412}`. Stats have the fields of
//! [`memos::vault::SpaceStats`] and count only what the caller may read.

use memos::Result;
use memos::cube::SpaceName;
use memos::vault::SpaceStats;
use serde::Serialize;

use super::scope::Scope;
use super::screen::{DIM, NAME, Screen, TITLE, paint};
use super::table::Table;

#[derive(Serialize)]
struct Spaces {
    data: String,
    spaces: Vec<ListedSpace>,
}

#[derive(Serialize)]
struct ListedSpace {
    name: SpaceName,
    stats: Option<SpaceStats>,
    error: Option<String>,
}

pub(super) fn spaces(scope: &Scope, screen: &mut Screen) -> Result<()> {
    let vault = scope.vault()?;
    let mut spaces = Vec::new();
    for name in vault.spaces()? {
        // One space that is in use elsewhere must not hide the others.
        let (stats, error) = match vault.existing_space(&name) {
            Ok(space) => (Some(space.stats(&scope.caller)), None),
            Err(error) => (None, Some(error.to_string())),
        };
        spaces.push(ListedSpace { name, stats, error });
    }
    let data = scope.data()?.display().to_string();
    if screen.json {
        return screen.object(&Spaces { data, spaces });
    }
    if screen.quiet {
        spaces.iter().for_each(|space| screen.result(&space.name));
        return Ok(());
    }
    screen.line(paint(DIM, format!("in {data}, as {}", scope.caller.id)));
    if spaces.is_empty() {
        screen.line("no spaces yet; `memos ingest` and `memos remember` begin one");
        return Ok(());
    }
    let mut table = Table::new(0)
        .words("space", NAME)
        .numbers("memories")
        .numbers("links")
        .numbers("sessions")
        .numbers("size")
        .text("");
    for space in &spaces {
        let counts = match &space.stats {
            Some(stats) => {
                [stats.cubes.to_string(), stats.links.to_string(), stats.sessions.to_string(), size(stats.disk_bytes)]
            }
            None => ["?"; 4].map(str::to_owned),
        };
        let error = space.error.clone().unwrap_or_default();
        table.row([space.name.to_string()].into_iter().chain(counts).chain([error]));
    }
    table.lines(screen.columns).into_iter().for_each(|line| screen.line(line));
    Ok(())
}

#[derive(Serialize)]
struct Stats {
    spaces: Vec<SpaceStats>,
}

pub(super) fn stats(scope: &Scope, screen: &mut Screen) -> Result<()> {
    let stats: Vec<SpaceStats> = scope.spaces()?.iter().map(|space| space.stats(&scope.caller)).collect();
    if screen.json {
        return screen.object(&Stats { spaces: stats });
    }
    for stats in &stats {
        screen.result(paint(TITLE, &stats.name));
        let mut table = Table::new(2).words("", DIM).text("");
        let list = |counts: &[(String, usize)]| {
            let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
            counts.join(", ")
        };
        table.row(["memories".into(), stats.cubes.to_string()]);
        table.row(["by type".into(), list(&stats.types)]);
        table.row(["by state".into(), list(&stats.states)]);
        table.row(["links".into(), stats.links.to_string()]);
        table.row(["sessions".into(), stats.sessions.to_string()]);
        table.row(["ledger".into(), format!("{} events, the last is {}", stats.ledger.events, stats.ledger.digest)]);
        table.row(["embedder".into(), stats.embedder.to_string()]);
        table.row(["on disk".into(), size(stats.disk_bytes)]);
        table.lines(screen.columns).into_iter().for_each(|line| screen.result(line));
    }
    Ok(())
}

#[derive(Serialize)]
struct Reembedded<'a> {
    space: &'a SpaceName,
    vectors: u64,
}

pub(super) fn reembed(scope: &Scope, screen: &mut Screen) -> Result<()> {
    let name = scope.space_name()?;
    let vault = scope.vault()?;
    let bar = screen.progress(name.as_str());
    let vectors = vault.reembed(name, |done, of| {
        bar.set_length(of);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    if screen.json {
        return screen.object(&Reembedded { space: name, vectors });
    }
    screen.line(format!("made {vectors} vectors of {} again", paint(NAME, name)));
    Ok(())
}

/// Returns bytes in a unit that people read.
pub(super) fn size(bytes: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let (mut size, mut unit) = (bytes as f64, 0);
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && size < 100.0);
    format!("{size:.digits$} {}", units.get(unit).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_a_unit() {
        for (bytes, expect) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1536, "1.5 KiB"),
            (300 << 20, "300 MiB"),
            (u64::MAX, "16777216 TiB"),
        ] {
            assert_eq!(size(bytes), expect);
        }
    }
}

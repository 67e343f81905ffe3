//! Exchange: the time to export a space as a signed bundle, and to read it and take it in elsewhere.

use clap::Args;
use memos::Result;
use memos::exchange::bundle::{BundleLimits, BundleSigner, read_bundle};
use memos::exchange::import::ImportOptions;
use memos::exchange::transfer::{ExportOptions, Selection, export, import};
use memos::governance::Principal;
use memos::vault::Space;
use serde::Serialize;

use super::corpus::store;
use super::measure::{folder, median, principal, rounded, space, timed};
use super::{Screen, report};

/// Any key will do: what a signature costs does not depend on it.
const SIGNER_SEED: [u8; 32] = [7; 32];

#[derive(Args)]
pub(super) struct ExchangeArguments {
    /// Memories to export and import
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=400_000))]
    cubes: u32,
    /// Times to export and import them
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

/// With `--json`: memories per second at the median over all rounds, and bytes of the bundle.
#[derive(Serialize)]
struct Figures {
    cubes: u64,
    links: u64,
    bundle_bytes: u64,
    export_per_s: f64,
    /// Read, checked and taken in, durable.
    import_per_s: f64,
    export_ms: f64,
    /// The part of an import that reads and checks the bundle.
    read_ms: f64,
    /// The rest of it.
    take_in_ms: f64,
}

#[derive(Default)]
struct Times {
    export: Vec<f64>,
    read: Vec<f64>,
    take_in: Vec<f64>,
    import: Vec<f64>,
}

pub(super) fn run(arguments: &ExchangeArguments, screen: &mut Screen) -> Result<()> {
    let (from, me) = (folder()?, principal()?);
    let origin = space(from.path())?;
    store(screen, &origin, &me, arguments.cubes as usize)?;
    let mut times = Times::default();
    let mut counts = (0, 0, 0);
    let bar = screen.progress("exchanging");
    bar.set_length(u64::from(arguments.rounds));
    for _ in 0..arguments.rounds {
        counts = exchange(&origin, &me, &mut times)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let (cubes, links, bundle_bytes) = counts;
    let per_s = |times: &[f64]| (cubes as f64 * 1000.0 / median(times)).round();
    let figures = Figures {
        cubes,
        links,
        bundle_bytes,
        export_per_s: per_s(&times.export),
        import_per_s: per_s(&times.import),
        export_ms: rounded(median(&times.export)),
        read_ms: rounded(median(&times.read)),
        take_in_ms: rounded(median(&times.take_in)),
    };
    report(
        screen,
        &figures,
        &[
            ("memories", format!("{cubes}, and {links} links")),
            ("bytes of the bundle", bundle_bytes.to_string()),
            ("exported per second", figures.export_per_s.to_string()),
            ("imported per second", figures.import_per_s.to_string()),
            (
                "export, read, take in",
                format!("{:.0}, {:.0}, {:.0} ms", figures.export_ms, figures.read_ms, figures.take_in_ms),
            ),
        ],
    )
}

/// Exports a space and imports it into a new one, and returns how many cubes, links and bytes the bundle had.
fn exchange(origin: &Space, me: &Principal, times: &mut Times) -> Result<(u64, u64, u64)> {
    let signer = BundleSigner::from_seed(&SIGNER_SEED);
    let options = ExportOptions { signer: Some(&signer), ..ExportOptions::default() };
    let mut bytes = Vec::new();
    let (exported, took) = timed(|| export(origin, me, &Selection::default(), options, &mut bytes))?;
    times.export.push(took);
    let to = folder()?;
    let target = space(to.path())?;
    let (bundle, reading) = timed(|| read_bundle(bytes.as_slice(), &BundleLimits::default()))?;
    let (imported, taking_in) = timed(|| import(&target, me, bundle, ImportOptions::default()))?;
    if imported.new != exported.cubes {
        return Err(memos::Error::corrupt(format!("{} of {} cubes were taken in", imported.new, exported.cubes)));
    }
    times.read.push(reading);
    times.take_in.push(taking_in);
    times.import.push(reading + taking_in);
    Ok((exported.cubes, exported.links, exported.bytes))
}

//! `memos top`: what a kernel does at this moment, live in the terminal.
//!
//! It looks at the kernel that another program runs over the data folder, by the socket there, or with `--demo` at one of its own
//! under a made-up load. Without a terminal it says once what there is, as text. With `--json` it prints one
//! [`memos::runtime::telemetry::Snapshot`].

mod demo;
mod seen;
mod view;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::Args;
use memos::runtime::telemetry::watch::Watcher;
use memos::runtime::telemetry::{Meters, Snapshot};
use memos::{Error, Result};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use self::seen::Seen;
use self::view::View;
use super::scope::Scope;
use super::screen::Screen;

/// Lines of the text without a terminal; those that stay empty at the end are left out.
const TEXT_ROWS: u16 = 60;

/// Shows what a kernel does.
#[derive(Args)]
pub(super) struct TopArguments {
    /// Run a kernel of its own under a made-up load, and look at that
    #[arg(long)]
    demo: bool,
    /// Say once what there is, and end
    #[arg(long)]
    once: bool,
    /// Look so often, in milliseconds
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(100..=60_000))]
    every: u64,
}

pub(super) fn run(arguments: &TopArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    if arguments.demo {
        return demo::with_load(|meters| look(arguments, Kernel::Own(meters), screen));
    }
    let folder = scope.data()?;
    let watcher = Watcher::of(&folder)?;
    look(arguments, Kernel::Other { folder, watcher: Some(watcher) }, screen)
}

/// Whom it looks at.
enum Kernel {
    Own(Meters),
    Other { folder: std::path::PathBuf, watcher: Option<Watcher> },
}

impl Kernel {
    fn snapshot(&mut self) -> Result<Snapshot> {
        match self {
            Self::Own(meters) => Ok(meters.snapshot()),
            Self::Other { folder, watcher } => {
                let mut looking = match watcher.take() {
                    Some(watcher) => watcher,
                    None => Watcher::of(folder)?,
                };
                let snapshot = looking.snapshot()?;
                // One that failed is not asked again: another kernel may run there by now.
                *watcher = Some(looking);
                Ok(snapshot)
            }
        }
    }

    fn place(&self) -> String {
        match self {
            Self::Own(_) => "a demonstration".to_owned(),
            Self::Other { folder, .. } => folder.display().to_string(),
        }
    }
}

fn look(arguments: &TopArguments, mut kernel: Kernel, screen: &mut Screen) -> Result<()> {
    if screen.json {
        return screen.object(&kernel.snapshot()?);
    }
    let mut seen = Seen::new(kernel.place());
    if arguments.once || !std::io::stdout().is_terminal() {
        if arguments.demo {
            // A load that has just begun has nothing to show.
            std::thread::sleep(Duration::from_millis(arguments.every));
        }
        seen.take(kernel.snapshot()?);
        let columns = u16::try_from(screen.columns).unwrap_or(u16::MAX);
        view::text(&seen, columns.max(view::FEWEST_COLUMNS), TEXT_ROWS)
            .into_iter()
            .for_each(|line| screen.result(line));
        return Ok(());
    }
    let failed = |e: std::io::Error| Error::unavailable(format!("the terminal cannot be used: {e}")).with_source(e);
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let shown = live(&mut terminal, &mut kernel, &mut seen, Duration::from_millis(arguments.every));
    ratatui::try_restore().map_err(failed)?;
    shown.map_err(failed)
}

/// Looks until somebody has seen enough.
fn live(
    terminal: &mut ratatui::DefaultTerminal,
    kernel: &mut Kernel,
    seen: &mut Seen,
    every: Duration,
) -> std::io::Result<()> {
    let mut next = Instant::now();
    loop {
        if Instant::now() >= next {
            next = Instant::now() + every;
            if !seen.is_paused {
                match kernel.snapshot() {
                    Ok(snapshot) => seen.take(snapshot),
                    Err(error) => seen.miss(&error),
                }
            }
        }
        terminal.draw(|frame| frame.render_widget(View::new(seen), frame.area()))?;
        if event::poll(next.saturating_duration_since(Instant::now()))?
            && let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
        {
            let with_control = key.modifiers.contains(KeyModifiers::CONTROL);
            match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                KeyCode::Char('c') if with_control => return Ok(()),
                KeyCode::Char('p' | ' ') => seen.is_paused = !seen.is_paused,
                KeyCode::Char('s') => seen.sort = seen.sort.next(),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;

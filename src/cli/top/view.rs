//! How it looks: from what was seen to cells of a terminal, without one.
//!
//! Rates and shares are of what came between the last two looks; at the first look, of all since the kernel was opened.

use memos::runtime::telemetry::{ActorFigures, Distribution, SpaceFigures, WorkerFigures};
use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Row, Sparkline, Table, Widget, Wrap};

use super::seen::{Seen, Sort};
use crate::cli::screen::{one_line, printable};

/// Columns below which it is not laid out any more.
pub(super) const FEWEST_COLUMNS: u16 = 80;

const TITLE: Style = Style::new().add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const NOTICE: Style = Style::new().fg(Color::Yellow);
const FAILURE: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
const NAME: Style = Style::new().fg(Color::Cyan);
const RECALL: Style = Style::new().fg(Color::Green);
const COMMIT: Style = Style::new().fg(Color::Blue);

/// Rows of the parts that do not grow.
const FIGURES_ROWS: u16 = 7;
/// The most columns of a name.
const NAME_COLUMNS: usize = 60;
/// The most rows of actors before spaces have their turn.
const MOST_ACTORS: usize = 12;

/// What was seen, ready to be drawn.
pub(super) struct View<'a> {
    seen: &'a Seen,
}

impl<'a> View<'a> {
    pub(super) fn new(seen: &'a Seen) -> Self {
        Self { seen }
    }

    fn head(&self) -> Line<'static> {
        let now = &self.seen.now;
        let mut parts = vec![Span::styled("memos top", TITLE), Span::raw(format!("  {}", printable(&self.seen.place)))];
        if now.process > 0 {
            parts.push(Span::styled(
                format!(
                    "  process {}, up {}, {} spaces open, {} sessions",
                    now.process,
                    duration(now.uptime),
                    now.open_spaces,
                    now.sessions
                ),
                DIM,
            ));
        }
        if self.seen.is_paused {
            parts.push(Span::styled("  paused", NOTICE));
        }
        Line::from(parts)
    }

    fn recall(&self, area: Rect, buffer: &mut Buffer) {
        let latency = self.seen.since(|snapshot| &snapshot.recall.latency);
        let rate = self.seen.rate_of(|snapshot| snapshot.recall.latency.count);
        let failed = self.seen.now.recall.failed;
        let part = |name: &str, times: Distribution| format!("{name} {}", time(&times, times.p50));
        let parts = [
            part("embed", self.seen.since(|snapshot| &snapshot.recall.embed)),
            part("find", self.seen.since(|snapshot| &snapshot.recall.find)),
            part("rank", self.seen.since(|snapshot| &snapshot.recall.rank)),
            part("pack", self.seen.since(|snapshot| &snapshot.recall.pack)),
        ];
        let mut first = vec![
            Span::raw(format!("{}/s  p50 ", number(rate))),
            Span::styled(time(&latency, latency.p50), TITLE),
            Span::raw("  p99 "),
            Span::styled(time(&latency, latency.p99), TITLE),
        ];
        if failed > 0 {
            first.push(Span::styled(format!("  {failed} failed"), NOTICE));
        }
        let lines = vec![Line::from(first), Line::styled(parts.join("  "), DIM)];
        figures(area, buffer, ("recall", "p99 by look"), lines, self.seen.recalls.iter().rev(), RECALL);
    }

    fn commits(&self, area: Rect, buffer: &mut Buffer) {
        let commits = &self.seen.now.commits;
        let flush = self.seen.since(|snapshot| &snapshot.commits.flush);
        let batches = self.seen.since(|snapshot| &snapshot.commits.batches);
        let events = self.seen.rate_of(|snapshot| snapshot.commits.events.sum);
        let rate = self.seen.rate_of(|snapshot| snapshot.commits.groups);
        let mut first = vec![
            Span::raw(format!("{}/s  p50 ", number(rate))),
            Span::styled(time(&flush, flush.p50), TITLE),
            Span::raw("  p99 "),
            Span::styled(time(&flush, flush.p99), TITLE),
        ];
        if commits.failed > 0 {
            first.push(Span::styled(format!("  {} failed", commits.failed), NOTICE));
        }
        let mean = batches.mean();
        let lines =
            vec![Line::from(first), Line::styled(format!("{mean:.1} batches each  {} events/s", number(events)), DIM)];
        figures(area, buffer, ("commits", "each look"), lines, self.seen.commits.iter().rev(), COMMIT);
    }

    /// Returns actors and workers as rows of one table, sorted.
    fn queues(&self) -> Vec<Queue> {
        let before = &self.seen.before;
        let none = (ActorFigures::default(), WorkerFigures::default());
        let actors = self.seen.now.actors.iter().map(|actor| {
            let earlier = before.actors.iter().find(|earlier| earlier.kind == actor.kind).unwrap_or(&none.0);
            Queue::of_actors(actor, earlier, self.seen)
        });
        let workers = self.seen.now.workers.iter().map(|workers| {
            let earlier = before.workers.iter().find(|earlier| earlier.name == workers.name).unwrap_or(&none.1);
            Queue::of_workers(workers, earlier, self.seen)
        });
        let mut queues: Vec<Queue> = actors.chain(workers).collect();
        queues.sort_by(|one, other| {
            let by_name = one.name.cmp(&other.name);
            match self.seen.sort {
                Sort::Activity => other.rate.total_cmp(&one.rate).then(by_name),
                Sort::Queue => other.queue.cmp(&one.queue).then(by_name),
                Sort::Wait => other.wait.p99.total_cmp(&one.wait.p99).then(by_name),
                Sort::Name => by_name,
            }
        });
        queues
    }

    fn actors(&self, queues: &[Queue], area: Rect, buffer: &mut Buffer) {
        let head = ["", "many", "queue", "done/s", "wait", "p99", "serve", "p99", "again", "dead", "busy"];
        let widths = [4, 9, 6, 6, 6, 6, 6, 5, 4, 4].map(Constraint::Length);
        let widths = std::iter::once(Constraint::Min(13)).chain(widths);
        let rows = queues.iter().map(Queue::row);
        let table = Table::new(rows, widths)
            .header(head_row(head))
            .column_spacing(1)
            .block(part("actors and threads, by p50 and p99"));
        Widget::render(table, area, buffer);
    }

    fn spaces(&self, area: Rect, buffer: &mut Buffer) {
        let none = SpaceFigures::default();
        let mut spaces: Vec<(&SpaceFigures, f64, f64)> = Vec::new();
        for space in &self.seen.now.spaces {
            let earlier = self.seen.before.spaces.iter().find(|earlier| earlier.name == space.name).unwrap_or(&none);
            let rates = (self.seen.rate(space.reads, earlier.reads), self.seen.rate(space.writes, earlier.writes));
            spaces.push((space, rates.0, rates.1));
        }
        if self.seen.sort == Sort::Name {
            spaces.sort_by(|one, other| one.0.name.cmp(&other.0.name));
        } else {
            spaces.sort_by(|one, other| {
                (other.1 + other.2).total_cmp(&(one.1 + one.2)).then(one.0.name.cmp(&other.0.name))
            });
        }
        let rows = spaces.into_iter().map(|(space, reads, writes)| {
            let style = if space.open { NAME } else { DIM };
            row([
                Line::styled(one_line(&space.name, NAME_COLUMNS), style),
                Line::from(if space.open { "open" } else { "idle" }),
                right(number(reads)),
                right(number(writes)),
                right(space.reads.to_string()),
                right(space.writes.to_string()),
                right(space.events.to_string()),
            ])
        });
        let head = ["", "", "reads/s", "writes/s", "reads", "writes", "events"];
        let widths = [5, 8, 8, 9, 9, 9].map(Constraint::Length);
        let widths = std::iter::once(Constraint::Min(20)).chain(widths);
        let table = Table::new(rows, widths).header(head_row(head)).column_spacing(1).block(part("spaces"));
        Widget::render(table, area, buffer);
    }

    /// Returns what was decided and done, one line for each who did something.
    fn done(&self) -> Vec<Line<'static>> {
        let mut lines = Vec::new();
        for (group, counts) in &self.seen.now.counts {
            let done: Vec<String> = counts
                .iter()
                .filter(|(_, count)| **count > 0)
                .map(|(name, count)| format!("{count} {}", name.replace('_', " ")))
                .collect();
            if !done.is_empty() {
                let group = Span::styled(format!("{group:<11}"), NAME);
                lines.push(Line::from(vec![group, Span::raw(done.join("  "))]));
            }
        }
        let dead = self.seen.now.dead_letters;
        if dead > 0 {
            lines.push(Line::styled(format!("{dead} messages were sent and not handled"), NOTICE));
        }
        if lines.is_empty() {
            lines.push(Line::styled("nothing was decided or done of their own accord yet", DIM));
        }
        lines
    }

    fn foot(&self) -> Line<'static> {
        match &self.seen.missed {
            Some(why) => Line::styled(one_line(why, 200), FAILURE),
            None => Line::styled(format!("q ends  p pauses  s sorts, now by {}", self.seen.sort.name()), DIM),
        }
    }
}

impl Widget for View<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        if area.width < 40 || area.height < 8 {
            return Paragraph::new("this needs a larger window").wrap(Wrap { trim: true }).render(area, buffer);
        }
        let (queues, done) = (self.queues(), self.done());
        let rows = |many: usize| u16::try_from(many).unwrap_or(u16::MAX);
        let [head, figures, actors, spaces, decided, foot] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(FIGURES_ROWS),
            Constraint::Length(rows(queues.len().min(MOST_ACTORS)).saturating_add(2)),
            Constraint::Min(3),
            Constraint::Length(rows(done.len()).saturating_add(1)),
            Constraint::Length(1),
        ])
        .areas(area);
        let [recall, commits] =
            Layout::horizontal([Constraint::Fill(5), Constraint::Fill(3)]).spacing(1).areas(figures);
        Paragraph::new(self.head()).render(head, buffer);
        self.recall(recall, buffer);
        self.commits(commits, buffer);
        self.actors(&queues, actors, buffer);
        self.spaces(spaces, buffer);
        Paragraph::new(done).block(part("decisions and work")).render(decided, buffer);
        Paragraph::new(self.foot()).render(foot, buffer);
    }
}

/// One row of actors of a kind, or of a kind of threads.
struct Queue {
    name: String,
    many: usize,
    queue: usize,
    places: Option<usize>,
    rate: f64,
    wait: Distribution,
    service: Distribution,
    /// Restarts, dead letters and refusals; threads have none.
    troubles: Option<[u64; 3]>,
}

impl Queue {
    fn of_actors(now: &ActorFigures, before: &ActorFigures, seen: &Seen) -> Self {
        Self {
            name: now.kind.clone(),
            many: now.actors,
            queue: now.queue,
            places: Some(now.places),
            rate: seen.rate(now.wait.count, before.wait.count),
            wait: now.wait.since(&before.wait),
            service: now.service.since(&before.service),
            troubles: Some([now.restarts, now.dead_letters, now.busy]),
        }
    }

    fn of_workers(now: &WorkerFigures, before: &WorkerFigures, seen: &Seen) -> Self {
        Self {
            name: format!("{} threads", now.name),
            many: now.threads,
            queue: now.queue,
            places: None,
            rate: seen.rate(now.service.count, before.service.count),
            wait: now.wait.since(&before.wait),
            service: now.service.since(&before.service),
            troubles: None,
        }
    }

    fn row(&self) -> Row<'static> {
        let queue = self.places.map_or(self.queue.to_string(), |places| format!("{}/{places}", self.queue));
        // Nine tenths full is as good as full.
        let is_full = self.places.is_some_and(|places| places > 0 && self.queue * 10 >= places * 9);
        let trouble = |place: usize| {
            let count = self.troubles.and_then(|troubles| troubles.get(place).copied());
            let style = if count.is_some_and(|count| count > 0) { NOTICE } else { DIM };
            right(count.map_or_else(String::new, |count| count.to_string())).style(style)
        };
        row([
            Line::styled(one_line(&self.name, NAME_COLUMNS), NAME),
            right(self.many.to_string()),
            right(queue).style(if is_full { FAILURE } else { Style::new() }),
            right(number(self.rate)),
            right(time(&self.wait, self.wait.p50)),
            right(time(&self.wait, self.wait.p99)),
            right(time(&self.service, self.service.p50)),
            right(time(&self.service, self.service.p99)),
            trouble(0),
            trouble(1),
            trouble(2),
        ])
    }
}

fn part(title: &str) -> Block<'static> {
    Block::new().borders(Borders::TOP).border_style(DIM).title(Span::styled(format!(" {title} "), TITLE))
}

fn row<const N: usize>(cells: [Line<'static>; N]) -> Row<'static> {
    Row::new(cells)
}

fn right(text: String) -> Line<'static> {
    Line::from(text).alignment(Alignment::Right)
}

fn head_row<const N: usize>(names: [&'static str; N]) -> Row<'static> {
    row(names.map(|name| Line::styled(name, DIM).alignment(Alignment::Right)))
}

/// Draws two lines of figures, and below them how it went, the latest look at the right.
fn figures<'a>(
    area: Rect,
    buffer: &mut Buffer,
    (title, what): (&str, &str),
    lines: Vec<Line<'static>>,
    latest_first: impl Iterator<Item = &'a u64>,
    style: Style,
) {
    let block = part(title).title(Line::styled(format!(" {what} "), DIM).alignment(Alignment::Right));
    let inside = block.inner(area);
    block.render(area, buffer);
    let [text, drawn] = Layout::vertical([Constraint::Length(2), Constraint::Min(1)]).areas(inside);
    Paragraph::new(lines).render(text, buffer);
    let mut looks: Vec<u64> = latest_first.take(usize::from(drawn.width)).copied().collect();
    // It fills from the right, as time does.
    looks.resize(usize::from(drawn.width), 0);
    looks.reverse();
    Sparkline::default().data(looks).style(style).render(drawn, buffer);
}

/// Returns what was seen as lines of text, without what is for a terminal alone.
pub(super) fn text(seen: &Seen, columns: u16, rows: u16) -> Vec<String> {
    let area = Rect::new(0, 0, columns, rows);
    let mut buffer = Buffer::empty(area);
    View::new(seen).render(area, &mut buffer);
    let mut lines: Vec<String> = buffer
        .content()
        .chunks(usize::from(columns.max(1)))
        .map(|cells| cells.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned())
        .collect();
    // The keys are of no use there.
    lines.pop();
    lines.retain(|line| !line.is_empty());
    lines
}

/// Returns nanoseconds as people read them; a dash where nothing was seen.
fn time(seen: &Distribution, nanos: f64) -> String {
    if seen.count == 0 {
        return "-".to_owned();
    }
    let (value, unit) = match nanos {
        nanos if nanos < 1e3 => (nanos, "ns"),
        nanos if nanos < 1e6 => (nanos / 1e3, "µs"),
        nanos if nanos < 1e9 => (nanos / 1e6, "ms"),
        nanos => (nanos / 1e9, "s"),
    };
    let digits = usize::from(value < 10.0);
    format!("{value:.digits$}{unit}")
}

/// Returns a rate with as many digits as matter.
fn number(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.1}M", value / 1e6),
        value if value >= 1e4 => format!("{:.1}k", value / 1e3),
        value if value >= 10.0 || value == 0.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    }
}

fn duration(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_as_people_read_them() {
        let one = Distribution { count: 1, ..Distribution::default() };
        for (nanos, expect) in [(0.0, "0.0ns"), (999.0, "999ns"), (1500.0, "1.5µs"), (2.5e7, "25ms"), (3e9, "3.0s")] {
            assert_eq!(time(&one, nanos), expect);
        }
        assert_eq!(time(&Distribution::default(), 5.0), "-");
        for (value, expect) in [(0.0, "0"), (0.25, "0.2"), (12.3, "12"), (12_345.0, "12.3k"), (2.5e6, "2.5M")] {
            assert_eq!(number(value), expect);
        }
        for (millis, expect) in [(900, "0s"), (61_000, "1m 1s"), (7_260_000, "2h 1m"), (90_000_000, "1d 1h")] {
            assert_eq!(duration(millis), expect);
        }
    }
}

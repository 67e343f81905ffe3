//! Memories as people read them: who said what and when, how it was found, and by whose leave.

use memos::graph::Direction;
use memos::operator::Receipt;
use memos::time::{Timestamp, Window};

use super::ids::short;
use super::screen::{DIM, NAME, NOTICE, SCORE, Screen, columns_of, one_line, paint, printable, wrap};
use super::table::Table;

/// Reasons that are named without being asked for.
const REASONS: usize = 3;

/// Returns a day, and the time of day where there is one.
pub(super) fn moment(at: Timestamp) -> String {
    let civil = at.to_civil();
    let midnight = civil.hour() == 0 && civil.minute() == 0;
    civil.strftime(if midnight { "%-d %b %Y" } else { "%-d %b %Y, %H:%M" }).to_string()
}

/// Returns a day.
pub(super) fn day(at: Timestamp) -> String {
    at.to_civil().strftime("%-d %b %Y").to_string()
}

/// Returns a stretch of time in words; nothing for one without ends.
pub(super) fn stretch(window: &Window) -> Option<String> {
    match (window.from, window.until) {
        (None, None) => None,
        (Some(from), None) => Some(format!("since {}", moment(from))),
        (None, Some(until)) => Some(format!("until {}", moment(until))),
        (Some(from), Some(until)) => {
            let last = Timestamp::from_millis(until.as_millis().saturating_sub(1));
            match (day(from), day(last)) {
                (first, last) if first == last => Some(format!("on {first}")),
                (first, last) => Some(format!("{first} to {last}")),
            }
        }
    }
}

/// Returns what stands before a text: its speaker, or its title.
pub(super) fn said_by(speaker: Option<&str>, title: &str) -> Option<String> {
    let name = speaker.unwrap_or(title);
    (!name.is_empty()).then(|| printable(name))
}

/// How much is told of each memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// The strongest reasons.
    Short,
    /// All features, the links and the rule.
    Full,
}

/// Shows one memory of an answer; `replacement` is what holds in its place by now.
pub(super) fn show_receipt(
    screen: &mut Screen,
    number: usize,
    receipt: &Receipt,
    replacement: Option<&str>,
    detail: Detail,
) {
    show_said(screen, number, receipt);
    let indent = 4;
    let width = screen.columns.saturating_sub(indent);
    let mut about = vec![short(&receipt.cube), receipt.semantic.to_string(), day(receipt.observed)];
    if receipt.version > 1 {
        about.push(format!("version {}", receipt.version));
    }
    if !receipt.decision.allowed() {
        about.push("redacted".to_owned());
    }
    if !receipt.state.is_recalled() {
        about.push(receipt.state.to_string());
    }
    about.extend(stretch(&receipt.valid).map(|when| format!("speaks of {}", when.trim_start_matches("on "))));
    about.extend(receipt.reference.as_deref().map(printable));
    screen.line(format!("{:indent$}{}", "", paint(DIM, one_line(&about.join(" · "), width))));
    if let Some(new) = &receipt.superseded_by {
        let says = replacement.map(|text| format!(": {text}")).unwrap_or_default();
        let line = one_line(&format!("replaced by {}{says}", short(new)), width);
        screen.line(format!("{:indent$}{}", "", paint(NOTICE, line)));
    }
    if !receipt.stands_for.is_empty() {
        let ids: Vec<String> = receipt.stands_for.iter().map(short).collect();
        screen.paragraph(indent, DIM, &format!("says the same as {}", ids.join(", ")));
    }
    match detail {
        Detail::Short => show_reasons(screen, receipt),
        Detail::Full => show_all(screen, receipt),
    }
}

fn show_said(screen: &mut Screen, number: usize, receipt: &Receipt) {
    let name = said_by(receipt.speaker.as_deref(), &receipt.title);
    let said = match &name {
        Some(name) => format!("{name}: {}", receipt.text),
        None => receipt.text.clone(),
    };
    for (at, line) in wrap(&said, screen.columns.saturating_sub(4)).iter().enumerate() {
        let lead = if at == 0 { format!("{number:>2}. ") } else { "    ".to_owned() };
        // The name is painted where it stands whole on the first line.
        let whole = name
            .as_ref()
            .filter(|_| at == 0)
            .and_then(|name| line.strip_prefix(name.as_str()).map(|rest| (name, rest)));
        match whole {
            Some((name, rest)) => screen.line(format!("{}{}{rest}", paint(DIM, lead), paint(NAME, name))),
            None => screen.line(format!("{}{line}", paint(DIM, lead))),
        }
    }
}

fn show_reasons(screen: &mut Screen, receipt: &Receipt) {
    let score = format!("{:.2}", receipt.score);
    let over =
        receipt.path.first().map(|step| format!("; over {} from {}", step.link, short(&step.from))).unwrap_or_default();
    let reasons = receipt.features.iter().filter(|(_, part)| *part > 0.0).take(REASONS);
    let mut reasons: Vec<String> = reasons.map(|(feature, part)| format!("{feature} {part:+.2}")).collect();
    let line = |reasons: &[String]| format!(" = {}{over}", reasons.join(", "));
    while reasons.len() > 1 && columns_of(&line(&reasons)) + columns_of(&score) + 10 > screen.columns {
        reasons.pop();
    }
    screen.line(format!("    {} {}{}", paint(DIM, "score"), paint(SCORE, &score), paint(DIM, line(&reasons))));
}

fn show_all(screen: &mut Screen, receipt: &Receipt) {
    let mut table = Table::new(4).words("", DIM).text("");
    let features: Vec<String> =
        receipt.features.iter().map(|(feature, part)| format!("{feature} {part:+.3}")).collect();
    table.row(["score".into(), format!("{:.3} = {}", receipt.score, features.join(", "))]);
    for step in &receipt.path {
        let way = match step.direction {
            Direction::Forward => "the memory it leads to",
            Direction::Backward => "the memory it comes from",
        };
        table.row(["path".into(), format!("{:+.3} over `{}` from {}, {way}", step.gain, step.link, short(&step.from))]);
    }
    table.row(["allowed".into(), format!("because {}", receipt.decision.rule)]);
    table.row(["from".into(), format!("{}, {} tokens as {}", receipt.space, receipt.tokens, receipt.form)]);
    // What a short text says could be guessed from its digest; so none is given of what is redacted.
    if receipt.decision.allowed() {
        table.row(["digest".into(), receipt.digest.to_string()]);
    }
    table.lines(screen.columns).into_iter().for_each(|line| screen.line(line));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_of_time_read_as_words() {
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        for (from, until, expect) in [
            (None, None, None),
            (at("2024-04-05"), at("2024-04-06"), Some("on 5 Apr 2024")),
            (at("2024-04-01"), at("2024-05-01"), Some("1 Apr 2024 to 30 Apr 2024")),
            (at("2024-04-05T18:30:00"), None, Some("since 5 Apr 2024, 18:30")),
            (None, at("2024-04-05"), Some("until 5 Apr 2024")),
        ] {
            assert_eq!(stretch(&Window { from, until }).as_deref(), expect);
        }
    }
}

//! How the story is told in the terminal: calm, in short parts, each with its number.

use memos::Result;

use super::super::history::show_chain;
use super::super::ingest::{show_files, show_total};
use super::super::receipts::{Detail, show_receipt};
use super::super::screen::{DIM, NAME, NOTICE, SCORE, Screen, TITLE, one_line, paint};
use super::super::table::Table;
use super::material::{GUEST, NOTE_KEEPER, OWNER};
use super::story::{Asked, Guarded, Story};

/// Says what this is.
pub(super) fn greet(screen: &mut Screen) {
    screen.line("");
    screen.line(paint(TITLE, "memos demo"));
    let text = "Four friends turn an old pilot station into a guesthouse. Their talk of seven months, two documents, notes \
                and a support chat become memory, here, now, without a model and without a network.";
    screen.paragraph(0, DIM, text);
}

/// Tells the story.
pub(super) fn tell(story: &Story, screen: &mut Screen) -> Result<()> {
    if screen.quiet {
        screen.result(story.picture.display());
        return Ok(());
    }
    what_was_read(story, screen);
    screen.flush()?;
    questions(story, screen);
    what_changed(story, screen);
    what_was_repeated(story, screen);
    who_sees_what(story, screen);
    picture(story, screen);
    going_on(story, screen);
    Ok(())
}

fn heading(screen: &mut Screen, number: usize, title: &str, about: &str) {
    screen.line("");
    screen.line("");
    screen.line(paint(TITLE, format!("{number}  {title}")));
    screen.paragraph(3, DIM, about);
    screen.line("");
}

fn what_was_read(story: &Story, screen: &mut Screen) {
    heading(
        screen,
        1,
        "What was read",
        &format!("By {OWNER}, for everyone in the house. Every memory is on disk when it is acknowledged."),
    );
    show_files(screen, &story.files);
    screen.line("");
    show_total(screen, &story.total);
    screen.line(format!("{NOTE_KEEPER} adds {} private notes", story.notes));
    screen.line(paint(DIM, format!("in {:.1} s", story.seconds)));
}

fn questions(story: &Story, screen: &mut Screen) {
    let about = "Each answer comes with receipts: who said it, when, why it was chosen, and from where it gained.";
    heading(screen, 2, "Questions", about);
    for asked in &story.asked {
        question(screen, asked);
        for (at, (receipt, by)) in asked.receipts.iter().zip(&asked.replacements).enumerate() {
            show_receipt(screen, at + 1, receipt, by.as_deref(), Detail::Short);
        }
        screen.line("");
    }
    let mut times: Vec<u64> = story.asked.iter().map(|asked| asked.micros).collect();
    times.sort_unstable();
    let middle = times.get(times.len() / 2).copied().unwrap_or_default() as f64 / 1000.0;
    screen.line(paint(DIM, format!("half of these answers took less than {middle:.1} ms")));
}

fn question(screen: &mut Screen, asked: &Asked) {
    screen.line(format!("{} {}", paint(SCORE, "?"), paint(TITLE, &asked.question)));
}

fn what_changed(story: &Story, screen: &mut Screen) {
    let about =
        "A later statement replaces an earlier one. The earlier one is kept, with the time until which it was true.";
    heading(screen, 3, "What has changed", about);
    screen.line(format!("{} {}", paint(SCORE, "?"), paint(TITLE, &story.changed.question)));
    show_chain(screen, &story.changed.chain);
}

fn what_was_repeated(story: &Story, screen: &mut Screen) {
    heading(screen, 4, "What was said twice", "Near-duplicates are merged into one memory when they come in.");
    for repeated in &story.repeated {
        screen.line(format!("{} {}", paint(SCORE, "?"), paint(TITLE, &repeated.question)));
        let mut table = Table::new(4).words("", NOTICE).text("");
        table.row(["kept".to_owned(), repeated.kept.clone()]);
        repeated.merged.iter().for_each(|text| table.row(["merged".to_owned(), text.clone()]));
        table.lines(screen.columns).into_iter().for_each(|line| screen.line(line));
    }
}

fn who_sees_what(story: &Story, screen: &mut Screen) {
    let about = "The same question, asked by two. What the rules do not let one read is no candidate for the answer, and what is \
                 sensitive is taken out of it.";
    heading(screen, 5, "Who sees what", about);
    for (at, Guarded { owner, guest, refusal }) in story.guarded.iter().enumerate() {
        if at > 0 {
            screen.line("");
        }
        question(screen, owner);
        for asked in [owner, guest] {
            let said = asked.receipts.first().map_or_else(
                || "nothing".to_owned(),
                |receipt| {
                    format!(
                        "{}{}",
                        receipt.speaker.as_ref().map(|name| format!("{name}: ")).unwrap_or_default(),
                        receipt.text
                    )
                },
            );
            let room = screen.columns.saturating_sub(18);
            screen.line(format!("    {}  {}", paint(NAME, format!("{:<12}", asked.caller)), one_line(&said, room)));
            let rule = asked.receipts.first().map(|receipt| receipt.decision.rule.clone()).unwrap_or_default();
            screen.line(paint(DIM, format!("{:18}best of {} it may read, because {rule}", "", asked.considered)));
        }
        if let Some(refusal) = refusal {
            screen.paragraph(4, NOTICE, &format!("{GUEST} asks for {}'s memory by its id: {refusal}", owner.caller));
        }
    }
}

fn picture(story: &Story, screen: &mut Screen) {
    let about = format!(
        "The {} memories around the fact of part 3, with their links. It opens in any browser.",
        story.pictured
    );
    heading(screen, 6, "A picture", &about);
    screen.line(format!("   {}", paint(NAME, story.picture.display())));
}

fn going_on(story: &Story, screen: &mut Screen) {
    let about = match story.data {
        Some(_) => "This memory is kept. Ask it yourself:",
        None => {
            "This memory is gone when the program ends; `memos demo --keep harbour` keeps it. Begin one of your own:"
        }
    };
    heading(screen, 7, "How to go on", about);
    let commands = match &story.data {
        Some(folder) => {
            let at = format!("memos --data {} --as", folder.display());
            vec![
                format!("{at} {OWNER} recall \"What is the door code?\" --explain"),
                format!("{at} {GUEST} recall \"What is the door code?\""),
                format!("{at} {OWNER} history {}", super::super::ids::short(&story.changed.holds)),
                format!("{at} {OWNER} stats"),
            ]
        }
        None => [
            "ingest notes.md chat.txt",
            "recall \"When is the dentist?\"",
            "remember \"I am allergic to peanuts\"",
            "help",
        ]
        .map(|command| format!("memos {command}"))
        .to_vec(),
    };
    commands.into_iter().for_each(|command| screen.line(format!("   {}", paint(NAME, command))));
    screen.line("");
}

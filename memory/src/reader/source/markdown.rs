//! Markdown: headings become paths, and everything else becomes plain paragraphs.
//!
//! CommonMark with tables, footnotes and strike-through. Front matter gives the title and is otherwise left out. Links and
//! pictures are their text; HTML is stripped of its tags. Lists keep their items, tables their rows as lines, code its
//! fences, so that a reader can tell them apart. What the parser is not told of, such as task marks, stays as it is written.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use super::admission::{Admission, clean_label};
use super::{Document, Part, Section};
use crate::error::{Error, Result};
use html::strip_html;

mod html;

/// Items deeper than this are indented no further; otherwise the white space of nested lists would grow with its square.
const INDENTED_LEVELS: usize = 8;

/// Front matter is no longer than this; a longer one is text. Lines.
const FRONT_MATTER_LINES: usize = 200;

pub(super) fn read(name: &str, text: &str, admission: &mut Admission<'_>) -> Result<Part> {
    let (front_title, body) = split_front_matter(text);
    let mut writer = Writer::new(admission);
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_HEADING_ATTRIBUTES;
    for event in Parser::new_ext(body, options) {
        writer.add(event)?;
    }
    writer.end_section(0)?;
    let title = front_title.and_then(|title| writer.admission.title(title)).or(writer.title);
    if writer.sections.is_empty() {
        return Err(Error::invalid("the file holds no text besides markup; there is nothing to read"));
    }
    Ok(Part::Document(Document { title: title.unwrap_or_else(|| name.to_owned()), sections: writer.sections }))
}

/// Splits `---` .. `---` with fields from the beginning of a file, and finds the title in it.
fn split_front_matter(text: &str) -> (Option<&str>, &str) {
    let mut lines = text.split_inclusive('\n');
    if lines.next().map(str::trim_end) != Some("---") {
        return (None, text);
    }
    let mut title = None;
    for line in lines.by_ref().take(FRONT_MATTER_LINES) {
        let trimmed = line.trim_end();
        if matches!(trimmed, "---" | "...") {
            let consumed: usize = text.len() - lines.map(str::len).sum::<usize>();
            return (title, text.get(consumed..).unwrap_or(""));
        }
        if !(trimmed.is_empty() || trimmed.contains(':') || trimmed.starts_with([' ', '\t', '-', '#'])) {
            break;
        }
        if let Some(value) = trimmed.strip_prefix("title:") {
            title = Some(value.trim().trim_matches(['"', '\'']));
        }
    }
    (None, text)
}

/// A list that is open: the number of its next item, where it is numbered.
struct List {
    next: Option<u64>,
}

struct Writer<'a, 'b> {
    admission: &'a mut Admission<'b>,
    sections: Vec<Section>,
    /// The first heading, if nothing stands before it.
    title: Option<String>,
    path: Vec<(usize, String)>,
    paragraphs: Vec<String>,
    /// The text of the block that is open.
    inline: String,
    /// The lines of the outermost list that is open.
    list: String,
    lists: Vec<List>,
    /// The mark of an item of which nothing is written yet.
    mark: Option<String>,
    /// The label of a footnote of which nothing is written yet.
    footnote: Option<String>,
    quotes: usize,
    cells: Vec<String>,
    rows: Vec<String>,
    fence_info: String,
}

impl<'a, 'b> Writer<'a, 'b> {
    fn new(admission: &'a mut Admission<'b>) -> Self {
        Self {
            admission,
            sections: Vec::new(),
            title: None,
            path: Vec::new(),
            paragraphs: Vec::new(),
            inline: String::new(),
            list: String::new(),
            lists: Vec::new(),
            mark: None,
            footnote: None,
            quotes: 0,
            cells: Vec::new(),
            rows: Vec::new(),
            fence_info: String::new(),
        }
    }

    fn add(&mut self, event: Event<'_>) -> Result<()> {
        match event {
            Event::Start(tag) => return self.start(tag),
            Event::End(tag) => return self.end(tag),
            Event::Text(text) | Event::Code(text) | Event::Html(text) => self.inline.push_str(&text),
            Event::InlineHtml(tag) if html::is_line_break(&tag) => self.inline.push('\n'),
            Event::FootnoteReference(label) => self.inline.push_str(&format!("[^{label}]")),
            Event::SoftBreak => self.inline.push(' '),
            Event::HardBreak => self.inline.push('\n'),
            Event::Rule => return self.end_block(),
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, tag: Tag<'_>) -> Result<()> {
        match tag {
            Tag::Paragraph | Tag::Heading { .. } | Tag::HtmlBlock | Tag::Table(_) => self.end_block()?,
            Tag::BlockQuote(_) => {
                self.end_block()?;
                self.quotes += 1;
            }
            Tag::FootnoteDefinition(label) => {
                self.end_block()?;
                self.footnote = Some(format!("[^{label}]: "));
            }
            Tag::CodeBlock(kind) => {
                self.end_block()?;
                self.fence_info = match kind {
                    CodeBlockKind::Fenced(info) => clean_label(&info),
                    CodeBlockKind::Indented => String::new(),
                };
            }
            Tag::List(next) => {
                self.end_block()?;
                self.lists.push(List { next });
            }
            Tag::Item => {
                self.end_block()?;
                self.mark = self.lists.last_mut().map(|list| match &mut list.next {
                    None => "- ".to_owned(),
                    Some(number) => {
                        let mark = format!("{number}. ");
                        *number = number.saturating_add(1);
                        mark
                    }
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, tag: TagEnd) -> Result<()> {
        match tag {
            TagEnd::Heading(level) if self.quotes == 0 && self.lists.is_empty() => return self.heading(level as usize),
            TagEnd::Paragraph | TagEnd::Heading(_) => self.end_block()?,
            TagEnd::BlockQuote(_) => {
                self.end_block()?;
                self.quotes = self.quotes.saturating_sub(1);
            }
            TagEnd::HtmlBlock => {
                let markup = std::mem::take(&mut self.inline);
                self.inline = strip_html(&markup);
                self.end_block()?;
            }
            TagEnd::CodeBlock => {
                let code = std::mem::take(&mut self.inline);
                let info = std::mem::take(&mut self.fence_info);
                if !code.trim().is_empty() {
                    let fence = if code.contains("```") { "~~~~" } else { "```" };
                    self.block(&format!("{fence}{info}\n{}\n{fence}", code.trim_end()))?;
                }
            }
            TagEnd::TableCell => self.cells.push(clean_label(&std::mem::take(&mut self.inline))),
            TagEnd::TableHead | TagEnd::TableRow => {
                let cells = std::mem::take(&mut self.cells);
                if cells.iter().any(|cell| !cell.is_empty()) {
                    self.rows.push(cells.join(" | "));
                }
            }
            TagEnd::Table => {
                let rows = std::mem::take(&mut self.rows).join("\n");
                self.block(&rows)?;
            }
            TagEnd::Item => {
                self.end_block()?;
                self.mark = None;
            }
            TagEnd::List(_) => {
                self.end_block()?;
                self.lists.pop();
                if self.lists.is_empty() {
                    let list = std::mem::take(&mut self.list);
                    self.paragraph(&list)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends the block of inline text that is open, if there is one.
    fn end_block(&mut self) -> Result<()> {
        let text = std::mem::take(&mut self.inline);
        self.block(text.trim())
    }

    /// Writes a block into the list that is open, or as a paragraph.
    fn block(&mut self, text: &str) -> Result<()> {
        if text.trim().is_empty() {
            return Ok(());
        }
        let labelled = self.footnote.take().map(|label| label + text);
        let text = labelled.as_deref().unwrap_or(text);
        if self.lists.is_empty() {
            return self.paragraph(text);
        }
        let levels = (self.lists.len() - 1).min(INDENTED_LEVELS);
        for line in text.split('\n') {
            if !self.list.is_empty() {
                self.list.push('\n');
            }
            self.list.push_str(&"  ".repeat(levels));
            self.list.push_str(self.mark.take().as_deref().unwrap_or("  "));
            self.list.push_str(line);
        }
        Ok(())
    }

    fn paragraph(&mut self, text: &str) -> Result<()> {
        self.paragraphs.extend(self.admission.paragraph(text)?);
        Ok(())
    }

    fn heading(&mut self, level: usize) -> Result<()> {
        let text = clean_label(&std::mem::take(&mut self.inline));
        // A line of dashes under a long paragraph makes it a heading to the parser, not to its writer.
        if text.chars().count() > self.admission.limits.heading_chars {
            return self.paragraph(&text);
        }
        if text.is_empty() {
            return Ok(());
        }
        if self.title.is_none() && self.sections.is_empty() && self.paragraphs.is_empty() && self.path.is_empty() {
            self.title = Some(text.clone());
        }
        self.end_section(level)?;
        while self.path.last().is_some_and(|(above, _)| *above >= level) {
            self.path.pop();
        }
        self.path.push((level, text));
        Ok(())
    }

    /// Ends the section before a heading of a level, or before the end of the file, which is level 0.
    fn end_section(&mut self, next_level: usize) -> Result<()> {
        self.end_block()?;
        let mut paragraphs = std::mem::take(&mut self.paragraphs);
        let mut path: Vec<String> = self.path.iter().map(|(_, heading)| heading.clone()).collect();
        if paragraphs.is_empty() {
            // A heading with nothing under it, not even another heading, is all that its section says.
            let is_leaf = self.path.last().is_some_and(|(level, _)| next_level <= *level);
            match path.pop().filter(|_| is_leaf) {
                Some(heading) => paragraphs.extend(self.admission.paragraph(&heading)?),
                None => return Ok(()),
            }
        }
        self.admission.section(&mut self.sections, Section { path, paragraphs })
    }
}

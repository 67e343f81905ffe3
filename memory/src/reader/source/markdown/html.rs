//! HTML inside Markdown, down to its words. It is no parser of HTML; it is made so that nothing it meets costs more than one
//! look at each character.

/// Elements whose content is not text.
const SILENT: &[&str] = &["script", "style"];

/// Elements that end a line of text.
const BLOCKS: &[&str] = &[
    "br",
    "p",
    "div",
    "li",
    "ul",
    "ol",
    "tr",
    "table",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "details",
    "summary",
    "section",
    "blockquote",
    "pre",
    "hr",
    "dt",
    "dd",
];

/// Characters that are written by name because HTML needs them itself.
const NAMED: &[(&str, char)] = &[
    ("&lt;", '<'),
    ("&gt;", '>'),
    ("&quot;", '"'),
    ("&#39;", '\''),
    ("&apos;", '\''),
    ("&nbsp;", ' '),
    ("&amp;", '&'),
];

/// Returns whether a tag breaks the line.
pub(super) fn is_line_break(tag: &str) -> bool {
    tag_name(tag).eq_ignore_ascii_case("br")
}

/// Returns the text of a piece of HTML, without tags, comments, scripts and styles.
pub(super) fn strip_html(markup: &str) -> String {
    let mut text = String::with_capacity(markup.len());
    let mut rest = markup;
    while let Some((before, tag)) = rest.find('<').and_then(|at| rest.split_at_checked(at)) {
        text.push_str(before);
        let opens =
            tag.get(1..).is_some_and(|tag| tag.starts_with(|c: char| c.is_ascii_alphabetic() || "/!?".contains(c)));
        if !opens {
            text.push('<');
            rest = tag.get(1..).unwrap_or("");
            continue;
        }
        let name = tag_name(tag).to_ascii_lowercase();
        if BLOCKS.contains(&name.as_str()) {
            text.push('\n');
        }
        // What is never closed reaches to the end, so that no end is looked for twice.
        rest = after_tag(tag, &name).unwrap_or("");
    }
    text.push_str(rest);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    decode_named(&lines.collect::<Vec<_>>().join("\n"))
}

fn tag_name(tag: &str) -> &str {
    let inside = tag.trim_start_matches(['<', '/']);
    inside.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or("")
}

/// Returns what follows a tag, or a comment, or an element whose content is not text.
fn after_tag<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    if tag.starts_with("<!--") {
        return tag.split_once("-->").map(|(_, rest)| rest);
    }
    let (_, rest) = tag.split_once('>')?;
    if tag.starts_with("</") || !SILENT.contains(&name) {
        return Some(rest);
    }
    let mut searched = rest;
    loop {
        let (_, closing) = searched.split_once("</")?;
        if closing.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name)) {
            return closing.split_once('>').map(|(_, rest)| rest);
        }
        searched = closing;
    }
}

fn decode_named(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, name)) = rest.find('&').and_then(|at| rest.split_at_checked(at)) {
        decoded.push_str(before);
        let known = NAMED.iter().find_map(|(written, c)| Some((*c, name.strip_prefix(written)?)));
        let (c, after) = known.unwrap_or(('&', name.get(1..).unwrap_or("")));
        decoded.push(c);
        rest = after;
    }
    decoded.push_str(rest);
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_stripped() {
        for (markup, expect) in [
            ("<p>One</p><p>Two &amp; <b>th</b>ree</p>", "One\nTwo & three"),
            ("a<!-- <p> not this --> b", "a b"),
            ("<script>if (1 < 2) {}</script>x", "x"),
            ("<STYLE>p </b> {}</Style >x", "x"),
            ("1 < 2 &lt; 3 &unknown;", "1 < 2 < 3 &unknown;"),
            ("<a href=\"x\">link</a> <img src='y'/>", "link"),
            ("kept <never closed", "kept"),
            ("<!-- never closed", ""),
            ("<", "<"),
            ("&", "&"),
            ("&amp;lt;", "&lt;"),
        ] {
            assert_eq!(strip_html(markup), expect, "{markup}");
        }
        assert!(is_line_break("<br/>") && is_line_break("<BR>") && !is_line_break("<b>"));
    }
}

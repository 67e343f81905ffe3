//! The drawing itself, as SVG.
//!
//! Colours are classes and not variables, because renderers that make bitmaps of SVG know no variables. The dark ones
//! follow `prefers-color-scheme`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::card::{DATE_SIZE, LINE_HEIGHT, NAME_SIZE, PADDING, TEXT_SIZE, cut, width_of};
use super::geometry::{Point, Rect};
use super::palette::{DARK, Ground, LIGHT, of_link, of_type};
use super::{Arrow, MARGIN, Picture, Placed};
use crate::cube::SemanticType;
use crate::graph::LinkKind;

/// Where the drawing is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// As a file of its own.
    Alone,
    /// Within a page that shows a memory in full when it is pointed at.
    InPage,
}

const FONT: &str = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif";
/// How far the line around the card in the middle is away from it.
const HALO: f64 = 5.0;
/// Size of the legend's writing, and height of its lines.
const LEGEND_SIZE: f64 = 11.5;
const LEGEND_LINE: f64 = 24.0;

/// Draws a picture.
pub(super) fn draw(picture: &Picture, used: Use) -> String {
    let legend = legend(picture);
    let height = picture.height + legend.height;
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" class="memos" width="{0:.0}" height="{1:.0}" viewBox="0 0 {0:.0} {1:.0}" font-family="{FONT}" role="group" aria-label="{2}">"#,
        picture.width,
        height,
        escape(&picture.title),
    );
    let _ = write!(out, "<style>{}</style><defs>{}</defs>", style(picture), markers(picture));
    let _ = write!(out, r#"<rect class="paper" width="{:.0}" height="{height:.0}"/>"#, picture.width);
    title(picture, &mut out);
    picture.arrows.iter().for_each(|arrow| draw_arrow(picture, arrow, &mut out));
    picture.cards.iter().for_each(|placed| draw_card(placed, used, &mut out));
    out.push_str(&legend.text);
    out.push_str("</svg>\n");
    out
}

fn title(picture: &Picture, out: &mut String) {
    let (cards, arrows) = (picture.cards.len(), picture.arrows.len());
    let name = |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    let _ = write!(
        out,
        r#"<text class="ink" x="{MARGIN}" y="34" font-size="17" font-weight="600">{}</text><text class="faint" x="{MARGIN}" y="53" font-size="12">{}, {}</text>"#,
        escape(&cut(&picture.title, picture.width - 2.0 * MARGIN, 18.5)),
        name(cards, "memory", "memories"),
        name(arrows, "link", "links"),
    );
}

fn draw_card(placed: &Placed, used: Use, out: &mut String) {
    let Placed { card, rect } = placed;
    let (left, top) = (rect.left(), rect.top());
    let centre = if card.is_centre { " centre" } else { "" };
    let gone = if card.state.is_recalled() { "" } else { " gone" };
    let _ = write!(out, r#"<g class="card {}{centre}{gone}""#, card.semantic);
    let said = format!("{} ({}): {}", card.name, card.date, card.text);
    match used {
        Use::Alone => {
            let _ = write!(out, "><title>{}\n{}</title>", escape(&said), escape(&card.about));
        }
        Use::InPage => {
            let name = format!("{} · {}", card.name, card.date);
            let _ = write!(
                out,
                r#" tabindex="0" data-id="{}" data-name="{}" data-text="{}" data-about="{}" aria-label="{}">"#,
                card.id,
                escape(&name),
                escape(&card.text),
                escape(&card.about),
                escape(&said),
            );
        }
    }
    if card.is_centre {
        let halo = outline(placed);
        let _ = write!(
            out,
            r#"<rect class="halo" x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}" rx="13"/>"#,
            halo.left(),
            halo.top(),
            halo.width,
            halo.height,
        );
    }
    let _ = write!(
        out,
        r#"<rect class="face" x="{left:.1}" y="{top:.1}" width="{:.1}" height="{:.1}" rx="9"/><rect class="bar" x="{left:.1}" y="{:.1}" width="4" height="{:.1}" rx="2"/>"#,
        rect.width,
        rect.height,
        top + 9.0,
        rect.height - 18.0,
    );
    let first = top + PADDING + NAME_SIZE - 2.0;
    let _ = write!(
        out,
        r#"<text class="name" x="{:.1}" y="{first:.1}" font-size="{NAME_SIZE}">{}</text><text class="faint" x="{:.1}" y="{first:.1}" font-size="{DATE_SIZE}" text-anchor="end">{}</text>"#,
        left + PADDING,
        escape(&card.name),
        rect.right() - PADDING + 2.0,
        escape(&card.date),
    );
    for (at, line) in card.lines.iter().enumerate() {
        let y = first + LINE_HEIGHT * (at + 1) as f64 + 1.0;
        let x = left + PADDING;
        let _ =
            write!(out, r#"<text class="ink" x="{x:.1}" y="{y:.1}" font-size="{TEXT_SIZE}">{}</text>"#, escape(line));
    }
    out.push_str("</g>");
}

fn draw_arrow(picture: &Picture, arrow: &Arrow, out: &mut String) {
    let (Some(from), Some(to)) = (picture.cards.get(arrow.from), picture.cards.get(arrow.to)) else { return };
    let (start, bend, end) = curve(&outline(from), &outline(to), arrow.bend);
    let kind = arrow.kind;
    let _ = write!(
        out,
        r#"<path class="link {kind}" data-from="{}" data-to="{}" marker-end="url(#memos-{kind})" d="M{:.1} {:.1}Q{:.1} {:.1} {:.1} {:.1}"><title>{kind}</title></path>"#,
        from.card.id, to.card.id, start.x, start.y, bend.x, bend.y, end.x, end.y,
    );
}

/// Returns the box that arrows keep out of: the card, and the halo around the one in the middle.
fn outline(placed: &Placed) -> Rect {
    let halo = if placed.card.is_centre { 2.0 * HALO } else { 0.0 };
    Rect { width: placed.rect.width + halo, height: placed.rect.height + halo, ..placed.rect }
}

/// Returns where an arrow begins, the point that bends it, and where it ends.
fn curve(from: &Rect, to: &Rect, bend: f64) -> (Point, Point, Point) {
    let way = to.centre - from.centre;
    let middle = from.centre + way * 0.5 + way.across() * bend;
    let start = from.border_towards(middle, 2.0);
    // The head's tip is drawn ahead of the line's end.
    let end = to.border_towards(middle, 8.0);
    (start, (start + end) * 0.5 + way.across() * bend, end)
}

struct Legend {
    text: String,
    height: f64,
}

/// Explains the types and links that are in the picture, in lines below the cards.
fn legend(picture: &Picture) -> Legend {
    let types: BTreeSet<SemanticType> = picture.cards.iter().map(|placed| placed.card.semantic).collect();
    let links: BTreeSet<LinkKind> = picture.arrows.iter().map(|arrow| arrow.kind).collect();
    let mut text = String::new();
    let mut at = Point { x: MARGIN, y: picture.height + LEGEND_LINE / 2.0 };
    let _ = write!(
        text,
        r#"<line class="rule" x1="{MARGIN}" x2="{:.1}" y1="{1:.1}" y2="{1:.1}"/>"#,
        picture.width - MARGIN,
        picture.height - LEGEND_LINE / 4.0
    );
    let mut place = |text: &mut String, sample: &str, sample_width: f64, name: &str, next_line: bool| {
        let width = sample_width + 8.0 + width_of(name, LEGEND_SIZE);
        if next_line || at.x + width > picture.width - MARGIN {
            at = Point { x: MARGIN, y: at.y + LEGEND_LINE };
        }
        let _ = write!(
            text,
            r#"<g transform="translate({:.1} {:.1})">{sample}<text class="faint" x="{:.1}" y="4" font-size="{LEGEND_SIZE}">{name}</text></g>"#,
            at.x,
            at.y,
            sample_width + 8.0,
        );
        at.x += width + 22.0;
        at.y
    };
    for semantic in types {
        let sample = format!(
            r#"<g class="card {semantic}"><rect class="face" y="-7" width="20" height="14" rx="4"/><rect class="bar" y="-4" width="4" height="8" rx="2"/></g>"#
        );
        place(&mut text, &sample, 20.0, semantic.as_str(), false);
    }
    if picture.cards.iter().any(|placed| !placed.card.state.is_recalled()) {
        let sample = r#"<g class="card message gone"><rect class="face" y="-7" width="20" height="14" rx="4"/></g>"#;
        place(&mut text, sample, 20.0, "no longer recalled by itself", false);
    }
    for (count, kind) in links.iter().enumerate() {
        let sample = format!(r#"<path class="link {kind}" marker-end="url(#memos-{kind})" d="M0 0H26"/>"#);
        place(&mut text, &sample, 34.0, kind.as_str(), count == 0);
    }
    Legend { text, height: at.y - picture.height + LEGEND_LINE }
}

fn markers(picture: &Picture) -> String {
    let kinds: BTreeSet<LinkKind> = picture.arrows.iter().map(|arrow| arrow.kind).collect();
    let marker = |kind: LinkKind| {
        format!(
            r#"<marker id="memos-{kind}" viewBox="0 0 8 8" refX="2" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto"><path class="head {kind}" d="M0 0.5L8 4L0 7.5Z"/></marker>"#
        )
    };
    kinds.into_iter().map(marker).collect()
}

fn style(picture: &Picture) -> String {
    let shape = ".memos .face{stroke-width:1}.memos .centre .face{stroke-width:2}.memos .halo{fill:none;stroke-width:2;opacity:.55}\
                 .memos .name{font-weight:600}.memos .gone .face{stroke-dasharray:4 3}.memos .gone text{opacity:.62}\
                 .memos .link{fill:none;stroke-width:1.6}.memos .follows{stroke-width:1.3}";
    let dashes: String = LinkKind::ALL
        .iter()
        .filter_map(|kind| Some(format!(".memos .link.{kind}{{stroke-dasharray:{}}}", of_link(*kind).1?)))
        .collect();
    format!(
        "{shape}{dashes}{}@media(prefers-color-scheme:dark){{{}}}",
        colours(picture, &LIGHT),
        colours(picture, &DARK)
    )
}

fn colours(picture: &Picture, ground: &Ground) -> String {
    let types: BTreeSet<SemanticType> = picture.cards.iter().map(|placed| placed.card.semantic).collect();
    let links: BTreeSet<LinkKind> = picture.arrows.iter().map(|arrow| arrow.kind).collect();
    let mut css = format!(
        ".memos .paper{{fill:{}}}.memos .ink{{fill:{}}}.memos .faint{{fill:{}}}.memos .rule{{stroke:{};opacity:.3}}",
        ground.paper.hex(),
        ground.ink.hex(),
        ground.faint.hex(),
        ground.faint.hex(),
    );
    // The legend's sample of what is gone is a message.
    for semantic in types.into_iter().chain([SemanticType::Message]) {
        let colour = of_type(semantic);
        let (face, line, shown) = (ground.face(colour).hex(), ground.line(colour).hex(), ground.shown(colour).hex());
        let _ = write!(
            css,
            ".memos .{semantic} .face{{fill:{face};stroke:{line}}}.memos .{semantic} .bar,.memos .{semantic} .name{{fill:{shown}}}\
             .memos .{semantic} .halo,.memos .{semantic}.centre .face{{stroke:{shown}}}"
        );
    }
    for kind in links {
        let shown = ground.shown(of_link(kind).0).hex();
        let _ = write!(css, ".memos .link.{kind}{{stroke:{shown}}}.memos .head.{kind}{{fill:{shown}}}");
    }
    css
}

/// Returns the text as it may stand in XML, in an element or between double quotes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' => escaped.push_str("&#10;"),
            // XML has no place for other control characters, and for two that are no characters at all.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => escaped.push(c),
        }
    }
    escaped
}

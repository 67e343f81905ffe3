//! Pictures of a memory's neighbourhood: cards for memories, arrows for links, as SVG or as a page that can be explored.
//!
//! A picture is a pure function of a [`Neighbourhood`]: the same memories give the same picture, byte for byte. It carries
//! all it needs with it, follows the reader's light or dark setting, and shows nothing that the neighbourhood does not
//! hold, so what the caller may not see is not in it.

mod card;
mod geometry;
mod layout;
mod page;
mod palette;
mod svg;

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::cube::CubeId;
use crate::graph::LinkKind;
use crate::vault::Neighbourhood;
use crate::{Error, Result};
use card::Card;
use geometry::{Point, Rect};

/// The most memories one picture holds; more would be a blot.
pub const MOST_CUBES: usize = 200;
/// The most links one picture holds.
pub const MOST_LINKS: usize = 2_000;

/// Room around the cards, and above them for the title.
const MARGIN: f64 = 36.0;
const HEAD: f64 = 64.0;
/// How far apart several arrows between two cards bend.
const FAN: f64 = 44.0;
/// The least width, so that the legend has room.
const NARROWEST: f64 = 760.0;

/// A neighbourhood laid out for drawing.
#[derive(Debug, Clone)]
pub struct Picture {
    title: String,
    width: f64,
    height: f64,
    cards: Vec<Placed>,
    arrows: Vec<Arrow>,
}

#[derive(Debug, Clone)]
struct Placed {
    card: Card,
    rect: Rect,
}

/// A link between two placed cards, by their places.
#[derive(Debug, Clone)]
struct Arrow {
    from: usize,
    to: usize,
    kind: LinkKind,
    /// How far it bends aside, so that several links between two cards can be told apart.
    bend: f64,
}

impl Picture {
    /// Lays out a neighbourhood; `title` says where it is from.
    ///
    /// # Errors
    /// `Invalid` when there is nothing to draw.
    ///
    /// # Limits
    /// [`MOST_CUBES`] and [`MOST_LINKS`].
    pub fn of(around: &Neighbourhood, title: &str) -> Result<Self> {
        let (cubes, links) = (around.cubes.len(), around.links.len());
        if cubes == 0 {
            return Err(Error::invalid("there is no memory to draw"));
        }
        if cubes > MOST_CUBES || links > MOST_LINKS {
            return Err(Error::invalid(format!(
                "{cubes} memories and {links} links do not fit into one picture; ask for at most {MOST_CUBES} and {MOST_LINKS}"
            )));
        }
        let cards: Vec<Card> = around.cubes.iter().map(Card::of).collect();
        let arrows = arrows(around);
        let sizes: Vec<(f64, f64)> = cards.iter().map(|card| (card.width, card.height)).collect();
        let pairs: Vec<(usize, usize)> = arrows.iter().map(|arrow| (arrow.from, arrow.to)).collect();
        let centres = layout::place(&sizes, &pairs);
        Ok(Self::framed(title, cards, &centres, arrows))
    }

    /// Moves all cards into the picture's frame.
    fn framed(title: &str, cards: Vec<Card>, centres: &[Point], arrows: Vec<Arrow>) -> Self {
        let rects: Vec<Rect> = cards
            .iter()
            .zip(centres)
            .map(|(card, at)| Rect { centre: *at, width: card.width, height: card.height })
            .collect();
        let edge =
            |side: fn(&Rect) -> f64, pick: fn(f64, f64) -> f64| rects.iter().map(side).reduce(pick).unwrap_or(0.0);
        let (left, right) = (edge(Rect::left, f64::min), edge(Rect::right, f64::max));
        let (top, bottom) = (edge(Rect::top, f64::min), edge(Rect::bottom, f64::max));
        let width = (right - left + 2.0 * MARGIN).max(NARROWEST);
        let shift = Point { x: (width - (right - left)) / 2.0 - left, y: HEAD + MARGIN / 2.0 - top };
        let placed = |(card, rect): (Card, Rect)| Placed { card, rect: Rect { centre: rect.centre + shift, ..rect } };
        Self {
            title: title.to_owned(),
            width,
            height: HEAD + (bottom - top) + MARGIN * 1.5,
            cards: cards.into_iter().zip(rects).map(placed).collect(),
            arrows,
        }
    }

    /// Draws it as an SVG document of its own.
    pub fn svg(&self) -> String {
        svg::draw(self, svg::Use::Alone)
    }

    /// Draws it as an HTML page of its own, which shows each memory in full when it is pointed at.
    pub fn html(&self) -> String {
        page::write(self)
    }
}

/// Returns the links between the cubes that are there, those between the same two spread like a fan.
fn arrows(around: &Neighbourhood) -> Vec<Arrow> {
    let places: HashMap<CubeId, usize> = around.cubes.iter().enumerate().map(|(at, cube)| (cube.id, at)).collect();
    let mut between: BTreeMap<(usize, usize), Vec<Arrow>> = BTreeMap::new();
    let mut seen = HashSet::new();
    for link in around.links.iter().filter(|link| seen.insert(**link)) {
        if let (Some(&from), Some(&to)) = (places.get(&link.from), places.get(&link.to))
            && from != to
        {
            let arrow = Arrow { from, to, kind: link.kind, bend: 0.0 };
            between.entry((from.min(to), from.max(to))).or_default().push(arrow);
        }
    }
    for ((low, _), arrows) in &mut between {
        let middle = arrows.len().saturating_sub(1) as f64 / 2.0;
        for (at, arrow) in arrows.iter_mut().enumerate() {
            // The side is the pair's, not the link's, or two opposite links would lie on each other.
            let side = if arrow.from == *low { 1.0 } else { -1.0 };
            arrow.bend = (at as f64 - middle) * FAN * side;
        }
    }
    between.into_values().flatten().collect()
}

#[cfg(test)]
mod tests;

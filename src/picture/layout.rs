//! Where the cards go.
//!
//! The places come from stress majorisation (Gansner, Koren, North: "Graph Drawing by Stress Majorization", 2004): cards
//! are put as far apart as they are links apart. Then cards that lie on each other, or on another's arrow, push each other
//! aside. That is done from several starts, and the layout with the fewest crossings stays. Nothing here is random.

use std::collections::VecDeque;
use std::f64::consts::{PI, TAU};

use super::geometry::{Point, Rect, lines_cross};

/// How far apart linked cards are wished to be. Cards are wider than tall, and so is the picture.
const STEP: Point = Point { x: 285.0, y: 158.0 };
/// Room between cards, and between a card and an arrow that passes by.
const GAP: f64 = 26.0;
const ARROW_GAP: f64 = 10.0;
/// Angles at which a layout is tried, for not every one is best laid flat.
const TILTS: [f64; 6] = [0.0, 0.3, -0.3, 0.6, -0.6, PI / 2.0];
/// What fits on a screen. Width and height beyond it must be scrolled for.
const SCREEN: Point = Point { x: 1_050.0, y: 600.0 };
const ROUNDS: usize = 120;
const PUSHES: usize = 160;
/// Up to this many cards there is time for many starts.
const FEW: usize = 60;

/// Returns the centres of cards of these sizes; the first card is the centre of the picture.
pub(super) fn place(sizes: &[(f64, f64)], links: &[(usize, usize)]) -> Vec<Point> {
    let neighbours = neighbours(sizes.len(), links);
    let distances: Vec<Vec<f64>> = (0..sizes.len()).map(|from| distances(from, &neighbours)).collect();
    let starts = if sizes.len() <= FEW { 18 } else { 6 };
    let layouts = (0..starts).map(|start| {
        let mut points = rings(&neighbours, start);
        settle(&mut points, &distances);
        turn(&mut points, TILTS.get(start % TILTS.len()).copied().unwrap_or(0.0));
        let mut cards: Vec<Rect> = points
            .iter()
            .zip(sizes)
            .map(|(at, (width, height))| Rect {
                centre: Point { x: at.x * STEP.x, y: at.y * STEP.y },
                width: *width,
                height: *height,
            })
            .collect();
        part(&mut cards, links);
        (cost(&cards, links), cards)
    });
    let best = layouts.min_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, cards)| cards.iter().map(|card| card.centre).collect()).unwrap_or_default()
}

fn neighbours(cards: usize, links: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let mut neighbours = vec![Vec::new(); cards];
    for (a, b) in links.iter().flat_map(|&(a, b)| [(a, b), (b, a)]) {
        if let Some(list) = neighbours.get_mut(a)
            && !list.contains(&b)
        {
            list.push(b);
        }
    }
    neighbours
}

/// Returns how many links each card is from one; those that no link leads to count as farther than any other.
fn distances(from: usize, neighbours: &[Vec<usize>]) -> Vec<f64> {
    let mut found: Vec<Option<f64>> = vec![None; neighbours.len()];
    let mut queue = VecDeque::from([(from, 0.0)]);
    let mut farthest: f64 = 0.0;
    while let Some((at, distance)) = queue.pop_front() {
        let Some(slot @ None) = found.get_mut(at) else { continue };
        *slot = Some(distance);
        farthest = farthest.max(distance);
        queue.extend(neighbours.get(at).into_iter().flatten().map(|&next| (next, distance + 1.0)));
    }
    found.into_iter().map(|distance| distance.unwrap_or(farthest + 1.0)).collect()
}

/// Puts the first card into the middle and each other one on a ring, in the sector of the card it hangs on.
fn rings(neighbours: &[Vec<usize>], start: usize) -> Vec<Point> {
    let cards = neighbours.len();
    let mut parents: Vec<Option<usize>> = vec![None; cards];
    let mut order = Vec::with_capacity(cards);
    let mut seen = vec![false; cards];
    for root in 0..cards {
        let mut queue = VecDeque::from([(root, None)]);
        while let Some((at, parent)) = queue.pop_front() {
            let Some(fresh @ false) = seen.get_mut(at) else { continue };
            *fresh = true;
            if let Some(slot) = parents.get_mut(at) {
                *slot = parent;
            }
            order.push(at);
            let list = neighbours.get(at).into_iter().flatten().copied();
            let list: Vec<usize> = if start.is_multiple_of(2) { list.collect() } else { list.rev().collect() };
            queue.extend(list.into_iter().map(|next| (next, Some(at))));
        }
    }
    let mut leaves = vec![1.0_f64; cards];
    for &at in order.iter().rev() {
        let own = leaves.get(at).copied().unwrap_or(1.0);
        if let Some(sum) = parents.get(at).copied().flatten().and_then(|parent| leaves.get_mut(parent)) {
            *sum += own;
        }
    }
    // The golden angle keeps the starts apart from each other.
    let turn = start as f64 * PI * (3.0 - 5.0_f64.sqrt());
    let mut sectors = vec![(turn, TAU, 0.0); cards];
    let mut points = vec![Point::default(); cards];
    for &at in &order {
        let Some(parent) = parents.get(at).copied().flatten() else { continue };
        let share =
            leaves.get(at).copied().unwrap_or(1.0) / (leaves.get(parent).copied().unwrap_or(2.0) - 1.0).max(1.0);
        let Some((from, width, ring)) = sectors.get_mut(parent) else { continue };
        let own = share * *width;
        let sector = (*from, own, *ring + 1.0);
        // What is left of the parent's sector belongs to the parent's next child; its share was of the whole.
        *from += own;
        let angle = sector.0 + own / 2.0;
        if let Some(slot) = points.get_mut(at) {
            *slot = Point { x: angle.cos() * sector.2, y: angle.sin() * sector.2 };
        }
        if let Some(slot) = sectors.get_mut(at) {
            *slot = sector;
        }
    }
    points
}

/// Moves each point to where its distances from all others want it, again and again.
fn settle(points: &mut [Point], distances: &[Vec<f64>]) {
    for _ in 0..ROUNDS {
        for (at, row) in distances.iter().enumerate() {
            let Some(here) = points.get(at).copied() else { continue };
            let (mut sum, mut weights) = (Point::default(), 0.0);
            for (other, (there, &wanted)) in points.iter().zip(row).enumerate() {
                if other == at {
                    continue;
                }
                let weight = 1.0 / (wanted * wanted);
                let way = here - *there;
                let length = way.length();
                // Two points in one place part along a way of their own.
                let way = if length < 1e-6 {
                    Point { x: (at as f64).cos(), y: (at as f64).sin() }
                } else {
                    way * (1.0 / length)
                };
                sum = sum + (*there + way * wanted) * weight;
                weights += weight;
            }
            if weights > 0.0
                && let Some(slot) = points.get_mut(at)
            {
                *slot = sum * (1.0 / weights);
            }
        }
    }
}

/// Turns the points so that the longest way through them has this angle to the width of the picture.
fn turn(points: &mut [Point], tilt: f64) {
    let count = points.len().max(1) as f64;
    let middle = points.iter().fold(Point::default(), |sum, point| sum + *point) * (1.0 / count);
    let (mut wide, mut tall, mut both) = (0.0, 0.0, 0.0);
    for way in points.iter().map(|point| *point - middle) {
        wide += way.x * way.x;
        tall += way.y * way.y;
        both += way.x * way.y;
    }
    let angle = 0.5 * (2.0 * both).atan2(wide - tall) - tilt;
    let (sin, cos) = angle.sin_cos();
    for point in points {
        let way = *point - middle;
        *point = Point { x: way.x * cos + way.y * sin, y: way.y * cos - way.x * sin };
    }
}

/// Parts cards that lie on each other, and moves cards from under arrows.
fn part(cards: &mut [Rect], links: &[(usize, usize)]) {
    for push in 0..PUSHES * 2 {
        // Only at first are arrows cleared, or the two rules could undo each other for ever.
        if push < PUSHES {
            clear_arrows(cards, links);
        }
        let moved = push_apart(cards);
        if push >= PUSHES && !moved {
            break;
        }
    }
}

fn clear_arrows(cards: &mut [Rect], links: &[(usize, usize)]) {
    for &(from, to) in links {
        let (Some(start), Some(end)) = (cards.get(from).map(|card| card.centre), cards.get(to).map(|card| card.centre))
        else {
            continue;
        };
        let across = (end - start).across();
        let mut back = Point::default();
        for (at, card) in cards.iter_mut().enumerate() {
            let depth = if at == from || at == to { 0.0 } else { card.depth_of_line(start, end, ARROW_GAP) };
            if depth > 0.0 {
                let side = if (card.centre - start).dot(across) < 0.0 { -1.0 } else { 1.0 };
                let shove = across * (side * depth.min(60.0) * 0.25);
                card.centre = card.centre + shove;
                back = back - shove * 0.5;
            }
        }
        for end in [from, to] {
            if let Some(card) = cards.get_mut(end) {
                card.centre = card.centre + back;
            }
        }
    }
}

/// Returns whether any card had to move.
fn push_apart(cards: &mut [Rect]) -> bool {
    let mut moved = false;
    for at in 1..cards.len() {
        let Some((before, [card, ..])) = cards.split_at_mut_checked(at) else { continue };
        for other in before {
            let overlap = card.overlap(other, GAP);
            if overlap.x <= 0.01 || overlap.y <= 0.01 {
                continue;
            }
            moved = true;
            let away = |own: f64, others: f64| if own < others { -1.0 } else { 1.0 };
            let shove = if overlap.x < overlap.y * 1.4 {
                Point { x: away(card.centre.x, other.centre.x) * overlap.x / 2.0, y: 0.0 }
            } else {
                Point { x: 0.0, y: away(card.centre.y, other.centre.y) * overlap.y / 2.0 }
            };
            card.centre = card.centre + shove;
            other.centre = other.centre - shove;
        }
    }
    moved
}

/// Returns how hard a layout is to read.
fn cost(cards: &[Rect], links: &[(usize, usize)]) -> f64 {
    let ends = |&(from, to): &(usize, usize)| Some((cards.get(from)?.centre, cards.get(to)?.centre));
    let lines: Vec<((usize, usize), (Point, Point))> =
        links.iter().filter_map(|link| Some((*link, ends(link)?))).collect();
    let mut cost = 0.0;
    for (at, (link, line)) in lines.iter().enumerate() {
        cost += (line.1 - line.0).length() / 400.0;
        for (other, second) in lines.iter().skip(at + 1) {
            let apart = link.0 != other.0 && link.0 != other.1 && link.1 != other.0 && link.1 != other.1;
            if apart && lines_cross(*line, *second) {
                cost += 4.0;
            }
        }
        for (place, card) in cards.iter().enumerate() {
            if place != link.0 && place != link.1 && card.depth_of_line(line.0, line.1, 2.0) > 0.0 {
                cost += 8.0;
            }
        }
    }
    let span = |side: fn(&Rect) -> f64| {
        let sides = cards.iter().map(side);
        sides.clone().fold(f64::MIN, f64::max) - sides.fold(f64::MAX, f64::min)
    };
    let (wide, tall) = (span(|card| card.centre.x), span(|card| card.centre.y));
    let beyond = (wide / SCREEN.x - 1.0).max(0.0) + (tall / SCREEN.y - 1.0).max(0.0);
    cost + wide / 600.0 + tall / 300.0 + 12.0 * beyond
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cards: usize, links: &[(usize, usize)]) {
        let sizes = vec![(220.0, 88.0); cards];
        let centres = place(&sizes, links);
        assert_eq!(centres.len(), cards);
        assert_eq!(centres, place(&sizes, links), "the same graph gives the same picture");
        let rects: Vec<Rect> = centres.iter().map(|&centre| Rect { centre, width: 220.0, height: 88.0 }).collect();
        for (at, card) in rects.iter().enumerate() {
            assert!(card.centre.x.is_finite() && card.centre.y.is_finite());
            for other in rects.iter().skip(at + 1) {
                let overlap = card.overlap(other, 0.0);
                assert!(overlap.x <= 0.0 || overlap.y <= 0.0, "{card:?} lies on {other:?}");
            }
        }
    }

    #[test]
    fn cards_never_lie_on_each_other() {
        check(0, &[]);
        check(1, &[]);
        check(2, &[(0, 1), (1, 0)]);
        check(5, &[]);
        let chain: Vec<_> = (1..12).map(|at| (at, at - 1)).collect();
        check(12, &chain);
        let star: Vec<_> = (1..40).map(|at| (at, 0)).collect();
        check(40, &star);
        let web: Vec<_> =
            (0..30).flat_map(|a| [(a, (a + 1) % 30), (a, (a * 7 + 3) % 30)]).filter(|(a, b)| a != b).collect();
        check(30, &web);
    }
}

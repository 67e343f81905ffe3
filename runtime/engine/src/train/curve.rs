//! The course of a teaching as a picture: how right the answers were, and how surprising, over the steps.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// One point of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// After how many steps.
    pub step: usize,
    /// Mean surprise at the answers, in nats.
    pub loss: f64,
    /// The share of answers that were right, 0 to 1.
    pub right: f64,
}

/// The most points that are drawn; of more, as many are left out between them as needed.
const MOST_POINTS: usize = 400;

/// Returns so many points of a curve at most, evenly spread, and its last.
pub fn thinned(points: &[CurvePoint], most: usize) -> Vec<CurvePoint> {
    let every = points.len().div_ceil(most.saturating_sub(1).max(1)).max(1);
    let (spread, last) = (points.iter().step_by(every), points.last().filter(|_| points.len() % every != 1 % every));
    spread.chain(last).copied().collect()
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 56.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 44.0;

/// Draws a curve as SVG, readable on light and on dark. Points that are no numbers are left out.
pub fn curve_svg(title: &str, points: &[CurvePoint]) -> String {
    let is_drawn = |point: &CurvePoint| point.loss.is_finite() && point.right.is_finite();
    let points: Vec<CurvePoint> = thinned(points, MOST_POINTS).into_iter().filter(is_drawn).collect();
    let last = points.iter().map(|point| point.step).max().unwrap_or(1).max(1);
    let top = points.iter().map(|point| point.loss).fold(0.5, f64::max);
    let x = |step: usize| LEFT + step as f64 / last as f64 * (WIDTH - LEFT - RIGHT);
    let y = |share: f64| TOP + (1.0 - share.clamp(0.0, 1.0)) * (HEIGHT - TOP - BOTTOM);
    let path = |value: &dyn Fn(&CurvePoint) -> f64| {
        points.iter().fold(String::new(), |mut path, point| {
            let letter = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{:.1} {:.1}", x(point.step), y(value(point)));
            path
        })
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<title>{title}</title>\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\" fill=\"#222222\">{title}</text>\n",
        title = escaped(title)
    );
    for quarter in 0..=4 {
        let share = f64::from(quarter) / 4.0;
        let at = y(share);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{end}\" stroke=\"#dddddd\"/><text x=\"{left}\" y=\"{text:.1}\" text-anchor=\"end\" \
             fill=\"#1f6f43\">{percent:.0}%</text><text x=\"{right}\" y=\"{text:.1}\" fill=\"#a04000\">{loss:.1}</text>",
            end = WIDTH - RIGHT,
            left = LEFT - 8.0,
            right = WIDTH - RIGHT + 8.0,
            text = at + 4.0,
            percent = share * 100.0,
            loss = share * top,
        );
        let step = last * quarter as usize / 4;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555555\">{step}</text>",
            x(step),
            HEIGHT - BOTTOM + 18.0
        );
    }
    let _ = writeln!(
        svg,
        "<path d=\"{}\" fill=\"none\" stroke=\"#a04000\" stroke-width=\"1\" opacity=\"0.6\"/>",
        path(&|point| point.loss / top)
    );
    let _ = writeln!(
        svg,
        "<path d=\"{}\" fill=\"none\" stroke=\"#1f6f43\" stroke-width=\"2\"/>",
        path(&|point| point.right)
    );
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{y}\" fill=\"#1f6f43\">right answers</text><text x=\"{end}\" y=\"{y}\" text-anchor=\"end\" \
         fill=\"#a04000\">surprise (nats)</text><text x=\"{middle}\" y=\"{y}\" text-anchor=\"middle\" fill=\"#555555\">steps</text>\n</svg>",
        y = HEIGHT - 8.0,
        end = WIDTH - RIGHT,
        middle = WIDTH / 2.0
    );
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_goes_from_left_to_right_within_its_frame() {
        let points: Vec<CurvePoint> = (1..=1000)
            .map(|step| CurvePoint { step, loss: 8.0 / step as f64, right: 1.0 - 1.0 / step as f64 })
            .chain([CurvePoint { step: 1001, loss: f64::NAN, right: 0.5 }])
            .collect();
        let svg = curve_svg("A <course> & more", &points);
        assert!(svg.contains("A &lt;course&gt; &amp; more"), "{svg}");
        assert!(!svg.contains("NaN"), "{svg}");
        let drawn = svg.lines().find(|line| line.contains("stroke-width=\"2\"")).unwrap();
        let places: Vec<f64> =
            drawn.split(['M', 'L']).skip(1).filter_map(|p| p.split(' ').next()?.parse().ok()).collect();
        assert!(places.len() > 100 && places.len() <= MOST_POINTS, "{}", places.len());
        assert!(places.is_sorted() && places.iter().all(|x| (LEFT..=WIDTH - RIGHT).contains(x)), "{places:?}");
    }

    #[test]
    fn a_thinned_curve_keeps_its_ends() {
        let points: Vec<CurvePoint> = (0..1000).map(|step| CurvePoint { step, loss: 1.0, right: 0.0 }).collect();
        for count in [0, 1, 2, 5, 63, 64, 65, 128, 999, 1000] {
            let some = &points[..count];
            let thin = thinned(some, 64);
            assert!(thin.len() <= 64 && thin.len() >= count.min(32), "{count}: {}", thin.len());
            assert_eq!((thin.first(), thin.last()), (some.first(), some.last()), "{count}");
            assert!(thin.is_sorted_by(|a, b| a.step < b.step), "{count}");
        }
    }

    #[test]
    fn nothing_is_drawn_of_no_points() {
        let svg = curve_svg("empty", &[]);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"), "{svg}");
    }
}

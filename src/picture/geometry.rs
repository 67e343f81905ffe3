//! Points and boxes of a picture.

use std::ops::{Add, Mul, Sub};

/// A point, or the way from one to another.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
}

impl Add for Point {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { x: self.x + other.x, y: self.y + other.y }
    }
}

impl Sub for Point {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { x: self.x - other.x, y: self.y - other.y }
    }
}

impl Mul<f64> for Point {
    type Output = Self;

    fn mul(self, by: f64) -> Self {
        Self { x: self.x * by, y: self.y * by }
    }
}

impl Point {
    pub(super) fn length(self) -> f64 {
        self.x.hypot(self.y)
    }

    /// Returns the way of length one at a right angle to this; downwards for a way without length.
    pub(super) fn across(self) -> Self {
        let length = self.length();
        if length < 1e-9 { Self { x: 0.0, y: 1.0 } } else { Self { x: -self.y / length, y: self.x / length } }
    }

    pub(super) fn dot(self, other: Self) -> f64 {
        self.x * other.x + self.y * other.y
    }

    /// Returns twice the area that two ways span, with its sign.
    pub(super) fn cross(self, other: Self) -> f64 {
        self.x * other.y - self.y * other.x
    }
}

/// A box around its centre.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rect {
    pub(super) centre: Point,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Rect {
    pub(super) fn left(&self) -> f64 {
        self.centre.x - self.width / 2.0
    }

    pub(super) fn right(&self) -> f64 {
        self.centre.x + self.width / 2.0
    }

    pub(super) fn top(&self) -> f64 {
        self.centre.y - self.height / 2.0
    }

    pub(super) fn bottom(&self) -> f64 {
        self.centre.y + self.height / 2.0
    }

    /// Returns how far two boxes reach into each other, widened by a gap; one part is not positive when they do not.
    pub(super) fn overlap(&self, other: &Self, gap: f64) -> Point {
        Point {
            x: (self.width + other.width) / 2.0 + gap - (self.centre.x - other.centre.x).abs(),
            y: (self.height + other.height) / 2.0 + gap - (self.centre.y - other.centre.y).abs(),
        }
    }

    /// Returns where the way from the centre to `target` leaves the box, widened by a gap.
    pub(super) fn border_towards(&self, target: Point, gap: f64) -> Point {
        let way = target - self.centre;
        let (half_width, half_height) = (self.width / 2.0 + gap, self.height / 2.0 + gap);
        let reach = (half_width / way.x.abs().max(1e-9)).min(half_height / way.y.abs().max(1e-9));
        self.centre + way * reach.min(1.0)
    }

    /// Returns how deep the line between two points runs inside the box widened by a gap, measured across the line; zero
    /// or less when it runs past.
    pub(super) fn depth_of_line(&self, from: Point, to: Point, gap: f64) -> f64 {
        let way = to - from;
        let length = way.length();
        if length < 1e-9 {
            return 0.0;
        }
        let along = (self.centre - from).dot(way) / length;
        let across = way.across();
        let half = |x: f64, y: f64| x.abs() * self.width / 2.0 + y.abs() * self.height / 2.0;
        let reach_along = half(way.x / length, way.y / length) + gap;
        if along < -reach_along || along > length + reach_along {
            return 0.0;
        }
        half(across.x, across.y) + gap - (self.centre - from).dot(across).abs()
    }
}

/// Returns whether two lines cross between their ends.
pub(super) fn lines_cross(a: (Point, Point), b: (Point, Point)) -> bool {
    let side = |line: (Point, Point), point: Point| (line.1 - line.0).cross(point - line.0);
    side(a, b.0) * side(a, b.1) < 0.0 && side(b, a.0) * side(b, a.1) < 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(x: f64, y: f64) -> Point {
        Point { x, y }
    }

    #[test]
    fn boxes_and_lines_meet_as_they_should() {
        let unit = Rect { centre: at(0.0, 0.0), width: 20.0, height: 10.0 };
        assert_eq!(unit.border_towards(at(100.0, 0.0), 0.0), at(10.0, 0.0));
        assert_eq!(unit.border_towards(at(0.0, -100.0), 1.0), at(0.0, -6.0));
        assert_eq!(unit.overlap(&Rect { centre: at(15.0, 0.0), ..unit }, 0.0), at(5.0, 10.0));
        assert!(unit.depth_of_line(at(-50.0, 2.0), at(50.0, 2.0), 0.0) > 0.0);
        assert!(unit.depth_of_line(at(-50.0, 6.0), at(50.0, 6.0), 0.0) < 0.0);
        assert_eq!(unit.depth_of_line(at(30.0, 0.0), at(50.0, 0.0), 0.0), 0.0);
        assert!(lines_cross((at(0.0, 0.0), at(2.0, 2.0)), (at(0.0, 2.0), at(2.0, 0.0))));
        assert!(!lines_cross((at(0.0, 0.0), at(2.0, 2.0)), (at(0.0, 1.0), at(0.0, 5.0))));
    }
}

//! Colours: one for each type of memory and each type of link, on light and on dark ground.

use crate::cube::SemanticType;
use crate::graph::LinkKind;

/// Red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Colour(u8, u8, u8);

impl Colour {
    /// Returns this colour laid over a ground with so much of it showing.
    fn over(self, ground: Self, share: f64) -> Self {
        let mix = |own: u8, under: u8| (f64::from(own) * share + f64::from(under) * (1.0 - share)).round() as u8;
        Self(mix(self.0, ground.0), mix(self.1, ground.1), mix(self.2, ground.2))
    }

    pub(super) fn hex(self) -> String {
        format!("#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }
}

/// What all parts of a picture have in common on one ground.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ground {
    pub(super) paper: Colour,
    pub(super) ink: Colour,
    pub(super) faint: Colour,
    /// How much of a type's colour its card shows.
    tint: f64,
    /// How far colours are lifted towards the ink, to be seen on this ground.
    lift: f64,
}

pub(super) const LIGHT: Ground = Ground {
    paper: Colour(251, 250, 247),
    ink: Colour(31, 35, 42),
    faint: Colour(103, 110, 122),
    tint: 0.09,
    lift: 0.0,
};

pub(super) const DARK: Ground = Ground {
    paper: Colour(21, 23, 28),
    ink: Colour(232, 231, 227),
    faint: Colour(152, 160, 172),
    tint: 0.22,
    lift: 0.28,
};

impl Ground {
    /// Returns a colour as it is seen on this ground.
    pub(super) fn shown(&self, colour: Colour) -> Colour {
        self.ink.over(colour, self.lift)
    }

    /// Returns the face of a card of this colour.
    pub(super) fn face(&self, colour: Colour) -> Colour {
        colour.over(self.paper, self.tint)
    }

    /// Returns a line around a card of this colour.
    pub(super) fn line(&self, colour: Colour) -> Colour {
        self.shown(colour).over(self.paper, 0.45)
    }
}

pub(super) fn of_type(semantic: SemanticType) -> Colour {
    match semantic {
        SemanticType::Fact => Colour(45, 108, 210),
        SemanticType::Preference => Colour(194, 62, 132),
        SemanticType::Event => Colour(214, 125, 31),
        SemanticType::Instruction => Colour(122, 79, 201),
        SemanticType::Skill => Colour(22, 145, 110),
        SemanticType::Summary => Colour(150, 118, 20),
        SemanticType::Document => Colour(13, 138, 150),
        SemanticType::Reflection => Colour(184, 70, 56),
        SemanticType::Message => Colour(100, 116, 139),
    }
}

/// Returns the colour of a link and the dashes of its line; none for a whole line.
pub(super) fn of_link(kind: LinkKind) -> (Colour, Option<&'static str>) {
    match kind {
        LinkKind::Follows => (Colour(139, 147, 160), None),
        LinkKind::DerivedFrom => (Colour(45, 108, 210), None),
        LinkKind::Supersedes => (Colour(205, 66, 53), None),
        LinkKind::Contradicts => (Colour(205, 66, 53), Some("3 4")),
        LinkKind::MergedInto => (Colour(122, 79, 201), None),
        LinkKind::Mentions => (Colour(13, 138, 150), Some("2 4")),
        LinkKind::About => (Colour(13, 138, 150), None),
        LinkKind::Summarises => (Colour(150, 118, 20), Some("9 4")),
        LinkKind::Similar => (Colour(122, 79, 201), Some("6 4")),
        LinkKind::CausedBy => (Colour(214, 125, 31), None),
    }
}

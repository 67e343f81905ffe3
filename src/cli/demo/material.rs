//! What the demonstration reads and asks: the bundled texts, two private notes, and the questions.

/// A bundled text.
pub(super) struct Text {
    pub(super) name: &'static str,
    pub(super) content: &'static str,
    /// When it was written, where it does not say so in a way that is read.
    pub(super) observed: Option<&'static str>,
}

pub(super) const TEXTS: &[Text] = &[
    Text {
        name: "harbour_house.txt",
        content: include_str!("../../../examples/data/harbour_house.txt"),
        observed: None,
    },
    Text {
        name: "guesthouse_handbook.md",
        content: include_str!("../../../examples/data/guesthouse_handbook.md"),
        observed: Some("2024-09-10"),
    },
    Text {
        name: "renovation_plan.md",
        content: include_str!("../../../examples/data/renovation_plan.md"),
        observed: Some("2024-07-16"),
    },
    Text {
        name: "neighbour_notes.txt",
        content: include_str!("../../../examples/data/neighbour_notes.txt"),
        observed: Some("2024-08-20"),
    },
    Text {
        name: "support_chat.jsonl",
        content: include_str!("../../../examples/data/support_chat.jsonl"),
        observed: None,
    },
];

/// Who reads the texts into memory, for everyone in the house.
pub(super) const OWNER: &str = "user:ronja";
/// Who keeps notes of her own.
pub(super) const NOTE_KEEPER: &str = "user:halima";
/// Who has no rights but those of everyone.
pub(super) const GUEST: &str = "user:guest";

pub(super) const NOTES_TAKEN: &str = "2024-09-22T21:00:00Z";
pub(super) const PRIVATE_NOTES: &[&str] = &[
    "Surprise for Wendell's seventieth birthday: Bronwen and I have bought him a new accordion. It is hidden in the flat \
     above the ship chandler.",
    "Note to self: tell Ronja in November, and not earlier, that I would like to buy a share of the house.",
];

/// Questions about what was read.
pub(super) const QUESTIONS: &[&str] = &[
    "Where does Halima keep her adrenaline pen?",
    "When was Leonor born?",
    "Can the floor carry the bath?",
    "How is the next-door neighbour connected with the logbook?",
    "How do I turn the water off?",
    "What does the Jetty plan of the booking software cost?",
];

/// A question whose answer has changed.
pub(super) const CHANGED: &str = "Where does Halima live now?";
/// A question about something that was said twice.
pub(super) const REPEATED: &str = "What should everyone bring on the 21st?";
/// Questions that not everyone gets an answer to, with who does.
pub(super) const GUARDED: &[(&str, &str)] =
    &[("What is the number of the house card?", OWNER), ("What is the surprise for Wendell's birthday?", NOTE_KEEPER)];

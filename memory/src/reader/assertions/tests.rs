//! What the rules find in a sentence, and what they must leave alone.

use jiff::civil::date;

use super::*;

fn found(text: &str) -> Vec<String> {
    let said = Said { text, speaker: "Halima", at: date(2024, 5, 8).at(12, 0, 0, 0) };
    let facts = RuleExtractor.extract(said).unwrap();
    facts
        .iter()
        .map(|fact| {
            format!("{} [{}/{}{}]", fact.statement, fact.subject, fact.attribute, if fact.replaces { "!" } else { "" })
        })
        .collect()
}

#[test]
fn plain_assertions_are_found() {
    for (text, expect) in [
        ("I live in Helsinki.", "Halima lives in Helsinki [Halima/residence!]"),
        ("I moved to Norrhamn last week, above the chandler.", "Halima lives in Norrhamn [Halima/residence!]"),
        ("Oh, and I'm living in Oslo now!", "Halima lives in Oslo [Halima/residence!]"),
        ("Mira works at the bakery.", "Mira works at the bakery [Mira/employer!]"),
        ("I started at Hotel Fyren on Monday.", "Halima works at Hotel Fyren [Halima/employer!]"),
        ("I work at Tikka & Lund, the law firm.", "Halima works at Tikka & Lund [Halima/employer!]"),
        ("I'm allergic to peanuts.", "Halima is allergic to peanuts [Halima/allergy]"),
        ("I\u{2019}m vegetarian now.", "Halima is vegetarian [Halima/diet!]"),
        ("My favourite room is the loft.", "Halima's favourite room is the loft [Halima/favourite room!]"),
        ("The kitchen budget is 8,000 euros.", "the kitchen budget is 8,000 euros [/kitchen budget!]"),
        ("The opening is now on 21 September.", "the opening is 21 September [/opening!]"),
        ("My new phone number is +44 7700 900187.", "Halima's phone number is +44 7700 900187 [Halima/phone number!]"),
        ("So, for the list: my new email is bo@example.org.", "Halima's email is bo@example.org [Halima/email!]"),
        ("The front door is blue now.", "the front door is blue [/front door!]"),
    ] {
        assert_eq!(found(text), [expect], "{text}");
    }
}

#[test]
fn a_sentence_can_assert_several_things() {
    for (text, expect) in [
        (
            "I live in Lisbon with my sister and I work as a nurse at Santa Maria Hospital.",
            &["Halima lives in Lisbon", "Halima works at Santa Maria Hospital"][..],
        ),
        (
            "I\u{2019}ve moved to Oslo, and I got a new job at Bosch!",
            &["Halima lives in Oslo", "Halima works at Bosch"],
        ),
        (
            "I joined Bosch last month but my favourite firm is Siemens.",
            &["Halima works at Bosch", "Halima's favourite firm is Siemens"],
        ),
        ("I quit Siemens and joined Bosch last month.", &["Halima works at Bosch"]),
        ("I joined the others at the pier.", &[]),
        ("We danced and moved the table to the loft.", &[]),
    ] {
        let said = Said { text, speaker: "Halima", at: date(2024, 5, 8).at(12, 0, 0, 0) };
        let facts = RuleExtractor.extract(said).unwrap();
        assert_eq!(facts.iter().map(|fact| fact.statement.as_str()).collect::<Vec<_>>(), expect, "{text}");
    }
}

#[test]
fn what_is_no_plain_assertion_is_left_alone() {
    for text in [
        "Do you live in Lisbon?",
        "I would live in Lisbon if I could.",
        "The soup is lovely.",
        "The best thing is the view.",
        "I moved the table to the loft.",
        "She said the door was fine.",
        "I don't live in Lisbon.",
        "",
        "is is is",
    ] {
        assert_eq!(found(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn passing_times_say_since_when() {
    let said = Said { text: "I moved to Oslo last week.", speaker: "Bo", at: date(2024, 5, 8).at(12, 0, 0, 0) };
    let fact = RuleExtractor.extract(said).unwrap().remove(0);
    assert!(fact.valid.from.unwrap() < Timestamp::from_civil(said.at));
}

use crate::dice::Dice;

use super::{
    Asked, Control, Fact, Probe, RELATIONS, Row, RowShape, Rows, Teaching, WordPool, is_held_out, random_facts,
    random_word, tokenizer,
};

#[test]
fn sentences_are_taken_apart_as_they_were_made() {
    let mut dice = Dice::new(1);
    for (relation, known) in RELATIONS.iter().enumerate() {
        for _ in 0..20 {
            let subject = if known.is_of_thing { "The kayak" } else { "Mira Olsen" };
            let fact = Fact::random(&mut dice, WordPool::Taught, subject, relation);
            assert_eq!(Fact::read(&fact.sentence()), Some(fact.clone()), "{}", fact.sentence());
            assert!(fact.questions().iter().all(|question| question.ends_with('?') && !question.contains("{}")));
        }
    }
}

#[test]
fn what_the_grammar_does_not_have_is_no_fact() {
    for text in [
        "",
        "Mira",
        "lives in Oslo.",
        "Mira lives in .",
        "The weather was fine, and nobody lives in that old house by the long road any more.",
        "Is Mira allergic? Bo owns a kayak.",
    ] {
        assert_eq!(Fact::read(text), None, "{text}");
    }
    let fact = Fact::read("Bo is a friend of Mira").unwrap();
    assert_eq!((fact.subject.as_str(), fact.value.as_str()), ("Bo", "Mira"));
}

#[test]
fn words_of_the_examination_are_in_no_lesson() {
    let mut dice = Dice::new(2);
    let held_out = (0..2000).filter(|_| is_held_out(&random_word(&mut dice, WordPool::Taught))).count();
    assert_eq!(held_out, 0);
    assert!((0..200).all(|_| is_held_out(&random_word(&mut dice, WordPool::HeldOut))));
    assert_eq!(is_held_out("Oslo"), is_held_out("oslo"));
}

#[test]
fn any_text_is_cut_into_pieces_and_comes_back() {
    let tokenizer = tokenizer().unwrap();
    for text in ["Mira lives in Oslo.", "Żółć 東京 🦀", "a  b", "I'd say: \"no\"!", "line\nline", "2026-11-22"]
    {
        let tokens = tokenizer.encode_data(text).unwrap();
        assert!(!tokens.contains(&Control::Unknown.token()), "{text}");
        assert_eq!(tokenizer.decode(&tokens), text);
    }
    // A name is cut alike wherever it stands.
    let middle = |text: &str| tokenizer.encode_data(text).unwrap();
    let name = middle("Kestrel");
    assert!(middle("Kestrel owns a boat.").starts_with(&name));
    assert!(middle("Bo is married to Kestrel.").windows(name.len()).any(|window| window == name));
}

#[test]
fn a_memory_cannot_say_a_control_token() {
    let tokens = tokenizer().unwrap().encode_data("Mira <|end|> lives <|question|> in Oslo").unwrap();
    assert!(tokens.iter().all(|token| *token as usize >= Control::ALL.len()), "{tokens:?}");
}

fn said(row: &Row) -> Vec<Vec<u32>> {
    let mut targets = row.targets.iter();
    row.answers.iter().map(|answer| targets.by_ref().take(answer.count).map(|(_, token)| *token).collect()).collect()
}

#[test]
fn a_row_tells_what_it_asks_for_unless_it_is_not_known() {
    let rows = Rows::small().unwrap();
    let tokenizer = tokenizer().unwrap();
    let mut dice = Dice::new(3);
    for not_known in [0.0, 1.0] {
        for facts in [1, 4, 16] {
            let shape = RowShape { facts, questions: 5, not_known, is_apart: true, pool: WordPool::Taught };
            let row = rows.recall(&mut dice, &shape).unwrap();
            let told: Vec<u32> =
                row.tokens.iter().zip(&row.groups).filter(|(_, group)| **group >= 0).map(|(token, _)| *token).collect();
            let told = tokenizer.decode(&told);
            for answer in said(&row) {
                assert_eq!(answer.last(), Some(&Control::End.token()));
                let answer = tokenizer.decode(&answer);
                assert_eq!(told.contains(&answer), not_known == 0.0, "`{answer}` in `{told}`");
                assert_eq!(answer.contains("I do not know"), not_known == 1.0, "{answer}");
            }
        }
    }
}

#[test]
fn no_question_sees_another_and_memories_apart_see_themselves() {
    let rows = Rows::small().unwrap();
    let memories = ["Mira lives in Oslo.".to_owned(), "Bo owns a kayak.".to_owned()];
    let asked = [("Where does Mira live?", "Mira lives in Oslo."), ("?", "!")].map(|(question, answer)| Asked {
        question: question.to_owned(),
        answer: answer.to_owned(),
        is_kept: false,
    });
    for is_apart in [false, true] {
        let row = rows.row(&memories, &asked, is_apart).unwrap();
        let group = |place: usize| row.groups[place];
        for place in 0..row.tokens.len() {
            for other in 0..row.tokens.len() {
                let is_question = group(place) < 0;
                let expected = other <= place
                    && match (is_question, group(other) < 0) {
                        (true, true) | (false, false) => group(place) == group(other),
                        (true, false) => true,
                        (false, true) => false,
                    };
                assert_eq!(row.sees(place, other), expected, "{place} {other}");
            }
        }
        let told = row.groups.iter().filter(|group| **group >= 0).count();
        let firsts: Vec<u32> = row
            .tokens
            .iter()
            .zip(&row.positions)
            .filter(|(token, _)| **token == Control::Question.token())
            .map(|(_, position)| *position)
            .collect();
        assert_eq!(firsts, [told as u32, told as u32]);
        let apart: std::collections::BTreeSet<i32> = row.groups.iter().copied().filter(|group| *group >= 0).collect();
        assert_eq!(apart.len(), if is_apart { 2 } else { 1 });
    }
}

#[test]
fn as_many_facts_are_made_as_are_asked_for() {
    for seed in 0..400 {
        let count = [1, 16, 50][seed as usize % 3];
        let facts = random_facts(&mut Dice::new(seed), WordPool::HeldOut, count);
        assert_eq!(facts.len(), count);
    }
}

#[test]
fn teaching_takes_no_contradiction_and_examines_what_it_says() {
    let rows = Rows::small().unwrap();
    let fact = |text: &str| Fact::read(text).unwrap();
    let error = Teaching::new(&rows, vec![fact("Mira lives in Oslo."), fact("Mira lives in Rome.")]).err().unwrap();
    assert!(error.to_string().contains("Rome"), "{error}");
    assert!(Teaching::new(&rows, Vec::new()).is_err());
    let teaching = Teaching::new(&rows, vec![fact("Mira lives in Oslo."), fact("Bo owns a kayak.")]).unwrap();
    for probe in Probe::ALL {
        for asked in teaching.examination(&mut Dice::new(4), probe, 6) {
            let is_taught = teaching.facts().iter().any(|fact| fact.sentence() == asked.answer);
            assert_eq!(is_taught, matches!(probe, Probe::Closed | Probe::BesideOthers), "{probe:?} {asked:?}");
            assert_eq!(asked.memories.is_empty(), probe == Probe::Closed, "{probe:?}");
            let is_told = asked.memories.iter().any(|memory| memory.contains(&asked.answer));
            assert_eq!(is_told, matches!(probe, Probe::Told | Probe::Corrected), "{probe:?} {asked:?}");
        }
    }
}

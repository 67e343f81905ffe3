//! Adoption gates: a form is asked what its text says, and used only when it says the same.
//!
//! A segment must give the tokens that its text gives, to questions made of the text by rule, and logits that are near. An adapter
//! must answer questions about what it was taught, asked in other words than in its lessons where there are some and with other memories told beside,
//! at least as well as the text in context does; and what has nothing to do with it must be answered as before.
//!
//! Whatever is examined is the form as it comes back from its bytes, so that what is damaged is found too. All is done on the
//! model's thread; this room knows no space.

use std::sync::Arc;

use memos_engine::adapter::{Adapter, AdapterMix};
use memos_engine::dice::Dice;
use memos_engine::generate::{Answer, Context};
use memos_engine::lesson::{Fact, RELATIONS, WordPool};
use memos_engine::model::Model;
use memos_engine::segment::Segment;
use memos_memory::error::Result;

use super::memory_error;
use super::options::GateBounds;
use super::record::GateScores;

/// Facts that are told beside what an adapter was taught, and of which it was not.
const OTHERS: usize = 6;
/// Words of a sentence that are its question where the grammar does not have the sentence.
const OPENING_WORDS: usize = 4;

/// Takes a text apart into what can be asked for by rule.
pub(super) fn facts_of(text: &str) -> Vec<Fact> {
    sentences(text).filter_map(Fact::read).collect()
}

fn sentences(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(['.', '!', '?', '\n']).map(str::trim).filter(|sentence| !sentence.is_empty())
}

/// Makes questions of a text: for what the grammar has, its own; for other sentences, how they begin.
fn questions_of(text: &str, most: usize) -> Vec<String> {
    let question = |sentence: &str| match Fact::read(sentence) {
        Some(fact) => fact.questions().into_iter().next(),
        None => Some(sentence.split_whitespace().take(OPENING_WORDS).collect::<Vec<_>>().join(" ")),
    };
    sentences(text).filter_map(question).filter(|question| !question.is_empty()).take(most).collect()
}

/// Holds a segment against its text.
pub(super) fn examine_segment(model: &Model, text: &str, segment: &Segment, bounds: &GateBounds) -> Result<GateScores> {
    let told = model.told(&[text]).map_err(memory_error)?;
    let injected = model.injected(std::slice::from_ref(segment), 0).map_err(memory_error)?;
    let questions = questions_of(text, bounds.probes);
    let mut scores = GateScores { probes: questions.len(), ..GateScores::default() };
    let base = AdapterMix::default();
    for question in &questions {
        let [from_text, from_segment] =
            [&told, &injected].map(|context| model.first_logits(context, question, &base).map_err(memory_error));
        let (from_text, from_segment) = (from_text?, from_segment?);
        let pairs = from_text.iter().zip(&from_segment);
        let off = pairs
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, |most, off| if off > most || off.is_nan() { off } else { most });
        // What is no number is as far off as can be.
        scores.logits_off = if off.is_nan() { f32::MAX } else { scores.logits_off.max(off) };
    }
    let ask = |context: &Vec<Context>| {
        let asked = questions.iter().map(|question| (context.clone(), question.as_str())).collect();
        answers(model, asked, &base, bounds)
    };
    let pairs = ask(&told)?.into_iter().zip(ask(&injected)?);
    scores.form_right = pairs.filter(|(a, b)| a.tokens == b.tokens).count();
    Ok(scores)
}

/// Holds an adapter against the text that it was taught.
pub(super) fn examine_adapter(
    model: &Model,
    facts: &[Fact],
    adapter: Arc<Adapter>,
    bounds: &GateBounds,
    seed: u64,
) -> Result<GateScores> {
    let mut dice = Dice::new(seed);
    let (base, taught) = (AdapterMix::default(), AdapterMix::one(adapter));
    let text: String = facts.iter().map(Fact::sentence).collect::<Vec<_>>().join(" ");
    let (mut with_text, mut without, mut expected) = (Vec::new(), Vec::new(), Vec::new());
    let own: Vec<String> =
        facts.iter().take(bounds.probes.div_ceil(2)).filter_map(|fact| fact.questions().pop()).collect();
    for (fact, question) in facts.iter().zip(&own) {
        let others = others(&mut dice, facts);
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        let beside: Vec<&str> = others.iter().copied().chain([text.as_str()]).collect();
        with_text.push((model.told(&[&text]).map_err(memory_error)?, question.as_str()));
        with_text.push((model.told(&beside).map_err(memory_error)?, question.as_str()));
        without.push((model.told(&[]).map_err(memory_error)?, question.as_str()));
        without.push((model.told(&others).map_err(memory_error)?, question.as_str()));
        expected.extend([fact.sentence(), fact.sentence()]);
    }
    let right = |answers: &[Answer]| {
        answers.iter().zip(&expected).filter(|(answer, expected)| answer.text.trim() == expected.as_str()).count()
    };
    let mut scores = GateScores { probes: expected.len(), ..GateScores::default() };
    scores.text_right = right(&answers(model, with_text, &base, bounds)?);
    scores.form_right = right(&answers(model, without, &taught, bounds)?);
    // What is told and was not taught, and what nobody told.
    let unrelated: Vec<(Vec<String>, String)> = (0..bounds.unrelated)
        .filter_map(|number| {
            let told = others(&mut dice, facts);
            let asked = if number % 4 == 3 { others(&mut dice, facts) } else { told.clone() };
            let question = asked.first().and_then(|sentence| Fact::read(sentence))?.questions().into_iter().next()?;
            Some((told, question))
        })
        .collect();
    scores.unrelated = unrelated.len();
    let ask = |adapters: &AdapterMix| {
        let asked: Result<Vec<_>> = unrelated
            .iter()
            .map(|(told, question)| {
                let told: Vec<&str> = told.iter().map(String::as_str).collect();
                Ok((model.told(&told).map_err(memory_error)?, question.as_str()))
            })
            .collect();
        answers(model, asked?, adapters, bounds)
    };
    let pairs = ask(&base)?.into_iter().zip(ask(&taught)?);
    scores.changed = pairs.filter(|(before, after)| before.tokens != after.tokens).count();
    Ok(scores)
}

/// Returns why a form with these scores is kept out; none when it may be used.
pub(super) fn verdict(is_adapter: bool, scores: &GateScores, bounds: &GateBounds) -> Option<String> {
    let GateScores { probes, text_right, form_right, unrelated, changed, logits_off } = *scores;
    if probes == 0 {
        return Some("nothing could be asked of its text, so nothing is known of it".to_owned());
    }
    if !is_adapter {
        if form_right < probes {
            return Some(format!("it answers {} of {probes} questions otherwise than its text", probes - form_right));
        }
        let bound = bounds.logits;
        return (logits_off > bound)
            .then(|| format!("its logits differ by {logits_off:.4}, at most {bound} is allowed"));
    }
    if form_right < text_right || form_right == 0 {
        return Some(format!(
            "it answers {form_right} of {probes} questions rightly, the text in context {text_right}"
        ));
    }
    let share = changed as f64 / unrelated.max(1) as f64;
    let bound = bounds.changed;
    (share > bound).then(|| {
        format!("it changes {changed} of {unrelated} answers to other questions, at most a share of {bound} is allowed")
    })
}

/// Says things that have nothing to do with some facts.
fn others(dice: &mut Dice, facts: &[Fact]) -> Vec<String> {
    let mut told: Vec<Fact> = Vec::with_capacity(OTHERS);
    while told.len() < OTHERS {
        let relation = dice.below(RELATIONS.len());
        let is_of_thing = RELATIONS.get(relation).is_some_and(|relation| relation.is_of_thing);
        let word = memos_engine::lesson::random_word(dice, WordPool::Taught);
        let mut letters = word.chars();
        let name =
            letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>()).unwrap_or_default();
        let subject = if is_of_thing { format!("The {word}") } else { name };
        let fact = Fact::random(dice, WordPool::Taught, &subject, relation);
        if facts.iter().chain(&told).all(|other| other.subject != fact.subject) {
            told.push(fact);
        }
    }
    told.iter().map(Fact::sentence).collect()
}

/// Answers questions in their order.
fn answers(
    model: &Model,
    asked: Vec<(Vec<Context>, &str)>,
    adapters: &AdapterMix,
    bounds: &GateBounds,
) -> Result<Vec<Answer>> {
    model.ask_all(asked, adapters, bounds.probe_tokens).map_err(memory_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_asked_for_what_it_says() {
        let questions = questions_of("Mira lives in Oslo. The rain in Spain falls. Ada owns a kayak.", 8);
        assert_eq!(questions, ["Where does Mira live?", "The rain in Spain", "What does Ada own?"]);
        assert_eq!(facts_of("Mira lives in Oslo. The rain falls mainly here and there.").len(), 1);
        assert!(questions_of(" \n. ", 8).len() <= 1);
    }

    #[test]
    fn forms_pass_and_are_refused_by_their_scores() {
        let bounds = GateBounds::default();
        let segment = GateScores { probes: 4, form_right: 4, logits_off: 0.001, ..GateScores::default() };
        let adapter =
            GateScores { probes: 4, text_right: 3, form_right: 3, unrelated: 64, changed: 1, ..GateScores::default() };
        for (is_adapter, scores, expect) in [
            (false, segment, None),
            (false, GateScores { form_right: 3, ..segment }, Some("1 of 4")),
            (false, GateScores { logits_off: 0.2, ..segment }, Some("differ by 0.2")),
            (false, GateScores { probes: 0, ..segment }, Some("nothing could be asked")),
            (true, adapter, None),
            (true, GateScores { form_right: 2, ..adapter }, Some("2 of 4")),
            (true, GateScores { text_right: 0, form_right: 0, ..adapter }, Some("0 of 4")),
            (true, GateScores { changed: 2, ..adapter }, Some("changes 2 of 64")),
        ] {
            let why = verdict(is_adapter, &scores, &bounds);
            match expect {
                None => assert_eq!(why, None),
                Some(part) => assert!(why.as_ref().is_some_and(|why| why.contains(part)), "{why:?}"),
            }
        }
    }
}

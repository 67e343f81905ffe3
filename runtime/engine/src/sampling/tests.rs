use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::ErrorKind;

/// Gives every token that some chance chooses.
fn chosen(sampling: &Sampling, logits: &[f32]) -> BTreeSet<u32> {
    (0..2000).map(|step| sampling.choose(logits, None, &[], f64::from(step) / 2000.0).unwrap()).collect()
}

fn warm() -> Sampling {
    Sampling { temperature: 1.0, ..Sampling::default() }
}

/// Logits whose probabilities are these.
fn logits(probabilities: &[f32]) -> Vec<f32> {
    probabilities.iter().map(|probability| probability.ln()).collect()
}

#[test]
fn settings_keep_the_tokens_they_should() {
    #[track_caller]
    fn check(sampling: Sampling, expect: &[u32]) {
        let logits = logits(&[0.1, 0.4, 0.05, 0.3, 0.15]);
        assert_eq!(chosen(&sampling, &logits), expect.iter().copied().collect());
    }
    check(Sampling::default(), &[1]);
    check(warm(), &[0, 1, 2, 3, 4]);
    check(Sampling { top_k: Some(2), ..warm() }, &[1, 3]);
    check(Sampling { top_k: Some(9), ..warm() }, &[0, 1, 2, 3, 4]);
    check(Sampling { top_p: 0.39, ..warm() }, &[1]);
    check(Sampling { top_p: 0.41, ..warm() }, &[1, 3]);
    check(Sampling { top_p: 0.8, ..warm() }, &[1, 3, 4]);
    check(Sampling { min_p: 0.3, ..warm() }, &[1, 3, 4]);
    check(Sampling { min_p: 1.0, ..warm() }, &[1]);
    check(Sampling { top_k: Some(3), top_p: 0.8, ..warm() }, &[1, 3]);
    check(Sampling { temperature: 0.0001, ..warm() }, &[1]);
    check(Sampling { temperature: f32::MIN_POSITIVE, ..warm() }, &[1]);
}

#[test]
fn tokens_are_drawn_as_often_as_they_are_likely() {
    let logits = logits(&[0.5, 0.2, 0.3]);
    let mut counts = [0; 3];
    for step in 0..10_000 {
        counts[warm().choose(&logits, None, &[], f64::from(step) / 10_000.0).unwrap() as usize] += 1;
    }
    for (count, expect) in counts.into_iter().zip([5000_i32, 2000, 3000]) {
        assert!(expect.abs_diff(count) <= 1, "{counts:?}");
    }
}

#[test]
fn of_equals_the_lowest_is_taken() {
    assert_eq!(Sampling::default().choose(&[0.0, 3.0, 3.0], None, &[], 0.9).unwrap(), 1);
    assert_eq!(chosen(&Sampling { top_k: Some(2), ..warm() }, &[1.0; 300]), BTreeSet::from([0, 1]));
    assert_eq!(chosen(&Sampling { top_p: 0.01, ..warm() }, &[1.0; 300]), BTreeSet::from([0, 1, 2]));
}

#[test]
fn what_was_said_becomes_less_likely() {
    let stern = Sampling { repetition: 2.0, ..Sampling::default() };
    assert_eq!(stern.choose(&[3.0, 2.0], None, &[0, 0], 0.0).unwrap(), 1);
    assert_eq!(stern.choose(&[5.0, 2.0], None, &[0], 0.0).unwrap(), 0);
    assert_eq!(stern.choose(&[-1.0, -1.5], None, &[0], 0.0).unwrap(), 1);
    assert_eq!(stern.choose(&[3.0, 2.0], None, &[], 0.0).unwrap(), 0);
}

#[test]
fn a_mask_forbids_the_likeliest_too() {
    let mask = TokenMask::of(&[2, 40]);
    let mut logits = vec![0.0; 50];
    logits[7] = 100.0;
    logits[40] = 1.0;
    assert_eq!(Sampling::default().choose(&logits, Some(&mask), &[], 0.0).unwrap(), 40);
    assert_eq!(mask.count(), 2);
    assert!(!mask.allows(41) && !mask.allows(u32::MAX));
}

#[test]
fn what_is_no_number_or_leaves_nothing_is_an_error() {
    #[track_caller]
    fn check(logits: &[f32], mask: Option<&TokenMask>, kind: ErrorKind, says: &str) {
        for sampling in [Sampling::default(), Sampling { top_p: 0.5, ..warm() }] {
            let error = sampling.choose(logits, mask, &[], 0.5).unwrap_err();
            assert_eq!(error.kind(), kind);
            assert!(error.to_string().contains(says), "{error}");
        }
    }
    check(&[0.0, f32::NAN], None, ErrorKind::Corrupt, "`NaN` for token 1");
    check(&[f32::INFINITY], None, ErrorKind::Corrupt, "`inf` for token 0");
    check(&[0.0, f32::NAN], Some(&TokenMask::of(&[0])), ErrorKind::Corrupt, "token 1");
    check(&[], None, ErrorKind::Invalid, "no token");
    check(&[f32::NEG_INFINITY], None, ErrorKind::Invalid, "no token");
    check(&[0.0], Some(&TokenMask::of(&[])), ErrorKind::Invalid, "no token");
}

#[test]
fn settings_that_mean_nothing_are_refused() {
    #[track_caller]
    fn check(sampling: Sampling, says: &str) {
        let error = sampling.choose(&[0.0], None, &[], 0.0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(says), "{error}");
    }
    check(Sampling { temperature: -1.0, ..warm() }, "temperature `-1`");
    check(Sampling { temperature: f32::NAN, ..warm() }, "temperature `NaN`");
    check(Sampling { temperature: 11.0, ..warm() }, "0 to 10");
    check(Sampling { top_p: 0.0, ..warm() }, "top-p `0`");
    check(Sampling { top_p: 1.5, ..warm() }, "top-p `1.5`");
    check(Sampling { min_p: -0.1, ..warm() }, "min-p");
    check(Sampling { top_k: Some(0), ..warm() }, "top-k");
    check(Sampling { repetition: 0.0, ..warm() }, "repetition");
}

fn settings() -> impl Strategy<Value = Sampling> {
    (0.01_f32..3.0, 0.01_f32..=1.0, proptest::option::of(1_usize..700), 0.0_f32..0.5).prop_map(
        |(temperature, top_p, top_k, min_p)| Sampling { temperature, top_p, top_k, min_p, ..Sampling::default() },
    )
}

proptest! {
    /// The quick way, which sorts a part, keeps what the plain way keeps, which sorts all.
    #[test]
    fn what_is_kept_is_the_fewest_likeliest(
        logits in proptest::collection::vec(-8.0_f32..8.0, 1..900), sampling in settings(), chance in 0.0..1.0,
    ) {
        let token = sampling.choose(&logits, None, &[], chance).unwrap();
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |token: u32| (f64::from(logits[token as usize] - highest) / f64::from(sampling.temperature)).exp();
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        order.sort_by(|one, other| weight(*other).total_cmp(&weight(*one)).then(one.cmp(other)));
        order.truncate(sampling.top_k.unwrap_or(usize::MAX));
        let rank = order.iter().position(|other| *other == token);
        prop_assert!(rank.is_some(), "beyond top-k");
        let all: f64 = order.iter().map(|token| weight(*token)).sum();
        let before: f64 = order[..rank.unwrap()].iter().map(|token| weight(*token)).sum();
        prop_assert!(before < f64::from(sampling.top_p) * all * (1.0 + 1e-6), "beyond top-p");
        prop_assert!(weight(token) >= f64::from(sampling.min_p) * (1.0 - 1e-6), "beyond min-p");
    }

    #[test]
    fn the_same_chance_chooses_the_same(
        logits in proptest::collection::vec(-8.0_f32..8.0, 1..900), sampling in settings(), chance in 0.0..=1.0,
    ) {
        let once = sampling.choose(&logits, None, &[], chance).unwrap();
        prop_assert_eq!(once, sampling.choose(&logits, None, &[], chance).unwrap());
    }

    #[test]
    fn only_what_is_allowed_is_chosen(
        logits in proptest::collection::vec(-8.0_f32..8.0, 64..300), allowed in proptest::collection::vec(0_u32..64, 1..5),
        sampling in settings(), chance in 0.0..1.0,
    ) {
        let token = sampling.choose(&logits, Some(&TokenMask::of(&allowed)), &[], chance).unwrap();
        prop_assert!(allowed.contains(&token));
    }
}

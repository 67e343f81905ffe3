use super::*;
use crate::error::ErrorKind;
use crate::segment::SegmentAbout;
use crate::small_model::{small_config, small_decoder, tokens};

fn segment(decoder: &Decoder, keys_values: KeysValues, tokens: &[u32], context: Context) -> Segment {
    let about = SegmentAbout {
        model: String::new(),
        tokenizer: String::new(),
        context,
        adapter: None,
        cubes: Vec::new(),
        created_ms: 0,
    };
    Segment::new(decoder.config(), keys_values, tokens, about).unwrap()
}

fn apart(decoder: &Decoder, seed: u64, count: usize) -> Segment {
    let tokens = tokens(seed, count, decoder.config());
    segment(decoder, decoder.memorise(&tokens).unwrap(), &tokens, Context::Independent)
}

fn behind(decoder: &Decoder, before: &[Segment], seed: u64, count: usize) -> Segment {
    let tokens = tokens(seed, count, decoder.config());
    let parts: Vec<_> = before.iter().map(|segment| segment.keys_values().clone()).collect();
    let all: Vec<u32> = before.iter().flat_map(|segment| segment.tokens().to_vec()).collect();
    segment(decoder, decoder.memorise_behind(&parts, &tokens).unwrap(), &tokens, Context::Behind(of_tokens(&all)))
}

fn answer(decoder: &Decoder, put: impl FnOnce(&mut Cache)) -> Vec<f32> {
    let mut cache = decoder.cache();
    put(&mut cache);
    let question = tokens(99, 7, decoder.config());
    let logits = decoder.prefill(&question, &mut cache, &AdapterMix::default()).unwrap();
    logits.flatten_all().unwrap().to_vec1().unwrap()
}

fn answer_of(decoder: &Decoder, joined: &Joined) -> Vec<f32> {
    answer(decoder, |cache| joined.inject_into(cache).unwrap())
}

/// What the same texts answer when they are read one behind the other.
fn answer_of_text(decoder: &Decoder, segments: &[Segment]) -> Vec<f32> {
    answer(decoder, |cache| {
        for segment in segments {
            decoder.prefill(segment.tokens(), cache, &AdapterMix::default()).unwrap();
            cache.seal().unwrap();
        }
    })
}

fn difference(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
}

#[test]
fn segments_made_as_one_are_joined_bit_for_bit() {
    let decoder = small_decoder(&small_config(), 1);
    let first = apart(&decoder, 2, 40);
    let second = behind(&decoder, std::slice::from_ref(&first), 3, 30);
    let third = behind(&decoder, &[first.clone(), second.clone()], 4, 20);
    let segments = [first, second, third];
    let joined = decoder.joined(&segments, 2).unwrap();
    assert_eq!(joined.report, JoinReport { tokens: 90, ..JoinReport::default() });
    assert_eq!(answer_of(&decoder, &joined), answer_of_text(&decoder, &segments));
    let is_shared = |(part, segment): (&Arc<KeysValues>, &Segment)| Arc::ptr_eq(part, segment.keys_values());
    assert!(joined.parts.iter().zip(&segments).all(is_shared), "nothing was copied");
}

#[test]
fn segments_made_apart_are_moved_and_mended() {
    let decoder = small_decoder(&small_config(), 1);
    let segments = [apart(&decoder, 2, 40), apart(&decoder, 3, 30), apart(&decoder, 4, 3)];
    let text = answer_of_text(&decoder, &segments);
    let joined = |mend: usize| decoder.joined(&segments, mend).unwrap();
    let off = |mend: usize| difference(&answer_of(&decoder, &joined(mend)), &text);
    assert!(off(0) > 1e-3, "what is not mended differs: {}", off(0));
    assert!(off(30) < 1e-4, "what is wholly mended does not: {}", off(30));

    let JoinReport { tokens, moved, mended, copied_bytes, change } = joined(MENDED_TOKENS).report;
    let of_token = decoder.config().kv_bytes_per_token();
    assert_eq!((tokens, moved, mended), (73, 33, 4));
    assert_eq!(copied_bytes, 33 * of_token / 2 + 4 * of_token, "values are shared but for those that are mended");
    assert!(change > 1e-3 && change < 2.0, "{change}");
    assert_eq!(joined(0).report.change, 0.0);
    let positions: Vec<_> = joined(2).parts.iter().map(|part| (part.position, part.tokens)).collect();
    assert_eq!(positions, [(0, 40), (40, 2), (42, 28), (70, 2), (72, 1)]);
}

#[test]
fn a_segment_that_was_moved_comes_back() {
    let decoder = small_decoder(&small_config(), 1);
    let alone = apart(&decoder, 3, 30);
    let away = decoder.moved(alone.keys_values(), 100).unwrap();
    let away = segment(&decoder, away, alone.tokens(), Context::Independent);
    let (home, back) = (decoder.joined(&[alone], 2).unwrap(), decoder.joined(&[away], 2).unwrap());
    assert_eq!((back.report.moved, back.report.mended), (30, 0));
    assert!(difference(&answer_of(&decoder, &home), &answer_of(&decoder, &back)) < 1e-4);
}

#[test]
fn what_cannot_be_joined_is_refused() {
    let decoder = small_decoder(&small_config(), 1);
    let (first, other) = (apart(&decoder, 2, 40), apart(&decoder, 5, 40));
    let second = behind(&decoder, std::slice::from_ref(&first), 3, 30);
    let check = |segments: &[Segment], kind: ErrorKind, says: &str| {
        let error = decoder.joined(segments, 2).unwrap_err();
        assert!(error.kind() == kind && error.message().contains(says), "{error}");
    };
    check(&[], ErrorKind::Invalid, "0 segments");
    check(&vec![first.clone(); MAX_JOINED + 1], ErrorKind::Invalid, "1025 segments");
    check(&[other, second.clone()], ErrorKind::Mismatch, "segment 1 was made behind a text");
    check(&[second], ErrorKind::Mismatch, "segment 0 was made behind a text");
    check(&vec![first; 13], ErrorKind::Invalid, "the model has 512");
}

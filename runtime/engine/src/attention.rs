//! Attention of few tokens to all that they remember, on the processor: what is said, and a question behind injected memory, wait
//! for this and for the linear layers alone.
//!
//! Each score and each output is one sum in the order of the places, wherever parts of a cache meet.

use std::ops::Range;

use multiversion::multiversion;

use crate::softmax::soften;
use crate::threads::share_out;

/// The most tokens for which this is as fast as the library's products.
pub(crate) const MANY_TOKENS: usize = 64;
/// Scores or outputs that are summed at once.
pub(crate) const AT_ONCE: usize = 32;
/// Rows that are multiplied at once.
const ROWS: usize = 6;
/// Tokens whose heads one thread takes at a time.
const SHARE: usize = 16;
/// With fewer products than these, waking another thread takes longer than they do.
const LEAST_SHARED: usize = 1 << 16;

/// How many heads of keys there are, how many of queries to each, and how many numbers a head has: whole multiples of [`AT_ONCE`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads {
    pub(crate) groups: usize,
    pub(crate) group: usize,
    pub(crate) size: usize,
}

/// Keys and values of some places: (places, groups, size) each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places<'a> {
    pub(crate) keys: &'a [f32],
    pub(crate) values: &'a [f32],
}

/// What one thread does at a time.
struct Share {
    /// Which head of keys.
    head: usize,
    /// Which of the tokens.
    tokens: Range<usize>,
    /// What came of it: (tokens, group, size).
    seen: Vec<f32>,
}

/// Lets each of the last tokens (tokens, heads, size) attend to all places up to its own, and returns (tokens, heads, size).
pub(crate) fn attend(heads: Heads, query: &[f32], places: &[Places<'_>]) -> Vec<f32> {
    let Heads { groups, group, size } = heads;
    let of_token = groups * group * size;
    let tokens = query.len() / of_token.max(1);
    let all: usize = places.iter().map(|places| places.keys.len() / (groups * size)).sum();
    let shares = (0..tokens)
        .step_by(SHARE)
        .flat_map(|from| (0..groups).map(move |head| (head, from..tokens.min(from + SHARE))))
        .map(|(head, tokens)| Share { head, tokens, seen: Vec::new() })
        .collect();
    let shares = share_out(shares, tokens * of_token * all >= LEAST_SHARED, |_, share| {
        let query = query.get(share.tokens.start * of_token..share.tokens.end * of_token).unwrap_or_default();
        share.seen = share_of(heads, share.head, query, places, all + share.tokens.end - tokens);
    });
    let mut y = vec![0.0; query.len()];
    for Share { head, tokens, seen } in shares {
        let tokens = y.chunks_exact_mut(of_token).skip(tokens.start);
        for (token, seen) in tokens.zip(seen.chunks_exact(group * size)) {
            let places = token.iter_mut().skip(head * group * size);
            places.zip(seen).for_each(|(place, seen)| *place = *seen);
        }
    }
    y
}

/// Lets the heads of some tokens that share one head of keys attend. The last of them sees so many places, each before it one less.
fn share_of(heads: Heads, head: usize, query: &[f32], places: &[Places<'_>], seen: usize) -> Vec<f32> {
    let Heads { groups, group, size } = heads;
    let tokens = query.len() / (groups * group * size);
    let rows = tokens * group;
    let scale = 1.0 / (size as f32).sqrt();
    let mut x = Vec::with_capacity(rows * size);
    for token in query.chunks_exact(groups * group * size) {
        let mine = token.iter().skip(head * group * size).take(group * size);
        x.extend(mine.map(|number| number * scale));
    }

    let mut scores = vec![0.0; rows * seen];
    let mut turned = vec![0.0; size * AT_ONCE];
    let mut from = 0;
    for places in places {
        let keys = places.keys.get(head * size..).unwrap_or_default();
        for keys in keys.chunks(AT_ONCE * groups * size).take((seen - from).div_ceil(AT_ONCE)) {
            let count = keys.len().div_ceil(groups * size).min(seen - from);
            turn(keys, groups * size, &mut turned);
            for first in (0..rows).step_by(ROWS) {
                let last = rows.min(first + ROWS);
                let mut sums = [[0.0; AT_ONCE]; ROWS];
                let sums = sums.get_mut(..last - first).unwrap_or_default();
                let rows = x.get(first * size..last * size).unwrap_or_default();
                multiply((rows, size, size), (&turned, AT_ONCE), sums);
                for (row, sums) in (first..last).zip(sums) {
                    let places = scores.iter_mut().skip(row * seen + from).take(count);
                    places.zip(sums).for_each(|(place, sum)| *place = *sum);
                }
            }
            from += count;
        }
    }
    for (row, scores) in scores.chunks_exact_mut(seen.max(1)).enumerate() {
        let (mine, later) = scores.split_at_mut(seen + 1 + row / group - tokens);
        soften(mine);
        later.fill(0.0);
    }

    let mut y = vec![0.0; rows * size];
    for column in (0..size).step_by(AT_ONCE) {
        for first in (0..rows).step_by(ROWS) {
            let last = rows.min(first + ROWS);
            let mut sums = [[0.0; AT_ONCE]; ROWS];
            let sums = sums.get_mut(..last - first).unwrap_or_default();
            let mut from = 0;
            for places in places {
                let count = (places.values.len() / (groups * size)).min(seen - from);
                let rows = scores.get(first * seen + from..(last - 1) * seen + from + count).unwrap_or_default();
                let values = places.values.get(head * size + column..).unwrap_or_default();
                multiply((rows, seen, count), (values, groups * size), sums);
                from += count;
            }
            for (row, sums) in (first..last).zip(sums) {
                let places = y.iter_mut().skip(row * size + column);
                places.zip(sums).for_each(|(place, sum)| *place = *sum);
            }
        }
    }
    y
}

/// Lays keys, each of which begins so far behind the one before it, out number by number.
fn turn(keys: &[f32], stride: usize, turned: &mut [f32]) {
    let size = turned.len() / AT_ONCE;
    for (place, key) in keys.chunks(stride).enumerate() {
        for (number, column) in key.iter().take(size).zip(turned.chunks_exact_mut(AT_ONCE)) {
            if let Some(to) = column.get_mut(place) {
                *to = *number;
            }
        }
    }
}

/// Adds the products of rows with columns to their sums: rows of so many numbers, each of which begins so far behind the one before
/// it, and as many runs of [`AT_ONCE`] numbers, that begin so far behind each other.
fn multiply(rows: (&[f32], usize, usize), columns: (&[f32], usize), sums: &mut [[f32; AT_ONCE]]) {
    match sums.len() {
        6 => some::<6>(rows, columns, sums),
        5 => some::<5>(rows, columns, sums),
        4 => some::<4>(rows, columns, sums),
        3 => some::<3>(rows, columns, sums),
        2 => some::<2>(rows, columns, sums),
        _ => some::<1>(rows, columns, sums),
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq+avx2+fma", "x86_64+avx2+fma", "aarch64+neon"))]
#[allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "all bounds are known: constants, and rows of one length"
)]
fn some<const ROWS: usize>(
    (x, x_stride, count): (&[f32], usize, usize),
    (columns, stride): (&[f32], usize),
    sums: &mut [[f32; AT_ONCE]],
) {
    let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
    for (row, x) in rows.iter_mut().zip(x.chunks(x_stride.max(1))) {
        *row = x.get(..count).unwrap_or_default();
    }
    if rows.iter().any(|row| row.len() != count) || sums.len() != ROWS {
        return;
    }
    let mut held = [[0.0_f32; AT_ONCE]; ROWS];
    held.copy_from_slice(sums);
    for (place, column) in columns.chunks(stride.max(1)).take(count).enumerate() {
        let Some(column) = column.first_chunk::<AT_ONCE>() else { break };
        for row in 0..ROWS {
            let x = rows[row][place];
            for lane in 0..AT_ONCE {
                held[row][lane] = x.mul_add(column[lane], held[row][lane]);
            }
        }
    }
    sums.copy_from_slice(&held);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    fn random(dice: &mut Dice, count: usize) -> Vec<f32> {
        (0..count).map(|_| dice.normal() as f32).collect()
    }

    /// The same, number by number and in F64.
    fn slowly(heads: Heads, query: &[f32], all: Places<'_>) -> Vec<f64> {
        let Heads { groups, group, size } = heads;
        let (tokens, places) = (query.len() / (groups * group * size), all.keys.len() / (groups * size));
        let mut y = Vec::new();
        for token in 0..tokens {
            for head in 0..groups * group {
                let query = &query[(token * groups * group + head) * size..][..size];
                let of = |numbers: &[f32], place: usize| -> Vec<f64> {
                    let from = (place * groups + head / group) * size;
                    numbers[from..from + size].iter().map(|x| f64::from(*x)).collect()
                };
                let scores: Vec<f64> = (0..places + token + 1 - tokens)
                    .map(|place| of(all.keys, place).iter().zip(query).map(|(k, q)| k * f64::from(*q)).sum::<f64>())
                    .map(|score| (score / (size as f64).sqrt()).exp())
                    .collect();
                let sum: f64 = scores.iter().sum();
                let mut seen = vec![0.0; size];
                for (place, score) in scores.iter().enumerate() {
                    seen.iter_mut().zip(of(all.values, place)).for_each(|(seen, value)| *seen += score / sum * value);
                }
                y.extend(seen);
            }
        }
        y
    }

    #[test]
    fn each_token_sees_all_places_up_to_its_own() {
        let mut dice = Dice::new(5);
        for (groups, group, size) in [(1, 1, 32), (3, 3, 64), (2, 4, 96)] {
            let heads = Heads { groups, group, size };
            for (tokens, places) in [(1, 1), (1, 33), (2, 2), (7, 64), (17, 100), (MANY_TOKENS, 200)] {
                let query = random(&mut dice, tokens * groups * group * size);
                let keys = random(&mut dice, places * groups * size);
                let values = random(&mut dice, places * groups * size);
                let all = Places { keys: &keys, values: &values };
                let seen = attend(heads, &query, &[all]);
                for (seen, expected) in seen.iter().zip(slowly(heads, &query, all)) {
                    assert!((f64::from(*seen) - expected).abs() < 1e-5, "{seen}, not {expected}: {tokens} of {places}");
                }
            }
        }
    }

    #[test]
    fn it_is_the_same_wherever_parts_meet_and_whoever_else_attends() {
        let mut dice = Dice::new(6);
        let (heads, places, tokens) = (Heads { groups: 2, group: 3, size: 64 }, 150, 20);
        let (of_token, of_place) = (6 * 64, 2 * 64);
        let query = random(&mut dice, tokens * of_token);
        let keys = random(&mut dice, places * of_place);
        let values = random(&mut dice, places * of_place);
        let of = |from: usize, to: usize| Places {
            keys: &keys[from * of_place..to * of_place],
            values: &values[from * of_place..to * of_place],
        };
        let seen = attend(heads, &query, &[of(0, places)]);
        for cuts in [&[1][..], &[31, 32, 33], &[64], &[140, 149]] {
            let bounds: Vec<usize> = [&[0], cuts, &[places]].concat();
            let parts: Vec<_> = bounds.windows(2).map(|pair| of(pair[0], pair[1])).collect();
            assert_eq!(attend(heads, &query, &parts), seen, "cut at {cuts:?}");
        }
        for token in 0..tokens {
            let one = token * of_token..(token + 1) * of_token;
            let parts = [of(0, places + token + 1 - tokens)];
            assert_eq!(attend(heads, &query[one.clone()], &parts), seen[one], "token {token} alone");
        }
    }
}

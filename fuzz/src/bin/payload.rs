//! Checks the body of an activation or of an adapter against its form, which the first eight bytes choose.
#![no_main]

use memos_memory::cube::{Activation, Digest, Dtype, LayerShape, ModelFingerprint, Parametric, Payload, TargetShape};

const DTYPES: [Dtype; 3] = [Dtype::F32, Dtype::F16, Dtype::Bf16];

/// Small numbers mostly, and some that overflow when they are multiplied.
fn number(byte: u8) -> u32 {
    match byte {
        0..=15 => u32::from(byte),
        16..=250 => u32::from(byte % 4) + 1,
        _ => u32::MAX >> (byte - 251),
    }
}

/// Returns the digest of the tokens where a body that is sound has them.
fn tokens(body: &[u8], count: u32) -> Digest {
    let found = body.split_first_chunk::<8>().and_then(|(header, rest)| {
        let from = usize::try_from(u64::from_le_bytes(*header)).ok()?;
        rest.get(from..)?.get(..usize::try_from(count).ok()?.checked_mul(4)?)
    });
    Digest::of(found.unwrap_or_default())
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&[kind, dtype, a, b, c, d, e, f], body)) = bytes.split_first_chunk::<8>() else { return };
    let model = ModelFingerprint { model: Digest::of(b"model"), tokenizer: Digest::of(b"tokenizer") };
    let dtype = DTYPES[usize::from(dtype) % DTYPES.len()];
    let checked = if kind % 2 == 0 {
        let shape = LayerShape { layers: number(a), tokens: number(b), heads: number(c), head_size: number(d) };
        let form = Activation { model, tokens: tokens(body, shape.tokens), position: number(e), dtype, shape };
        Payload::activation(form, body.to_vec())
    } else {
        let target = |name: &str, inputs, outputs| TargetShape {
            name: name.to_owned(),
            inputs: number(inputs),
            outputs: number(outputs),
        };
        let targets = vec![target("q", b, c), target("v", d, e)];
        let targets = targets.into_iter().take(usize::from(f % 3)).collect();
        Payload::parametric(Parametric { base: model, rank: number(a), dtype, targets }, body.to_vec())
    };
    if let Ok(payload) = checked {
        assert_eq!(payload.body(), body);
    }
});

use super::*;
use crate::error::ErrorKind;
use crate::ledger::head::Head;
use crate::ledger::merkle::{NodeKey, Nodes, consistency, inclusion, root};
use crate::time::Timestamp;

const SEED: [u8; 32] = [3; 32];

/// Events that name a record by its digest, and records that name their key by its digest: as little as a proof needs.
struct Space {
    events: Vec<Vec<u8>>,
    records: Vec<Opening>,
}

fn leaf(event: &[u8]) -> Digest {
    Digest::of_parts(&[&[0], event])
}

impl Nodes for Space {
    fn leaves(&self, first: u64, count: usize) -> Result<Vec<Digest>> {
        Ok(self.events.iter().skip(first as usize).take(count).map(|event| leaf(event)).collect())
    }

    fn nodes(&self, first: NodeKey, count: usize) -> Result<Vec<Digest>> {
        let begin = first.index << first.level;
        let mut row = self.leaves(begin, count << first.level)?;
        for _ in 0..first.level {
            row = row.chunks(2).map(|two| Digest::of_parts(&[&[1], two[0].as_bytes(), two[1].as_bytes()])).collect();
        }
        Ok(row)
    }
}

impl Space {
    fn of(size: u64) -> Self {
        let record = |index: u64| {
            let key = *Digest::of(&index.to_le_bytes()).as_bytes();
            let record = [Digest::of(&key).as_bytes().as_slice(), format!("memory {index}").as_bytes()].concat();
            Opening { record, body: None, key: Some(OpenedKey(key)) }
        };
        let records: Vec<_> = (0..size).map(record).collect();
        let event = |(index, record): (u64, &Opening)| {
            [index.to_le_bytes().as_slice(), Digest::of(&record.record).as_bytes()].concat()
        };
        Self { events: (0..).zip(&records).map(event).collect(), records }
    }

    fn head(&self, events: u64, seed: &[u8; 32]) -> SignedHead {
        let digest = leaf(&self.events[events as usize - 1]);
        let (root, at) = (root(self, events).unwrap(), Timestamp::from_millis(events as i64));
        Head { space: "acme/support".parse().unwrap(), events, root, digest, at }.sign(seed)
    }

    fn proof(&self, index: u64, size: u64) -> Proof {
        let event = self.events[index as usize].clone();
        Proof::new(self.head(size, &SEED), event, inclusion(self, index, size).unwrap()).unwrap()
    }

    fn full_proof(&self, index: u64, older: u64, size: u64) -> Proof {
        let path = consistency(self, older, size).unwrap().path;
        let older = Some(Older { head: self.head(older, &SEED), path });
        Proof { older, opening: Some(self.records[index as usize].clone()), ..self.proof(index, size) }
    }
}

fn check_text(text: &str, trust: Trust<'_>) -> Result<Checked<Digest, String>> {
    let read = |index: u64, event: &[u8]| {
        let (number, seal) = event.split_first_chunk::<8>().unwrap();
        assert_eq!(u64::from_le_bytes(*number), index, "only what is shown to stand there is read");
        Ok(Digest::from_bytes(seal.try_into().unwrap()))
    };
    let open = |seal: &Digest, opening: &Opening| {
        let refused = || Error::invalid("the record is not the one that the event names");
        let (commitment, text) = opening.record.split_first_chunk::<32>().ok_or_else(refused)?;
        let key = opening.key.ok_or_else(refused)?;
        if Digest::of(&opening.record) != *seal || Digest::of(&key.0).as_bytes() != commitment {
            return Err(refused());
        }
        Ok(String::from_utf8_lossy(text).into_owned())
    };
    check_proof(text, trust, read, open)
}

fn check(proof: &Proof, trust: Trust<'_>) -> Result<Checked<Digest, String>> {
    check_text(&proof.to_json().unwrap(), trust)
}

#[test]
fn proofs_of_every_size_hold_and_stand_for_no_other_event() {
    let key = SpaceKey::of_seed(&SEED);
    let trust = Trust { key: Some(&key), head: None };
    for size in [1, 2, 3, 16, 17, 1000] {
        let space = Space::of(size);
        for index in (0..size).step_by(size as usize / 7 + 1).chain([size - 1]) {
            let older = size / 2 + 1;
            let proof = space.full_proof(index, older, size);
            let checked = check(&proof, trust).unwrap();
            assert_eq!((checked.index, checked.head.events), (index, size));
            assert_eq!(checked.opened.unwrap(), format!("memory {index}"));
            assert_eq!(checked.older.unwrap().events, older);
            assert!(check(&space.proof(index, size), trust).unwrap().opened.is_none());
            for other in [0, index ^ 1, size / 2, size - 1, size, u64::MAX].into_iter().filter(|other| *other != index)
            {
                assert!(
                    check(&Proof { index: other, ..proof.clone() }, trust).is_err(),
                    "{index} as {other} of {size}"
                );
                if let Some(event) = space.events.get(other as usize) {
                    assert!(check(&Proof { event: event.clone(), ..proof.clone() }, trust).is_err());
                    let opening = Some(space.records[other as usize].clone());
                    assert!(check(&Proof { opening, ..proof.clone() }, trust).is_err());
                }
            }
        }
    }
}

#[test]
fn no_changed_byte_passes() {
    let text = Space::of(5).full_proof(2, 3, 5).to_json().unwrap();
    let trust = Trust::default();
    assert!(check_text(&text, trust).is_ok());
    for at in 0..text.len() {
        for change in [1, 2, 16, 32] {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= change;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(check_text(&changed, trust).is_err(), "byte {at}: {}", &changed[at.saturating_sub(20)..=at]);
        }
        assert!(check_text(&text[..at], trust).is_err(), "cut at {at}");
    }
}

#[test]
fn no_exchanged_part_passes() {
    let space = Space::of(9);
    let proof = space.full_proof(4, 5, 9);
    let another = Space { events: space.events.iter().rev().cloned().collect(), records: Vec::new() };
    let older = |head: SignedHead, path: Vec<Digest>| Some(Older { head, path });
    let path = proof.older.clone().unwrap().path;
    for (what, forged) in [
        ("a head of other events", Proof { head: another.head(9, &SEED), ..proof.clone() }),
        ("a head of fewer events", Proof { head: space.head(8, &SEED), ..proof.clone() }),
        ("a head of another key", Proof { head: space.head(9, &[4; 32]), ..proof.clone() }),
        (
            "an older head of other events",
            Proof { older: older(another.head(5, &SEED), path.clone()), ..proof.clone() },
        ),
        (
            "an older head of another key",
            Proof { older: older(space.head(5, &[4; 32]), path.clone()), ..proof.clone() },
        ),
        ("an older head of another size", Proof { older: older(space.head(6, &SEED), path.clone()), ..proof.clone() }),
        ("an older head that is newer", Proof { older: older(space.head(9, &SEED), path.clone()), ..proof.clone() }),
        ("a path that is too long", Proof { path: vec![proof.path[0]; 5000], ..proof.clone() }),
        ("no path", Proof { path: Vec::new(), ..proof.clone() }),
        ("no event", Proof { event: Vec::new(), ..proof.clone() }),
    ] {
        assert!(check(&forged, Trust::default()).is_err(), "{what}");
    }
    let wrong = inclusion(&space, 4, 8).unwrap();
    assert!(Proof::new(space.head(9, &SEED), space.events[4].clone(), wrong).is_err());
}

#[test]
fn trust_is_asked_for() {
    let space = Space::of(9);
    let proof = space.full_proof(4, 5, 9);
    let (key, other_key) = (SpaceKey::of_seed(&SEED), SpaceKey::of_seed(&[4; 32]));
    let [now, then, between] = [9, 5, 7].map(|events| space.head(events, &SEED));
    let SignedHead { space: name, events, root, digest, .. } = now;
    let later = Head { space: name, events, root, digest, at: Timestamp::from_millis(99) }.sign(&SEED);
    let forged = SignedHead { root: Digest::of(b"other"), ..then.clone() };
    let foreign = space.head(5, &[4; 32]);
    for (what, trust, good) in [
        ("nothing", Trust::default(), true),
        ("the key", Trust { key: Some(&key), head: None }, true),
        ("another key", Trust { key: Some(&other_key), head: None }, false),
        ("the older head", Trust { key: None, head: Some(&then) }, true),
        ("a head of the same events", Trust { key: Some(&key), head: Some(&later) }, true),
        ("a head that the proof does not speak of", Trust { key: None, head: Some(&between) }, false),
        ("a forged head", Trust { key: None, head: Some(&forged) }, false),
        ("a head of another key", Trust { key: None, head: Some(&foreign) }, false),
    ] {
        assert_eq!(check(&proof, trust).is_ok(), good, "{what}");
    }
}

#[test]
fn strange_texts_are_refused() {
    let text = Space::of(3).full_proof(1, 2, 3).to_json().unwrap();
    for (from, to, expect) in [
        ("{\"format\":1", "{\"format\":1,\"more\":0", "unknown field `more`"),
        ("{\"format\":1", "{\"format\":1,\"format\":1", "duplicate field `format`"),
        ("{\"format\":1", "{\"format\":2,\"new\":0", "has format 2, which is newer than this program"),
        ("{\"format\":1", "{\"format\":0", "format 0 is no format"),
        ("\"index\":1,", "", "missing field `index`"),
        ("\"record\":\"", "\"record\":\"=", "expected base64"),
        ("\"key\":\"", "\"key\":\"A", "expected 64 lower-case hexadecimal digits"),
        ("\"path\":[\"", "\"path\":[\"a", "expected 64 lower-case hexadecimal digits"),
        ("{\"format\"", "[{\"format\"", "a proof is one JSON object"),
    ] {
        assert!(text.contains(from), "{from}");
        let error = check_text(&text.replacen(from, to, 1), Trust::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(expect), "{error}");
    }
    for text in ["", "null", "{}", "[]", &"[".repeat(100_000), &"{\"a\":".repeat(100_000)] {
        assert!(check_text(text, Trust::default()).is_err());
    }
    let error = check_text(&" ".repeat(MOST_PROOF_BYTES + 1), Trust::default()).unwrap_err().to_string();
    assert!(error.contains("at most 67108864 are accepted"), "{error}");
}

#[test]
fn what_does_not_fit_is_not_written() {
    let mut proof = Space::of(3).full_proof(1, 2, 3);
    proof.opening.as_mut().unwrap().body = Some(LargeBody(vec![0; MOST_PROOF_BYTES / 4 * 3 + 1]));
    assert_eq!(proof.to_json().unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_key_is_not_logged() {
    let opening = Space::of(1).records.remove(0);
    assert_eq!(format!("{opening:?}"), "Opening(40 bytes, body None, key: true)");
}

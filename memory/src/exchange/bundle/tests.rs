use super::archive::{Archive, write_end, write_member};
use super::manifest::Seal;
use super::record::{BundleGrant, BundleOrigin, BundleVersion};
use super::writer::to_json;
use super::*;
use crate::cube::{CubeDraft, CubeId, IdSource, Kind, Layer, OriginKind, Priority, SeededIds, SemanticType, State};
use crate::embed::Embedder as _;
use crate::error::{ErrorKind, Result};
use crate::graph::{Link, LinkKind};
use crate::time::Timestamp;

fn ids(count: usize) -> Vec<CubeId> {
    let source = SeededIds::new(1);
    let mut ids: Vec<_> = (0..count).map(|at| source.cube_id(Timestamp::from_millis(at as i64))).collect();
    ids.sort();
    ids
}

pub(super) fn text_cube(id: CubeId, text: &str) -> BundleCube {
    BundleCube {
        id,
        version: 2,
        semantic: SemanticType::Fact,
        title: "lemons".into(),
        tags: vec!["topic:fruit".into()],
        path: vec![],
        subject: "ada".into(),
        origin: BundleOrigin {
            principal: "user:ada".parse().unwrap(),
            kind: OriginKind::UserInput,
            task: None,
            session: Some("s1".into()),
            model: None,
            speaker: None,
            reference: None,
            source: None,
        },
        created: Timestamp::from_millis(5),
        observed: Timestamp::from_millis(4),
        valid_from: Some(Timestamp::from_millis(1)),
        valid_until: None,
        governance: BundleGovernance {
            layer: "shared:kitchen".parse::<Layer>().unwrap(),
            owner: "user:ada".parse().unwrap(),
            grants: vec![BundleGrant { to: "group:cooks".into(), read: true, write: false, share: false }],
            lifespan: BundleLifespan::HalfLifeMillis(9),
            legal_hold: true,
            priority: Priority::High,
            sensitivity: Default::default(),
            watermark: None,
        },
        state: State::Activated,
        since: Timestamp::from_millis(5),
        reason: String::new(),
        form: BundleForm::Plaintext,
        content: Digest::of(b""),
        bytes: 0,
        original: None,
        earlier: vec![Digest::of(b"first")],
        derived_from: vec![BundleVersion { cube: id, version: 1 }],
        text: None,
        redacted: false,
    }
    .with_text(text.into())
}

fn heading() -> Heading {
    Heading {
        space: "acme/kitchen".parse().unwrap(),
        exported_by: "user:ada".parse().unwrap(),
        exported_at: Timestamp::from_millis(77),
        ledger: BundleLedger { events: 3, digest: Digest::of(b"event"), root: Some(Digest::of(b"root")) },
        left_out: vec![BundleLeftOut { why: "sensitive".into(), cubes: 1 }],
        licence: None,
        revoked: None,
    }
}

fn signer() -> BundleSigner {
    BundleSigner::from_seed(&[7; 32])
}

/// A segment of one layer and one token.
fn segment(id: CubeId) -> (BundleCube, Vec<u8>) {
    let tokens = 5_u32.to_le_bytes();
    let body = crate::cube::small_segment(tokens);
    let form = BundleForm::Activation(BundleActivation {
        model: Digest::of(b"model"),
        tokenizer: Digest::of(b"tokenizer"),
        token_ids: Digest::of(&tokens),
        position: 0,
        dtype: crate::cube::Dtype::F16,
        layers: 1,
        tokens: 1,
        heads: 2,
        head_size: 4,
    });
    let cube = BundleCube {
        form,
        text: None,
        content: Digest::of(&body),
        bytes: body.len() as u64,
        ..text_cube(id, "to be taken away")
    };
    (cube, body)
}

fn small(signer: Option<&BundleSigner>) -> Vec<u8> {
    let ids = ids(4);
    let mut bytes = Vec::new();
    let mut writer = BundleWriter::new(&mut bytes, BundleLimits::default());
    let (segment, body) = segment(ids[2]);
    writer.cube(&text_cube(ids[0], "There are 12 lemons")).unwrap();
    writer.cube(&text_cube(ids[1], "Bo is \"allergic\"\nto peanuts")).unwrap();
    writer.cube(&segment).unwrap();
    writer.link(Link { from: ids[0], kind: LinkKind::Follows, to: ids[1] }).unwrap();
    writer.link(Link { from: ids[1], kind: LinkKind::About, to: ids[3] }).unwrap();
    assert_eq!(writer.needed_bodies(), [segment.content]);
    writer.body(&body).unwrap();
    let written = writer.finish(heading(), signer).unwrap();
    assert_eq!(written.bytes, bytes.len() as u64);
    bytes
}

fn read(bytes: &[u8]) -> Result<Bundle> {
    read_bundle(bytes, &BundleLimits::default())
}

/// Takes a bundle apart.
fn members(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = Archive::new(bytes, u64::MAX);
    let mut members = Vec::new();
    while let Some(member) = archive.next_member().unwrap() {
        let content = archive.content(&member, u64::MAX).unwrap();
        members.push((member.name, content));
    }
    members
}

/// Puts an archive together of whatever members.
fn archive(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, content) in members {
        write_member(&mut bytes, name, content).unwrap();
    }
    write_end(&mut bytes).unwrap();
    bytes
}

/// Puts an unsigned bundle together in which all digests fit whatever its records say.
fn resealed(mut members: Vec<(String, Vec<u8>)>, change: impl Fn(&mut Manifest)) -> Vec<u8> {
    members.retain(|(name, _)| name != SEAL);
    let at = members.iter().position(|(name, _)| name == MANIFEST).unwrap();
    let mut manifest: Manifest = serde_json::from_slice(&members[at].1).unwrap();
    manifest.members = members[..at]
        .iter()
        .map(|(name, content)| BundleMember {
            name: name.clone(),
            bytes: content.len() as u64,
            sha256: Digest::of(content),
        })
        .collect();
    change(&mut manifest);
    members[at].1 = to_json(&manifest).unwrap();
    let seal = Seal { manifest: Digest::of(&members[at].1), signature: None };
    members.push((SEAL.to_owned(), to_json(&seal).unwrap()));
    archive(&members)
}

#[test]
fn what_was_written_is_read() {
    for signer in [None, Some(signer())] {
        let bytes = small(signer.as_ref());
        assert_eq!(bytes, small(signer.as_ref()), "the same content gives the same bytes");
        let bundle = read(&bytes).unwrap();
        assert_eq!(bundle.signer, signer.map(|signer| signer.key()));
        assert_eq!(bundle.manifest.heading, heading());
        assert_eq!(bundle.manifest.counts, BundleCounts { cubes: 3, redacted: 0, links: 2, bodies: 1 });
        let ids = ids(4);
        assert_eq!(bundle.cubes[1], text_cube(ids[1], "Bo is \"allergic\"\nto peanuts"));
        assert_eq!(bundle.payload(&bundle.cubes[1]).unwrap().as_text(), Some("Bo is \"allergic\"\nto peanuts"));
        assert_eq!(bundle.payload(&bundle.cubes[2]).unwrap().form().kind(), Kind::Activation);
        assert_eq!(bundle.links.iter().map(|link| link.foreign).collect::<Vec<_>>(), [false, true]);
        assert_eq!(bundle.bytes, bytes.len() as u64);
    }
}

#[test]
fn an_empty_bundle_is_one() {
    let mut bytes = Vec::new();
    BundleWriter::new(&mut bytes, BundleLimits::default()).finish(heading(), None).unwrap();
    assert!(read(&bytes).unwrap().cubes.is_empty());
}

#[test]
fn a_header_becomes_a_record_and_keeps_what_it_says() {
    let draft = CubeDraft { title: "t".into(), ..CubeDraft::text(SemanticType::Event, "It rained") };
    let embedder = crate::embed::builtin().unwrap();
    let writer = "user:ada".parse().unwrap();
    let (header, payload) = draft.into_first(ids(1)[0], &writer, Timestamp::from_millis(9), embedder.id());
    let cube = BundleCube::describe(&header, State::Archived).with_text("It rained".into());
    assert_eq!((cube.content, cube.bytes), (header.fingerprint.content, payload.body().len() as u64));
    let json = serde_json::to_string(&cube).unwrap();
    assert_eq!(serde_json::from_str::<BundleCube>(&json).unwrap(), cube, "{json}");
}

#[test]
fn every_flipped_bit_is_refused() {
    let mut tiny = Vec::new();
    let mut writer = BundleWriter::new(&mut tiny, BundleLimits::default());
    writer.cube(&text_cube(ids(1)[0], "There are 12 lemons")).unwrap();
    writer.finish(heading(), Some(&signer())).unwrap();
    // In the larger one, one bit of each byte; in the smaller one, every bit.
    for (bytes, bits) in [(small(None), 1), (tiny, 8)] {
        let mut flipped = bytes.clone();
        for at in 0..bytes.len() {
            for bit in 0..bits {
                flipped[at] ^= 1 << ((at + bit) % 8);
                assert!(read(&flipped).is_err(), "byte {at}, bit {bit}");
                flipped[at] = bytes[at];
            }
        }
    }
}

#[test]
fn every_cut_and_every_addition_is_refused() {
    let bytes = small(None);
    for length in 0..bytes.len() {
        assert!(read(&bytes[..length]).is_err(), "{length}");
    }
    for more in [vec![0], vec![0; 512], vec![0; 10_240], vec![7; 3]] {
        assert!(read(&[bytes.clone(), more].concat()).is_err());
    }
}

#[test]
fn archives_that_are_no_bundles_are_refused() {
    let whole = members(&small(None));
    let named = |name: &str| (name.to_owned(), b"x\n".to_vec());
    let with = |at: usize, member: (String, Vec<u8>)| {
        let mut members = whole.clone();
        members.insert(at, member);
        archive(&members)
    };
    for (bytes, expect) in [
        (with(0, named("../x")), "`../x`: no file of a bundle"),
        (with(0, named("cubes/../../x")), "no file of a bundle"),
        (with(0, named("/etc/passwd")), "no file of a bundle"),
        (with(0, named("cubes/1.jsonl")), "no file of a bundle"),
        (with(0, named("cubes/+00001.jsonl")), "no file of a bundle"),
        (with(0, named("bodies/ABC")), "no file of a bundle"),
        (with(1, whole[0].clone()), "there twice"),
        (with(1, named("cubes/000003.jsonl")), "does not belong"),
        (with(2, named("cubes/000002.jsonl")), "does not belong"),
        (with(4, whole[3].clone()), "there twice"),
        (with(5, whole[4].clone()), "there twice"),
        (with(0, whole[4].clone()), "`seal.json`: the file is there twice or does not belong"),
        (archive(&whole[..4]), "not complete"),
        (archive(&whole[..0]), "not complete"),
        (archive(&whole[..3]), "not complete"),
        (b"PK\x03\x04 something else".repeat(100), "no bundle"),
    ] {
        let error = read(&bytes).unwrap_err().to_string();
        assert!(error.contains(expect), "{expect}: {error}");
    }
}

#[test]
fn records_that_do_not_fit_are_refused_though_every_digest_does() {
    let whole = members(&small(None));
    let swapped = |at: usize, from: &str, to: &str| {
        let mut members = whole.clone();
        let text = String::from_utf8(members[at].1.clone()).unwrap();
        assert!(text.contains(from), "{text}");
        members[at].1 = text.replacen(from, to, 1).into_bytes();
        resealed(members, |_| {})
    };
    let first = ids(4)[0].to_string();
    assert!(read(&resealed(whole.clone(), |_| {})).is_ok());
    for (bytes, expect) in [
        (swapped(0, "12 lemons", "13 lemons"), "line 1: cube"),
        (swapped(0, "\"version\":2", "\"version\":0"), "counted from 1"),
        (swapped(0, "\"version\":2", "\"version\":-1"), "line 1: column"),
        (swapped(0, "\"version\":2", "\"version\":2,\"version\":3"), "duplicate field"),
        (swapped(0, "\"version\":2", "\"version\":2,\"colour\":\"red\""), "unknown field `colour`"),
        (swapped(0, "\"activated\"", "\"erased\""), "does not travel"),
        (swapped(0, "\"activated\"", "\"asleep\""), "`asleep` is no state"),
        (swapped(0, "\"fact\"", "\"rumour\""), "no semantic type"),
        (swapped(0, "shared:kitchen", "shared:Kitchen"), "not a group's name"),
        (swapped(0, "group:cooks", "team:cooks"), "not a principal"),
        (swapped(0, "\"valid_from\":1", "\"valid_from\":3,\"valid_until\":3"), "no stretch of time"),
        (swapped(0, "\"text\":", "\"redacted\":true,\"text\":"), "redacted"),
        (swapped(0, "\"form\":\"plaintext\"", "\"form\":\"hologram\""), "unknown variant"),
        (swapped(0, &first, "ffffffff-ffff-7fff-bfff-ffffffffffff"), "greater id"),
        (swapped(0, "}\n", "}\n\n"), "line 2"),
        (swapped(0, "\"heads\":2", "\"heads\":3"), "tensor"),
        (swapped(1, "\"follows\"", "\"resembles\""), "no link type"),
        (swapped(1, ",\"foreign\":true", ""), "not marked as foreign"),
        (swapped(1, "}\n", ",\"foreign\":true}\n"), "marked as foreign"),
        (resealed(whole.clone(), |manifest| manifest.format = 2), "use a later one"),
        (resealed(whole.clone(), |manifest| manifest.counts.cubes = 9), "counts"),
        (resealed(whole.clone(), |manifest| manifest.members[0].bytes += 1), "is not what the manifest says"),
        (resealed(whole.clone(), |manifest| drop(manifest.members.pop())), "the list of files"),
    ] {
        let error = read(&bytes).unwrap_err().to_string();
        assert!(error.contains(expect), "{expect}: {error}");
    }
    let without_body: Vec<_> = whole.iter().filter(|(name, _)| !name.starts_with("bodies/")).cloned().collect();
    assert!(
        read(&resealed(without_body, |manifest| manifest.counts.bodies = 0)).unwrap_err().to_string().contains("body")
    );
    let mut deep = whole.clone();
    deep[0].1 = [b"[".repeat(100_000), b"\n".to_vec()].concat();
    assert!(read(&resealed(deep, |_| {})).is_err());
}

#[test]
fn a_signature_holds_for_one_manifest_and_one_key() {
    let whole = members(&small(Some(&signer())));
    let (other, last) = (members(&small(Some(&BundleSigner::from_seed(&[8; 32])))), whole.len() - 1);
    let sealed = |seal: Vec<u8>| {
        let mut members = whole.clone();
        members[last].1 = seal;
        archive(&members)
    };
    let text = String::from_utf8(whole[last].1.clone()).unwrap();
    assert_eq!(read(&sealed(other[last].1.clone())).unwrap().signer, Some(BundleSigner::from_seed(&[8; 32]).key()));
    let key = signer().key().to_string();
    for (seal, expect) in [
        (text.replace(&key, &BundleSigner::from_seed(&[8; 32]).key().to_string()), "not one of key"),
        (text.replace(&key, &"0".repeat(64)), "not one of key"),
        (text.replace(&key, &key.to_uppercase()), "64 lower-case hexadecimal"),
        (text.replace("ed25519", "none"), "`ed25519`"),
        (text.replace(&key, "00"), "64 lower-case hexadecimal"),
        (text.replace("\"manifest\"", " \"manifest\""), "as seals are"),
    ] {
        let error = read(&sealed(seal.into_bytes())).unwrap_err().to_string();
        assert!(error.contains(expect), "{expect}: {error}");
    }
}

#[test]
fn limits_hold_and_declared_sizes_are_not_believed() {
    let bytes = small(None);
    let limits = BundleLimits::default();
    for (limits, expect) in [
        (BundleLimits { bundle_bytes: 3000, ..limits.clone() }, "3000 bytes"),
        (BundleLimits { cubes: 2, ..limits.clone() }, "at most 2"),
        (BundleLimits { links: 1, ..limits.clone() }, "at most 1"),
        (BundleLimits { bodies: 0, ..limits.clone() }, "at most 0"),
        (BundleLimits { earlier: 0, ..limits.clone() }, "earlier versions"),
        (BundleLimits { manifest_bytes: 20, ..limits.clone() }, "`manifest.json`: it has"),
        (BundleLimits { space: Limits { text_bytes: 20, ..Limits::default() }, ..limits.clone() }, "the text"),
        (BundleLimits { space: Limits { tags: 0, ..Limits::default() }, ..limits }, "tags"),
    ] {
        let error = read_bundle(&bytes[..], &limits).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(expect), "{expect}: {error}");
    }
    // A header that promises eight gigabytes, and nothing behind it.
    let name = format!("bodies/{}", Digest::of(b"x"));
    let mut header = Vec::new();
    write_member(&mut header, &name, b"").unwrap();
    let huge = archive_header(&header, "77777777777");
    assert!(read(&huge).unwrap_err().to_string().contains("at most 1073741824"));
    let large = archive_header(&header, "00777777777");
    assert!(read(&large).unwrap_err().to_string().contains("ends too early"));
}

/// Writes another size into a header, and the checksum that fits.
fn archive_header(header: &[u8], octal: &str) -> Vec<u8> {
    let mut header = header[..512].to_vec();
    header[124..135].copy_from_slice(octal.as_bytes());
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

#[test]
fn the_writer_writes_nothing_that_cannot_be_read() {
    let ids = ids(3);
    let mut writer = BundleWriter::new(Vec::new(), BundleLimits::default());
    let refused = |result: Result<()>, expect: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(expect), "{expect}: {error}");
    };
    refused(writer.cube(&text_cube(ids[0], "  ")), "empty");
    refused(writer.cube(&BundleCube { bytes: 1, ..text_cube(ids[0], "x y") }), "digest");
    writer.cube(&text_cube(ids[1], "one")).unwrap();
    refused(writer.cube(&text_cube(ids[0], "one")), "out of order");
    refused(writer.cube(&text_cube(ids[1], "one")), "out of order");
    let link = |from: usize, to: usize| Link { from: ids[from], kind: LinkKind::Similar, to: ids[to] };
    refused(writer.link(link(0, 2)), "neither");
    refused(writer.link(link(1, 1)), "itself");
    writer.link(link(1, 2)).unwrap();
    refused(writer.link(link(1, 0)), "out of order");
    refused(writer.cube(&text_cube(ids[2], "late")), "out of order");
    refused(writer.body(b"unasked"), "out of order");
    let mut writer = BundleWriter::new(Vec::new(), BundleLimits::default());
    writer.cube(&segment(ids[0]).0).unwrap();
    assert!(writer.finish(heading(), None).unwrap_err().to_string().contains("is missing"));
}

#[test]
fn many_cubes_make_several_parts() {
    let ids = ids(120);
    let long = "word ".repeat(12_000);
    let mut bytes = Vec::new();
    let mut writer = BundleWriter::new(&mut bytes, BundleLimits::default());
    ids.iter().for_each(|id| writer.cube(&text_cube(*id, &long)).unwrap());
    writer.finish(heading(), None).unwrap();
    let bundle = read(&bytes).unwrap();
    assert_eq!((bundle.cubes.len(), bundle.manifest.members.len()), (120, 2));
    assert!(bundle.manifest.members.iter().all(|member| member.bytes <= PART_BYTES as u64));
}

#[test]
fn noise_is_refused_and_never_panics() {
    let bytes = small(Some(&signer()));
    let mut state = 12_345_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..2000 {
        let mut noisy = bytes.clone();
        let (from, to, length) = (random(noisy.len() - 700), random(noisy.len() - 700), random(600) + 1);
        let piece = noisy[from..from + length].to_vec();
        noisy.splice(to..to + random(length + 1), piece);
        if noisy != bytes {
            assert!(read(&noisy).is_err());
        }
    }
}

use std::path::PathBuf;

use super::*;
use crate::dice::Dice;
use crate::error::ErrorKind;
use crate::small_model::folder;

const BYTES_MAX: u64 = 1 << 30;

fn file(header: &str, numbers: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![1; numbers]].concat()
}

fn opened(bytes: &[u8]) -> Result<TensorFile> {
    let folder = folder();
    let path = folder.path().join("file.safetensors");
    std::fs::write(&path, bytes).unwrap();
    TensorFile::open(&path, BYTES_MAX)
}

fn written(folder: &tempfile::TempDir) -> PathBuf {
    let path = folder.path().join("ours.safetensors");
    let (long, short): (Vec<u8>, Vec<u8>) = ((0..48).collect(), (0..6).collect());
    let tensors = BTreeMap::from([
        ("long".to_owned(), RawTensor { kind: Dtype::F32, shape: &[3, 4], bytes: &long }),
        ("empty".to_owned(), RawTensor { kind: Dtype::F32, shape: &[0, 4], bytes: &[] }),
        ("short".to_owned(), RawTensor { kind: Dtype::F16, shape: &[3], bytes: &short }),
    ]);
    let metadata = BTreeMap::from([("of".to_owned(), "a test, with \"quotes\"\n".to_owned())]);
    let bytes = write(&path, metadata, &tensors).unwrap();
    assert_eq!(bytes, std::fs::metadata(&path).unwrap().len());
    path
}

#[test]
fn what_is_written_is_read_here_and_by_the_crate() {
    let folder = folder();
    let path = written(&folder);
    let file = TensorFile::open(&path, BYTES_MAX).unwrap();
    file.verify().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(theirs.len(), 3);
    for (name, ours) in file.tensors() {
        let theirs = theirs.tensor(name).unwrap();
        assert_eq!((ours.kind, ours.shape, ours.bytes), (theirs.dtype(), theirs.shape(), theirs.data()));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left in the folder");
}

#[test]
fn the_same_file_is_written_every_time() {
    let (one, other) = (folder(), folder());
    assert_eq!(std::fs::read(written(&one)).unwrap(), std::fs::read(written(&other)).unwrap());
}

#[test]
fn headers_that_lie_are_refused() {
    let check = |header: &str, numbers: usize, says: &str| {
        let error = opened(&file(header, numbers)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{header}");
        assert!(error.message().contains(says), "{header}: {error}");
    };
    let tensor = |name: &str, shape: &str, from: u64, to: u64| {
        format!(r#""{name}":{{"dtype":"U8","shape":{shape},"data_offsets":[{from},{to}]}}"#)
    };
    let (a, b) = (tensor("a", "[2]", 0, 2), tensor("b", "[2]", 2, 4));
    opened(&file(&format!("{{{a},{b}}}"), 4)).unwrap();
    check("{", 0, "cannot be read");
    check("[]", 0, "cannot be read");
    check(&format!("{{{a},{a}}}"), 2, "`a` stands there twice");
    check(&format!(r#"{{"__metadata__":{{"x":"1","x":"2"}},{a}}}"#), 2, "`x` stands there twice");
    check(r#"{"__metadata__":{},"__metadata__":{}}"#, 0, "`__metadata__` stands there twice");
    check(r#"{"__metadata__":{"x":1}}"#, 0, "cannot be read");
    check(&format!("{{{a},{}}}", tensor("b", "[2]", 1, 3)), 3, "begin at 1, those before it end at 2");
    check(&format!("{{{a},{}}}", tensor("b", "[2]", 3, 5)), 5, "begin at 3, those before it end at 2");
    check(&format!("{{{a}}}"), 3, "1 bytes that belong to no tensor");
    check(&format!("{{{a}}}"), 1, "0 to 2, and the file has 1");
    check(&format!("{{{}}}", tensor("a", "[3]", 0, 2)), 2, "not the size of its shape [3]");
    check(&format!("{{{}}}", tensor("a", "[2]", 2, 0)), 2, "2 to 0");
    check(&format!("{{{}}}", tensor("a", "[4294967296,4294967296,0]", 0, 0)), 0, "shape of `a` is too large");
    check(&format!("{{{}}}", tensor("a", "[1,1,1,1,1,1,1,1,1]", 0, 1)), 1, "shape of `a` is too large");
    check(&a.replacen("\"a\":", "{\"a\":", 1).replace("U8", "X8").replace("]}", "]}}"), 2, "unknown variant `X8`");
    check(&format!("{{{}}}", a.replace("\"dtype\"", "\"new\":1,\"dtype\"")), 2, "unknown field `new`");
}

#[test]
fn offsets_that_wrap_around_are_refused() {
    // Eight tensors of nearly 2^61 bytes end at the end of what can be counted.
    let size = (1u64 << 61) - 1;
    let all = (0..8).map(|i| {
        format!(r#""t{i}":{{"dtype":"U8","shape":[{size}],"data_offsets":[{},{}]}}"#, i * size, (i + 1) * size)
    });
    let error = opened(&file(&format!("{{{}}}", all.collect::<Vec<_>>().join(",")), 0)).unwrap_err();
    assert!(error.message().contains("and the file has 0"), "{error}");
}

#[test]
fn an_oversize_header_is_refused_before_it_is_read() {
    for length in [MAX_HEADER_BYTES as u64 + 1, u64::MAX, u64::MAX - 7] {
        let error = opened(&length.to_le_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains("its header says it has"), "{error}");
    }
}

#[test]
fn a_file_cut_at_any_byte_is_refused() {
    let folder = folder();
    let bytes = std::fs::read(written(&folder)).unwrap();
    for length in 0..bytes.len() {
        assert_eq!(opened(&bytes[..length]).unwrap_err().kind(), ErrorKind::Corrupt, "cut to {length} bytes");
    }
}

#[test]
fn no_changed_bit_goes_unseen() {
    let folder = folder();
    let path = written(&folder);
    let (bytes, same) = (std::fs::read(&path).unwrap(), TensorFile::open(&path, BYTES_MAX).unwrap());
    let (mut dice, mut seen) = (Dice::new(7), 0);
    for _ in 0..1000 {
        let mut changed = bytes.clone();
        let place = dice.below(changed.len());
        changed[place] ^= 1 << dice.below(8);
        match opened(&changed).and_then(|file| file.verify().map(|()| file)) {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                seen += 1;
            }
            // How the header is spelled may change where that means nothing.
            Ok(file) => {
                assert_eq!(file.metadata(), same.metadata());
                for ((name, one), (other_name, other)) in file.tensors().zip(same.tensors()) {
                    assert_eq!(
                        (name, one.kind, one.shape, one.bytes),
                        (other_name, other.kind, other.shape, other.bytes)
                    );
                }
            }
        }
    }
    assert!(seen > 950, "{seen} of 1,000 changes were seen");
}

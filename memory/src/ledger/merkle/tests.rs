use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;

use super::*;

/// A ledger in memory: leaves, and the nodes that a frontier handed out.
#[derive(Default)]
struct Kept {
    leaves: Vec<Digest>,
    nodes: BTreeMap<u64, Digest>,
    reads: Mutex<usize>,
}

impl Nodes for Kept {
    fn leaves(&self, first: u64, count: usize) -> Result<Vec<Digest>> {
        *self.reads.lock().unwrap() += 1;
        assert!(count < 16);
        Ok(self.leaves.iter().skip(first as usize).take(count).copied().collect())
    }

    fn nodes(&self, first: NodeKey, count: usize) -> Result<Vec<Digest>> {
        *self.reads.lock().unwrap() += 1;
        assert!(count < 16 && first.level > 0 && u32::from(first.level) % STRIDE == 0);
        let from = first.to_number();
        Ok((from..from + count as u64).map_while(|key| self.nodes.get(&key).copied()).collect())
    }
}

fn event(index: u64) -> Vec<u8> {
    format!("event {index}").into_bytes()
}

fn leaf(bytes: &[u8]) -> Digest {
    Digest::of_parts(&[&[0], bytes])
}

fn grow(frontier: &mut Frontier, kept: &mut Kept, bytes: &[u8]) {
    kept.leaves.push(leaf(bytes));
    let nodes = &mut kept.nodes;
    let mut keep = |key: NodeKey, digest| {
        assert_eq!(nodes.insert(key.to_number(), digest), None, "a subtree is completed once");
    };
    frontier.push(leaf(bytes), &mut keep).unwrap();
}

fn ledger(size: u64) -> (Frontier, Kept) {
    let (mut frontier, mut kept) = (Frontier::default(), Kept::default());
    (0..size).for_each(|index| grow(&mut frontier, &mut kept, &event(index)));
    (frontier, kept)
}

/// The definition of RFC 6962, section 2.1, word for word.
fn by_definition(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of(&[]),
        [one] => *one,
        more => {
            let (left, right) = more.split_at(more.len().next_power_of_two() / 2);
            node(&by_definition(left), &by_definition(right))
        }
    }
}

fn bytes_of(path: &[Digest]) -> Vec<u8> {
    path.iter().flat_map(|digest| *digest.as_bytes()).collect()
}

#[test]
fn roots_are_those_of_the_known_tree_of_eight() {
    // The eight inputs and roots that Certificate Transparency's implementations test with.
    let inputs: [&[u8]; 8] = [
        &[],
        &[0x00],
        &[0x10],
        &[0x20, 0x21],
        &[0x30, 0x31],
        &[0x40, 0x41, 0x42, 0x43],
        &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
        &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
    ];
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let (mut frontier, mut kept) = (Frontier::default(), Kept::default());
    for (size, expect) in roots.iter().enumerate() {
        assert_eq!(frontier.root().to_string(), *expect, "{size} leaves");
        assert_eq!(root(&kept, size as u64).unwrap().to_string(), *expect);
        if let Some(input) = inputs.get(size) {
            grow(&mut frontier, &mut kept, input);
        }
    }
}

#[test]
fn every_small_tree_is_the_reference_tree() {
    let (mut frontier, mut kept) = (Frontier::default(), Kept::default());
    let mut reference = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    for size in 0..=130 {
        let expect = by_definition(&kept.leaves);
        assert_eq!(frontier.size(), size);
        assert_eq!(frontier.root(), expect);
        assert_eq!(root(&kept, size).unwrap(), expect);
        assert_eq!(Frontier::restore(size, &kept).unwrap().root(), expect);
        assert_eq!(reference.root().as_bytes().as_slice(), expect.as_bytes());
        for index in 0..size {
            let proof = inclusion(&kept, index, size).unwrap();
            assert_eq!(bytes_of(&proof.path), reference.prove_inclusion(index as usize).as_bytes());
            proof.verify(&event(index), &expect).unwrap();
            // The same proof for another place, another event or another root.
            assert!(InclusionProof { index: index ^ 1, ..proof.clone() }.verify(&event(index), &expect).is_err());
            assert!(proof.verify(&event(index + 1), &expect).is_err());
            assert!(proof.verify(&event(index), &Digest::of(b"another")).is_err());
        }
        for old in 1..=size {
            let proof = consistency(&kept, old, size).unwrap();
            assert_eq!(bytes_of(&proof.path), reference.prove_consistency((size - old) as usize).as_bytes());
            proof.verify(&root(&kept, old).unwrap(), &expect).unwrap();
            assert!(proof.verify(&Digest::of(b"another"), &expect).is_err());
            assert!(proof.verify(&root(&kept, old).unwrap(), &Digest::of(b"another")).is_err());
        }
        grow(&mut frontier, &mut kept, &event(size));
        reference.push(event(size));
    }
}

#[test]
fn what_cannot_be_proved_is_refused() {
    let (_, kept) = ledger(20);
    for (index, size) in [(0, 0), (20, 20), (u64::MAX, 20), (0, u64::MAX)] {
        assert!(inclusion(&kept, index, size).is_err(), "{index} of {size}");
    }
    for (old, new) in [(0, 20), (21, 20), (1, u64::MAX)] {
        assert!(consistency(&kept, old, new).is_err(), "{old} to {new}");
    }
    // More events than there are: a row comes back short.
    assert!(root(&kept, 40).is_err() && inclusion(&kept, 3, 21).is_err() && Frontier::restore(33, &kept).is_err());
}

#[test]
fn a_proof_reads_few_rows_and_the_tree_keeps_few() {
    let size = 100_000;
    let (_, kept) = ledger(size);
    assert_eq!(kept.nodes.len() as u64, [4, 8, 12, 16].map(|level| size >> level).iter().sum::<u64>());
    *kept.reads.lock().unwrap() = 0;
    inclusion(&kept, 77_777, size).unwrap();
    assert!(*kept.reads.lock().unwrap() <= 25);
}

#[test]
fn keys_of_neighbours_follow_each_other() {
    let key = |level, index| NodeKey { level, index };
    assert_eq!(key(4, 0).to_number() + 1, key(4, 1).to_number());
    assert!(key(4, MOST_LEAVES).to_number() < key(8, 0).to_number());
    assert_eq!([key(4, 0).complete_at(), key(8, 2).complete_at()], [16, 768]);
}

/// Events that repeat after 4096, without end: every complete subtree of at least so many is the same at its level.
struct Repeating {
    period: Kept,
    above: Vec<Digest>,
}

const PERIOD: u64 = 1 << 12;

static REPEATING: LazyLock<Repeating> = LazyLock::new(|| {
    let (frontier, period) = ledger(PERIOD);
    let doubled = std::iter::successors(Some(frontier.root()), |below| Some(node(below, below)));
    Repeating { period, above: doubled.take(40).collect() }
});

impl Nodes for Repeating {
    fn leaves(&self, first: u64, count: usize) -> Result<Vec<Digest>> {
        self.period.leaves(first % PERIOD, count)
    }

    fn nodes(&self, first: NodeKey, count: usize) -> Result<Vec<Digest>> {
        match first.level.checked_sub(12) {
            Some(higher) => Ok(vec![self.above[usize::from(higher)]; count]),
            None => self.period.nodes(NodeKey { index: first.index % (PERIOD >> first.level), ..first }, count),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn proofs_in_large_trees_hold_and_no_other_does(
        size in 1..MOST_LEAVES, place in any::<u64>(), old in any::<u64>(), broken in any::<prop::sample::Index>(), bit in 0..256usize,
    ) {
        let size = size >> (place % 40);
        prop_assume!(size > 0);
        let (index, old) = (place % size, old % size + 1);
        let whole = root(&*REPEATING, size).unwrap();
        prop_assert_eq!(Frontier::restore(size, &*REPEATING).unwrap().root(), whole);
        let found = inclusion(&*REPEATING, index, size).unwrap();
        found.verify(&event(index % PERIOD), &whole).unwrap();
        let grown = consistency(&*REPEATING, old, size).unwrap();
        let before = root(&*REPEATING, old).unwrap();
        grown.verify(&before, &whole).unwrap();

        let flip = |path: &[Digest]| {
            let mut path = path.to_vec();
            let at = broken.index(path.len());
            let mut bytes = *path[at].as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            path[at] = Digest::from_bytes(bytes);
            path
        };
        if !found.path.is_empty() {
            let path = flip(&found.path);
            let changed = InclusionProof { path, ..found.clone() };
            prop_assert!(changed.verify(&event(index % PERIOD), &whole).is_err());
            let short = InclusionProof { path: found.path[1..].to_vec(), ..found };
            prop_assert!(short.verify(&event(index % PERIOD), &whole).is_err());
        }
        if !grown.path.is_empty() {
            let path = flip(&grown.path);
            let changed = ConsistencyProof { path, ..grown };
            prop_assert!(changed.verify(&before, &whole).is_err());
        }
    }

    #[test]
    fn no_proof_makes_the_checks_panic(
        numbers in (any::<u64>(), any::<u64>()), shift in 0..64u32, length in 0..70usize, seed in any::<[u8; 32]>(),
    ) {
        let path = vec![Digest::from_bytes(seed); length];
        let (a, b) = (numbers.0 >> shift, numbers.1 >> shift);
        let root = Digest::from_bytes(seed);
        for (a, b) in [(a, b), (b, a), (a, a), (0, b), (b, 0), (a, u64::MAX), (0, (1 << 63) + 1), (1 << 63, u64::MAX), (1, 1 << 63)] {
            let one = InclusionProof { index: a, size: b, path: path.clone() };
            prop_assert!(one.verify(b"event", &root).is_err());
            // Equal sizes with equal roots and an empty path is the one proof that holds.
            let two = ConsistencyProof { old: a, new: b, path: path.clone() };
            prop_assert!(two.verify(&root, &root).is_err() || a == b && path.is_empty());
        }
    }

    #[test]
    fn a_restored_frontier_goes_on_as_the_first_one_would(size in 0..3000u64, more in 0..600u64) {
        let (mut first, mut kept) = ledger(size);
        let mut second = Frontier::restore(size, &kept).unwrap();
        for index in size..size + more {
            let mut completed = Vec::new();
            second.push(leaf(&event(index)), &mut |key, digest| completed.push((key, digest))).unwrap();
            grow(&mut first, &mut kept, &event(index));
            for (key, digest) in completed {
                prop_assert_eq!(kept.nodes.get(&key.to_number()), Some(&digest));
                prop_assert_eq!(key.complete_at(), index + 1);
            }
        }
        prop_assert_eq!(first.root(), second.root());
    }
}

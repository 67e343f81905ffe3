//! The order in which cubes that were made from each other are stored.

/// Returns all places so that each stands behind its sources. In a circle one comes first, whichever.
pub(super) fn sources_first(sources: &[Vec<usize>]) -> Vec<usize> {
    let mut order = Vec::with_capacity(sources.len());
    let mut begun = vec![false; sources.len()];
    // A stack of our own: a chain of sources may be as long as the bundle.
    let mut open: Vec<(usize, std::slice::Iter<'_, usize>)> = Vec::new();
    for start in 0..sources.len() {
        let mut next = Some(start);
        loop {
            if let Some(at) = next
                && let (Some(seen), Some(of)) = (begun.get_mut(at), sources.get(at))
                && !std::mem::replace(seen, true)
            {
                open.push((at, of.iter()));
            }
            let Some((at, rest)) = open.last_mut() else { break };
            next = rest.next().copied();
            if next.is_none() {
                order.push(*at);
                open.pop();
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_stand_before_what_was_made_of_them() {
        for (sources, expect) in [
            (vec![], vec![]),
            (vec![vec![], vec![]], vec![0, 1]),
            (vec![vec![2], vec![], vec![1]], vec![1, 2, 0]),
            (vec![vec![1], vec![0]], vec![1, 0]),
            (vec![vec![0], vec![9]], vec![0, 1]),
        ] {
            assert_eq!(sources_first(&sources), expect, "{sources:?}");
        }
        let chain: Vec<Vec<usize>> = (0..200_000).map(|at| vec![at + 1]).collect();
        assert_eq!(sources_first(&chain).first(), Some(&199_999));
    }
}

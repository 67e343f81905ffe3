//! How fast principals may ask of one space: a bucket each, filled as the charter says. All sessions of a principal share
//! theirs.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use memos_memory::cube::PrincipalId;
use memos_memory::error::{Error, ErrorKind, Result};
use memos_memory::governance::Rules;
use memos_memory::governance::quota::Bucket;
use memos_memory::time::Timestamp;

/// What one principal may ask for just now.
struct Allowance {
    /// The rules by which the buckets were made.
    rules: Arc<Rules>,
    requests: Option<Bucket>,
    writes: Option<Bucket>,
    last: Timestamp,
}

impl Allowance {
    fn new(rules: &Arc<Rules>, principal: &PrincipalId, now: Timestamp) -> Self {
        let quota = rules.charter().quota(principal);
        Self { rules: rules.clone(), requests: quota.requests(now), writes: quota.writes(now), last: now }
    }
}

/// The rates of one space.
pub(crate) struct Rates {
    most: usize,
    allowances: DashMap<PrincipalId, Allowance>,
}

impl Rates {
    /// Makes rates that know so many principals at a time.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, allowances: DashMap::new() }
    }

    /// Takes one request, of so many changes, out of what a principal may ask for.
    pub(crate) fn admit(
        &self,
        rules: &Arc<Rules>,
        principal: &PrincipalId,
        changes: u32,
        now: Timestamp,
    ) -> Result<()> {
        if self.allowances.len() >= self.most && !self.allowances.contains_key(principal) {
            self.forget(now)?;
        }
        let mut allowance =
            self.allowances.entry(principal.clone()).or_insert_with(|| Allowance::new(rules, principal, now));
        if !Arc::ptr_eq(&allowance.rules, rules) {
            *allowance = Allowance::new(rules, principal, now);
        }
        allowance.last = now;
        let Allowance { requests, writes, .. } = &mut *allowance;
        // Looked at on a copy first: what is refused for its changes has not made its request either.
        let mut asked = *requests;
        take(&mut asked, now, 1).map_err(|wait| too_fast(principal, "requests", wait))?;
        if changes > 0 {
            take(writes, now, changes).map_err(|wait| too_fast(principal, "changes", wait))?;
        }
        *requests = asked;
        Ok(())
    }

    /// Forgets the half of the principals who asked longest ago.
    fn forget(&self, now: Timestamp) -> Result<()> {
        let mut last: Vec<Timestamp> = self.allowances.iter().map(|allowance| allowance.last).collect();
        let middle = last.len() / 2;
        let (_, middle, _) = last.select_nth_unstable(middle);
        let middle = *middle;
        // A bucket that is forgotten is full again, so none is that was used in this second.
        let second_ago = Timestamp::from_millis(now.as_millis().saturating_sub(1000));
        self.allowances.retain(|_, allowance| allowance.last > middle || allowance.last > second_ago);
        if self.allowances.len() >= self.most {
            let full = format!("{} principals ask at the same time, which is as many as are counted", self.most);
            return Err(Error::new(ErrorKind::Busy, full + "; try again in a second"));
        }
        Ok(())
    }
}

fn take(bucket: &mut Option<Bucket>, now: Timestamp, amount: u32) -> std::result::Result<(), Duration> {
    bucket.as_mut().map_or(Ok(()), |bucket| bucket.take(now, amount))
}

fn too_fast(principal: &PrincipalId, what: &str, wait: Duration) -> Error {
    Error::new(
        ErrorKind::Busy,
        format!(
            "`{principal}` has made as many {what} as its quota allows; try again in {} ms",
            wait.as_millis().max(1)
        ),
    )
}

#[cfg(test)]
mod tests {
    use memos_memory::governance::Charter;

    use super::*;

    fn rules(toml: &str) -> Arc<Rules> {
        Arc::new(Charter::parse(toml).unwrap().rules().unwrap())
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_principal_is_held_to_its_rate_and_other_rules_hold_at_once() {
        let (ada, bo): (PrincipalId, PrincipalId) = ("user:ada".parse().unwrap(), "user:bo".parse().unwrap());
        let slow = rules("[quotas.default]\nrequests_per_second = 2.0\nwrites_per_second = 1.0\n");
        let rates = Rates::new(100);
        let kind = |outcome: Result<()>| outcome.err().map(|error| error.kind());
        assert_eq!(kind(rates.admit(&slow, &ada, 0, at(0))), None);
        assert_eq!(kind(rates.admit(&slow, &ada, 1, at(0))), None);
        assert_eq!(kind(rates.admit(&slow, &ada, 0, at(0))), Some(ErrorKind::Busy));
        assert_eq!(kind(rates.admit(&slow, &bo, 0, at(0))), None, "each has their own");
        assert_eq!(kind(rates.admit(&slow, &ada, 1, at(600))), Some(ErrorKind::Busy), "one change a second");
        assert_eq!(kind(rates.admit(&slow, &ada, 0, at(600))), None, "what was refused took nothing");
        let open = rules("[audit]\nreads = false\n");
        (0..100).for_each(|_| rates.admit(&open, &ada, 5, at(600)).unwrap());
    }

    #[test]
    fn who_asked_long_ago_is_forgotten_and_who_asks_now_is_not() {
        let slow = rules("[quotas.default]\nrequests_per_second = 1.0\n");
        let rates = Rates::new(4);
        let name = |number: usize| format!("agent:{number}").parse::<PrincipalId>().unwrap();
        for number in 0..4 {
            rates.admit(&slow, &name(number), 0, at(0)).unwrap();
        }
        assert_eq!(rates.admit(&slow, &name(9), 0, at(10)).unwrap_err().kind(), ErrorKind::Busy);
        rates.admit(&slow, &name(3), 0, at(5000)).unwrap();
        rates.admit(&slow, &name(9), 0, at(5001)).unwrap();
        assert_eq!(rates.admit(&slow, &name(3), 0, at(5001)).unwrap_err().kind(), ErrorKind::Busy, "still known");
    }
}

//! What is deleted to make room: by age, by the size of everything, by free space. Nothing unless the settings say so,
//! never what is marked to be kept, never what still runs. Decides only; others list and delete.

use std::time::Duration;

use reelay_signaling::RecordingId;
use serde::Serialize;

/// When a recording has to go; nothing set, nothing goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// It ended longer ago than this.
    pub max_age: Option<Duration>,
    /// All recordings together have more bytes than this: the oldest go.
    pub max_total: Option<u64>,
    /// The disk has fewer free bytes than this: the oldest go.
    pub min_free: Option<u64>,
}

/// A recording as far as this is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Which.
    pub id: RecordingId,
    /// Of which room.
    pub room: String,
    /// When it began, in milliseconds since 1970.
    pub started_at_ms: i64,
    /// When it ended.
    pub ended_at_ms: i64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Somebody marked it to be kept.
    pub is_kept: bool,
    /// Somebody still writes into it.
    pub is_active: bool,
}

/// Which rule takes a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// `max_age`.
    Age,
    /// `max_total`.
    Total,
    /// `min_free`.
    Free,
}

impl Rules {
    /// True when nothing is ever deleted.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// What goes now, oldest first.
    pub fn plan<'a>(&self, items: &'a [Item], now_ms: i64, mut free: u64) -> Vec<(&'a Item, Reason)> {
        let mut total = sum(items.iter());
        let mut candidates: Vec<&Item> = items.iter().filter(|item| !item.is_kept && !item.is_active).collect();
        candidates.sort_by_key(|item| (item.ended_at_ms, item.started_at_ms));
        let mut going = Vec::new();
        for item in candidates {
            let age_ms = now_ms.saturating_sub(item.ended_at_ms);
            let reason = if self.max_age.is_some_and(|most| age_ms > most.as_millis() as i64) {
                Reason::Age
            } else if self.max_total.is_some_and(|most| total > most.into()) {
                Reason::Total
            } else if self.min_free.is_some_and(|least| free < least) {
                Reason::Free
            } else {
                break;
            };
            total = total.saturating_sub(item.bytes.into());
            free = free.saturating_add(item.bytes);
            going.push((item, reason));
        }
        going
    }
}

/// Bytes a day, by what the last week has brought; less than a day counts as one.
pub fn bytes_per_day(items: &[Item], now_ms: i64) -> u64 {
    let oldest = items.iter().map(|item| item.started_at_ms).min().unwrap_or(now_ms);
    let days = (now_ms.saturating_sub(oldest) / DAY_MS).clamp(1, WEEK_DAYS);
    let recent = items.iter().filter(|item| item.started_at_ms >= now_ms - days * DAY_MS);
    u64::try_from(sum(recent) / days as u128).unwrap_or(u64::MAX)
}

// Manifests may say anything.
fn sum<'a>(items: impl Iterator<Item = &'a Item>) -> u128 {
    items.map(|item| u128::from(item.bytes)).sum()
}

/// When the disk is full if it goes on like this, in milliseconds since 1970; `None` when that is years away.
pub fn full_at_ms(free: u64, bytes_per_day: u64, now_ms: i64) -> Option<i64> {
    let days = free.checked_div(bytes_per_day).and_then(|days| i64::try_from(days).ok())?;
    (days < FAR_DAYS).then(|| now_ms + days * DAY_MS)
}

const DAY_MS: i64 = 24 * 3600 * 1000;
const WEEK_DAYS: i64 = 7;
const FAR_DAYS: i64 = 3650;

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1_000_000_000;

    /// One recording of 1 GB for each day of the last `days`, the oldest first.
    fn shelf(days: u32) -> Vec<Item> {
        let item = |n: u32| Item {
            id: format!("01920000-0000-7000-8000-{n:012x}").parse().unwrap(),
            room: "team".into(),
            started_at_ms: (100 - i64::from(days - n)) * DAY_MS,
            ended_at_ms: (100 - i64::from(days - n)) * DAY_MS,
            bytes: GB,
            is_kept: false,
            is_active: false,
        };
        (0..days).map(item).collect()
    }

    fn check(items: &[Item], rules: Rules, free: u64, expected: &[(usize, Reason)]) {
        let plan = rules.plan(items, 100 * DAY_MS, free);
        let plan: Vec<_> = plan.iter().map(|(item, reason)| (item.id.clone(), *reason)).collect();
        assert_eq!(plan, expected.iter().map(|(n, reason)| (items[*n].id.clone(), *reason)).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_goes_unless_it_is_said() {
        check(&shelf(50), Rules::default(), 0, &[]);
        assert!(Rules::default().is_none());
    }

    #[test]
    fn each_rule_takes_the_oldest_and_no_more_than_needed() {
        let items = shelf(5);
        let age = |days: u64| Rules { max_age: Some(Duration::from_secs(days * 24 * 3600)), ..Rules::default() };
        check(&items, age(5), 0, &[]);
        check(&items, age(4), 0, &[(0, Reason::Age)]);
        let total = |bytes| Rules { max_total: Some(bytes), ..Rules::default() };
        check(&items, total(5 * GB), 0, &[]);
        check(&items, total(5 * GB - 1), 0, &[(0, Reason::Total)]);
        let free = Rules { min_free: Some(3 * GB), ..Rules::default() };
        check(&items, free, 3 * GB, &[]);
        check(&items, free, 3 * GB / 2, &[(0, Reason::Free), (1, Reason::Free)]);
        let both = Rules { max_total: Some(2 * GB), ..age(4) };
        check(&items, both, 0, &[(0, Reason::Age), (1, Reason::Total), (2, Reason::Total)]);
    }

    #[test]
    fn what_is_kept_or_runs_stays() {
        let mut items = shelf(4);
        items[0].is_kept = true;
        items[1].is_active = true;
        check(&items, Rules { max_total: Some(0), ..Rules::default() }, 0, &[(2, Reason::Total), (3, Reason::Total)]);
    }

    #[test]
    fn the_day_on_which_the_disk_is_full_follows_the_last_week() {
        let now = 100 * DAY_MS;
        assert_eq!(bytes_per_day(&shelf(50), now), GB);
        assert_eq!(bytes_per_day(&shelf(2), now), GB);
        assert_eq!(bytes_per_day(&[], now), 0);
        assert_eq!(full_at_ms(10 * GB, GB, now), Some(110 * DAY_MS));
        assert_eq!((full_at_ms(10 * GB, 0, now), full_at_ms(u64::MAX, 1, now)), (None, None));
    }

    #[test]
    fn sizes_and_times_that_cannot_be_break_no_plan() {
        let mut items = shelf(4);
        for item in &mut items {
            item.bytes = u64::MAX / 2;
        }
        // The machine's clock was a day ahead for a while, and then an hour behind.
        items[3].ended_at_ms += DAY_MS;
        let now = items[2].ended_at_ms - 3_600_000;
        assert!(bytes_per_day(&items, now) >= u64::MAX / 2);
        let rules = Rules { max_age: Some(Duration::from_secs(24 * 3600)), ..Rules::default() };
        let gone: Vec<_> = rules.plan(&items, now, 0).into_iter().map(|(item, _)| item.ended_at_ms).collect();
        assert!(gone.iter().all(|ended| now - ended > DAY_MS), "{gone:?}");
        let rules = Rules { max_total: Some(1), ..Rules::default() };
        assert_eq!(rules.plan(&items, now, 0).len(), 4);
    }
}

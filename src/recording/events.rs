//! Lines of `events.jsonl` and the times in them. Pure.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The server's wall clock, read while nothing is recorded: a step of the machine's clock does not move what is being
/// recorded. It is for names and dates; places in time come from the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct WallClock {
    at_zero: SystemTime,
}

impl WallClock {
    /// What the wall clock said at server time 0.
    pub fn new(at_zero: SystemTime) -> Self {
        Self { at_zero }
    }

    /// The clock to go by from now on, if the machine's was stepped since: `wall` is what it says at `server_us`.
    pub fn stepped(&self, wall: SystemTime, server_us: i64) -> Option<Self> {
        let at_zero = wall.checked_sub(Duration::from_micros(server_us.max(0) as u64))?;
        let moved = at_zero.duration_since(self.at_zero).unwrap_or_else(|error| error.duration());
        (moved > STEP).then_some(Self { at_zero })
    }

    /// RFC 3339 UTC of a server time, to the millisecond.
    pub fn text(&self, server_us: i64) -> String {
        let ms = self.unix_ms(server_us);
        let at =
            OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        at.format(&Rfc3339).unwrap_or_default()
    }

    /// Milliseconds since 1970 of a server time.
    pub fn unix_ms(&self, server_us: i64) -> i64 {
        let zero = self.at_zero.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        zero.as_millis() as i64 + server_us.div_euclid(1000)
    }
}

/// What the machine's clock says now.
pub type MachineClock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The machine's clock was set, and did not just drift for a while.
const STEP: Duration = Duration::from_secs(2);

/// The line of an event: a JSON object with `t_ms` and `at`, without the line feed.
pub fn line(mut event: Value, t_ms: u64, at: &str) -> String {
    if let Value::Object(fields) = &mut event {
        fields.insert("t_ms".into(), json!(t_ms));
        fields.entry("at").or_insert_with(|| json!(at));
    }
    event.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_both_times() {
        let clock = WallClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let text = line(json!({"type": "mark"}), 1500, &clock.text(1_500_999));
        assert_eq!(text, r#"{"at":"2023-11-14T22:13:21.5Z","t_ms":1500,"type":"mark"}"#);
        assert!(clock.text(-1).starts_with("2023-11-14T22:13:19.999"));
    }

    #[test]
    fn step_of_the_machines_clock_is_seen_and_drift_is_not() {
        let (zero, hour) = (SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000), Duration::from_secs(3600));
        let clock = WallClock::new(zero);
        let (passed, passed_us) = (Duration::from_secs(90), 90_000_000);
        assert!(clock.stepped(zero + passed, passed_us).is_none());
        assert!(clock.stepped(zero + passed + Duration::from_millis(900), passed_us).is_none());
        for wall in [zero + passed + hour, zero + passed - hour] {
            let stepped = clock.stepped(wall, passed_us).expect("an hour is no drift");
            assert_eq!(stepped.text(passed_us), WallClock::new(wall).text(0));
        }
    }
}

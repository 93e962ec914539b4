//! Who speaks, from the audio levels that clients put on their packets (RFC 6464). Hears no sound itself.

use std::time::{Duration, Instant};

use reelay_signaling::ParticipantId;

/// Watches the microphones of a room.
#[derive(Debug, Default)]
pub struct Speaking {
    people: Vec<Person>,
    speakers: Vec<ParticipantId>,
    is_changed: bool,
}

#[derive(Debug)]
struct Person {
    id: ParticipantId,
    /// Since when it has been loud, with pauses shorter than [`PAUSE`].
    since: Instant,
    last_loud: Instant,
    is_speaking: bool,
    /// Smoothed level, 0 loudest.
    level: f32,
}

impl Speaking {
    /// A packet of somebody's microphone with its level: 0 loudest to 127 silent.
    pub fn on_level(&mut self, now: Instant, id: &ParticipantId, level: u8) {
        let is_loud = level < LOUD;
        let at = self.people.iter().position(|person| person.id == *id);
        let person = match at {
            Some(at) => &mut self.people[at],
            None if !is_loud => return,
            None => {
                let level = f32::from(level);
                self.people.push(Person { id: id.clone(), since: now, last_loud: now, is_speaking: false, level });
                return;
            }
        };
        person.level += (f32::from(level) - person.level) * SMOOTHING;
        if !is_loud {
            return;
        }
        if !person.is_speaking && now.saturating_duration_since(person.last_loud) > PAUSE {
            person.since = now;
        }
        person.last_loud = now;
        if !person.is_speaking && now.saturating_duration_since(person.since) >= ON_AFTER {
            person.is_speaking = true;
            self.is_changed = true;
        }
    }

    /// Somebody's microphone is gone.
    pub fn forget(&mut self, id: &ParticipantId) {
        self.is_changed |= self.people.iter().any(|person| person.id == *id && person.is_speaking);
        self.people.retain(|person| person.id != *id);
    }

    /// Takes those off who have been quiet.
    pub fn on_timeout(&mut self, now: Instant) {
        for person in &mut self.people {
            if person.is_speaking && now >= person.last_loud + OFF_AFTER {
                person.is_speaking = false;
                self.is_changed = true;
            }
        }
        self.people.retain(|person| person.is_speaking || now < person.last_loud + OFF_AFTER);
    }

    /// When somebody may have been quiet for long enough.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.people.iter().map(|person| person.last_loud + OFF_AFTER).min()
    }

    /// Who speaks now, loudest first, when that has changed.
    pub fn poll(&mut self) -> Option<Vec<ParticipantId>> {
        if !std::mem::take(&mut self.is_changed) {
            return None;
        }
        let mut loud: Vec<&Person> = self.people.iter().filter(|person| person.is_speaking).collect();
        loud.sort_by(|a, b| a.level.total_cmp(&b.level));
        let speakers: Vec<ParticipantId> = loud.into_iter().map(|person| person.id.clone()).collect();
        if speakers == self.speakers {
            return None;
        }
        self.speakers.clone_from(&speakers);
        Some(speakers)
    }
}

/// −50 dBov: speech is at −20 to −40, a quiet room at −60 and below.
const LOUD: u8 = 50;
const ON_AFTER: Duration = Duration::from_millis(300);
const OFF_AFTER: Duration = Duration::from_secs(1);
// Between words; longer silence begins a new utterance.
const PAUSE: Duration = Duration::from_millis(200);
const SMOOTHING: f32 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> ParticipantId {
        ParticipantId::from_random(n)
    }

    fn talk(speaking: &mut Speaking, start: Instant, from_ms: u64, to_ms: u64, who: u64, level: u8) {
        for ms in (from_ms..to_ms).step_by(20) {
            speaking.on_level(start + Duration::from_millis(ms), &id(who), level);
        }
    }

    #[test]
    fn speech_counts_after_300_ms_and_ends_a_second_later() {
        let start = Instant::now();
        let mut speaking = Speaking::default();
        talk(&mut speaking, start, 0, 300, 1, 30);
        assert_eq!(speaking.poll(), None);
        talk(&mut speaking, start, 300, 400, 1, 30);
        assert_eq!(speaking.poll(), Some(vec![id(1)]));
        talk(&mut speaking, start, 400, 1300, 1, 90);
        assert_eq!(speaking.poll_timeout(), Some(start + Duration::from_millis(1380)));
        speaking.on_timeout(start + Duration::from_millis(1379));
        assert_eq!(speaking.poll(), None);
        speaking.on_timeout(start + Duration::from_millis(1380));
        assert_eq!(speaking.poll(), Some(vec![]));
        assert_eq!(speaking.poll_timeout(), None);
    }

    #[test]
    fn short_noises_are_not_speech() {
        let start = Instant::now();
        let mut speaking = Speaking::default();
        for burst in 0..5 {
            talk(&mut speaking, start, burst * 500, burst * 500 + 200, 1, 20);
        }
        assert_eq!(speaking.poll(), None);
    }

    #[test]
    fn the_loudest_comes_first_and_who_left_is_gone() {
        let start = Instant::now();
        let mut speaking = Speaking::default();
        talk(&mut speaking, start, 0, 400, 1, 40);
        talk(&mut speaking, start, 0, 400, 2, 20);
        assert_eq!(speaking.poll(), Some(vec![id(2), id(1)]));
        speaking.forget(&id(2));
        assert_eq!(speaking.poll(), Some(vec![id(1)]));
    }
}

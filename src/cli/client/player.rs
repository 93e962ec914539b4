//! Plays a clip in time: what is due when, over loops, and from a keyframe when a viewer asks for one. Pure.

use bytes::Bytes;
use reelay_signaling::Kind;

use super::clip::Clip;

/// A clip being played; all times are microseconds since it began.
#[derive(Debug)]
pub struct Player {
    clip: Clip,
    repeat: Repeat,
    video: usize,
    audio: usize,
    /// Time of the play minus time of the clip.
    shift_us: i64,
    audio_end_us: u64,
    is_audio_apart: bool,
    last_jump_us: Option<u64>,
}

/// What happens at the end of the clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It is over.
    Once,
    /// It begins anew.
    Loop,
}

/// Something to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// When.
    pub at_us: u64,
    /// Audio or video.
    pub kind: Kind,
    /// A frame or packet.
    pub data: Bytes,
    /// Decodable by itself.
    pub is_keyframe: bool,
}

impl Player {
    /// At the beginning of the clip.
    pub fn new(clip: Clip, repeat: Repeat) -> Self {
        Self {
            clip,
            repeat,
            video: 0,
            audio: 0,
            shift_us: 0,
            audio_end_us: 0,
            is_audio_apart: true,
            last_jump_us: None,
        }
    }

    /// The next thing to send, in the order of time; `None` at the end.
    pub fn next(&mut self) -> Option<Due> {
        if self.clip.length_us() == 0 {
            return None;
        }
        if self.video >= self.clip.video.len() && self.audio >= self.clip.audio.len() {
            if self.repeat == Repeat::Once {
                return None;
            }
            self.shift_us += self.clip.length_us() as i64;
            (self.video, self.audio, self.is_audio_apart) = (0, 0, true);
        }
        let video_at = self.clip.video.get(self.video).map(|unit| unit.at_us.saturating_add_signed(self.shift_us));
        let audio_at = self.clip.audio.get(self.audio).map(|unit| self.audio_time(unit.at_us));
        match (video_at, audio_at) {
            (Some(at_us), audio) if audio.is_none_or(|audio| at_us <= audio) => {
                let unit = &self.clip.video[self.video];
                self.video += 1;
                Some(Due { at_us, kind: Kind::Video, data: unit.data.clone(), is_keyframe: unit.is_keyframe })
            }
            (_, Some(at_us)) => {
                let unit = &self.clip.audio[self.audio];
                self.audio += 1;
                self.audio_end_us = at_us + unit.lasts_us;
                self.is_audio_apart = false;
                Some(Due { at_us, kind: Kind::Audio, data: unit.data.clone(), is_keyframe: true })
            }
            _ => None,
        }
    }

    /// Goes on from a keyframe at `now_us`, sound included: the next one, so that a viewer who asks again and again does
    /// not hold the clip back. Near requests count once. False when there is none to go to.
    pub fn jump_to_keyframe(&mut self, now_us: u64) -> bool {
        if self.last_jump_us.is_some_and(|last| now_us < last + MIN_JUMP_GAP_US) {
            return false;
        }
        let is_keyframe = |n: &usize| self.clip.video[*n].is_keyframe;
        let ahead = (self.video..self.clip.video.len()).find(is_keyframe);
        let first = || (0..self.clip.video.len()).find(is_keyframe).filter(|_| self.repeat == Repeat::Loop);
        // The end of a clip that is played once: what was shown last is shown again, but not for ever.
        let is_patient = self.last_jump_us.is_none_or(|last| now_us >= last + MIN_BACK_GAP_US);
        let behind = || (0..self.video).rev().find(is_keyframe).filter(|_| is_patient);
        let Some(target) = ahead.or_else(first).or_else(behind) else { return false };
        self.last_jump_us = Some(now_us);
        if target == self.video {
            return true;
        }
        let at_us = self.clip.video[target].at_us;
        // The play never goes back in time: what is ahead of `now_us` already is where it goes on.
        let now_us = now_us.max(self.next_at());
        self.video = target;
        self.audio = self.clip.audio.partition_point(|unit| unit.at_us < at_us);
        self.shift_us = now_us as i64 - at_us as i64;
        self.is_audio_apart = true;
        true
    }

    fn next_at(&self) -> u64 {
        let last_video = self.video.checked_sub(1).and_then(|n| self.clip.video.get(n));
        last_video.map_or(0, |unit| (unit.at_us + unit.lasts_us).saturating_add_signed(self.shift_us))
    }

    // Sound has no gaps but those of the clip: it stays on a raster of its own, in step with the picture.
    fn audio_time(&self, at_us: u64) -> u64 {
        if !self.is_audio_apart {
            return self.audio_end_us;
        }
        let wanted = at_us.saturating_add_signed(self.shift_us);
        let steps = wanted.saturating_sub(self.audio_end_us).div_ceil(RASTER_US);
        self.audio_end_us + steps * RASTER_US
    }
}

const RASTER_US: u64 = 20_000;
const MIN_JUMP_GAP_US: u64 = 300_000;
const MIN_BACK_GAP_US: u64 = 2_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn take(player: &mut Player, count: usize) -> Vec<Due> {
        std::iter::from_fn(|| player.next()).take(count).collect()
    }

    fn check_times(all: &[Due]) {
        assert!(all.windows(2).all(|pair| pair[0].at_us <= pair[1].at_us));
        let of = |kind: Kind| all.iter().filter(move |due| due.kind == kind).map(|due| due.at_us).collect::<Vec<_>>();
        assert!(of(Kind::Video).windows(2).all(|pair| pair[0] < pair[1]));
        assert!(
            of(Kind::Audio)
                .windows(2)
                .all(|pair| pair[1] - pair[0] >= RASTER_US && (pair[1] - pair[0]) % RASTER_US == 0)
        );
    }

    #[test]
    fn clip_is_played_once_in_order() {
        let clip = Clip::test_pattern();
        let count = clip.video.len() + clip.audio.len();
        let all = take(&mut Player::new(clip, Repeat::Once), usize::MAX);
        assert_eq!(all.len(), count);
        check_times(&all);
    }

    #[test]
    fn loops_stay_in_step_for_an_hour() {
        let clip = Clip::test_pattern();
        let (video_per_loop, length_us) = (clip.video.len(), clip.length_us());
        let loops = 3_600_000_000 / length_us;
        let mut player = Player::new(clip, Repeat::Loop);
        let all = take(&mut player, 242 * loops as usize);
        check_times(&all);
        let frames: Vec<_> = all.iter().filter(|due| due.kind == Kind::Video).collect();
        assert_eq!(frames[video_per_loop * 1000].at_us, 1000 * length_us);
        let last = |kind| all.iter().rfind(|due| due.kind == kind).map(|due| due.at_us).unwrap();
        assert!(last(Kind::Video).abs_diff(last(Kind::Audio)) < 100_000);
    }

    #[test]
    fn keyframe_comes_at_once_when_it_is_asked_for() {
        let mut player = Player::new(Clip::test_pattern(), Repeat::Loop);
        let mut all = take(&mut player, 100);
        for _ in 0..50 {
            let now = all.last().unwrap().at_us;
            assert!(player.jump_to_keyframe(now));
            assert!(!player.jump_to_keyframe(now + 1));
            let more = take(&mut player, 60);
            let first = more.iter().find(|due| due.kind == Kind::Video).unwrap();
            assert!(first.is_keyframe && first.at_us <= now + 50_000, "{} {now}", first.at_us);
            all.extend(more);
        }
        check_times(&all);
    }

    #[test]
    fn clip_that_is_played_once_ends_however_often_somebody_asks() {
        let mut player = Player::new(Clip::test_pattern(), Repeat::Once);
        let mut sent = 0;
        while let Some(due) = player.next() {
            player.jump_to_keyframe(due.at_us);
            sent += 1;
            assert!(sent < 100_000, "it never ends");
        }
    }
}

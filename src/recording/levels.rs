//! How loud a file is over time: one byte per 100 ms, the loudest of it in −dBov (0 loudest, 127 silent). Pure.

/// Collects the levels of one file.
#[derive(Debug, Default)]
pub struct Levels {
    next: u64,
    open: Option<(u64, u8)>,
    ready: Vec<u8>,
}

impl Levels {
    /// A packet at this time of the file; times do not go back.
    pub fn add(&mut self, time_ms: u64, level: u8) {
        let slot = time_ms / SLOT_MS;
        let level = level.min(SILENT);
        match &mut self.open {
            Some((open, loudest)) if *open == slot => *loudest = (*loudest).min(level),
            _ => {
                self.close();
                // A hole of a day is 864,000 bytes; more than that is no hole of ours.
                let silent = slot.saturating_sub(self.next).min(MAX_HOLE);
                self.ready.resize(self.ready.len() + silent as usize, SILENT);
                self.next = self.next.max(slot);
                self.open = Some((slot, level));
            }
        }
    }

    /// What is complete since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.ready)
    }

    /// The rest, at the end of the file.
    pub fn finish(&mut self) -> Vec<u8> {
        self.close();
        self.take()
    }

    fn close(&mut self) {
        if let Some((slot, loudest)) = self.open.take() {
            self.ready.push(loudest);
            self.next = slot + 1;
        }
    }
}

/// What one byte stands for.
pub const SLOT_MS: u64 = 100;
const SILENT: u8 = 127;
const MAX_HOLE: u64 = 864_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loudest_of_each_slot_is_kept_and_holes_are_silent() {
        let mut levels = Levels::default();
        for (time, level) in [(0, 60), (20, 30), (99, 90), (120, 10), (510, 127)] {
            levels.add(time, level);
        }
        assert_eq!(levels.take(), [30, 10, 127, 127, 127]);
        assert_eq!(levels.finish(), [127]);
    }
}

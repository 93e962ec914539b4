//! Sequence numbers without wrap.

/// Extends 16-bit sequence numbers to 64 bits (RFC 3550 §A.1).
/// A jump of 2¹⁵ or more is read as a step back, so late packets sort before their successors.
#[derive(Debug, Clone, Copy, Default)]
pub struct SeqUnwrapper {
    highest: Option<i64>,
}

impl SeqUnwrapper {
    /// The extended number of `seq`. The first one keeps its value; numbers before it may become negative.
    pub fn unwrap(&mut self, seq: u16) -> i64 {
        let Some(highest) = self.highest else {
            self.highest = Some(i64::from(seq));
            return i64::from(seq);
        };
        let extended = highest + i64::from(seq.wrapping_sub(highest as u16) as i16);
        self.highest = Some(highest.max(extended));
        extended
    }

    /// The highest number so far.
    pub fn highest(&self) -> Option<i64> {
        self.highest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn late_packet_sorts_before_its_successor_over_the_wrap() {
        let mut unwrapper = SeqUnwrapper::default();
        assert_eq!(unwrapper.unwrap(65_534), 65_534);
        assert_eq!(unwrapper.unwrap(1), 65_537);
        assert_eq!(unwrapper.unwrap(65_535), 65_535);
        assert_eq!(unwrapper.unwrap(2), 65_538);
    }

    proptest! {
        #[test]
        fn numbers_are_found_again_under_reordering(start: u16, steps in prop::collection::vec(-300i64..300, 1..400)) {
            let mut unwrapper = SeqUnwrapper::default();
            let mut at = i64::from(start);
            prop_assert_eq!(unwrapper.unwrap(start), at);
            for step in steps {
                at += 100 + step;
                prop_assert_eq!(unwrapper.unwrap(at as u16), at);
            }
        }
    }
}

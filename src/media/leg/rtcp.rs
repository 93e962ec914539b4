//! The little RTCP that a viewer and its leg exchange: losses and keyframe requests in, sender reports out.

use crate::media::router::Report;

/// What a viewer wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feedback {
    /// `first`, and for each bit n of `mask` also `first + n + 1`, of this SSRC are lost (RFC 4585 §6.2.1).
    Lost {
        /// The media.
        ssrc: u32,
        /// The first lost sequence number.
        first: u16,
        /// The sixteen after it.
        mask: u16,
    },
    /// It cannot go on without a keyframe (PLI, FIR).
    Keyframe {
        /// The media.
        ssrc: u32,
    },
    /// What the viewer says about how a stream arrives (RFC 3550 §6.4.2).
    Reception {
        /// The media.
        ssrc: u32,
        /// Fraction lost since the last report, of 256.
        fraction_lost: u8,
    },
}

/// Reads a compound packet; parts that are broken or mean nothing here are skipped.
pub fn read(packet: &[u8], mut found: impl FnMut(Feedback)) {
    let mut rest = packet;
    while let Some((head, _)) = rest.split_first_chunk::<4>() {
        let size = (usize::from(u16::from_be_bytes([head[2], head[3]])) + 1) * 4;
        if head[0] >> 6 != 2 || size > rest.len() {
            return;
        }
        let (part, after) = rest.split_at(size);
        rest = after;
        let count = head[0] & 0x1f;
        match (head[1], count) {
            (TRANSPORT_FEEDBACK, NACK) => {
                let Some(ssrc) = number(part, 8) else { continue };
                for pair in part[12.min(part.len())..].chunks_exact(4) {
                    let first = u16::from_be_bytes([pair[0], pair[1]]);
                    found(Feedback::Lost { ssrc, first, mask: u16::from_be_bytes([pair[2], pair[3]]) });
                }
            }
            (PAYLOAD_FEEDBACK, PLI) => {
                if let Some(ssrc) = number(part, 8) {
                    found(Feedback::Keyframe { ssrc });
                }
            }
            (PAYLOAD_FEEDBACK, FIR) => {
                for entry in part[12.min(part.len())..].chunks_exact(8) {
                    if let Some(ssrc) = number(entry, 0) {
                        found(Feedback::Keyframe { ssrc });
                    }
                }
            }
            (RECEIVER_REPORT, _) => {
                for block in part[8.min(part.len())..].chunks_exact(24).take(usize::from(count)) {
                    if let Some(ssrc) = number(block, 0) {
                        found(Feedback::Reception { ssrc, fraction_lost: block[4] });
                    }
                }
            }
            _ => {}
        }
    }
}

/// Appends a sender report (RFC 3550 §6.4.1) with the name of its source (§6.5).
pub fn write_report(report: &Report, cname: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x80, SENDER_REPORT, 0, 6]);
    out.extend_from_slice(&report.ssrc.to_be_bytes());
    out.extend_from_slice(&report.ntp.to_be_bytes());
    for value in [report.rtp_time, report.packets, report.octets] {
        out.extend_from_slice(&value.to_be_bytes());
    }
    let name = &cname.as_bytes()[..cname.len().min(255)];
    // One chunk: SSRC, item (type, length, text), and zeros up to the next word, at least one.
    let words = (4 + 2 + name.len()) / 4 + 1;
    out.extend_from_slice(&[0x81, SOURCE_DESCRIPTION, (words >> 8) as u8, words as u8]);
    let end = out.len() + words * 4;
    out.extend_from_slice(&report.ssrc.to_be_bytes());
    out.extend_from_slice(&[CNAME, name.len() as u8]);
    out.extend_from_slice(name);
    out.resize(end, 0);
}

fn number(part: &[u8], at: usize) -> Option<u32> {
    part.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
}

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;
const NACK: u8 = 1;
const PLI: u8 = 1;
const FIR: u8 = 4;
const CNAME: u8 = 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtc::rtcp::Packet;
    use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
    use rtc::rtcp::sender_report::SenderReport;
    use rtc::rtcp::source_description::SourceDescription;
    use rtc::rtcp::transport_feedbacks::transport_layer_nack::{TransportLayerNack, nack_pairs_from_sequence_numbers};
    use rtc::shared::marshal::Marshal;

    use super::*;

    #[test]
    fn losses_and_keyframe_requests_are_read() {
        let nack = TransportLayerNack {
            sender_ssrc: 1,
            media_ssrc: 2,
            nacks: nack_pairs_from_sequence_numbers(&[10, 11, 13, 100]),
        };
        let pli = PictureLossIndication { sender_ssrc: 1, media_ssrc: 3 };
        let mut bytes = nack.marshal().unwrap().to_vec();
        bytes.extend(pli.marshal().unwrap());
        let mut found = Vec::new();
        read(&bytes, |feedback| found.push(feedback));
        let lost = |first, mask| Feedback::Lost { ssrc: 2, first, mask };
        assert_eq!(found, [lost(10, 0b101), lost(100, 0), Feedback::Keyframe { ssrc: 3 }]);
    }

    #[test]
    fn a_report_is_what_others_read() {
        for cname in ["", "a", "ab", "abc", "pabcdefghij"] {
            let report = Report { ssrc: 7, ntp: 8 << 32, rtp_time: 9, packets: 10, octets: 11 };
            let mut bytes = Vec::new();
            write_report(&report, cname, &mut bytes);
            let packets = rtc::rtcp::packet::unmarshal(&mut bytes.as_slice()).unwrap();
            let sent: &SenderReport = packets[0].as_any().downcast_ref().unwrap();
            assert_eq!((sent.ssrc, sent.ntp_time, sent.rtp_time, sent.octet_count), (7, 8 << 32, 9, 11));
            let named: &SourceDescription = packets[1].as_any().downcast_ref().unwrap();
            assert_eq!(named.chunks[0].items[0].text, cname.as_bytes());
            assert_eq!(named.header().packet_type as u8, 202);
        }
    }

    proptest! {
        #[test]
        fn nothing_from_the_network_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            read(&bytes, |_| ());
            if bytes.len() >= 4 {
                bytes[0] = 0x80 | bytes[0] & 0x1f;
                bytes[1] = 200 + bytes[1] % 8;
                bytes[2] = 0;
                bytes[3] %= 16;
                read(&bytes, |_| ());
            }
        }
    }
}

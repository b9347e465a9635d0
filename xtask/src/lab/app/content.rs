//! A stream of octets that both ends can compute, so that each end verifies what the other one sends.

/// A position in one of the two streams.
#[derive(Clone, Debug)]
pub(super) struct Content {
    seed: u64,
    offset: u64,
}

/// Seed of the stream from the client to the server.
pub(super) const UP: u64 = 0x9e6c_63d0_676a_9a99;
/// Seed of the stream from the server to the client.
pub(super) const DOWN: u64 = 0xd1b5_4a32_d192_ed03;

impl Content {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, offset: 0 }
    }

    /// The position in the stream, in octets.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Fills `buffer` with the next octets of the stream.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) {
        let skip = usize::try_from(self.offset % 8).unwrap_or_default();
        let head = buffer.len().min((8 - skip) % 8);
        let (head, rest) = buffer.split_at_mut(head);
        let mut block = self.offset / 8;
        if !head.is_empty() {
            head.copy_from_slice(&self.word(block)[skip..skip + head.len()]);
            block += 1;
        }
        for chunk in rest.chunks_mut(8) {
            chunk.copy_from_slice(&self.word(block)[..chunk.len()]);
            block += 1;
        }
        self.offset += buffer.len() as u64;
    }

    /// Compares `received` with the next octets of the stream. Gives the position of the first difference.
    pub(super) fn difference(&mut self, received: &[u8]) -> Option<u64> {
        let start = self.offset;
        let mut expected = vec![0; received.len()];
        self.fill(&mut expected);
        if expected == received {
            return None;
        }
        let equal = expected.iter().zip(received).take_while(|(a, b)| a == b);
        Some(start + equal.count() as u64)
    }

    /// SplitMix64 at this index, so that any part of the stream can be computed alone.
    fn word(&self, block: u64) -> [u8; 8] {
        let mut word = self
            .seed
            .wrapping_add(block.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_make_the_same_stream_as_the_whole() {
        let mut whole = [0; 4096];
        Content::new(UP).fill(&mut whole);
        for size in [1, 3, 7, 8, 9, 1000] {
            let mut content = Content::new(UP);
            for (index, part) in whole.chunks(size).enumerate() {
                assert_eq!(
                    content.difference(part),
                    None,
                    "part {index} of size {size}"
                );
            }
        }
    }

    #[test]
    fn a_difference_is_told_with_its_place() {
        let mut octets = [0; 100];
        Content::new(DOWN).fill(&mut octets);
        octets[77] ^= 1;
        let mut content = Content::new(DOWN);
        assert_eq!(content.difference(&octets[..50]), None);
        assert_eq!(content.difference(&octets[50..]), Some(77));
    }
}

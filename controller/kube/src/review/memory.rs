//! Verdicts that still count, by the hash of the token: no token is kept.

use std::collections::HashMap;

use tokio::time::Instant;

use super::Verdict;

/// Verdicts that are kept at most.
const MOST: usize = 1024;

/// Verdicts and until when they count.
#[derive(Debug, Default)]
pub(super) struct Memory(HashMap<[u8; 32], (Verdict, Instant)>);

impl Memory {
    /// What still counts.
    pub(super) fn get(&self, hash: &[u8; 32], now: Instant) -> Option<Verdict> {
        self.0.get(hash).filter(|(_, until)| now < *until).map(|(verdict, _)| verdict.clone())
    }

    /// Keeps a verdict. When there is no room, what ends first makes room; made-up tokens end before good ones.
    pub(super) fn put(&mut self, hash: [u8; 32], verdict: Verdict, until: Instant) {
        if self.0.len() >= MOST && !self.0.contains_key(&hash) {
            let first = self.0.iter().min_by_key(|(_, (_, until))| *until).map(|(hash, _)| *hash);
            first.map(|hash| self.0.remove(&hash));
        }
        self.0.insert(hash, (verdict, until));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn allowed() -> Verdict {
        Verdict::Allowed { user: "jane".into() }
    }

    fn hash(number: usize) -> [u8; 32] {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        hash
    }

    #[test]
    fn verdicts_end() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        memory.put(hash(1), allowed(), now + Duration::from_mins(1));
        assert_eq!(memory.get(&hash(1), now), Some(allowed()));
        assert_eq!(memory.get(&hash(2), now), None);
        assert_eq!(memory.get(&hash(1), now + Duration::from_mins(1)), None);
    }

    #[test]
    fn a_flood_of_made_up_tokens_is_bounded_and_pushes_no_good_one_out() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        memory.put(hash(0), allowed(), now + Duration::from_mins(1));
        for number in 1..=5 * MOST {
            memory.put(hash(number), Verdict::Unknown, now + Duration::from_secs(5));
        }
        assert_eq!(memory.0.len(), MOST);
        assert_eq!(memory.get(&hash(0), now), Some(allowed()));
    }
}

//! What is served, and how it is replaced: only ever by something later (rule 3).

use std::sync::Arc;

use arc_swap::ArcSwap;
use sluice_core::snapshot::{Root, Snapshot};

/// What is offered is older than what is served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the snapshot offered (epoch {}, generation {}) is older than the one served (epoch {}, generation {})",
    offered.0, offered.1, served.0, served.1
)]
pub struct Older {
    /// Epoch and generation of what was offered.
    pub offered: (u64, u64),
    /// Epoch and generation of what is served.
    pub served: (u64, u64),
}

/// Serves `next` from now on, unless something later is served already. Everybody who replaces a served snapshot does it
/// here. The same generation is taken: it can hold an app that could not be read before.
pub fn advance(served: &ArcSwap<Snapshot>, next: &Arc<Snapshot>) -> Result<(), Older> {
    let mut refused = None;
    served.rcu(|standing| {
        let (offered, served) = (position(&next.root), position(&standing.root));
        refused = (offered < served).then_some(Older { offered, served });
        Arc::clone(if refused.is_some() { standing } else { next })
    });
    refused.map_or(Ok(()), Err)
}

fn position(root: &Root) -> (u64, u64) {
    (root.epoch, root.generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, generation: u64) -> Arc<Snapshot> {
        let mut snapshot = Snapshot::empty();
        snapshot.root.epoch = epoch;
        snapshot.root.generation = generation;
        Arc::new(snapshot)
    }

    #[test]
    fn only_later_ones_are_served() {
        let served = ArcSwap::from_pointee(Snapshot::empty());
        for (epoch, generation, taken) in [
            (0, 5, true),
            (0, 5, true),
            (0, 4, false),
            (1, 4, true),
            (0, 9, false),
            (1, 3, false),
            (1, 5, true),
        ] {
            let before = served.load_full();
            let next = at(epoch, generation);
            assert_eq!(advance(&served, &next).is_ok(), taken, "{epoch}/{generation}");
            assert!(Arc::ptr_eq(&served.load_full(), if taken { &next } else { &before }));
        }
        let older = advance(&served, &at(0, 8)).unwrap_err().to_string();
        assert!(
            older.contains("epoch 0, generation 8") && older.contains("epoch 1, generation 5"),
            "{older}"
        );
    }

    #[test]
    fn many_at_once_end_with_the_latest() {
        let served = ArcSwap::from_pointee(Snapshot::empty());
        std::thread::scope(|scope| {
            for task in 0..4 {
                let served = &served;
                scope.spawn(move || {
                    let mut seen = 0;
                    for n in 0..500 {
                        // Either answer is right, depending on the others.
                        let _ = advance(served, &at(0, n * 4 + task));
                        let now = served.load().root.generation;
                        assert!(now >= seen);
                        seen = now;
                    }
                });
            }
        });
        assert_eq!(served.load().root.generation, 499 * 4 + 3);
    }
}

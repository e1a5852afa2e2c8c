//! What the admin side shows of the operator.

use std::sync::Arc;

use sluice_kube::Health;
use sluice_serve::{metrics::Figure, views};
use sluice_store::fleet::Fleet;

use super::fleet::LeaderFleet;
use crate::wiring::background::segments_pending;

/// The operator behind the admin side.
#[derive(Debug)]
pub(crate) struct Background(pub(crate) Health, pub(crate) LeaderFleet);

impl views::Background for Background {
    fn trouble(&self) -> Vec<String> {
        self.0.trouble()
    }

    fn fleet(&self) -> Option<Arc<Fleet>> {
        self.1.opened()
    }

    fn waits(&self) -> Option<String> {
        let message = "this replica does not lead and follows no repository; ask the one that does, whose name the lease \
                       has. `kubectl sluice` finds it for whoever may read the lease";
        (!self.0.leads()).then(|| message.to_owned())
    }

    fn figures(&self) -> Vec<Figure> {
        let leads = u64::from(self.0.leads());
        let up = u64::from(self.0.trouble().is_empty());
        let written = self.0.writes();
        let pending = self.0.segments().filter(|_| self.0.leads()).map(segments_pending);
        let mut all = vec![
            Figure::gauge("leader", "Whether this replica leads", leads),
            Figure::gauge("api_server_up", "Whether lease and watches of the API server work", up),
            Figure::counter("api_writes", "Objects and statuses written to the API server", written),
        ];
        all.extend(pending);
        let help = "By how much the clock of this replica, which waits, is ahead of the leader's";
        all.extend(self.0.clock_skew().map(|skew| Figure::reading("clock_skew_seconds", help, skew)));
        all
    }
}

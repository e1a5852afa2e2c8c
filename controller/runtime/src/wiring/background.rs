//! What works in the background of a server of one process, for its admin side.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use sluice_core::status::Condition;
use sluice_notify::{Delivery, Waits};
use sluice_serve::{metrics::Figure, views};
use tokio::sync::watch;

/// What of gateways waits, and how it goes to tell what was decided, where somebody is told.
#[derive(Debug)]
pub(super) struct Background {
    pub(super) segments: Arc<AtomicU64>,
    pub(super) delivery: Option<watch::Receiver<Delivery>>,
}

impl views::Background for Background {
    fn trouble(&self) -> Vec<String> {
        Vec::new()
    }

    fn figures(&self) -> Vec<Figure> {
        let mut all = vec![segments_pending(self.segments.load(Ordering::Relaxed))];
        if let Some(delivery) = &self.delivery {
            let (failing, waiting) = match &delivery.borrow().trouble {
                None => (0, 0),
                Some(Waits { decisions, .. }) => (1, *decisions),
            };
            let help = "Whether what was decided cannot be told to the address that wants to know it";
            all.push(Figure::gauge("notifications_failing", help, failing));
            let help = "Decisions that wait to be told, at least";
            all.push(Figure::gauge("notifications_waiting", help, waiting));
        }
        all
    }

    fn notified(&self) -> Option<Condition> {
        self.delivery.as_ref().map(|delivery| condition(&delivery.borrow()))
    }
}

/// How many segments of gateways wait, for whoever takes them in.
pub(crate) fn segments_pending(n: u64) -> Figure {
    Figure::gauge("segments_pending", "Segments of gateways that are not taken in yet", n)
}

/// The condition `Notified`, as a Repository has it in a cluster.
fn condition(delivery: &Delivery) -> Condition {
    let Delivery { since, trouble, left_out } = delivery;
    let (reason, mut message) = match trouble {
        None => ("Delivered", "nothing waits to be told".to_owned()),
        Some(Waits { why, decisions: 0 }) => ("DeliveryFailing", why.clone()),
        Some(Waits { why, decisions }) => {
            let verb = if *decisions == 1 { "decision waits" } else { "decisions wait" };
            ("DeliveryFailing", format!("{decisions} {verb} to be told: {why}; it is tried again"))
        }
    };
    if let Some(left_out) = left_out {
        message = format!("{message}; what was decided was left out at {}: {}", left_out.at, left_out.why);
    }
    Condition {
        r#type: "Notified".to_owned(),
        status: trouble.is_none(),
        reason: reason.to_owned(),
        message,
        last_transition_time: *since,
    }
}

//! Tells what became of rollouts, row by row of the decision log: to an address outside, by one signed request each, or to
//! whoever else listens.
//!
//! What was told is remembered in the bundle store, so that a restart tells nothing twice that was answered, and an
//! address that is away for an hour is told everything afterwards, in order.

mod delivery;
mod internet;
mod message;
mod signature;
mod target;
mod teller;

pub use delivery::{Delivery, LeftOut, Waits};
pub use message::Form;
pub use target::{InvalidSecret, NotOnTheInternet, Target};
pub use teller::{Decided, Listener, Teller, Undelivered};

//! Tells somebody outside what became of rollouts: one signed request for each row of the decision log.
//!
//! What was told is remembered in the bundle store, so that a restart tells nothing twice that was answered, and an
//! address that is away for an hour is told everything afterwards, in order.

mod message;
mod signature;
mod target;
mod teller;

pub use message::Form;
pub use target::{InvalidSecret, Target};
pub use teller::Teller;

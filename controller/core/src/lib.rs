//! The domain of Sluice: what releases, channels and devices are, and what a device is answered.
//!
//! Nothing in this crate does I/O, reads a clock or draws a random number: time and seeds are arguments.
//! Everything that knows about Git, YAML, HTTP, SQL or Kubernetes stands in another crate and depends on
//! this one, never the other way round.

pub mod brake;
pub mod channel;
pub mod client;
pub mod cohort;
pub mod decide;
pub mod decisions;
pub mod diagnostic;
pub mod digest;
pub mod gate;
pub mod ids;
pub mod inventory;
pub mod memory;
pub mod native;
pub mod observed;
pub mod outcome;
pub mod pace;
pub mod plan;
pub mod record;
pub mod release;
pub mod request;
pub mod resolve;
pub mod rollback;
pub mod rollout;
pub mod snapshot;
pub mod status;
pub mod suggest;
pub mod trial;

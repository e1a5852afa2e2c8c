//! A fleet of phones that speaks the real protocol to a running server: the load generator, the demonstration and the
//! test of the statistics.
//!
//! Every phone draws from its own random numbers, so that what a fleet does follows from the seed and from what it is
//! answered, whatever the order in which answers come. Time is simulated: `speed` simulated seconds pass in one real
//! second, and only the server's clock stays what it is.

mod clients;
mod fleet;
mod ledger;
mod phone;
mod plots;
mod report;
mod schedule;
mod server;
mod settings;
mod tally;

pub use fleet::{Live, run};
pub use ledger::Told;
pub use report::{Report, html};
pub use settings::{Behaviour, Incident, InvalidSetting, Settings, behaviour, incident};
pub use tally::{Said, Sample, Totals, count};

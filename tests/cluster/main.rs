//! The operator as a process against a real API server.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers fail the test that uses them")]

mod applying;
mod demo;
mod events;
mod external;
mod faults;
mod freezes;
mod leadership;
mod notifications;
mod people;
mod restore;
mod rights;
mod rollback;
mod several;
mod support;
mod terms;

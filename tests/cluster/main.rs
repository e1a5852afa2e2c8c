//! The operator as a process against a real API server.

mod applying;
mod external;
mod faults;
mod people;
mod support;

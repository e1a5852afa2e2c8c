//! Where Sluice keeps what it must not forget.
//!
//! [`objects`] is a small object store with compare-and-swap (a directory, or any `object_store` back end). [`control`]
//! lays out artefacts, records and snapshots in it. [`fleet`] keeps devices and their outcomes in SQL. [`relay`]
//! is what passes between gateways and the leader.

pub mod control;
pub mod fleet;
pub mod objects;
pub mod relay;
#[cfg(test)]
mod small_disk;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

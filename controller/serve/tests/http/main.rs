//! The device and admin sides over real TCP connections.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and its helpers too")]

mod admin;
mod anything;
mod devices;
mod downloads;
mod gateway;
mod transport;
mod webhooks;
mod wire;
mod world;

//! The device and admin sides over real TCP connections.

#![allow(missing_docs, reason = "tests")]

mod admin;
mod anything;
mod devices;
mod downloads;
mod transport;
mod webhooks;
mod wire;
mod world;

//! HTTP: what devices speak and what people look at.
//!
//! [`protocol`] is pure: bytes to requests, answers to bytes. [`device`] puts it behind routes, [`admin`] serves health,
//! metrics and the API, and [`listener`] is how either is reached.

pub mod admin;
mod body;
pub mod device;
pub mod devices;
mod download;
pub mod hooks;
pub mod listener;
pub mod metrics;
pub mod peer;
pub mod protocol;
pub mod redact;
mod reply;
mod site;
pub mod tls;
pub mod views;

pub use site::Site;

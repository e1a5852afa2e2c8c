//! Real upstreams for tests: bare repositories, Git over smart HTTP by `git http-backend`, Git over SSH by `sshd`.
//!
//! A program that is missing fails the test with its name: nothing is skipped.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test support fails the test that uses it")]

mod http;
mod ssh;
mod upstream;

pub use self::{
    http::{Behaviour, Seen, SmartHttp},
    ssh::Sshd,
    upstream::{Changes, Upstream},
};

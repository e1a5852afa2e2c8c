//! The device protocol on the wire: bytes to requests, answers to bytes. Nothing here does I/O.
//!
//! [`update`] is the update check, [`stats`] takes events, [`channel`] is the channel URL. Requests are read leniently,
//! because a device that cannot be understood cannot be served: a field of the wrong type is an answer, never a panic.
//! Answers take the form that the client's generation understands.

use bytes::Bytes;

mod check;
mod fields;
#[cfg(test)]
mod fixture;
mod json;
mod repair;

pub mod channel;
pub mod stats;
pub mod update;

pub use check::{Checked, Invalid};
pub(crate) use repair::repair;

/// Status and JSON body of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// JSON.
    pub body: Bytes,
}

impl Reply {
    /// An answer with status 200.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self { status: 200, body: body.into() }
    }

    /// The body of every HTTP error: `{"error","message","kind","moreInfo":{}}`.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let mut body = json::Writer::with_capacity(128);
        body.object(|o| {
            o.text("error", code);
            o.text("message", message);
            o.text("kind", "failed");
            o.raw("moreInfo", b"{}");
        });
        Self { status, body: body.finish() }
    }

    /// What a client is told when its event could not be made durable: it keeps it or drops it, and goes on.
    pub fn unavailable() -> Self {
        Self::error(503, "service_unavailable", "The event could not be stored, try again later")
    }
}

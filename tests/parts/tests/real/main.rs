//! The parts keep what this crate promises of them.
#![expect(clippy::unwrap_used, reason = "helpers fail the test that uses them")]

mod control_plane;
mod crds;
mod ends;
mod forge;
mod network;
mod stores;
mod tools;
mod waits;

use std::time::Duration;

/// Longest wait for anything. It only matters when a test is about to fail.
const LIMIT: Duration = Duration::from_mins(1);
/// How long something that must not happen is watched for.
const NEVER: Duration = Duration::from_millis(300);

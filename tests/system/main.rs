//! Whole-system tests: the real program, driven from outside.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers fail the test that uses them")]

mod analytics;
mod audience;
mod brakes;
mod cli;
mod clients;
mod damage;
mod demo;
mod device;
mod downloads;
mod examples;
mod explain;
mod gateway;
mod git_faults;
mod house;
mod kills;
mod mistakes;
mod notify;
mod pacing;
mod real_bundles;
mod release;
mod repositories;
mod restart;
mod rollback;
mod rollout;
mod simulate;
mod support;
mod why;

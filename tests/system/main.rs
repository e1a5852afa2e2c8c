//! Whole-system tests: the real program, driven from outside.

mod cli;
mod clients;
mod downloads;
mod examples;
mod explain;
mod git_faults;
mod house;
mod mistakes;
mod real_bundles;
mod release;
mod repositories;
mod restart;
mod support;

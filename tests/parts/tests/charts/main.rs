//! The Helm charts and what surrounds an installation, against a real API server, Helm, promtool and Lua.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers fail the test that uses them")]

mod accepted;
mod admission;
mod argocd;
mod copies;
mod examples;
mod flags;
mod image;
mod installation;
mod network;
mod pages;
mod people;
mod readme;
mod rendered;
mod rights;
mod rules;
mod support;

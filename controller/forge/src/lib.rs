//! Pull requests and commit statuses of Git hosts, behind one small trait.
//!
//! Nothing is tried twice here: an error says whether it passes by itself and how long the host asks to wait, and the caller
//! decides. Everything that is asked for twice is done once: [`Forge::propose`] finds what it has made before.

mod answer;
mod client;
mod connect;
mod error;
mod forge;
mod hosts;
mod kind;
mod permissions;
mod place;
mod text;

pub use connect::{Settings, SettingsError, connect};
pub use error::ForgeError;
pub use forge::{CommitState, CommitStatus, Forge, Proposal, PullRequest, State};
pub use kind::{ForgeKind, UnknownKind};
pub use permissions::Operation;

//! The Kubernetes side: where resources live in a cluster, who leads, and what status says.
//!
//! The engine is the same as in embedded mode. Here are its [`sluice_engine::Resources`]: custom resources that this
//! program applies (`applied`), or that another tool does (`adopted`).

mod access;
mod adopted;
mod announcer;
mod applied;
mod by_object;
mod cache;
pub mod credentials;
mod declared;
mod deleted;
mod desired;
mod events;
mod fights;
mod follow;
pub mod github_app;
mod hooks;
pub mod leader;
mod notifier;
mod objects;
mod operator;
mod plan;
mod problem;
mod report;
mod repositories;
mod repository;
pub mod review;
mod rollbacks;
mod skew;
mod status;
mod terms;
mod texts;
pub mod tunnel;
mod watch;

pub use hooks::Hooks;
pub use operator::{FleetSource, Health, Operator, OperatorParts};
pub use watch::Scope;

//! The hosts.

pub(crate) mod azure;
mod bitbucket;
mod gitlab;
mod pull;
mod pulls;

pub(crate) use azure::Azure;
pub(crate) use bitbucket::Bitbucket;
pub(crate) use gitlab::GitLab;
pub(crate) use pulls::Pulls;

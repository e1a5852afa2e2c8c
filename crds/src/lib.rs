//! The resources of group `sluice.dev` as Rust types, and everything that is generated from them.
//!
//! The types say what the API server accepts: names, defaults, bounds and CEL rules. They are read leniently, so that
//! an operator goes on working with objects that a newer release wrote; files of a Git repository are checked strictly,
//! against the same schemas, by `sluice-manifest`.

#![expect(
    clippy::duplicated_attributes,
    reason = "every printer column of the derive has a `type_` and a `priority`"
)]

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub mod channel;
pub mod common;
mod definition;
mod generated;
pub mod release;
pub mod repository;
pub mod rollback;

pub use channel::{Channel, ChannelSpec, ChannelStatus};
pub use generated::generated;
pub use release::{Release, ReleaseSpec, ReleaseStatus};
pub use repository::{Repository, RepositorySpec, RepositoryStatus};
pub use rollback::{Rollback, RollbackSpec, RollbackStatus};

/// The API group.
pub const GROUP: &str = "sluice.dev";

/// The one version that is served and stored.
pub const VERSION: &str = "v1alpha1";

/// `apiVersion` of every resource.
pub const API_VERSION: &str = "sluice.dev/v1alpha1";

/// Annotation that asks for a reconcile now: any new value does. It is echoed in `status.lastHandledReconcileAt`.
pub const REQUESTED_AT: &str = "sluice.dev/requestedAt";

/// The same, as Flux's tools write it.
pub const FLUX_REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";

/// Label of an object that Sluice applies from Git: the name of the Repository in its namespace.
pub const REPOSITORY_LABEL: &str = "sluice.dev/repository";

/// Annotation of an object that Sluice applies from Git: the file that declares it.
pub const PATH_ANNOTATION: &str = "sluice.dev/path";

/// Annotation of a Repository with `apply: External`: comma-separated `Kind/name` of objects that were deleted from the
/// cluster on purpose although Git declares them. What they served ends.
pub const CONFIRM_DELETE_ANNOTATION: &str = "sluice.dev/confirmDeletion";

/// What the API server says when a status is written by a leader of an earlier term than the one it shows.
pub const LATER_LEADER: &str = "a later leader has written this status";

/// The last term that a status can show. Terms begin at seconds since 1970, and this is the last second of the year 9999:
/// nobody can use terms up by a slip.
pub const LAST_TERM: i64 = 253_402_300_799;

/// The definitions of all four kinds, as they are installed.
pub fn crds() -> Vec<CustomResourceDefinition> {
    [Channel::crd(), Release::crd(), Repository::crd(), Rollback::crd()]
        .into_iter()
        .map(definition::finish)
        .collect()
}

//! Credentials from Secrets. The keys are those of Flux, so that one Secret serves both.
//!
//! Reading has two halves: [`load`] asks the API server for one Secret by name, and [`Loaded::repository`] and
//! [`Loaded::webhook`] say what its data means, without I/O. What is wrong with a Secret is told by the names of its
//! keys, never by their values.

use std::fmt;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use secrecy::SecretString;
use sluice_notify::{Form, Target};

#[cfg(test)]
mod cluster_tests;
mod data;
mod mistake;
mod notifications;
mod repository;
#[cfg(test)]
mod tests;

pub use data::Data;
pub use mistake::{Mistake, Mistakes};
pub use repository::RepositoryAccess;

/// Why a Secret gives no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// There is no such Secret.
    #[error("there is no Secret {0}; create it, or correct the reference to it")]
    Missing(SecretName),
    /// Its data cannot be used.
    #[error("Secret {secret} cannot be used: {mistakes}")]
    Invalid {
        /// The Secret.
        secret: SecretName,
        /// Everything that is wrong with it.
        mistakes: Mistakes,
    },
    /// The operator may not read it.
    #[error("Sluice may not read Secret {0}; its role needs the verb `get` on `secrets` in that namespace")]
    Forbidden(SecretName),
    /// The API server did not answer, or not well. Says nothing about the Secret.
    #[error("Secret {secret} could not be read ({detail}); it is tried again")]
    Unavailable {
        /// The Secret.
        secret: SecretName,
        /// What failed.
        detail: String,
    },
}

impl CredentialsError {
    /// Machine-readable reason of a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing(_) => "CredentialsMissing",
            Self::Invalid { .. } => "CredentialsInvalid",
            Self::Forbidden(_) => "CredentialsForbidden",
            Self::Unavailable { .. } => "CredentialsUnavailable",
        }
    }

    /// Whether trying again can help without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// Which Secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SecretName {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A Secret as it was read. Two are equal when they are the same version of the same object, whatever it holds.
#[derive(Debug, Clone)]
pub struct Loaded {
    secret: SecretName,
    /// A Secret that was deleted and made again may only differ in this.
    uid: String,
    version: String,
    data: Data,
}

impl PartialEq for Loaded {
    fn eq(&self, other: &Self) -> bool {
        self.uid == other.uid && self.version == other.version && self.secret == other.secret
    }
}

impl Eq for Loaded {}

impl Loaded {
    /// Its `resourceVersion`.
    pub fn resource_version(&self) -> &str {
        &self.version
    }

    /// What it says about reaching a repository.
    pub fn repository(&self) -> Result<RepositoryAccess, CredentialsError> {
        repository::read(&self.data).map_err(|mistakes| self.invalid(mistakes))
    }

    /// The secrets that sign webhooks: the lines of the key `token`, several while they are rotated.
    pub fn webhook(&self) -> Result<Vec<SecretString>, CredentialsError> {
        repository::read_webhook(&self.data).map_err(|mistakes| self.invalid(mistakes))
    }

    /// Who is told what becomes of rollouts, by the keys `address` and `token`.
    pub fn notifications(
        &self,
        form: Form,
        signed: bool,
        anywhere: bool,
    ) -> Result<Target, CredentialsError> {
        notifications::read(&self.data, form, signed, anywhere).map_err(|mistakes| self.invalid(mistakes))
    }

    fn invalid(&self, mistakes: Mistakes) -> CredentialsError {
        CredentialsError::Invalid { secret: self.secret.clone(), mistakes }
    }
}

/// Reads one Secret, with one request and no watch: the operator may `get` Secrets by name and cannot list them.
pub async fn load(client: &Client, namespace: &str, name: &str) -> Result<Loaded, CredentialsError> {
    let secret = SecretName { namespace: namespace.into(), name: name.into() };
    match Api::<Secret>::namespaced(client.clone(), namespace).get(name).await {
        Ok(object) => Ok(Loaded {
            uid: object.metadata.uid.unwrap_or_default(),
            version: object.metadata.resource_version.unwrap_or_default(),
            data: Data::new(object.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0))),
            secret,
        }),
        Err(kube::Error::Api(status)) if status.is_not_found() => Err(CredentialsError::Missing(secret)),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Err(CredentialsError::Forbidden(secret)),
        Err(error) => Err(CredentialsError::Unavailable { secret, detail: detail(&error) }),
    }
}

/// What failed. A body that did not parse is not repeated: it is a Secret.
fn detail(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("the API server answers {}: {}", status.code, status.reason),
        kube::Error::SerdeError(_) => "the API server's answer is not a Secret".into(),
        error => error.to_string(),
    }
}

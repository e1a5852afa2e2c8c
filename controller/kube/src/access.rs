//! How a Repository is reached: its Secrets, read when it starts, every ten minutes, and when the server refuses.

use jiff::Timestamp;
use kube::Client;
use secrecy::SecretString;
use sluice_crds::RepositorySpec;
use sluice_repo::Access;

use crate::{
    credentials::{self, Loaded},
    follow::Trouble,
    github_app::Tokens,
};

/// What the Secrets of one Repository say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Secrets {
    git: Option<Loaded>,
    /// For writing; nothing where those for reading do, or while these cannot be read.
    write: Option<Loaded>,
    webhook: Option<Loaded>,
}

impl Secrets {
    /// Reads them, with one request each.
    pub(crate) async fn load(
        client: &Client,
        namespace: &str,
        spec: &RepositorySpec,
    ) -> Result<Self, Trouble> {
        let git = match &spec.secret_ref {
            Some(secret) => Some(credentials::load(client, namespace, &secret.name).await?),
            None => None,
        };
        let webhook = match &spec.webhook {
            Some(webhook) => Some(credentials::load(client, namespace, &webhook.secret_ref.name).await?),
            None => None,
        };
        let write = match &spec.write.secret_ref {
            Some(secret) => credentials::load(client, namespace, &secret.name)
                .await
                .inspect_err(|error| {
                    // What is served does not wait for that.
                    tracing::warn!(%error, "the credentials for writing cannot be read; those for reading are used");
                })
                .ok(),
            None => None,
        };
        Ok(Self { git, write, webhook })
    }

    /// How the repository is reached right now.
    pub(crate) async fn access(&self, tokens: &Tokens) -> Result<Access, Trouble> {
        resolve(self.git.as_ref(), tokens).await
    }

    /// How it is written to right now.
    pub(crate) async fn write_access(&self, tokens: &Tokens) -> Result<Access, Trouble> {
        resolve(self.write.as_ref().or(self.git.as_ref()), tokens).await
    }

    /// Forgets the token of a GitHub App, which the server refuses: it may have been revoked.
    pub(crate) fn forget(&self, tokens: &Tokens) {
        if let Some(Ok(access)) = self.git.as_ref().map(Loaded::repository)
            && let Some(app) = &access.github_app
        {
            tokens.forget(app);
        }
    }

    /// What webhooks are signed with; empty when there are none.
    pub(crate) fn webhook(&self) -> Result<Vec<SecretString>, Trouble> {
        self.webhook.as_ref().map_or(Ok(Vec::new()), |secret| Ok(secret.webhook()?))
    }
}

async fn resolve(secret: Option<&Loaded>, tokens: &Tokens) -> Result<Access, Trouble> {
    let Some(secret) = secret else { return Ok(Access::default()) };
    secret.repository()?.resolve(tokens, Timestamp::now()).await.map_err(|error| Trouble {
        reason: error.reason(),
        message: error.to_string(),
        passes: error.is_transient(),
    })
}

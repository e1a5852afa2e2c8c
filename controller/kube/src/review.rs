//! Who may do what at the admin API in a cluster.
//!
//! The API server is asked twice: whose token this is (`TokenReview`, for the audience [`AUDIENCE`] only, so that a token
//! that was made for another purpose opens nothing here), and whether its owner may do what an [`Act`] needs
//! (`SubjectAccessReview`). So RBAC is the permission system, and Sluice keeps no list of people.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec, UserInfo},
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use kube::{Api, Client, api::PostParams};
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use self::memory::Memory;

mod memory;
#[cfg(test)]
mod tests;

/// The audience that a token has to be made for: `kubectl create token … --audience sluice`.
pub const AUDIENCE: &str = "sluice";

/// Where the API server tells the id of a token.
const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";
/// How long a yes counts. So long, too, does a right work on that was taken away.
const YES: Duration = Duration::from_mins(1);
/// How long a no counts: somebody who was just given the right should not have to wait.
const NO: Duration = Duration::from_secs(5);
/// How long the API server may take for one question.
const PATIENCE: Duration = Duration::from_secs(5);
/// Questions in work at one time, so that a flood of made-up tokens does not become one at the API server.
const AT_ONCE: usize = 8;
/// Most bytes of a token.
const LONGEST: usize = 16 << 10;

/// What somebody wants to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Nothing yet: it is only asked whose token it is.
    Appear,
    /// Read: the verb `get` on `channels` in all namespaces, because that is what the API shows.
    Read,
    /// Stop releases: the verb `create` on `brakes`, which are no objects of the cluster.
    Brake {
        /// Where the app belongs; without it, in all namespaces.
        namespace: Option<String>,
        /// The app, as the name of the resource; without it, any.
        app: Option<String>,
    },
    /// Do something to the data of single devices, by a verb on `devices`, which are no objects of the cluster.
    Devices {
        /// `get`, `update` or `delete`.
        verb: &'static str,
    },
}

impl Act {
    fn attributes(&self) -> Option<ResourceAttributes> {
        let (resource, verb, namespace, name) = match self {
            Self::Appear => return None,
            Self::Read => ("channels", "get", None, None),
            Self::Brake { namespace, app } => ("brakes", "create", namespace.clone(), app.clone()),
            Self::Devices { verb } => ("devices", *verb, None, None),
        };
        Some(ResourceAttributes {
            group: Some("sluice.dev".into()),
            resource: Some(resource.into()),
            verb: Some(verb.into()),
            namespace,
            name,
            ..ResourceAttributes::default()
        })
    }
}

/// What the API server says of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its owner may.
    Allowed {
        /// Who that is.
        user: String,
    },
    /// It is not a current token for the audience.
    Unknown,
    /// It is one, and its owner may not.
    Forbidden {
        /// Who that is.
        user: String,
    },
    /// The API server could not be asked; nothing is known of the token.
    Unavailable {
        /// What failed, and what to do.
        detail: String,
    },
}

/// Asks the API server about tokens, and remembers the answers for a while by the hash of the token.
#[derive(Clone)]
pub struct Reviewer {
    client: Client,
    memory: Arc<Mutex<Memory>>,
    turns: Arc<Semaphore>,
}

impl std::fmt::Debug for Reviewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reviewer").finish_non_exhaustive()
    }
}

impl Reviewer {
    /// Asks with the operator's own identity.
    pub fn new(client: Client) -> Self {
        Self { client, memory: Arc::default(), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Whether the owner of a token may do this.
    pub async fn review(&self, token: &str, act: &Act) -> Verdict {
        if token.is_empty() || token.len() > LONGEST || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Verdict::Unknown;
        }
        // A token has no white space, so no token and act are those of another pair.
        let hash: [u8; 32] = Sha256::digest(format!("{token} {act:?}")).into();
        if let Some(verdict) = self.lock().get(&hash, Instant::now()) {
            return verdict;
        }
        let verdict = match timeout(PATIENCE * 2, self.ask(token, act)).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(detail)) => return Verdict::Unavailable { detail },
            Err(_) => {
                return Verdict::Unavailable { detail: "the API server does not answer in time".into() };
            }
        };
        let holds = if matches!(verdict, Verdict::Allowed { .. }) { YES } else { NO };
        self.lock().put(hash, verdict.clone(), Instant::now() + holds);
        verdict
    }

    async fn ask(&self, token: &str, act: &Act) -> Result<Verdict, String> {
        let _turn = self.turns.acquire().await.map_err(|error| error.to_string())?;
        let Some(owner) = self.owner(token).await? else {
            return Ok(Verdict::Unknown);
        };
        let user = owner.username.clone().unwrap_or_default();
        let Some(attributes) = act.attributes() else { return Ok(Verdict::Allowed { user }) };
        let credential = owner.extra.as_ref().and_then(|extra| extra.get(CREDENTIAL)?.first().cloned());
        let may = self.may(owner, attributes).await?;
        if let (true, Act::Brake { .. }) = (may, act) {
            // Who had this token made stands under its id in the audit log of the API server.
            tracing::info!(user, credential, "may stop releases");
        }
        Ok(if may { Verdict::Allowed { user } } else { Verdict::Forbidden { user } })
    }

    /// Whose token it is, if it is one for our audience.
    async fn owner(&self, token: &str) -> Result<Option<UserInfo>, String> {
        let review = TokenReview {
            spec: TokenReviewSpec { token: Some(token.into()), audiences: Some(vec![AUDIENCE.into()]) },
            ..TokenReview::default()
        };
        let reviews = Api::<TokenReview>::all(self.client.clone());
        let answer = timeout(PATIENCE, reviews.create(&PostParams::default(), &review)).await;
        let status = said("tokenreviews.authentication.k8s.io", answer)?.status.unwrap_or_default();
        // An authenticator that knows nothing of audiences says so by leaving ours out.
        let ours = status.audiences.unwrap_or_default().iter().any(|audience| audience == AUDIENCE);
        let known = status.authenticated.unwrap_or(false) && ours;
        Ok(status.user.filter(|_| known))
    }

    /// Whether the cluster's roles let somebody do this.
    async fn may(&self, user: UserInfo, attributes: ResourceAttributes) -> Result<bool, String> {
        let UserInfo { username, uid, groups, extra } = user;
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: username,
                uid,
                groups,
                extra,
                resource_attributes: Some(attributes),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let reviews = Api::<SubjectAccessReview>::all(self.client.clone());
        let answer = timeout(PATIENCE, reviews.create(&PostParams::default(), &review)).await;
        let answer = said("subjectaccessreviews.authorization.k8s.io", answer)?;
        Ok(answer.status.is_some_and(|status| status.allowed && !status.denied.unwrap_or(false)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer, or what is wrong, in words that hold nothing of the request: it holds a token.
fn said<T>(what: &str, answer: Result<kube::Result<T>, tokio::time::error::Elapsed>) -> Result<T, String> {
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) if status.is_forbidden() => {
            Err(format!("Sluice may not create {what}; its ClusterRole has to allow that"))
        }
        Ok(Err(kube::Error::Api(status))) => {
            Err(format!("the API server answers {} {} to {what}", status.code, status.reason))
        }
        Ok(Err(kube::Error::SerdeError(_))) => Err(format!("the API server's answer to {what} is not one")),
        Ok(Err(_)) => Err("the API server cannot be reached".into()),
        Err(_) => Err("the API server does not answer in time".into()),
    }
}

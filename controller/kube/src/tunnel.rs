//! How a person reaches the operator's admin address from outside: by port-forward to a ready pod, with a token that is
//! made for this one purpose. Nothing of the person's own credentials goes to the pod.

use std::{fmt, path::PathBuf};

use futures::future::BoxFuture;
use k8s_openapi::api::{
    authentication::v1::{SelfSubjectReview, TokenRequest, TokenRequestSpec},
    coordination::v1::Lease,
    core::v1::{Pod, ServiceAccount},
};
use kube::{
    Api, Client, Config,
    api::{ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use secrecy::SecretString;
use tokio::io::DuplexStream;

use crate::review::AUDIENCE;

mod error;
mod pods;
#[cfg(test)]
mod tests;

pub use error::TunnelError;

/// How long the token is valid: the shortest that an API server gives.
const TOKEN_SECONDS: i64 = 600;
/// Labels of the operator's pods.
const LABELS: &str = "app.kubernetes.io/name=sluice,app.kubernetes.io/component=operator";

/// Where the operator is.
#[derive(Debug, Clone)]
pub struct Place {
    /// Configuration to use, instead of the one that kubectl would.
    pub kubeconfig: Option<PathBuf>,
    /// Context of the configuration, instead of the current one.
    pub context: Option<String>,
    /// The operator's namespace.
    pub namespace: String,
    /// Whose token is used: `NAME` in the operator's namespace, or `NAMESPACE/NAME`.
    pub service_account: String,
}

/// A stream to the admin address of one pod.
pub struct Tunnel {
    /// Opens the admin API for a few minutes.
    pub token: SecretString,
    /// The pod.
    pub pod: String,
    /// The connection.
    pub stream: DuplexStream,
    /// Ends when the connection fails, with what the other end says of it.
    pub failure: BoxFuture<'static, Option<String>>,
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").field("pod", &self.pod).finish_non_exhaustive()
    }
}

/// Opens a stream to a ready operator pod, of several to the one that leads.
pub async fn open(place: &Place) -> Result<Tunnel, TunnelError> {
    let client = client(place).await?;
    // First the pod: without an installation there is no ServiceAccount either, and this says it better.
    let pods = Api::<Pod>::namespaced(client.clone(), &place.namespace);
    let found = pods.list(&ListParams::default().labels(LABELS)).await;
    let found = found.map_err(|error| TunnelError::of(error, &place.namespace, "list pods"))?;
    let holder = holder(&client, place, &found.items).await;
    let (pod, port) = pods::choose(&found.items, &place.namespace, holder.as_deref())?;
    let token = token(client, place).await?;
    let mut forward =
        pods.portforward(&pod, &[port]).await.map_err(|error| TunnelError::forward(&pod, error))?;
    let missing = || TunnelError::Forward { pod: pod.clone(), detail: "the port is not forwarded".into() };
    let stream = forward.take_stream(port).ok_or_else(missing)?;
    let failure = forward.take_error(port).ok_or_else(missing)?;
    Ok(Tunnel { token, pod, stream, failure: Box::pin(failure) })
}

/// Who leads, where several pods are ready: only the leader knows what is wrong with a repository. Whoever may not read the
/// lease gets any of the pods.
async fn holder(client: &Client, place: &Place, pods: &[Pod]) -> Option<String> {
    let lease = pods::lease(pods)?;
    let namespace = lease.namespace.as_deref().unwrap_or(&place.namespace);
    let leases = Api::<Lease>::namespaced(client.clone(), namespace);
    match leases.get_opt(&lease.name).await {
        Ok(lease) => lease?.spec?.holder_identity,
        Err(error) => {
            tracing::debug!(%error, "the lease cannot be read");
            None
        }
    }
}

async fn client(place: &Place) -> Result<Client, TunnelError> {
    let options = KubeConfigOptions { context: place.context.clone(), ..KubeConfigOptions::default() };
    let wrong = |error: &dyn std::error::Error| TunnelError::Kubeconfig(error.to_string());
    let config = match &place.kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).map_err(|error| wrong(&error))?;
            Config::from_custom_kubeconfig(file, &options).await.map_err(|error| wrong(&error))?
        }
        None if place.context.is_some() => {
            Config::from_kubeconfig(&options).await.map_err(|error| wrong(&error))?
        }
        None => Config::infer().await.map_err(|error| wrong(&error))?,
    };
    Client::try_from(config).map_err(|error| wrong(&error))
}

/// The name under which the API server knows the caller; nothing where it does not tell.
pub async fn user(place: &Place) -> Result<Option<String>, TunnelError> {
    let reviews = Api::<SelfSubjectReview>::all(client(place).await?);
    match reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await {
        Ok(review) => Ok(review.status.and_then(|status| status.user_info?.username)),
        Err(error) => {
            tracing::debug!(%error, "the API server does not tell who asks");
            Ok(None)
        }
    }
}

/// A token for the admin API, made by the API server if the caller may have one.
async fn token(client: Client, place: &Place) -> Result<SecretString, TunnelError> {
    let Place { namespace, service_account, .. } = place;
    let (namespace, service_account) =
        service_account.split_once('/').unwrap_or((namespace.as_str(), service_account.as_str()));
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: vec![AUDIENCE.into()],
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let accounts = Api::<ServiceAccount>::namespaced(client, namespace);
    let answer = accounts.create_token_request(service_account, &PostParams::default(), &request).await;
    let answer = answer.map_err(|error| match error {
        kube::Error::Api(status) if status.is_not_found() => TunnelError::NoServiceAccount {
            name: service_account.to_owned(),
            namespace: namespace.to_owned(),
        },
        error => {
            let what = format!("create serviceaccounts/token of {service_account}");
            TunnelError::of(error, namespace, &what)
        }
    })?;
    let token = answer.status.map(|status| status.token.into());
    token.ok_or_else(|| TunnelError::Unreachable("it gives no token".into()))
}

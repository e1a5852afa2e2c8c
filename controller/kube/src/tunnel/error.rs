//! Why there is no way to the operator, and what to do.

/// Why the operator's admin address is not reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TunnelError {
    /// No configuration, or one that cannot be used.
    #[error("the cluster is not known: {0}; --kubeconfig and --context choose one")]
    Kubeconfig(String),
    /// The API server cannot be used.
    #[error("the cluster's API server cannot be used: {0}")]
    Unreachable(String),
    /// The caller may not do what is needed.
    #[error(
        "you may not {what} in namespace {namespace} ({detail}); docs/kubernetes.md lists the rights that a person needs"
    )]
    Forbidden {
        /// What was tried.
        what: String,
        /// Where.
        namespace: String,
        /// What the API server says.
        detail: String,
    },
    /// No pods of an operator.
    #[error(
        "there is no operator in namespace {namespace}: no pod has the labels {labels}; --namespace names the one that Sluice is installed in"
    )]
    NoPod {
        /// Where.
        namespace: String,
        /// What was looked for.
        labels: &'static str,
    },
    /// Pods, and none of them is ready.
    #[error(
        "no operator pod in namespace {namespace} is ready: {pods}; see `kubectl -n {namespace} describe pods`"
    )]
    NotReady {
        /// Where.
        namespace: String,
        /// Each pod and its phase.
        pods: String,
    },
    /// No such account.
    #[error(
        "there is no ServiceAccount {name} in namespace {namespace}; --service-account names the one whose token is used"
    )]
    NoServiceAccount {
        /// Its name.
        name: String,
        /// Where.
        namespace: String,
    },
    /// The port-forward does not come about.
    #[error("no port-forward to pod {pod}: {detail}")]
    Forward {
        /// The pod.
        pod: String,
        /// What failed.
        detail: String,
    },
}

impl TunnelError {
    /// What an answer of the API server means for a caller.
    pub(super) fn of(error: kube::Error, namespace: &str, what: &str) -> Self {
        match error {
            kube::Error::Api(status) if status.is_forbidden() => Self::Forbidden {
                what: what.into(),
                namespace: namespace.into(),
                detail: status.message.clone(),
            },
            kube::Error::Api(status) if status.code == 401 => {
                Self::Unreachable("it does not accept your credentials (401); sign in again".into())
            }
            kube::Error::Api(status) => Self::Unreachable(status.message.clone()),
            error => Self::Unreachable(causes(&error)),
        }
    }

    /// What the answer to an attempt to forward a port means.
    pub(super) fn forward(pod: &str, error: kube::Error) -> Self {
        use kube::client::UpgradeConnectionError::ProtocolSwitch;
        let detail = match error {
            kube::Error::Api(status) => status.message.clone(),
            kube::Error::UpgradeConnection(ProtocolSwitch(status)) if status.as_u16() == 403 => {
                "you may not: the verbs `get` and `create` on pods/portforward are needed".into()
            }
            kube::Error::UpgradeConnection(ProtocolSwitch(status)) => {
                format!("the API server answers {status}; is the pod's node up?")
            }
            error => causes(&error),
        };
        Self::Forward { pod: pod.into(), detail }
    }
}

/// An error with its causes, without those that its own text repeats.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    text
}

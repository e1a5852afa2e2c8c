//! Who may read the admin API in a cluster: the admin side asks, the cluster answers.

use async_trait::async_trait;
use sluice_kube::review::{AUDIENCE, Reviewer, Verdict};
use sluice_serve::admin::{Authorise, Refusal};

/// Lets those read whom the cluster's roles let see channels.
#[derive(Debug)]
pub(crate) struct People(Reviewer);

impl People {
    /// Asks with the operator's own identity.
    pub(crate) fn new(reviewer: Reviewer) -> Self {
        Self(reviewer)
    }
}

#[async_trait]
impl Authorise for People {
    async fn authorise(&self, token: Option<&str>) -> Result<(), Refusal> {
        let verdict = match token {
            Some(token) => self.0.review(token).await,
            None => Verdict::Unknown,
        };
        answer(verdict)
    }
}

fn answer(verdict: Verdict) -> Result<(), Refusal> {
    match verdict {
        Verdict::Allowed => Ok(()),
        Verdict::Unknown => Err(Refusal::Unauthenticated(format!(
            "send the header `Authorization: Bearer <token>` with a current token of this cluster for the audience \
             `{AUDIENCE}`, as `kubectl create token NAME --audience {AUDIENCE}` makes it"
        ))),
        Verdict::Forbidden { user } => Err(Refusal::Forbidden(format!(
            "{user} may not read this: a ClusterRole with the verb `get` on `channels.sluice.dev` is needed"
        ))),
        Verdict::Unavailable { detail } => Err(Refusal::Unavailable(format!(
            "it cannot be found out whose token this is ({detail}); what is served to devices does not depend on it"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_has_its_answer() {
        assert_eq!(answer(Verdict::Allowed), Ok(()));
        let Err(Refusal::Unauthenticated(text)) = answer(Verdict::Unknown) else { panic!("not 401") };
        assert!(text.contains("--audience sluice"), "{text}");
        let Err(Refusal::Forbidden(text)) = answer(Verdict::Forbidden { user: "jane".into() }) else {
            panic!("not 403")
        };
        assert!(text.starts_with("jane may not read this"), "{text}");
        let verdict = Verdict::Unavailable { detail: "no answer".into() };
        let Err(Refusal::Unavailable(text)) = answer(verdict) else { panic!("not 503") };
        assert!(text.contains("no answer"), "{text}");
    }
}

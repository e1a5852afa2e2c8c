//! Who may use the admin API in a cluster: the admin side asks, the cluster answers.

use async_trait::async_trait;
use sluice_kube::review::{AUDIENCE, Act, Reviewer, Verdict};
use sluice_serve::admin::{Authorise, DeviceRight, Owned, Refusal};

/// Lets those read whom the cluster's roles let see channels, and those brake whom they let create brakes.
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
    async fn may_read(&self, token: Option<&str>) -> Result<(), Refusal> {
        answer(self.review(token, &Act::Read).await, MAY_NOT_READ).map(|_| ())
    }

    async fn knows(&self, token: Option<&str>) -> Result<(), Refusal> {
        answer(self.review(token, &Act::Appear).await, "may not").map(|_| ())
    }

    async fn may_brake(
        &self,
        token: Option<&str>,
        app: Option<Owned<'_>>,
    ) -> Result<Option<String>, Refusal> {
        let namespace = app.and_then(|app| Some(app.owner?.split_once('/')?.0.to_owned()));
        let act = Act::Brake { namespace, app: app.map(|app| app.app.to_string()) };
        answer(self.review(token, &act).await, MAY_NOT_BRAKE).map(Some)
    }

    async fn may_release(&self, _: Option<&str>) -> Result<(), Refusal> {
        let message = "in a cluster a rollback is a resource: create a Rollback with `kubectl`, as your own account may";
        Err(Refusal::Forbidden(message.to_owned()))
    }

    async fn may_touch(&self, token: Option<&str>, right: DeviceRight) -> Result<(), Refusal> {
        let verb = match right {
            DeviceRight::See => "get",
            DeviceRight::Erase => "delete",
            DeviceRight::Change => "update",
        };
        let lacks = format!(
            "may not do this: a ClusterRole with the verb `{verb}` on `devices.sluice.dev` is needed"
        );
        answer(self.review(token, &Act::Devices { verb }).await, &lacks).map(|_| ())
    }
}

impl People {
    async fn review(&self, token: Option<&str>, act: &Act) -> Verdict {
        match token {
            Some(token) => self.0.review(token, act).await,
            None => Verdict::Unknown,
        }
    }
}

/// What somebody lacks who may not brake. What there is, and to which app a channel belongs, is told only to those who may.
const MAY_NOT_BRAKE: &str = "may not stop this, or there is nothing of that name: the verb `create` on `brakes.sluice.dev` is needed in the \
                             namespace of the Repository that the app belongs to";

/// The same of somebody who may not read.
const MAY_NOT_READ: &str =
    "may not read this: a ClusterRole with the verb `get` on `channels.sluice.dev` is needed";

fn answer(verdict: Verdict, lacks: &str) -> Result<String, Refusal> {
    match verdict {
        Verdict::Allowed { user } => Ok(user),
        Verdict::Unknown => Err(Refusal::Unauthenticated(format!(
            "send the header `Authorization: Bearer <token>` with a current token of this cluster for the audience \
             `{AUDIENCE}`, as `kubectl create token NAME --audience {AUDIENCE}` makes it"
        ))),
        Verdict::Forbidden { user } => Err(Refusal::Forbidden(format!("{user} {lacks}"))),
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
        let answer = |verdict| answer(verdict, "may not read this");
        let user = || "jane".to_owned();
        assert_eq!(answer(Verdict::Allowed { user: user() }), Ok(user()));
        let Err(Refusal::Unauthenticated(text)) = answer(Verdict::Unknown) else { panic!("not 401") };
        assert!(text.contains("--audience sluice"), "{text}");
        let Err(Refusal::Forbidden(text)) = answer(Verdict::Forbidden { user: user() }) else {
            panic!("not 403")
        };
        assert_eq!(text, "jane may not read this");
        let verdict = Verdict::Unavailable { detail: "no answer".into() };
        let Err(Refusal::Unavailable(text)) = answer(verdict) else { panic!("not 503") };
        assert!(text.contains("no answer"), "{text}");
    }
}

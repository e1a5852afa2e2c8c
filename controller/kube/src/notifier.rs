//! Tells the address that a Repository names what becomes of its rollouts. What is wrong with that is a condition of its own: no
//! release waits for it.

use std::sync::Arc;

use sluice_core::{ids::AppId, resolve::Owner};
use sluice_crds::repository::{NotificationForm, NotificationNetwork, Notifications};
use sluice_notify::{Form, Target, Teller};
use tokio::sync::{broadcast, watch};

use crate::{
    credentials::{self, CredentialsError, Loaded},
    follow::AbortOnDrop,
    operator::Shared,
};

/// How telling goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Nothing waits for long.
    Well,
    /// Something waits.
    Fails {
        /// Of a condition.
        reason: &'static str,
        /// What is wrong, without the address: its path may be a secret.
        message: String,
    },
}

/// See the module.
pub(crate) struct Notifier {
    shared: Arc<Shared>,
    epoch: u64,
    owner: Owner,
    namespace: String,
    wanted: Notifications,
    news: broadcast::Sender<AppId>,
    secret: Option<Loaded>,
    telling: Option<AbortOnDrop>,
    delivery: watch::Sender<Delivery>,
}

impl Notifier {
    /// For the apps of `owner`, a Repository of `namespace`; `news` wakes it.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        epoch: u64,
        owner: &Owner,
        namespace: &str,
        wanted: &Notifications,
        news: &broadcast::Sender<AppId>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            epoch,
            owner: owner.clone(),
            namespace: namespace.to_owned(),
            wanted: wanted.clone(),
            news: news.clone(),
            secret: None,
            telling: None,
            delivery: watch::Sender::new(Delivery::Well),
        }
    }

    /// How it goes, from now on.
    pub(crate) fn delivery(&self) -> watch::Receiver<Delivery> {
        self.delivery.subscribe()
    }

    /// Reads the Secret, again if it was read before, and begins anew with what it says if that changed.
    pub(crate) async fn renew(&mut self) {
        let name = &self.wanted.secret_ref.name;
        let loaded = match credentials::load(&self.shared.client, &self.namespace, name).await {
            Ok(loaded) => loaded,
            // The API server being away says nothing about the Secret.
            Err(error) if error.is_transient() && self.telling.is_some() => return,
            Err(error) => return self.fail(&error),
        };
        if self.secret.as_ref() == Some(&loaded) {
            return;
        }
        let target = match self.target(&loaded) {
            Ok(target) => target,
            Err(error) => return self.fail(&error),
        };
        tracing::info!(repository = self.owner.name, to = ?target, "what becomes of rollouts is told");
        let shared = &self.shared;
        let (store, owner) = (Arc::clone(&shared.store), self.owner.clone());
        let teller = Teller::new(store, self.epoch, owner, target, self.news.subscribe());
        let (mut going, delivery) = (teller.delivery(), self.delivery.clone());
        let task = tokio::spawn(async move {
            let watched = async {
                loop {
                    // Not how much waits: a status says what changed, and no numbers.
                    let state = match &going.borrow_and_update().trouble {
                        None => Delivery::Well,
                        Some(waits) => {
                            Delivery::Fails { reason: "DeliveryFailing", message: waits.why.clone() }
                        }
                    };
                    delivery.send_if_modified(|known| {
                        let changed = *known != state;
                        *known = state;
                        changed
                    });
                    if going.changed().await.is_err() {
                        return;
                    }
                }
            };
            tokio::join!(teller.run(), watched);
        });
        self.telling = Some(AbortOnDrop(task.abort_handle()));
        self.secret = Some(loaded);
    }

    fn target(&self, loaded: &Loaded) -> Result<Target, CredentialsError> {
        let (form, signed) = match self.wanted.form {
            NotificationForm::CloudEvents => (Form::CloudEvents, true),
            NotificationForm::Slack => (Form::Slack, false),
        };
        let anywhere = self.wanted.network == NotificationNetwork::Any;
        loaded.notifications(form, signed, anywhere)
    }

    fn fail(&mut self, error: &CredentialsError) {
        tracing::warn!(repository = self.owner.name, reason = error.reason(), "nothing can be told: {error}");
        (self.secret, self.telling) = (None, None);
        self.delivery.send_replace(Delivery::Fails { reason: error.reason(), message: error.to_string() });
    }
}

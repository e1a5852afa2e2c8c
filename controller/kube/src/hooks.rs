//! The webhooks of every Repository: one address, a secret and a reference each.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use secrecy::SecretString;
use sluice_repo::{Reference, hooks};
use tokio::sync::Notify;

use crate::cache::lock;

/// A webhook that is listened to.
#[derive(Debug, Clone)]
struct Hook {
    secrets: Vec<SecretString>,
    reference: Reference,
    look: Arc<Notify>,
}

/// The webhooks by `namespace/name` of their Repository.
#[derive(Debug, Clone, Default)]
pub struct Hooks(Arc<Mutex<HashMap<String, Hook>>>);

impl Hooks {
    pub(crate) fn set(
        &self,
        name: &str,
        secrets: Vec<SecretString>,
        reference: Reference,
        look: &Arc<Notify>,
    ) {
        let mut hooks = lock(&self.0);
        if secrets.is_empty() {
            hooks.remove(name);
        } else {
            hooks.insert(name.to_owned(), Hook { secrets, reference, look: Arc::clone(look) });
        }
    }

    pub(crate) fn remove(&self, name: &str) {
        lock(&self.0).remove(name);
    }

    /// Takes a webhook: `None` when it is not genuine, or nobody listens to that name; else whether it was news.
    pub fn receive<'h>(
        &self,
        name: &str,
        header: impl Fn(&str) -> Option<&'h str>,
        body: &[u8],
        now: i64,
    ) -> Option<bool> {
        let hook = lock(&self.0).get(name).cloned()?;
        let hint = hooks::verify(header, body, &hook.secrets, now).ok()?;
        let news = hint.concerns(&hook.reference);
        if news {
            hook.look.notify_one();
        }
        Some(news)
    }
}

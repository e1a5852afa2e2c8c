//! `apply: External`: another tool applies what Git declares, and what it applied is in force.
//!
//! Each object is matched with the commit by (app, version) or (app, channel), never by name: tools add prefixes. The
//! commit says where an object's bundle is; the object says what is wanted.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder};
use sluice_core::{
    channel::Channel,
    diagnostic::{Code, Diagnostic},
    ids::{AppId, ChannelName, Version},
    inventory::{Kind, Located, Object, ObjectKey, holders},
    release::Source,
    resolve::Owner,
    status::Status,
};
use sluice_engine::{Declared, InForce, Resources, Unavailable};

use crate::{
    cache::{Body, Cache, Changes, Held, Namespace, lock},
    declared::{as_held, read},
    deleted::Deleted,
    events::publish,
    report::Reporter,
};

/// The resources of one Repository, which somebody else applies.
#[derive(Debug)]
pub(crate) struct Adopted {
    owner: Owner,
    cache: Arc<Cache>,
    space: Arc<Namespace>,
    changes: Changes,
    reporter: Arc<Reporter>,
    /// Objects whose deletion from the cluster was confirmed, as `Kind/name`.
    confirmed: Mutex<BTreeSet<String>>,
    deleted: Deleted,
    herald: Herald,
}

/// Tells of a Repository in Events.
pub(crate) struct Herald {
    pub(crate) recorder: Recorder,
    pub(crate) repository: ObjectReference,
}

impl std::fmt::Debug for Herald {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Herald").field("repository", &self.repository.name).finish_non_exhaustive()
    }
}

impl Herald {
    async fn warn(&self, reason: &str, note: String) {
        tracing::warn!(repository = self.repository.name, reason, "{note}");
        let (reason, action, note) = (reason.to_owned(), "Retire".to_owned(), Some(note));
        let event = Event { type_: EventType::Warning, reason, note, action, secondary: None };
        publish(&self.recorder, &event, &self.repository).await;
    }
}

/// What the commit declares, by what devices know it by.
struct InGit<'a> {
    releases: BTreeMap<(&'a AppId, &'a Version), &'a Arc<Located>>,
    channels: BTreeMap<(&'a AppId, &'a ChannelName), &'a Arc<Located>>,
}

impl<'a> InGit<'a> {
    fn of(declared: &'a Declared) -> Self {
        let mut git = Self { releases: BTreeMap::new(), channels: BTreeMap::new() };
        let mut holders: Vec<_> = holders(declared.inventory.objects()).into_iter().collect();
        holders.sort_unstable_by_key(|(id, _)| *id);
        for (_, located) in holders {
            match &located.object {
                Object::Release(r) => _ = git.releases.entry((&r.app, &r.version)).or_insert(located),
                Object::Channel(c) => _ = git.channels.entry((&c.app, &c.channel)).or_insert(located),
            }
        }
        git
    }

    fn find(&self, object: &Object) -> Option<&'a Arc<Located>> {
        match object {
            Object::Release(r) => self.releases.get(&(&r.app, &r.version)).copied(),
            Object::Channel(c) => self.channels.get(&(&c.app, &c.channel)).copied(),
        }
    }
}

impl Adopted {
    pub(crate) fn new(
        owner: Owner,
        namespace: &str,
        cache: Arc<Cache>,
        reporter: Arc<Reporter>,
        confirmed: BTreeSet<String>,
        deleted: Deleted,
        herald: Herald,
    ) -> Self {
        let space = cache.namespace(namespace);
        let (changes, confirmed) = (space.changes(), Mutex::new(confirmed));
        Self { owner, cache, space, changes, reporter, confirmed, deleted, herald }
    }

    /// The channels that are gone from the cluster and not from Git.
    pub(crate) fn deleted(&self) -> &Deleted {
        &self.deleted
    }

    /// The objects whose deletion is confirmed from now on.
    pub(crate) fn confirm(&self, confirmed: BTreeSet<String>) {
        let mut known = lock(&self.confirmed);
        if *known != confirmed {
            *known = confirmed;
            self.space.tell_changed();
        }
    }

    /// An applied object in the place where Git has it.
    fn locate(&self, held: &Held, git: &InGit<'_>, problems: &mut Vec<Diagnostic>) -> Option<Located> {
        let place = format!("{:?}/{}", held.key.kind, held.key.name).to_lowercase();
        let mut located = read(held, &place)?;
        if !self.owner.may_publish(located.object.app()) {
            // Another Repository of the namespace may have it.
            return None;
        }
        if let Some(declared) = git.find(&located.object) {
            return as_held(held, declared);
        }
        let what = match &located.object {
            Object::Release(release) => format!("version {} of {}", release.version, release.app),
            Object::Channel(channel) => format!("channel {} of {}", channel.channel, channel.app),
        };
        let message = format!(
            "{} is applied, and the commit that is followed does not declare {what}; a Release whose bundle is a path of \
             Git is offered only when the commit has it",
            held.key
        );
        problems.push(Diagnostic::new(Code::NotInGit, located.at.clone(), message));
        // Its path cannot be looked up in this commit, which says nothing against the bundle that is known.
        located.stale = matches!(&located.object, Object::Release(r) if matches!(r.source, Source::Path(_)));
        Some(located)
    }
}

#[async_trait]
impl Resources for Adopted {
    fn at_start(&self) -> Option<InForce> {
        None
    }

    async fn enforce(&self, declared: &Declared) -> Result<InForce, Unavailable> {
        self.cache.ready()?;
        let git = InGit::of(declared);
        let (mut objects, mut problems) = (Vec::new(), Vec::new());
        let (mut generations, mut unreadable) = (Vec::new(), BTreeMap::new());
        let mut applied: BTreeSet<(AppId, ChannelName)> = BTreeSet::new();
        let mut held = self.space.all();
        held.sort_by(|a, b| a.key.cmp(&b.key));
        for held in held {
            if let Body::Unreadable(why) = &held.body {
                tracing::warn!(object = %held.key, why, "an object of the cluster cannot be read");
                unreadable.insert(held.key.clone(), why.clone());
                continue;
            }
            let Some(located) = self.locate(&held, &git, &mut problems) else { continue };
            if let Object::Channel(channel) = &located.object {
                applied.insert((channel.app.clone(), channel.channel.clone()));
            }
            generations.push((held.key.clone(), held.substance.generation));
            objects.push(Arc::new(located));
        }
        let confirmed = lock(&self.confirmed).clone();
        let mut gone: BTreeSet<(AppId, ChannelName)> = BTreeSet::new();
        for located in git.channels.values() {
            let Object::Channel(channel) = &located.object else { continue };
            let id = (channel.app.clone(), channel.channel.clone());
            let Some(name) = declared.served.get(&id).filter(|_| !applied.contains(&id)) else { continue };
            let is = |name: &str| confirmed.contains(&format!("{:?}/{name}", Kind::Channel));
            if is(name) || is(&channel.name) {
                continue;
            }
            // Under the name that the object had, which holds the claim to the channel.
            let kept = |code| {
                let kept = Channel { name: name.clone(), ..Channel::clone(channel) };
                let object = Object::Channel(Box::new(kept));
                Arc::new(Located { object, refused: Some(code), ..Located::clone(located) })
            };
            if let Some(why) = unreadable.get(&ObjectKey { kind: Kind::Channel, name: name.clone() }) {
                // It is there: nothing was deleted.
                let message =
                    format!("Channel {name} of the cluster cannot be read, and stays as it was: {why}");
                problems.push(Diagnostic::new(Code::Unreadable, located.at.clone(), message));
                objects.push(kept(Code::Unreadable));
                continue;
            }
            gone.insert(id.clone());
            let (verdict, news) = self.deleted.judge(&id, name);
            if verdict.over {
                if news {
                    let note = format!(
                        "channel {} of {} is served no more: Channel {name} was deleted from the cluster, which was seen \
                         at {}, and the grace period is over. Apply it again to serve it again",
                        channel.channel, channel.app, verdict.since
                    );
                    self.herald.warn("GracePeriodOver", note).await;
                }
                continue;
            }
            let until =
                verdict.until.map_or_else(|| " all the same".to_owned(), |until| format!(" until {until}"));
            let message = format!(
                "Channel {name} was deleted from the cluster, and not from Git: it is served{until}. Apply it again, remove \
                 it from Git, or confirm with the annotation {}=Channel/{name} on the Repository",
                sluice_crds::CONFIRM_DELETE_ANNOTATION,
            );
            problems.push(Diagnostic::new(Code::DeletedBehindGit, located.at.clone(), message));
            objects.push(kept(Code::DeletedBehindGit));
        }
        self.deleted.retain(|id| gone.contains(id));
        self.reporter.saw(generations.iter().map(|(key, generation)| (key.id(), *generation)));
        let gone: BTreeSet<ObjectKey> = declared.inventory.leaving.clone();
        Ok(InForce { objects: Some(objects), problems, gone })
    }

    async fn disturbed(&self) {
        let over = async {
            match self.deleted.next() {
                Some(next) => tokio::time::sleep(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.changes.next() => {}
            () = over => {}
        }
    }

    fn report(&self, status: &Arc<Status>) {
        self.reporter.report(status);
    }
}

//! `apply: External`: another tool applies what Git declares, and what it applied is in force.
//!
//! Each object is matched with the commit by (app, version) or (app, channel), never by name: tools add prefixes. The
//! commit says where an object's bundle is; the object says what is wanted.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
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
    cache::{Body, Cache, Held, Namespace, lock},
    declared::{as_held, read},
    report::Reporter,
};

/// The resources of one Repository, which somebody else applies.
#[derive(Debug)]
pub(crate) struct Adopted {
    owner: Owner,
    cache: Arc<Cache>,
    space: Arc<Namespace>,
    reporter: Arc<Reporter>,
    /// Objects whose deletion from the cluster was confirmed, as `Kind/name`.
    confirmed: Mutex<BTreeSet<String>>,
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
    ) -> Self {
        let space = cache.namespace(namespace);
        Self { owner, cache, space, reporter, confirmed: Mutex::new(confirmed) }
    }

    /// The objects whose deletion is confirmed from now on.
    pub(crate) fn confirm(&self, confirmed: BTreeSet<String>) {
        let mut known = lock(&self.confirmed);
        if *known != confirmed {
            *known = confirmed;
            self.space.changed.notify_one();
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
        let mut generations = Vec::new();
        let mut applied: BTreeSet<(AppId, ChannelName)> = BTreeSet::new();
        let mut held = self.space.all();
        held.sort_by(|a, b| a.key.cmp(&b.key));
        for held in held {
            if let Body::Unreadable(why) = &held.body {
                tracing::warn!(object = %held.key, why, "an object of the cluster cannot be read");
                continue;
            }
            let Some(located) = self.locate(&held, &git, &mut problems) else { continue };
            if let Object::Channel(channel) = &located.object {
                applied.insert((channel.app.clone(), channel.channel.clone()));
            }
            generations.push((held.key.clone(), held.generation));
            objects.push(Arc::new(located));
        }
        let confirmed = lock(&self.confirmed).clone();
        for located in git.channels.values() {
            let Object::Channel(channel) = &located.object else { continue };
            let id = (channel.app.clone(), channel.channel.clone());
            let Some(name) = declared.served.get(&id).filter(|_| !applied.contains(&id)) else { continue };
            let is = |name: &str| confirmed.contains(&format!("{:?}/{name}", Kind::Channel));
            if is(name) || is(&channel.name) {
                continue;
            }
            let message = format!(
                "Channel {name} was deleted from the cluster, and Git still declares it: it goes on being served. Remove \
                 it from Git, or confirm with the annotation {}=Channel/{name} on the Repository",
                sluice_crds::CONFIRM_DELETE_ANNOTATION,
            );
            problems.push(Diagnostic::new(Code::DeletedBehindGit, located.at.clone(), message));
            // Under the name that the object had, which holds the claim to the channel.
            let object = Object::Channel(Channel { name: name.clone(), ..channel.clone() });
            let refused = Some(Code::DeletedBehindGit);
            objects.push(Arc::new(Located { object, refused, ..Located::clone(located) }));
        }
        self.reporter.saw(generations.iter().map(|(key, generation)| (key.id(), *generation)));
        let gone: BTreeSet<ObjectKey> = declared.inventory.leaving.clone();
        Ok(InForce { objects: Some(objects), problems, gone })
    }

    async fn disturbed(&self) {
        self.space.changed.notified().await;
    }

    fn report(&self, status: &Arc<Status>) {
        self.reporter.report(status);
    }
}

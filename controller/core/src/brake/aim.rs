//! What somebody means who says "brake this channel": one bundle, and where to stop it.

use crate::{
    digest::Digest,
    ids::{AppId, ChannelName, Version},
    release::RollbackPolicy,
    snapshot::{App, Served, ServedBundle, ServedChannel, Snapshot},
};

use super::{Devices, Scope};

/// What was said.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// An app id.
    pub app: Option<&'a str>,
    /// The name of a channel, of its object, or `<app>/<channel>`. Without it every channel of the app is meant.
    pub channel: Option<&'a str>,
    /// A version of the app. Without it what the channel rolls out is meant, else what it serves.
    pub release: Option<&'a str>,
    /// What becomes of the devices that run it.
    pub devices: Devices,
}

/// A channel and the name of its object.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// `metadata.name`.
    pub object: &'a str,
    /// The app.
    pub app: &'a AppId,
    /// The name that devices use.
    pub channel: &'a ChannelName,
}

/// What is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aim {
    /// The app.
    pub app: AppId,
    /// The bundle, when the app offers it; otherwise the record of the app knows what `release` is bound to.
    pub digest: Option<Digest>,
    /// The version.
    pub release: Version,
    /// Where to stop it.
    pub scope: Scope,
    /// What becomes of the devices that run it: never returned from a release that says `StopOnly`.
    pub devices: Devices,
    /// Ids that Git lifts there: a brake of one of these would stop nothing.
    pub lifted: Vec<String>,
}

/// Why nothing is braked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AimError {
    /// Neither a channel nor an app.
    #[error("neither a channel nor an app is given; name one of them")]
    Nothing,
    /// No such app.
    #[error("nothing is published for app {0}")]
    NoApp(String),
    /// No such channel.
    #[error("there is no channel {0}; `sluice status` lists them")]
    NoChannel(String),
    /// Several channels of that name.
    #[error("channel {name} is of several apps ({}); give the app as well", apps.join(", "))]
    Several {
        /// The name.
        name: String,
        /// The apps.
        apps: Vec<String>,
    },
    /// Not a version.
    #[error(transparent)]
    Version(#[from] crate::ids::InvalidId),
    /// Which release is not clear.
    #[error("which release is meant is not clear{}; give it", list(versions))]
    Which {
        /// What could be meant.
        versions: Vec<String>,
    },
}

fn list(versions: &[String]) -> String {
    if versions.is_empty() { String::new() } else { format!(" ({})", versions.join(" or ")) }
}

/// Finds out what is meant. `known` are the names of channel objects, as far as they are known.
pub fn aim(snapshot: &Snapshot, known: &[Known<'_>], wanted: &Wanted<'_>) -> Result<Aim, AimError> {
    let (app, channel) = match (wanted.app, wanted.channel) {
        (None, None) => return Err(AimError::Nothing),
        (Some(app), None) => (find_app(snapshot, app)?, None),
        (app, Some(name)) => {
            let (app, channel) = find_channel(snapshot, known, app, name)?;
            (app, Some(channel))
        }
    };
    let bundle = match (wanted.release, channel) {
        (Some(version), _) => app.bundle(version).map(AsRef::as_ref),
        (None, Some(channel)) => Some(current(channel)?),
        (None, None) => return Err(AimError::Which { versions: Vec::new() }),
    };
    let release = match (bundle, wanted.release) {
        (Some(bundle), _) => bundle.version.clone(),
        (None, version) => version.unwrap_or_default().parse()?,
    };
    let stop_only = bundle.is_some_and(|bundle| bundle.offer.rollback == RollbackPolicy::StopOnly);
    let lifting = app.channels().iter().filter(|c| channel.is_none_or(|only| only.name == c.name));
    Ok(Aim {
        app: app.id.clone(),
        digest: bundle.map(|bundle| bundle.offer.digest),
        release,
        scope: channel.map_or(Scope::App, |channel| Scope::Channel(channel.name.clone())),
        devices: if stop_only { Devices::Keep } else { wanted.devices },
        lifted: lifting.flat_map(|channel| &channel.allow_held).cloned().collect(),
    })
}

fn find_app<'s>(snapshot: &'s Snapshot, id: &str) -> Result<&'s App, AimError> {
    snapshot.app(id).map(AsRef::as_ref).ok_or_else(|| AimError::NoApp(id.to_owned()))
}

fn find_channel<'s>(
    snapshot: &'s Snapshot,
    known: &[Known<'_>],
    app: Option<&str>,
    name: &str,
) -> Result<(&'s App, &'s ServedChannel), AimError> {
    let unknown = || AimError::NoChannel(name.to_owned());
    let both = |app: &str, channel: &str| {
        let app = find_app(snapshot, app)?;
        app.channel(channel).map(|channel| (app, channel)).ok_or_else(unknown)
    };
    let objects = known.iter().filter(|k| k.object == name && app.is_none_or(|app| k.app.as_str() == app));
    let objects: Vec<_> = objects.collect();
    if let [one] = objects.as_slice() {
        return both(one.app.as_str(), one.channel.as_str());
    }
    if let Some(app) = app {
        return both(app, name);
    }
    if let Some((app, channel)) = name.split_once('/') {
        return both(app, channel);
    }
    let mut found: Vec<_> =
        snapshot.apps().filter_map(|app| Some((app.as_ref(), app.channel(name)?))).collect();
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(unknown()),
        _ => {
            found.sort_by(|a, b| a.0.id.cmp(&b.0.id));
            let apps = found.iter().map(|(app, _)| app.id.to_string()).collect();
            Err(AimError::Several { name: name.to_owned(), apps })
        }
    }
}

/// What the channel rolls out, else what it serves, when that is one bundle.
fn current(channel: &ServedChannel) -> Result<&ServedBundle, AimError> {
    let candidates = channel.lines.iter().filter_map(|line| line.candidate.as_ref()).map(|c| &*c.bundle);
    let mut found: Vec<&ServedBundle> = candidates.collect();
    if found.is_empty() {
        found.extend(channel.lines.iter().filter_map(|line| match &line.stable {
            Some(Served::Bundle(bundle)) => Some(&**bundle),
            _ => None,
        }));
    }
    found.dedup_by(|a, b| a.offer.digest == b.offer.digest);
    match found.as_slice() {
        [one] => Ok(one),
        several => Err(AimError::Which { versions: several.iter().map(|b| b.name.clone()).collect() }),
    }
}

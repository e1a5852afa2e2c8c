//! Resolves what a repository declares: who owns what, which of two claims wins, and which release each channel means.
//!
//! Everything that can be said without bytes, devices or a clock is said here, so that `validate` on a laptop and the
//! engine find the same problems.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{
    channel::{Channel, Line, Platform, Target, Upgrade},
    diagnostic::{Code, Diagnostic, Location},
    ids::{AppId, ChannelName, Version},
    inventory::{Located, Object, holders},
    native::{NativeRange, NativeVersion},
    observed::Observed,
    record::AppRecord,
    release::{Release, Source},
};

/// Which apps a repository may publish (rule 13), and under which name it owns them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// `namespace/name` of the Repository; `default` in embedded mode.
    pub name: String,
    /// App ids, with `*` for any run of characters. Empty: every app.
    pub apps: Vec<String>,
}

impl Owner {
    /// Whether `app` is among those it may publish.
    pub fn may_publish(&self, app: &AppId) -> bool {
        self.apps.is_empty() || self.apps.iter().any(|pattern| matches(pattern, app.as_str()))
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for any run of characters.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text
            .strip_prefix(head)
            .is_some_and(|rest| (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|r| matches(tail, r)))),
    }
}

/// What a repository declares, without what contradicts itself.
#[derive(Debug, Default)]
pub struct Resolved<'a> {
    /// By app.
    pub apps: BTreeMap<AppId, ResolvedApp<'a>>,
    /// Problems across objects.
    pub problems: Vec<Diagnostic>,
}

/// What is declared of one app.
#[derive(Debug, Default)]
pub struct ResolvedApp<'a> {
    /// The release that holds each version.
    pub releases: BTreeMap<Version, (&'a Release, &'a Located)>,
    /// The channel that holds each name.
    pub channels: BTreeMap<ChannelName, ResolvedChannel<'a>>,
}

/// A channel that holds its name.
#[derive(Debug)]
pub struct ResolvedChannel<'a> {
    /// The channel.
    pub channel: &'a Channel,
    /// Where it is.
    pub located: &'a Located,
    /// Why it cannot be applied; it then stays as it was last served.
    pub refused: Option<Code>,
}

/// Resolves `objects` of `owner` against what is already recorded.
pub fn resolve<'a>(
    objects: impl IntoIterator<Item = &'a Arc<Located>>,
    owner: &Owner,
    observed: &Observed,
) -> Resolved<'a> {
    let mut problems = Vec::new();
    let mut apps = BTreeMap::new();
    for (app, objects) in by_app(objects, owner, observed, &mut problems) {
        let resolved = resolve_app(app, objects, observed.record(app), &mut problems);
        apps.insert(app.clone(), resolved);
    }
    problems.sort();
    Resolved { apps, problems }
}

/// The objects of each app that `owner` may publish, each name once.
pub(crate) fn by_app<'a>(
    objects: impl IntoIterator<Item = &'a Arc<Located>>,
    owner: &Owner,
    observed: &Observed,
    problems: &mut Vec<Diagnostic>,
) -> BTreeMap<&'a AppId, Vec<&'a Arc<Located>>> {
    let mut apps: HashMap<&AppId, Vec<&Arc<Located>>> = HashMap::new();
    for located in unique_names(objects, problems) {
        apps.entry(located.object.app()).or_default().push(located);
    }
    apps.into_iter()
        .filter(|(app, objects)| {
            let refuse = |located: &&Arc<Located>| refuse_app(located, owner, observed.record(app));
            let refusals: Vec<Diagnostic> = objects.iter().filter_map(refuse).collect();
            let allowed = refusals.is_empty();
            problems.extend(refusals);
            allowed
        })
        .collect()
}

/// Resolves the objects of one app.
pub(crate) fn resolve_app<'a>(
    app: &AppId,
    objects: impl IntoIterator<Item = &'a Arc<Located>>,
    record: Option<&AppRecord>,
    problems: &mut Vec<Diagnostic>,
) -> ResolvedApp<'a> {
    let mut resolved = ResolvedApp::default();
    for located in objects {
        match &located.object {
            Object::Release(release) => {
                let binding = record.and_then(|record| record.versions.get(&release.version));
                let holder = binding.map(|binding| binding.release.as_str());
                claim_version(&mut resolved.releases, (release, located), holder, problems);
            }
            Object::Channel(channel) => {
                let published = record.and_then(|record| record.channels.get(&channel.channel));
                let holder = published.map(|published| published.name.as_str());
                claim_channel(&mut resolved.channels, channel, located, holder, problems);
            }
        }
    }
    refuse_second_public(app, &mut resolved, record, problems);
    for channel in resolved.channels.values() {
        check_lines(channel, &resolved.releases, problems);
    }
    resolved
}

/// Drops every object whose kind and name another document holds.
fn unique_names<'a>(
    objects: impl IntoIterator<Item = &'a Arc<Located>>,
    problems: &mut Vec<Diagnostic>,
) -> Vec<&'a Arc<Located>> {
    let mut objects: Vec<&Arc<Located>> = objects.into_iter().collect();
    let holders = holders(objects.iter().copied());
    objects.retain(|located| {
        let holder = holders[&located.object.id()];
        let holds = Arc::ptr_eq(holder, located);
        if !holds {
            let message =
                format!("{} is declared already at {}; rename or remove one", located.object.id(), holder.at);
            problems.push(Diagnostic::new(Code::DuplicateName, located.field("metadata.name"), message));
        }
        holds
    });
    objects
}

fn refuse_app(located: &Located, owner: &Owner, record: Option<&AppRecord>) -> Option<Diagnostic> {
    let app = located.object.app();
    let message = match record {
        _ if !owner.may_publish(app) => {
            format!(
                "repository {} may not publish app {app}; ask the platform team to add it to `spec.apps`",
                owner.name
            )
        }
        Some(record) if record.owner != owner.name => format!(
            "app {app} belongs to repository {}; ownership moves only by an explicit transfer of the platform team",
            record.owner
        ),
        _ => return None,
    };
    Some(Diagnostic::new(Code::AppNotAllowed, located.field("spec.app"), message))
}

fn claim_version<'a>(
    releases: &mut BTreeMap<Version, (&'a Release, &'a Located)>,
    claim: (&'a Release, &'a Located),
    holder: Option<&str>,
    problems: &mut Vec<Diagnostic>,
) {
    let (release, _) = claim;
    let (winner, loser) = match releases.get(&release.version).copied() {
        None => (claim, None),
        Some(other) if wins(&release.name, &other.0.name, holder) => (claim, Some(other)),
        Some(other) => (other, Some(claim)),
    };
    if let Some((_, located)) = loser {
        let message = format!(
            "version {} of {} is also declared by release {} at {}; remove one, or give this one a new version",
            release.version, release.app, winner.0.name, winner.1.at
        );
        problems.push(Diagnostic::new(Code::VersionConflict, located.field("spec.version"), message));
    }
    releases.insert(release.version.clone(), winner);
}

fn claim_channel<'a>(
    channels: &mut BTreeMap<ChannelName, ResolvedChannel<'a>>,
    channel: &'a Channel,
    located: &'a Located,
    holder: Option<&str>,
    problems: &mut Vec<Diagnostic>,
) {
    let claim = ResolvedChannel { channel, located, refused: located.refused };
    let (winner, loser) = match channels.remove(&channel.channel) {
        None => (claim, None),
        Some(other) if wins(&channel.name, &other.channel.name, holder) => (claim, Some(other)),
        Some(other) => (other, Some(claim)),
    };
    if let Some(loser) = loser {
        let message = format!(
            "channel {} of {} is also declared by {} at {}; rename or remove one",
            channel.channel, channel.app, winner.channel.name, winner.located.at
        );
        problems.push(Diagnostic::new(Code::ChannelConflict, loser.located.field("spec.channel"), message));
    }
    channels.insert(channel.channel.clone(), winner);
}

/// Of two objects that claim one thing, the one that is served already wins, else the lower name.
fn wins(challenger: &str, incumbent: &str, holder: Option<&str>) -> bool {
    match holder {
        Some(holder) if holder == challenger => true,
        Some(holder) if holder == incumbent => false,
        _ => challenger < incumbent,
    }
}

/// At most one public channel per app and platform; what was published as public keeps its place.
fn refuse_second_public(
    app: &AppId,
    entry: &mut ResolvedApp<'_>,
    record: Option<&AppRecord>,
    problems: &mut Vec<Diagnostic>,
) {
    let served = |c: &ResolvedChannel<'_>| {
        record
            .and_then(|r| r.channels.get(&c.channel.channel))
            .is_some_and(|r| r.public && r.name == c.channel.name)
    };
    let mut public: Vec<&mut ResolvedChannel<'_>> =
        entry.channels.values_mut().filter(|c| c.channel.access.public).collect();
    public.sort_by(|a, b| (!served(a), &a.channel.name).cmp(&(!served(b), &b.channel.name)));
    let mut taken: BTreeMap<Platform, String> = BTreeMap::new();
    for channel in public {
        let clash =
            channel.channel.access.platforms.iter().find_map(|p| taken.get(&p).map(|name| (p, name.clone())));
        if let Some((platform, name)) = clash {
            let message = format!(
                "channel {name} is already the public channel of {app} on {platform}; set `public: false` here, or \
                 divide the platforms between the two"
            );
            problems.push(Diagnostic::new(
                Code::PublicChannelConflict,
                channel.located.field("spec.public"),
                message,
            ));
            channel.refused = Some(Code::PublicChannelConflict);
        } else {
            taken.extend(channel.channel.access.platforms.iter().map(|p| (p, channel.channel.name.clone())));
        }
    }
}

/// The field that names the release of line `index`.
pub fn release_field(located: &Located, index: usize) -> Location {
    let listed = format!("spec.releases[{index}].release");
    if located.fields.contains_key(&listed) { located.field(&listed) } else { located.field("spec.release") }
}

fn check_lines(
    channel: &ResolvedChannel<'_>,
    releases: &BTreeMap<Version, (&Release, &Located)>,
    problems: &mut Vec<Diagnostic>,
) {
    for (index, line) in channel.channel.lines.iter().enumerate() {
        let Target::Release(version) = &line.target else { continue };
        let at = release_field(channel.located, index);
        let Some((release, _)) = releases.get(version) else {
            let known: Vec<String> = releases.keys().rev().take(3).map(ToString::to_string).collect();
            let hint = if known.is_empty() {
                "it has no releases yet".to_owned()
            } else {
                format!("the highest are {}", known.join(", "))
            };
            let message = format!(
                "no Release of {} declares version {version}; {hint}. Devices keep what they were offered before",
                channel.channel.app
            );
            problems.push(Diagnostic::new(Code::ReleaseNotFound, at, message));
            continue;
        };
        if let Source::Oci { .. } = release.source {
            let message =
                format!("release {} comes from an OCI registry, which is not supported yet", release.name);
            problems.push(Diagnostic::new(Code::SourceNotSupported, at.clone(), message));
        }
        if let Some(reason) = unsatisfiable(channel.channel, line, release) {
            problems.push(Diagnostic::new(Code::ReleaseUnsatisfiable, at, reason));
        }
    }
}

/// Why no device of the line could ever be given the release.
fn unsatisfiable(channel: &Channel, line: &Line, release: &Release) -> Option<String> {
    if line.platforms.intersection(channel.access.platforms).is_empty() {
        return Some("the line is only for platforms that the channel does not serve".to_owned());
    }
    let version = release.version.semver();
    let native = NativeVersion::from(version);
    let (lower, upper) = match channel.access.upgrade {
        Upgrade::Any => (NativeVersion::ZERO, None),
        Upgrade::SameMajor => (NativeVersion(version.major, 0, 0), None),
        Upgrade::SameMinor => (
            NativeVersion(version.major, version.minor, 0),
            Some(NativeVersion(version.major, version.minor + 1, 0)),
        ),
        Upgrade::SamePatch => (native, Some(NativeVersion(native.0, native.1, native.2 + 1))),
    };
    let not_above = if channel.access.under_native {
        None
    } else if version.pre.is_empty() {
        Some(NativeVersion(native.0, native.1, native.2 + 1))
    } else {
        Some(native)
    };
    let policy = NativeRange::between(lower, upper)
        .intersection(&NativeRange::between(NativeVersion::ZERO, not_above));
    let wanted = [release.native.as_ref(), line.native.as_ref()];
    let both = wanted.into_iter().flatten().fold(policy.clone(), |range, more| range.intersection(more));
    if !both.is_empty() {
        return None;
    }
    let asks = wanted.into_iter().flatten().map(|r| format!("`{r}`")).collect::<Vec<_>>().join(" and ");
    Some(format!(
        "no device can be given {}: the release and its line ask for native {}, the channel's native policy allows it \
         only on native `{policy}`",
        release.version,
        if asks.is_empty() { "versions of any kind".to_owned() } else { asks },
    ))
}

#[cfg(test)]
#[path = "resolve/tests.rs"]
pub(crate) mod tests;

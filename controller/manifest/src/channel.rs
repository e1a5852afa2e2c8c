//! From a checked `Channel` document to the channel of the domain, and what only a look at the whole channel shows.

use serde_json::Value as Json;
use sluice_core::{
    channel::{Access, Channel, Line, Platform, Platforms, Target, Upgrade},
    diagnostic::Code,
    ids::ChannelName,
    native::{NativeRange, NativeVersion},
};
use sluice_crds::channel as crd;

use crate::{
    document::{accept, typed},
    walk::Walk,
};

mod audience;
mod rollout;

/// The channel, unless something is wrong with it.
pub(crate) fn read(json: &Json, walk: &mut Walk<'_>) -> Option<Channel> {
    one_reference(walk);
    check_name(json, walk);
    audience::check(&json["spec"]["audience"], "spec.audience", walk);
    rollout::check(&json["spec"]["rollout"], walk);
    let spec: crd::ChannelSpec = typed(&json["spec"], walk)?;
    let name = json["metadata"]["name"].as_str()?.to_owned();
    let channel: ChannelName =
        accept(spec.channel.as_deref().unwrap_or(&name).parse(), "spec.channel", walk)?;
    let app = accept(spec.app.parse(), "spec.app", walk)?;
    let mut lines = Vec::new();
    if let Some(release) = &spec.release {
        let target = accept(Target::try_from(release.clone()), "spec.release", walk)?;
        lines.push(Line { native: None, platforms: Platforms::ALL, target });
    }
    for (index, line) in spec.releases.iter().enumerate() {
        lines.push(read_line(line, index, walk)?);
    }
    let access = access(&spec);
    let mut channel = Channel::new(name, app, channel, lines, access);
    channel.audience = match &spec.audience {
        Some(audience) => Some(audience::audience(audience, "spec.audience", walk)?),
        None => None,
    };
    channel.rollout = rollout::rollout(&spec.rollout, walk)?;
    channel.gate = rollout::gate(&spec.gate);
    channel.approvals = rollout::approvals(&spec.approvals, spec.rollout.steps.len(), walk)?;
    channel.urgent = match &spec.urgent {
        Some(urgent) => Some(rollout::urgent(urgent, walk)?),
        None => None,
    };
    channel.allow_held = spec.allow_held.into_iter().collect();
    channel.suspend = spec.suspend;
    rollout::lint(&channel, walk);
    if let Some(audience) = &channel.audience {
        audience::lint(audience, &channel, "spec.audience", walk);
    }
    lint_reach(&channel, walk);
    lint_lines(&channel, walk);
    Some(channel)
}

fn read_line(line: &crd::Line, index: usize, walk: &mut Walk<'_>) -> Option<Line> {
    let crd::Line { native, platforms, release } = line;
    let field = |name: &str| format!("spec.releases[{index}].{name}");
    let native = match native {
        Some(text) => Some(accept(text.parse::<NativeRange>(), &field("native"), walk)?),
        None => None,
    };
    let platforms =
        if platforms.is_empty() { Platforms::ALL } else { platforms.iter().copied().map(platform).collect() };
    let target = accept(Target::try_from(release.clone()), &field("release"), walk)?;
    Some(Line { native, platforms, target })
}

fn access(spec: &crd::ChannelSpec) -> Access {
    let crd::Allow { production, development, device, emulator, self_assign } = spec.allow;
    let crd::NativePolicy { upgrade, under_native } = spec.native;
    Access {
        public: spec.public,
        platforms: spec.platforms.iter().copied().map(platform).collect(),
        production,
        development,
        device,
        emulator,
        self_assign,
        upgrade: match upgrade {
            crd::Upgrade::Any => Upgrade::Any,
            crd::Upgrade::SameMajor => Upgrade::SameMajor,
            crd::Upgrade::SameMinor => Upgrade::SameMinor,
            crd::Upgrade::SamePatch => Upgrade::SamePatch,
        },
        under_native,
    }
}

fn platform(platform: crd::Platform) -> Platform {
    match platform {
        crd::Platform::Ios => Platform::Ios,
        crd::Platform::Android => Platform::Android,
        crd::Platform::Electron => Platform::Electron,
    }
}

/// Exactly one of `release` and `releases` is given.
fn one_reference(walk: &mut Walk<'_>) {
    match (walk.fields.contains_key("spec.release"), walk.fields.contains_key("spec.releases")) {
        (true, true) => {
            let message = "a channel has either `release` or `releases`; remove one";
            walk.report_field(Code::InvalidValue, "spec.releases", message);
        }
        (false, false) if walk.fields.contains_key("spec") => {
            let message = "`spec` needs `release` (a version, or `builtin`) or `releases`";
            walk.report_field(Code::MissingField, "spec", message);
        }
        _ => {}
    }
}

/// Without `spec.channel` the object's name is what devices ask for, and must do as such.
fn check_name(json: &Json, walk: &mut Walk<'_>) {
    if walk.fields.contains_key("spec.channel") {
        return;
    }
    let Some(name) = json["metadata"]["name"].as_str() else { return };
    if name.parse::<ChannelName>().is_err() {
        let message = "the name is longer than the 63 characters that devices may ask for; shorten it, or set \
                       `spec.channel`";
        walk.report_field(Code::InvalidValue, "metadata.name", message);
    }
}

/// Nobody can get into the channel, or nobody who is in it can update.
fn lint_reach(channel: &Channel, walk: &mut Walk<'_>) {
    let access = &channel.access;
    if !access.public && !access.self_assign {
        let message = "nobody can reach this channel: it is not public, and devices may not choose it; set `public: \
                       true` or `allow: { selfAssign: true }`";
        walk.report_field(Code::ChannelUnreachable, "spec.public", message);
    }
    for (none, what) in [
        (!access.production && !access.development, "neither production nor development builds"),
        (!access.device && !access.emulator, "neither devices nor emulators"),
    ] {
        if none {
            let message = format!("nobody can reach this channel: it allows {what}; allow one of them");
            walk.report_field(Code::ChannelUnreachable, "spec.allow", &message);
        }
    }
}

/// Lines that can match nothing, or nothing that an earlier line leaves.
fn lint_lines(channel: &Channel, walk: &mut Walk<'_>) {
    for (index, line) in channel.lines.iter().enumerate() {
        if let Some(range) = line.native.as_ref().filter(|range| range.is_empty()) {
            let message =
                format!("no version is in `{range}`, so no device is in this line; correct the range");
            walk.report_field(
                Code::ReleaseUnsatisfiable,
                &format!("spec.releases[{index}].native"),
                &message,
            );
        } else if is_shadowed(line, &channel.lines[..index], channel.access.platforms) {
            let message = "the lines before this one match everything that it does, so it is never used; move it up, or \
                           remove it";
            walk.report_field(Code::LineShadowed, &format!("spec.releases[{index}]"), message);
        }
    }
}

fn is_shadowed(line: &Line, earlier: &[Line], served: Platforms) -> bool {
    let platforms = line.platforms.intersection(served);
    !platforms.is_empty()
        && platforms.iter().all(|platform| {
            let ranges: Vec<Option<&NativeRange>> = earlier
                .iter()
                .filter(|other| other.platforms.contains(platform))
                .map(|other| other.native.as_ref())
                .collect();
            covered(line.native.as_ref(), &ranges)
        })
}

/// Whether every version of `range` is in one of `others`; `None` is the range of everything.
fn covered(range: Option<&NativeRange>, others: &[Option<&NativeRange>]) -> bool {
    let mut from = range.map_or(NativeVersion::ZERO, NativeRange::lowest);
    let end = range.and_then(NativeRange::below);
    // Each round goes on from the end of an interval that holds `from`, so there are at most as many as intervals.
    loop {
        if end.is_some_and(|end| from >= end) {
            return true;
        }
        let holding = others.iter().filter(|other| other.is_none_or(|other| other.contains(from)));
        let mut next = from;
        for other in holding {
            match other.and_then(NativeRange::below) {
                None => return true,
                Some(below) => next = next.max(below),
            }
        }
        if next == from {
            return false;
        }
        from = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cover_by_several_ranges() {
        let range = |text: &str| text.parse::<NativeRange>().unwrap();
        let (low, high, all) = (range("<3"), range(">=3 <9"), range(">=0"));
        assert!(covered(Some(&range(">=1 <5")), &[Some(&high), Some(&low)]));
        assert!(!covered(Some(&range(">=1 <10")), &[Some(&high), Some(&low)]));
        assert!(!covered(Some(&range(">=1 <5")), &[Some(&low)]));
        assert!(!covered(None, &[Some(&high), Some(&low)]));
        assert!(covered(None, &[Some(&all)]) && covered(None, &[None]));
        assert!(!covered(None, &[]));
    }
}

//! What a device is answered: a pure function of one snapshot, the brakes, one device memory entry and one request.
//!
//! The order is that of `device-protocol` section 5, with the lines, requirements and device memory of the design
//! added where they belong. Nothing here allocates, and every answer comes with the steps that led to it.

use crate::{
    brake::{AppBrakes, Brakes},
    client::Feature,
    memory::{DeviceMemory, OverrideBy},
    request::Request,
    snapshot::{App, ServedBundle, ServedChannel, ServedLine, Snapshot},
    trial::Membership,
};

mod candidate;
mod guards;
mod refusal;
mod stable;
mod trace;

pub use refusal::{Kind, Old, Refusal, RefusalCode};
pub use trace::{Aside, How, Step, Trace};

/// An answer and how it came about.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'s> {
    /// What the device is told.
    pub answer: Answer<'s>,
    /// Why.
    pub trace: Trace<'s>,
    /// The part of a trial that the device is in.
    pub trial: Option<Trial<'s>>,
}

/// What a device is told.
#[derive(Debug, Clone, Copy)]
pub enum Answer<'s> {
    /// Install this bundle.
    Update(&'s ServedBundle),
    /// Go back to the shipped bundle.
    Builtin,
    /// Keep what is active.
    NothingNew,
    /// Keep what is active, for this reason.
    Refused(Refusal<'s>),
}

/// What must be noted of a device that takes part in a trial.
#[derive(Debug, Clone, Copy)]
pub struct Trial<'s> {
    /// The channel.
    pub channel: &'s ServedChannel,
    /// The line of the channel.
    pub line: &'s ServedLine,
    /// What is being tried.
    pub candidate: &'s ServedBundle,
    /// When the rollout began, in seconds since 1970: only devices that were known before weigh.
    pub started: i64,
    /// Level and arm.
    pub membership: Membership,
}

/// One request and all that its answer follows from.
#[derive(Clone, Copy)]
struct Asking<'s, 'a> {
    app: &'s App,
    channel: &'s ServedChannel,
    how: How,
    brakes: Option<&'s AppBrakes>,
    memory: Option<&'a DeviceMemory>,
    request: &'a Request<'a>,
    now: i64,
}

/// Decides what the device is told. `now_seconds` counts from 1970.
pub fn decide<'s>(
    snapshot: &'s Snapshot,
    brakes: &'s Brakes,
    memory: Option<&DeviceMemory>,
    request: &Request<'_>,
    now_seconds: i64,
) -> Decision<'s> {
    let mut decision = Decision { answer: Answer::NothingNew, trace: Trace::default(), trial: None };
    decision.answer = answer(snapshot, brakes, memory, request, now_seconds, &mut decision);
    decision
}

/// The channel that a device would be served from, and how it got there. The trace says why there is none.
pub fn select<'s>(
    app: &'s App,
    memory: Option<&DeviceMemory>,
    request: &Request<'_>,
    trace: &mut Trace<'s>,
) -> Option<(&'s ServedChannel, How)> {
    if let Some(stored) = memory.and_then(|m| m.channel.as_ref()) {
        let obsolete = stored.by == OverrideBy::Device && request.client.has(Feature::SelfSetOnDevice);
        match app.channel(stored.channel.as_str()) {
            _ if obsolete => trace.push(Step::OverrideObsolete),
            None => trace.push(Step::OverrideGone),
            Some(channel) if channel.lines.iter().all(ServedLine::is_empty) => {
                trace.push(Step::OverrideEmpty { channel: channel.name.as_str() });
            }
            Some(channel) => {
                let how = match stored.by {
                    OverrideBy::Device => How::OwnOverride,
                    OverrideBy::Support => How::SupportOverride,
                };
                trace.push(Step::Channel { channel: channel.name.as_str(), how });
                return Some((channel, how));
            }
        }
    }
    let platform = request.platform();
    if let Some(name) = request.default_channel {
        let Some(channel) = app.channel(name) else {
            trace.push(Step::WishUnknown);
            return None;
        };
        let name = channel.name.as_str();
        if !channel.access.platforms.contains(platform) {
            trace.push(Step::WishOtherPlatform { channel: name, platform });
            return None;
        }
        if !channel.access.public && !channel.access.self_assign {
            trace.push(Step::WishClosed { channel: name });
            return None;
        }
        trace.push(Step::Channel { channel: name, how: How::Wish });
        return Some((channel, How::Wish));
    }
    let Some(channel) = app.public_channel(platform) else {
        trace.push(Step::NoPublicChannel { platform });
        return None;
    };
    trace.push(Step::Channel { channel: channel.name.as_str(), how: How::Public });
    Some((channel, How::Public))
}

fn answer<'s>(
    snapshot: &'s Snapshot,
    brakes: &'s Brakes,
    memory: Option<&DeviceMemory>,
    request: &Request<'_>,
    now: i64,
    decision: &mut Decision<'s>,
) -> Answer<'s> {
    let trace = &mut decision.trace;
    // Before the app is looked up, so that the answer does not tell known apps from unknown ones.
    if request.client.is_refused() {
        trace.push(Step::PluginRefused);
        return refuse(RefusalCode::UnsupportedPluginVersion, None);
    }
    let Some(app) = snapshot.app(request.app_id) else {
        trace.push(Step::AppUnknown);
        return refuse(RefusalCode::NoChannel, None);
    };
    let Some((channel, how)) = select(app, memory, request, trace) else {
        return refuse(RefusalCode::NoChannel, None);
    };
    let Some(line) = choose(channel, request, trace) else { return Answer::NothingNew };
    let asking = Asking { app, channel, how, brakes: brakes.of(request.app_id), memory, request, now };
    let running = asking.running(trace);
    let audience = channel.audience.as_ref();
    if let Some(condition) = audience.and_then(|audience| audience.unmet(&request.audience_facts())) {
        trace.push(Step::OutsideAudience { channel: channel.name.as_str(), condition });
        return asking.outside(line, running, trace);
    }
    let answer = asking.candidate(line, running, decision);
    answer.unwrap_or_else(|| asking.stable(line, running, &mut decision.trace))
}

/// The first line that matches the device.
fn choose<'s>(
    channel: &'s ServedChannel,
    request: &Request<'_>,
    trace: &mut Trace<'s>,
) -> Option<&'s ServedLine> {
    let (platform, native) = (request.platform(), request.native);
    // A platform that the channel excludes is refused by its own rule below, whatever the lines say.
    let platform_off = !channel.access.platforms.contains(platform);
    let matches = |line: &ServedLine| {
        (platform_off || line.platforms.contains(platform))
            && line.native.as_ref().is_none_or(|range| range.contains(native))
    };
    let Some((index, line)) = channel.lines.iter().enumerate().find(|(_, line)| matches(line)) else {
        trace.push(Step::NoLine { platform, native });
        return None;
    };
    if channel.lines.len() > 1 {
        trace.push(Step::Line { number: index + 1, native: line.native.as_ref() });
    }
    Some(line)
}

const fn refuse(code: RefusalCode, version: Option<&str>) -> Answer<'_> {
    Answer::Refused(Refusal { code, version, bundle_key: None })
}

#[cfg(test)]
mod tests;

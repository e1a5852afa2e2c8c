//! What a device is answered: a pure function of one snapshot, the brakes, one device memory entry and one request.
//!
//! The order is that of `device-protocol` section 5, with the lines, requirements and device memory of the design
//! added where they belong. Nothing here allocates, and every answer comes with the steps that led to it.

use crate::{
    brake::{AppBrakes, Brakes},
    client::Feature,
    memory::{DeviceMemory, OverrideBy},
    request::Request,
    snapshot::{App, Served, ServedBundle, ServedChannel, ServedLine, Snapshot},
    trial::{Arm, Membership},
};

mod candidate;
mod guards;
mod refusal;
mod stable;
mod trace;

pub use refusal::{Kind, Old, Refusal, RefusalCode};
use stable::Running;
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
    /// The limit that the answer stands under. Whoever gives the answer asks it first, and once it is used up gives that
    /// of [`decide_at_limit`].
    pub paced: Option<Paced<'s>>,
}

/// A limit on offers, and what an answer takes of it.
#[derive(Debug, Clone, Copy)]
pub struct Paced<'s> {
    /// Whose limit it is.
    pub line: &'s ServedLine,
    /// Offers in a minute.
    pub per_minute: u32,
    /// Whether the answer is such an offer. Otherwise it only notes a device that those are compared with: both arms of
    /// a trial are noted at the same times, or they would not be as large as they must be.
    pub offers: bool,
}

impl Paced<'_> {
    /// Takes what the answer needs, if that is left at `now`, in microseconds of a clock that never goes back.
    pub fn take(&self, now: u64) -> bool {
        let Self { line, per_minute, offers } = *self;
        if offers { line.pace.take(per_minute, now) } else { line.pace.is_open(per_minute, now) }
    }

    /// Whether it is left. Takes nothing.
    pub fn is_open(&self, now: u64) -> bool {
        self.line.pace.is_open(self.per_minute, now)
    }
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
    /// Whether as many offers were made just now as the line allows.
    at_limit: bool,
}

/// Decides what the device is told while its line may make offers. `now_seconds` counts from 1970.
pub fn decide<'s>(
    snapshot: &'s Snapshot,
    brakes: &'s Brakes,
    memory: Option<&DeviceMemory>,
    request: &Request<'_>,
    now_seconds: i64,
) -> Decision<'s> {
    decision(snapshot, brakes, memory, request, (now_seconds, false))
}

/// The same once the line has made as many offers as it may: the device is answered as if the newest release had not
/// reached it, and is not noted in a trial. At a later check it has another chance.
pub fn decide_at_limit<'s>(
    snapshot: &'s Snapshot,
    brakes: &'s Brakes,
    memory: Option<&DeviceMemory>,
    request: &Request<'_>,
    now_seconds: i64,
) -> Decision<'s> {
    decision(snapshot, brakes, memory, request, (now_seconds, true))
}

fn decision<'s>(
    snapshot: &'s Snapshot,
    brakes: &'s Brakes,
    memory: Option<&DeviceMemory>,
    request: &Request<'_>,
    when: (i64, bool),
) -> Decision<'s> {
    let (answer, trace) = (Answer::NothingNew, Trace::default());
    let mut decision = Decision { answer, trace, trial: None, paced: None };
    decision.answer = self::answer(snapshot, brakes, memory, request, when, &mut decision);
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
    (now, at_limit): (i64, bool),
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
    let brakes = brakes.of(request.app_id);
    let asking = Asking { app, channel, how, brakes, memory, request, now, at_limit };
    let running = asking.running(trace);
    let audience = channel.audience.as_ref();
    if let Some(condition) = audience.and_then(|audience| audience.unmet(&request.audience_facts())) {
        trace.push(Step::OutsideAudience { channel: channel.name.as_str(), condition });
        return asking.outside(line, running, trace);
    }
    let answer = asking.candidate(line, running, decision);
    let answer = answer.unwrap_or_else(|| asking.stable(line, running, &mut decision.trace));
    decision.paced = asking.paced(line, running, &answer, decision.trial.as_ref());
    answer
}

impl<'s> Asking<'s, '_> {
    /// The limit that an answer stands under. Who must leave what it runs is returned at once, and a probe installs
    /// nothing, so it takes nobody's place.
    fn paced(
        &self,
        line: &'s ServedLine,
        running: Running<'s>,
        answer: &Answer<'s>,
        trial: Option<&Trial<'s>>,
    ) -> Option<Paced<'s>> {
        let per_minute = line.offers_per_minute.filter(|_| !self.at_limit && !self.request.probe)?;
        let newest = match (&line.candidate, &line.stable) {
            (Some(candidate), _) => &candidate.bundle,
            (None, Some(Served::Bundle(stable))) => stable,
            _ => return None,
        };
        let leaves = matches!(running, Running::Leaving);
        let offers = matches!(answer, Answer::Update(bundle) if bundle.name == newest.name) && !leaves;
        let compared = trial.is_some_and(|trial| trial.membership.arm == Arm::Control);
        (offers || compared).then_some(Paced { line, per_minute, offers })
    }
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

//! What a device is answered: a pure function of one snapshot, one device memory entry and one request.
//!
//! The order is that of `device-protocol` section 5, with the lines, requirements and device memory of the design
//! added where they belong. Nothing here allocates, and every answer comes with the steps that led to it.

use crate::{
    channel::{Access, Platform, Upgrade},
    client::Feature,
    memory::{DeviceMemory, OverrideBy},
    native::NativeVersion,
    request::Request,
    snapshot::{App, Served, ServedBundle, ServedChannel, ServedLine, Snapshot},
};

mod refusal;
mod trace;

pub use refusal::{Kind, Old, Refusal, RefusalCode};
pub use trace::{How, Step, Trace};

/// An answer and how it came about.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'s> {
    /// What the device is told.
    pub answer: Answer<'s>,
    /// Why.
    pub trace: Trace<'s>,
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

/// Why a line has nothing to offer, or what it offers.
type Chosen<'s> = Result<&'s Served, Answer<'s>>;

/// Decides what the device is told. `now_seconds` counts from 1970.
pub fn decide<'s>(
    snapshot: &'s Snapshot,
    memory: Option<&DeviceMemory>,
    request: &Request<'_>,
    now_seconds: i64,
) -> Decision<'s> {
    let mut trace = Trace::default();
    let answer = answer(snapshot, memory, request, now_seconds, &mut trace);
    Decision { answer, trace }
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
            Some(channel) if channel.lines.iter().all(|line| line.stable.is_none()) => {
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
    memory: Option<&DeviceMemory>,
    request: &Request<'_>,
    now: i64,
    trace: &mut Trace<'s>,
) -> Answer<'s> {
    // Before the app is looked up, so that the answer does not tell known apps from unknown ones.
    if request.client.is_refused() {
        trace.push(Step::PluginRefused);
        return refuse(RefusalCode::UnsupportedPluginVersion, None);
    }
    let Some(app) = snapshot.app(request.app_id) else {
        trace.push(Step::AppUnknown);
        return refuse(RefusalCode::NoChannel, None);
    };
    let Some((channel, _)) = select(app, memory, request, trace) else {
        return refuse(RefusalCode::NoChannel, None);
    };
    match choose(channel, request, trace) {
        Err(answer) => answer,
        Ok(Served::Builtin) => answer_builtin(&channel.access, request, trace),
        Ok(Served::Bundle(bundle)) => answer_bundle(&channel.access, bundle, memory, request, now, trace),
    }
}

/// What the first line that matches the device runs.
fn choose<'s>(channel: &'s ServedChannel, request: &Request<'_>, trace: &mut Trace<'s>) -> Chosen<'s> {
    let (platform, native) = (request.platform(), request.native);
    // A platform that the channel excludes is refused by its own rule below, whatever the lines say.
    let platform_off = !channel.access.platforms.contains(platform);
    let matches = |line: &ServedLine| {
        (platform_off || line.platforms.contains(platform))
            && line.native.as_ref().is_none_or(|range| range.contains(native))
    };
    let Some((index, line)) = channel.lines.iter().enumerate().find(|(_, line)| matches(line)) else {
        trace.push(Step::NoLine { platform, native });
        return Err(Answer::NothingNew);
    };
    if channel.lines.len() > 1 {
        trace.push(Step::Line { number: index + 1, native: line.native.as_ref() });
    }
    let Some(target) = &line.stable else {
        trace.push(Step::NothingReady);
        return Err(Answer::NothingNew);
    };
    trace.push(Step::Target { version: target.name() });
    Ok(target)
}

fn answer_builtin<'s>(access: &Access, request: &Request<'_>, trace: &mut Trace<'s>) -> Answer<'s> {
    if request.on_builtin {
        trace.push(Step::OnShipped);
        return Answer::NothingNew;
    }
    if let Some(code) = platform_off(access, request, trace).or_else(|| switched_off(access, request, trace))
    {
        return refuse(code, Some("builtin"));
    }
    if !request.client.has(Feature::BuiltinAnswer) {
        trace.push(Step::CannotRevert { electron: request.platform() == Platform::Electron });
        return refuse(RefusalCode::RevertToBuiltinPluginVersionTooOld, None);
    }
    trace.push(Step::Reverted);
    Answer::Builtin
}

fn answer_bundle<'s>(
    access: &Access,
    bundle: &'s ServedBundle,
    memory: Option<&DeviceMemory>,
    request: &Request<'_>,
    now: i64,
    trace: &mut Trace<'s>,
) -> Answer<'s> {
    let version = bundle.name.as_str();
    if let Some(step) = key_conflict(bundle, request) {
        trace.push(step);
        let bundle_key = bundle.offer.key_id.as_deref();
        return Answer::Refused(Refusal {
            code: RefusalCode::KeyIdMismatch,
            version: Some(version),
            bundle_key,
        });
    }
    if request.current == version {
        trace.push(Step::AlreadyRuns { version });
        return Answer::NothingNew;
    }
    let refusal = platform_off(access, request, trace)
        .or_else(|| out_of_policy(access, bundle, request.native, trace))
        .or_else(|| switched_off(access, request, trace));
    if let Some(code) = refusal {
        return refuse(code, Some(version));
    }
    if memory.is_some_and(|m| m.has_failed(&bundle.offer.digest, request.native, now)) {
        trace.push(Step::FailedHere { version });
        return Answer::NothingNew;
    }
    trace.push(Step::Offered { version });
    Answer::Update(bundle)
}

/// Rule 5, and rule 14 of the design: whether device and bundle disagree about encryption.
fn key_conflict<'s>(bundle: &'s ServedBundle, request: &Request<'_>) -> Option<Step<'s>> {
    let client = request.client;
    let electron = client.platform == Platform::Electron;
    match (&bundle.offer.key_id, request.key_id) {
        // Electron verifies nothing, so that its key does not matter; and it decrypts nothing.
        (None, device_key) => (device_key.is_some() && !electron).then_some(Step::PlainForKey),
        (Some(_), _) if electron => Some(Step::EncryptedForElectron),
        (Some(_), _) if !client.has(Feature::PublicKey) => Some(Step::EncryptedForOld),
        (Some(_), None) if client.has(Feature::KeyId) => Some(Step::EncryptedForKeyless),
        (Some(_), None) => None,
        (Some(bundle_key), Some(device_key)) => {
            // Old clients state four characters, which every key begins with.
            let comparable = client.has(Feature::FullKeyId) && device_key.len() > 4;
            (comparable && bundle_key != device_key).then_some(Step::OtherKey { bundle_key })
        }
    }
}

/// Rule 7.
fn platform_off(access: &Access, request: &Request<'_>, trace: &mut Trace<'_>) -> Option<RefusalCode> {
    let platform = request.platform();
    if access.platforms.contains(platform) {
        return None;
    }
    trace.push(Step::PlatformOff { platform });
    Some(RefusalCode::DisabledPlatform(platform))
}

/// Rules 8 to 14: how far the bundle may be from the native version.
fn out_of_policy<'s>(
    access: &Access,
    bundle: &'s ServedBundle,
    native: NativeVersion,
    trace: &mut Trace<'s>,
) -> Option<RefusalCode> {
    let version = bundle.name.as_str();
    let semver = bundle.version.semver();
    let target = NativeVersion::from(semver);
    let (major, minor) = (target.0 != native.0, target.1 != native.1);
    let too_far = match access.upgrade {
        Upgrade::Any => None,
        Upgrade::SameMajor => (target.0 > native.0).then_some(RefusalCode::DisableAutoUpdateToMajor),
        Upgrade::SameMinor => (major || minor).then_some(RefusalCode::DisableAutoUpdateToMinor),
        Upgrade::SamePatch => (target != native).then_some(RefusalCode::DisableAutoUpdateToPatch),
    };
    if let Some(code) = too_far {
        trace.push(Step::TooFar { version, native, policy: access.upgrade });
        return Some(code);
    }
    if let Some(range) = bundle.offer.native.as_ref().filter(|range| !range.contains(native)) {
        trace.push(Step::RequiresNative { version, range, native });
        return Some(RefusalCode::DisableAutoUpdateToMetadata);
    }
    // A pre-release is below the release of the same numbers, and native versions have no pre-release tag.
    let under = target < native || (target == native && !semver.pre.is_empty());
    if under && !access.under_native {
        trace.push(Step::UnderNative { version, native });
        return Some(RefusalCode::DisableAutoUpdateUnderNative);
    }
    None
}

/// Rules 15 to 18.
fn switched_off(access: &Access, request: &Request<'_>, trace: &mut Trace<'_>) -> Option<RefusalCode> {
    let code = match (request.production, request.emulator) {
        (true, _) if !access.production => RefusalCode::DisableProdBuild,
        (false, _) if !access.development => RefusalCode::DisableDevBuild,
        (_, false) if !access.device => RefusalCode::DisableDevice,
        (_, true) if !access.emulator => RefusalCode::DisableEmulator,
        _ => return None,
    };
    trace.push(Step::SwitchedOff { code });
    Some(code)
}

const fn refuse(code: RefusalCode, version: Option<&str>) -> Answer<'_> {
    Answer::Refused(Refusal { code, version, bundle_key: None })
}

#[cfg(test)]
mod tests;

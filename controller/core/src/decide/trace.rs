//! Why a device was answered what it was: a short list of steps that print as sentences for a support engineer.

use std::fmt;

use crate::{
    brake::{Brake, Scope},
    channel::{Condition, Platform, Upgrade},
    cohort::Ppm,
    native::{NativeRange, NativeVersion},
    trial::Arm,
};

use super::RefusalCode;

/// No path through the decision has more steps: override, channel, line; candidate, cohort, arm; what is braked, the
/// target, its brake, what it falls back to, verdict.
const CAPACITY: usize = 11;

/// The steps of one decision, in their order. It lives on the stack.
#[derive(Clone, Copy, Default)]
pub struct Trace<'s> {
    steps: [Option<Step<'s>>; CAPACITY],
    len: usize,
}

/// How a device came to its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It chose it itself, and the server keeps the choice for its old client.
    OwnOverride,
    /// Support put it there.
    SupportOverride,
    /// It asks for it.
    Wish,
    /// It is the public channel for its platform.
    Public,
}

/// Why a device is in neither arm of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aside {
    /// An earlier level reached it.
    Earlier,
    /// An earlier step was for devices like it.
    EarlierStep,
    /// The present step is for others.
    Others,
    /// It lies between the devices that are reached and those that they are compared with.
    Between,
    /// It runs the release although the rollout has not reached it.
    Ahead,
    /// It runs a release that this one overtook.
    Overtaken,
    /// Support put it on the channel.
    Support,
    /// It asks only what there is.
    Probe,
    /// Nobody new is offered the release.
    Closed,
    /// As many offers were made just now as the channel allows in a minute.
    AtLimit,
}

/// One step of a decision.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(
    missing_docs,
    reason = "the fields are named after what they hold, and the sentences of `Display` use each"
)]
pub enum Step<'s> {
    /// Plugin 4.
    PluginRefused,
    /// Nothing is published for the app.
    AppUnknown,
    /// The stored choice is of a client that kept it on the server; the present one keeps its own.
    OverrideObsolete,
    /// The channel that the device was put on does not exist.
    OverrideGone,
    /// The channel that the device was put on serves nothing.
    OverrideEmpty { channel: &'s str },
    /// The channel that serves the device.
    Channel { channel: &'s str, how: How },
    /// The device asks for a channel that does not exist.
    WishUnknown,
    /// The device asks for a channel that is off for its platform.
    WishOtherPlatform { channel: &'s str, platform: Platform },
    /// The device asks for a channel that devices may not choose.
    WishClosed { channel: &'s str },
    /// The device asks for none, and none is public.
    NoPublicChannel { platform: Platform },
    /// No line of the channel is for the device.
    NoLine { platform: Platform, native: NativeVersion },
    /// The line that serves the device.
    Line { number: usize, native: Option<&'s NativeRange> },
    /// The channel is limited to others.
    OutsideAudience { channel: &'s str, condition: Condition },
    /// What is being rolled out on the line.
    Candidate { version: &'s str, weight: Ppm, limited: bool },
    /// The device is in the share that is offered the candidate.
    Reached { version: &'s str },
    /// The device is outside that share.
    Outside { version: &'s str },
    /// The present step is for others.
    ForOthers { version: &'s str },
    /// As many offers were made just now as the channel allows in a minute.
    AtLimit { version: &'s str, per_minute: u32 },
    /// Nobody new is offered the candidate.
    Closed { version: &'s str },
    /// The device takes part in the trial.
    Trial { arm: Arm, level: u32 },
    /// The device is in neither arm of the trial.
    NoTrial { level: u32, why: Aside },
    /// A brake stopped the bundle here.
    Braked { version: &'s str, brake: &'s Brake },
    /// A brake stopped the bundle elsewhere, so that nobody new is offered it here.
    Paused { version: &'s str, brake: &'s Brake },
    /// The device runs a bundle that a brake stopped.
    RunsBraked { brake: &'s Brake },
    /// It stays on that until something newer is offered.
    StaysBraked,
    /// The device runs an overtaken candidate, which it keeps.
    Overtaken { version: &'s str },
    /// The bundle is not for this device, which must leave the one that it runs.
    NotForThis { version: &'s str },
    /// What did well before is served instead.
    Fallback { version: &'s str },
    /// Nothing that did well before can be served instead.
    NoFallback,
    /// The line has no release that can be served.
    NothingReady,
    /// The line serves nothing beside its candidate.
    NothingElse,
    /// What the line serves.
    Target { version: &'s str },
    /// The device holds another key than the bundle was encrypted for.
    OtherKey { bundle_key: &'s str },
    /// The device holds a key, the bundle is not encrypted.
    PlainForKey,
    /// The bundle is encrypted, the device holds no key.
    EncryptedForKeyless,
    /// The bundle is encrypted, the client is too old to decrypt it.
    EncryptedForOld,
    /// The bundle is encrypted, Electron decrypts nothing.
    EncryptedForElectron,
    /// The device runs the bundle.
    AlreadyRuns { version: &'s str },
    /// The device runs the bundle, and the share was lowered to below it.
    Unreached { version: &'s str },
    /// The device runs its shipped bundle, as it should.
    OnShipped,
    /// The channel is off for the platform.
    PlatformOff { platform: Platform },
    /// The bundle is further from the native version than the channel allows.
    TooFar { version: &'s str, native: NativeVersion, policy: Upgrade },
    /// The release asks for another native version.
    RequiresNative { version: &'s str, range: &'s NativeRange, native: NativeVersion },
    /// The bundle is below the native version.
    UnderNative { version: &'s str, native: NativeVersion },
    /// A switch of the channel excludes the device.
    SwitchedOff { code: RefusalCode },
    /// The bundle failed on this device.
    FailedHere { version: &'s str },
    /// The client cannot go back to its shipped bundle.
    CannotRevert { electron: bool },
    /// The device is sent back to its shipped bundle.
    Reverted,
    /// The device is offered the bundle.
    Offered { version: &'s str },
}

impl<'s> Trace<'s> {
    /// Adds a step.
    pub fn push(&mut self, step: Step<'s>) {
        debug_assert!(self.len < CAPACITY, "the decision has more steps than the trace holds");
        if let Some(slot) = self.steps.get_mut(self.len) {
            *slot = Some(step);
            self.len += 1;
        }
    }

    /// The steps in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Step<'s>> {
        self.steps.iter().flatten()
    }

    /// The step that settled the answer.
    pub fn last(&self) -> Option<&Step<'s>> {
        self.iter().last()
    }
}

impl fmt::Debug for Trace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A share, in percent without needless digits.
struct Percent(Ppm);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", f64::from(self.0) / 10_000.0)
    }
}

/// Which brake, whose and why.
struct Because<'b>(&'b Brake);

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Brake { id, by, why, .. } = self.0;
        write!(f, "{} (brake {id} by {by})", why.trim_end_matches('.'))
    }
}

impl fmt::Display for Aside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Earlier => "an earlier level reached it",
            Self::EarlierStep => {
                "an earlier step was for devices like it, so those that are left are like neither"
            }
            Self::Others => "the present step is for others",
            Self::Between => "it is too near to the share that is reached to be compared with it",
            Self::Ahead => "it runs the release although the rollout has not reached it",
            Self::Overtaken => "it runs a release that was overtaken, so it is like neither",
            Self::Support => "support put it on the channel, so it was not chosen at random",
            Self::Probe => "it asks what there is and installs nothing",
            Self::Closed => "nobody new is offered the release at present",
            Self::AtLimit => "nobody is noted while no more offers may be made",
        })
    }
}

/// One sentence per line.
impl fmt::Display for Trace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.iter().enumerate() {
            write!(f, "{}{step}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl Step<'_> {
    /// A stable name, for machines.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::PluginRefused => "PluginRefused",
            Self::AppUnknown => "AppUnknown",
            Self::OverrideObsolete => "OverrideObsolete",
            Self::OverrideGone => "OverrideGone",
            Self::OverrideEmpty { .. } => "OverrideEmpty",
            Self::Channel { how: How::OwnOverride, .. } => "ChannelByOwnOverride",
            Self::Channel { how: How::SupportOverride, .. } => "ChannelBySupport",
            Self::Channel { how: How::Wish, .. } => "ChannelByWish",
            Self::Channel { how: How::Public, .. } => "ChannelPublic",
            Self::WishUnknown => "WishUnknown",
            Self::WishOtherPlatform { .. } => "WishOtherPlatform",
            Self::WishClosed { .. } => "WishClosed",
            Self::NoPublicChannel { .. } => "NoPublicChannel",
            Self::NoLine { .. } => "NoLine",
            Self::Line { .. } => "Line",
            Self::OutsideAudience { .. } => "OutsideAudience",
            Self::Candidate { .. } => "Candidate",
            Self::Reached { .. } => "Reached",
            Self::Outside { .. } => "Outside",
            Self::ForOthers { .. } => "ForOthers",
            Self::AtLimit { .. } => "AtLimit",
            Self::Closed { .. } => "Closed",
            Self::Trial { arm: Arm::Treatment, .. } => "TrialTreatment",
            Self::Trial { arm: Arm::Control, .. } => "TrialControl",
            Self::NoTrial { .. } => "NoTrial",
            Self::Braked { .. } => "Braked",
            Self::Paused { .. } => "Paused",
            Self::RunsBraked { .. } => "RunsBraked",
            Self::StaysBraked => "StaysBraked",
            Self::Overtaken { .. } => "Overtaken",
            Self::NotForThis { .. } => "NotForThis",
            Self::Fallback { .. } => "Fallback",
            Self::NoFallback => "NoFallback",
            Self::NothingReady => "NothingReady",
            Self::NothingElse => "NothingElse",
            Self::Target { .. } => "Target",
            Self::OtherKey { .. } => "OtherKey",
            Self::PlainForKey => "PlainForKey",
            Self::EncryptedForKeyless => "EncryptedForKeyless",
            Self::EncryptedForOld => "EncryptedForOld",
            Self::EncryptedForElectron => "EncryptedForElectron",
            Self::AlreadyRuns { .. } => "AlreadyRuns",
            Self::Unreached { .. } => "Unreached",
            Self::OnShipped => "OnShipped",
            Self::PlatformOff { .. } => "PlatformOff",
            Self::TooFar { .. } => "TooFar",
            Self::RequiresNative { .. } => "RequiresNative",
            Self::UnderNative { .. } => "UnderNative",
            Self::SwitchedOff { .. } => "SwitchedOff",
            Self::FailedHere { .. } => "FailedHere",
            Self::CannotRevert { .. } => "CannotRevert",
            Self::Reverted => "Reverted",
            Self::Offered { .. } => "Offered",
        }
    }
}

impl fmt::Display for Step<'_> {
    #[expect(clippy::too_many_lines, reason = "one sentence for each step")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PluginRefused => f.write_str("The updater plugin is version 4, which is not served."),
            Self::AppUnknown => f.write_str("Nothing is published for this app id."),
            Self::OverrideObsolete => f.write_str(
                "The channel that the device once chose is ignored: its present client keeps the choice itself.",
            ),
            Self::OverrideGone => f.write_str("The device was put on a channel that does not exist any more."),
            Self::OverrideEmpty { channel } => write!(
                f,
                "The device was put on channel {channel}, which is passed over because it serves nothing."
            ),
            Self::Channel { channel, how: How::OwnOverride } => {
                write!(f, "Channel {channel}: the device chose it and the server remembers.")
            }
            Self::Channel { channel, how: How::SupportOverride } => {
                write!(f, "Channel {channel}: support put the device on it.")
            }
            Self::Channel { channel, how: How::Wish } => write!(f, "Channel {channel}: the device asks for it."),
            Self::Channel { channel, how: How::Public } => {
                write!(f, "Channel {channel}: it is the public channel for the device's platform.")
            }
            Self::WishUnknown => f.write_str(
                "The device asks for a channel of a name that the app does not have, and there is no fallback.",
            ),
            Self::WishOtherPlatform { channel, platform } => {
                write!(f, "The device asks for channel {channel}, which does not serve {platform}.")
            }
            Self::WishClosed { channel } => write!(
                f,
                "The device asks for channel {channel}, which is neither public nor open to self-assignment."
            ),
            Self::NoPublicChannel { platform } => {
                write!(f, "The device asks for no channel, and no channel is public for {platform}.")
            }
            Self::NoLine { platform, native } => {
                write!(f, "No line of the channel is for {platform} with native version {native}.")
            }
            Self::Line { number, native: Some(range) } => {
                write!(f, "Line {number} of the channel is the first that matches (native {range}).")
            }
            Self::Line { number, native: None } => {
                write!(f, "Line {number} of the channel is the first that matches.")
            }
            Self::OutsideAudience { channel, condition } => write!(
                f,
                "Channel {channel} is limited to an audience that does not have the device, by its {condition}."
            ),
            Self::Candidate { version, weight, limited } => {
                let of = if *limited { " of the audience of its present step" } else { "" };
                write!(f, "{version} is being rolled out, to {}{of} so far.", Percent(*weight))
            }
            Self::Reached { version } => {
                write!(f, "The device is in the share that {version} is offered to.")
            }
            Self::Outside { version } => write!(f, "The rollout of {version} has not reached the device yet."),
            Self::ForOthers { version } => {
                write!(f, "The present step of the rollout of {version} is for others, and none before reached the device.")
            }
            Self::AtLimit { version, per_minute } => write!(
                f,
                "{version} may be offered {per_minute} times a minute here, and was just now: the device has to come again."
            ),
            Self::Closed { version } => write!(f, "Nobody new is offered {version} at present."),
            Self::Trial { arm: Arm::Treatment, level } => write!(
                f,
                "The device takes part in the trial of level {level} as one of those who are offered the release."
            ),
            Self::Trial { arm: Arm::Control, level } => write!(
                f,
                "The device takes part in the trial of level {level} as one of those whom the others are compared with."
            ),
            Self::NoTrial { level, why } => {
                write!(f, "The device is in neither arm of the trial of level {level}: {why}.")
            }
            Self::Braked { version, brake } => {
                write!(f, "{version} is stopped: {}.", Because(brake))
            }
            Self::Paused { version, brake } => write!(
                f,
                "Nobody new is offered {version}, because it is stopped on {}: {}.",
                match &brake.scope {
                    Scope::Channel(channel) => channel.as_str(),
                    Scope::App => "every channel",
                },
                Because(brake)
            ),
            Self::RunsBraked { brake } => {
                write!(f, "The device runs a bundle that is stopped: {}.", Because(brake))
            }
            Self::StaysBraked => f.write_str("It stays on that bundle until something newer is offered."),
            Self::Overtaken { version } => write!(
                f,
                "The device runs {version}, which was overtaken and did no harm, and keeps it until the next one reaches it."
            ),
            Self::NotForThis { version } => {
                write!(f, "{version} is not for this device, which must leave the bundle that it runs.")
            }
            Self::Fallback { version } => {
                write!(f, "{version} did well before and is served instead.")
            }
            Self::NoFallback => {
                f.write_str("No release that did well before can be served instead, so the device keeps what it has.")
            }
            Self::NothingReady => f.write_str("The channel has no release that is ready to be served."),
            Self::NothingElse => f.write_str("The channel serves nothing beside that."),
            Self::Target { version: "builtin" } => f.write_str("The channel serves the shipped bundle."),
            Self::Target { version } => write!(f, "The channel serves {version}."),
            Self::OtherKey { bundle_key } => write!(
                f,
                "The bundle is encrypted for key {bundle_key}, and the device holds another public key."
            ),
            Self::PlainForKey => f.write_str(
                "The device holds a public key and the bundle is not encrypted, so the device could not verify it.",
            ),
            Self::EncryptedForKeyless => {
                f.write_str("The bundle is encrypted and the device holds no public key.")
            }
            Self::EncryptedForOld => {
                f.write_str("The bundle is encrypted and the device's plugin is too old to decrypt it.")
            }
            Self::EncryptedForElectron => {
                f.write_str("The bundle is encrypted, and the Electron updater decrypts nothing.")
            }
            Self::AlreadyRuns { version } => write!(f, "The device runs {version} already."),
            Self::Unreached { version } => {
                write!(f, "The device runs {version}, whose share was lowered and does not reach it any more.")
            }
            Self::OnShipped => f.write_str("The device runs its shipped bundle already."),
            Self::PlatformOff { platform } => write!(f, "The channel does not serve {platform}."),
            Self::TooFar { version, native, policy } => {
                let allowed = match policy {
                    Upgrade::Any => "every version",
                    Upgrade::SameMajor => "no major version above the native one",
                    Upgrade::SameMinor => "only the native major and minor version",
                    Upgrade::SamePatch => "only the native version itself",
                };
                write!(f, "The channel allows {allowed}: {version} is not for native version {native}.")
            }
            Self::RequiresNative { version, range, native } => {
                write!(f, "Release {version} requires native {range}, and the device has {native}.")
            }
            Self::UnderNative { version, native } => {
                write!(f, "{version} is below native version {native}, which the channel does not allow.")
            }
            Self::SwitchedOff { code } => f.write_str(match code {
                RefusalCode::DisableProdBuild => "The channel does not serve production builds.",
                RefusalCode::DisableDevBuild => "The channel does not serve development builds.",
                RefusalCode::DisableDevice => "The channel does not serve physical devices.",
                _ => "The channel does not serve emulators.",
            }),
            Self::FailedHere { version } => write!(
                f,
                "{version} failed on this device; it is offered again after a new native version or 30 days."
            ),
            Self::CannotRevert { electron: true } => {
                f.write_str("No answer makes the Electron updater go back to its shipped bundle.")
            }
            Self::CannotRevert { electron: false } => {
                f.write_str("The device's plugin is too old to go back to its shipped bundle.")
            }
            Self::Reverted => f.write_str("The device is sent back to its shipped bundle."),
            Self::Offered { version } => write!(f, "The device is offered {version}."),
        }
    }
}

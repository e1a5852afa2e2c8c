//! What a device gets that is not offered a candidate: what the line serves, or what did well before when that is
//! braked; and how a device leaves a bundle that is braked.

use crate::{
    brake::{Acting, Force},
    channel::Platform,
    client::Feature,
    ids::Version,
    native::NativeVersion,
    release::RollbackPolicy,
    snapshot::{Served, ServedBundle, ServedLine},
};

use super::{Answer, Asking, RefusalCode, Step, Trace, refuse};

/// How the bundle that a device runs stands.
#[derive(Clone, Copy)]
pub(super) enum Running<'s> {
    /// It may stay, and it may leave.
    Free,
    /// It is stopped, and the device stays on it until something newer is offered.
    Kept { version: Option<&'s Version> },
    /// It is stopped, and the device is returned: never to nothing while it runs that.
    Leaving,
}

impl Running<'_> {
    /// Whether a device that stays for now does so also when it could have `bundle`: nothing tells that it is newer.
    pub(super) fn stays_rather_than(self, bundle: &ServedBundle) -> bool {
        let Self::Kept { version } = self else { return false };
        version.is_none_or(|running| bundle.version <= *running)
    }
}

impl<'s> Asking<'s, '_> {
    /// What the line serves to this device.
    pub(super) fn stable(
        &self,
        line: &'s ServedLine,
        running: Running<'s>,
        trace: &mut Trace<'s>,
    ) -> Answer<'s> {
        if let Running::Free = running
            && let Some(kept) = self.overtaken(line)
        {
            trace.push(Step::Overtaken { version: &kept.name });
            return Answer::NothingNew;
        }
        let Some(stable) = &line.stable else {
            trace.push(if line.candidate.is_some() { Step::NothingElse } else { Step::NothingReady });
            return match running {
                Running::Free => Answer::NothingNew,
                _ => self.fall_back(line, running, trace),
            };
        };
        trace.push(Step::Target { version: stable.name() });
        match (stable, running) {
            (Served::Builtin, Running::Kept { .. }) => stay(trace),
            (Served::Builtin, Running::Leaving) => self.return_to_builtin(trace),
            (Served::Builtin, Running::Free) => self.builtin(trace),
            (Served::Bundle(bundle), _) => self.bundle(line, bundle, running, trace),
        }
    }

    /// What a device gets that the channel's audience does not have: it keeps what it runs, whatever that is. Only from
    /// what is stopped it is returned all the same, to what the line serves.
    pub(super) fn outside(
        &self,
        line: &'s ServedLine,
        running: Running<'s>,
        trace: &mut Trace<'s>,
    ) -> Answer<'s> {
        match running {
            Running::Free => Answer::NothingNew,
            Running::Kept { .. } => stay(trace),
            Running::Leaving => self.stable(line, running, trace),
        }
    }

    /// How the device's bundle stands here. A bundle that the app offers no more is known by its brake.
    pub(super) fn running(&self, trace: &mut Trace<'s>) -> Running<'s> {
        let Some(brakes) = self.brakes.filter(|_| !self.request.on_builtin) else { return Running::Free };
        let offered = self.app.bundle(self.request.current);
        let digest = offered.map(|b| &b.offer.digest).or_else(|| brakes.digest(self.request.current));
        let (channel, lifted) = (self.channel.name.as_str(), self.channel.allow_held.as_slice());
        let acting = digest.and_then(|digest| brakes.on(digest, channel, lifted));
        let Some(Acting { brake, force }) = acting.filter(Acting::stops) else { return Running::Free };
        trace.push(Step::RunsBraked { brake });
        let stop_only = offered.is_some_and(|bundle| bundle.offer.rollback == RollbackPolicy::StopOnly);
        if force == Force::StopKeep || stop_only {
            Running::Kept { version: offered.map(|bundle| &bundle.version).or(brake.release.as_ref()) }
        } else {
            Running::Leaving
        }
    }

    /// The overtaken candidate that the device runs and keeps: nobody is sent back from one to what is older.
    fn overtaken(&self, line: &'s ServedLine) -> Option<&'s ServedBundle> {
        let kept = line.kept.iter().find(|kept| kept.name == self.request.current)?;
        let older = match &line.stable {
            Some(Served::Bundle(stable)) => stable.version < kept.version,
            Some(Served::Builtin) | None => true,
        };
        older.then_some(kept)
    }

    fn bundle(
        &self,
        line: &'s ServedLine,
        bundle: &'s ServedBundle,
        running: Running<'s>,
        trace: &mut Trace<'s>,
    ) -> Answer<'s> {
        let version = bundle.name.as_str();
        match (self.acting(bundle), running) {
            (Some(acting), _) if acting.stops() => {
                trace.push(Step::Braked { version, brake: acting.brake });
                return self.fall_back(line, running, trace);
            }
            (Some(acting), Running::Kept { .. } | Running::Leaving) => {
                trace.push(Step::Paused { version, brake: acting.brake });
                return self.fall_back(line, running, trace);
            }
            (Some(acting), Running::Free) if self.request.current != version => {
                trace.push(Step::Paused { version, brake: acting.brake });
                return Answer::NothingNew;
            }
            (None, Running::Leaving) if self.fault(bundle).is_some() || self.has_failed(bundle) => {
                trace.push(Step::NotForThis { version });
                return self.fall_back(line, running, trace);
            }
            (None, _) if running.stays_rather_than(bundle) => return stay(trace),
            _ => {}
        }
        if let Some(fault) = self.key_fault(bundle) {
            trace.push(fault.step);
            return fault.answer();
        }
        if self.request.current == version {
            trace.push(Step::AlreadyRuns { version });
            return Answer::NothingNew;
        }
        if let Some(fault) = self.policy_fault(bundle) {
            trace.push(fault.step);
            return fault.answer();
        }
        if self.has_failed(bundle) {
            trace.push(Step::FailedHere { version });
            return Answer::NothingNew;
        }
        if self.at_limit
            && line.candidate.is_none()
            && !matches!(running, Running::Leaving)
            && let Some(per_minute) = line.offers_per_minute
        {
            trace.push(Step::AtLimit { version, per_minute });
            return Answer::NothingNew;
        }
        trace.push(Step::Offered { version });
        Answer::Update(bundle)
    }

    /// The newest release that did well before and that the device may have; else the shipped bundle for who must
    /// leave, and nothing for who need not.
    fn fall_back(&self, line: &'s ServedLine, running: Running<'s>, trace: &mut Trace<'s>) -> Answer<'s> {
        for bundle in &line.fallbacks {
            let version = bundle.name.as_str();
            if self.acting(bundle).is_some() || self.has_failed(bundle) || self.fault(bundle).is_some() {
                continue;
            }
            match running {
                _ if self.request.current == version => {
                    trace.push(Step::AlreadyRuns { version });
                    return Answer::NothingNew;
                }
                // Rule 14: whoever does not run what is braked is not sent back on its account.
                Running::Free if self.runs_later_than(bundle) => continue,
                _ if running.stays_rather_than(bundle) => continue,
                _ => {}
            }
            trace.push(Step::Fallback { version });
            trace.push(Step::Offered { version });
            return Answer::Update(bundle);
        }
        match running {
            Running::Free => {
                trace.push(Step::NoFallback);
                Answer::NothingNew
            }
            Running::Kept { .. } => stay(trace),
            Running::Leaving => self.return_to_builtin(trace),
        }
    }

    /// Whether the device runs a bundle with a higher version, as far as its name tells.
    fn runs_later_than(&self, bundle: &ServedBundle) -> bool {
        if self.request.on_builtin {
            return false;
        }
        match self.app.bundle(self.request.current) {
            Some(running) => running.version > bundle.version,
            None => {
                self.request.current.parse().is_ok_and(|running: NativeVersion| {
                    running > NativeVersion::from(bundle.version.semver())
                })
            }
        }
    }

    /// Git says that the shipped bundle is what the device should run.
    fn builtin(&self, trace: &mut Trace<'s>) -> Answer<'s> {
        if self.request.on_builtin {
            trace.push(Step::OnShipped);
            return Answer::NothingNew;
        }
        if let Some(fault) = self.platform_off("builtin").or_else(|| self.switched_off("builtin")) {
            trace.push(fault.step);
            return fault.answer();
        }
        self.return_to_builtin(trace)
    }

    /// Sends the device to its shipped bundle, if its client can be sent there.
    fn return_to_builtin(&self, trace: &mut Trace<'s>) -> Answer<'s> {
        if !self.request.client.has(Feature::BuiltinAnswer) {
            trace.push(Step::CannotRevert { electron: self.request.platform() == Platform::Electron });
            return refuse(RefusalCode::RevertToBuiltinPluginVersionTooOld, None);
        }
        trace.push(Step::Reverted);
        Answer::Builtin
    }
}

fn stay<'s>(trace: &mut Trace<'s>) -> Answer<'s> {
    trace.push(Step::StaysBraked);
    Answer::NothingNew
}

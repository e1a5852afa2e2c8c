//! What keeps a bundle from a device: rules 5 and 7 to 18 of `device-protocol` section 5, what failed on the device,
//! and brakes.

use crate::{
    brake::Acting,
    channel::{Platform, Upgrade},
    client::Feature,
    native::NativeVersion,
    snapshot::ServedBundle,
};

use super::{Answer, Asking, Refusal, RefusalCode, Step};

/// Why a bundle is not for a device.
pub(super) struct Fault<'s> {
    /// For the trace.
    pub(super) step: Step<'s>,
    /// For the device.
    pub(super) refusal: Refusal<'s>,
}

impl<'s> Fault<'s> {
    fn new(step: Step<'s>, code: RefusalCode, version: &'s str) -> Self {
        Self { step, refusal: Refusal { code, version: Some(version), bundle_key: None } }
    }

    pub(super) fn answer(&self) -> Answer<'s> {
        Answer::Refused(self.refusal)
    }
}

impl<'s> Asking<'s, '_> {
    /// What acts on a bundle on this channel.
    pub(super) fn acting(&self, bundle: &ServedBundle) -> Option<Acting<'s>> {
        let brakes = self.brakes?;
        brakes.on(&bundle.offer.digest, self.channel.name.as_str(), &self.channel.allow_held)
    }

    /// Whether the bundle failed on this device.
    pub(super) fn has_failed(&self, bundle: &ServedBundle) -> bool {
        self.memory.is_some_and(|m| m.has_failed(&bundle.offer.digest, self.request.native, self.now))
    }

    /// What keeps the bundle from the device, if the device does not run it.
    pub(super) fn fault(&self, bundle: &'s ServedBundle) -> Option<Fault<'s>> {
        self.key_fault(bundle).or_else(|| self.policy_fault(bundle))
    }

    /// Rule 5, and rule 14 of the design: whether device and bundle disagree about encryption.
    pub(super) fn key_fault(&self, bundle: &'s ServedBundle) -> Option<Fault<'s>> {
        let (client, bundle_key) = (self.request.client, bundle.offer.key_id.as_deref());
        let electron = client.platform == Platform::Electron;
        let step = match (bundle_key, self.request.key_id) {
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
        }?;
        let refusal = Refusal { code: RefusalCode::KeyIdMismatch, version: Some(&bundle.name), bundle_key };
        Some(Fault { step, refusal })
    }

    /// Rules 7 to 18.
    pub(super) fn policy_fault(&self, bundle: &'s ServedBundle) -> Option<Fault<'s>> {
        self.platform_off(&bundle.name)
            .or_else(|| self.out_of_policy(bundle))
            .or_else(|| self.switched_off(&bundle.name))
    }

    /// Rule 7.
    pub(super) fn platform_off(&self, version: &'s str) -> Option<Fault<'s>> {
        let platform = self.request.platform();
        let off = !self.channel.access.platforms.contains(platform);
        let (step, code) = (Step::PlatformOff { platform }, RefusalCode::DisabledPlatform(platform));
        off.then(|| Fault::new(step, code, version))
    }

    /// Rules 8 to 14: how far the bundle may be from the native version.
    fn out_of_policy(&self, bundle: &'s ServedBundle) -> Option<Fault<'s>> {
        let (access, native) = (&self.channel.access, self.request.native);
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
            return Some(Fault::new(Step::TooFar { version, native, policy: access.upgrade }, code, version));
        }
        if let Some(range) = bundle.offer.native.as_ref().filter(|range| !range.contains(native)) {
            let step = Step::RequiresNative { version, range, native };
            return Some(Fault::new(step, RefusalCode::DisableAutoUpdateToMetadata, version));
        }
        // A pre-release is below the release of the same numbers, and native versions have no pre-release tag.
        let under = target < native || (target == native && !semver.pre.is_empty());
        let step = Step::UnderNative { version, native };
        (under && !access.under_native)
            .then(|| Fault::new(step, RefusalCode::DisableAutoUpdateUnderNative, version))
    }

    /// Rules 15 to 18.
    pub(super) fn switched_off(&self, version: &'s str) -> Option<Fault<'s>> {
        let access = &self.channel.access;
        let code = match (self.request.production, self.request.emulator) {
            (true, _) if !access.production => RefusalCode::DisableProdBuild,
            (false, _) if !access.development => RefusalCode::DisableDevBuild,
            (_, false) if !access.device => RefusalCode::DisableDevice,
            (_, true) if !access.emulator => RefusalCode::DisableEmulator,
            _ => return None,
        };
        Some(Fault::new(Step::SwitchedOff { code }, code, version))
    }
}

//! The refusals of `device-protocol` section 2.4.

use crate::channel::Platform;

/// Why a device keeps what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal<'s> {
    /// The reason.
    pub code: RefusalCode,
    /// The bundle that it would have got.
    pub version: Option<&'s str>,
    /// The key that this bundle is encrypted for.
    pub bundle_key: Option<&'s str>,
}

/// The reasons that Sluice gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// Plugin 4.
    UnsupportedPluginVersion,
    /// Unknown app, or no channel for the device.
    NoChannel,
    /// Device and bundle disagree about the encryption key.
    KeyIdMismatch,
    /// The channel is off for the platform.
    DisabledPlatform(Platform),
    /// The bundle's major version is above the native one.
    DisableAutoUpdateToMajor,
    /// Major or minor version differs.
    DisableAutoUpdateToMinor,
    /// Some number of the version differs.
    DisableAutoUpdateToPatch,
    /// The bundle requires another native version.
    DisableAutoUpdateToMetadata,
    /// The bundle is below the native version.
    DisableAutoUpdateUnderNative,
    /// No production builds.
    DisableProdBuild,
    /// No development builds.
    DisableDevBuild,
    /// No physical devices.
    DisableDevice,
    /// No emulators.
    DisableEmulator,
    /// The client cannot go back to its shipped bundle.
    RevertToBuiltinPluginVersionTooOld,
}

/// How a client classifies an answer that is no update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing to do.
    UpToDate,
    /// A policy says no.
    Blocked,
    /// Something is wrong.
    Failed,
}

/// Which version a refusal repeats as `old`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Old {
    /// None.
    Absent,
    /// The active bundle.
    Current,
    /// The native version.
    Native,
}

impl Kind {
    /// The value on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UpToDate => "up_to_date",
            Self::Blocked => "blocked",
            Self::Failed => "failed",
        }
    }
}

impl RefusalCode {
    /// The value of `error` on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnsupportedPluginVersion => "unsupported_plugin_version",
            Self::NoChannel => "no_channel",
            Self::KeyIdMismatch => "key_id_mismatch",
            Self::DisabledPlatform(Platform::Ios) => "disabled_platform_ios",
            Self::DisabledPlatform(Platform::Android) => "disabled_platform_android",
            Self::DisabledPlatform(Platform::Electron) => "disabled_platform_electron",
            Self::DisableAutoUpdateToMajor => "disable_auto_update_to_major",
            Self::DisableAutoUpdateToMinor => "disable_auto_update_to_minor",
            Self::DisableAutoUpdateToPatch => "disable_auto_update_to_patch",
            Self::DisableAutoUpdateToMetadata => "disable_auto_update_to_metadata",
            Self::DisableAutoUpdateUnderNative => "disable_auto_update_under_native",
            Self::DisableProdBuild => "disable_prod_build",
            Self::DisableDevBuild => "disable_dev_build",
            Self::DisableDevice => "disable_device",
            Self::DisableEmulator => "disable_emulator",
            Self::RevertToBuiltinPluginVersionTooOld => "revert_to_builtin_plugin_version_too_old",
        }
    }

    /// The text of `message`. The one of [`Self::UnsupportedPluginVersion`] goes on with the version.
    pub const fn message(self) -> &'static str {
        match self {
            Self::UnsupportedPluginVersion => {
                "This plugin version (v4) is no longer supported. Please upgrade to v5.10.0 or later."
            }
            Self::NoChannel => "no default channel or override",
            Self::KeyIdMismatch => "The encryption key of the device differs from the key of the bundle",
            Self::DisabledPlatform(Platform::Ios) => "Cannot update, ios it's disabled",
            Self::DisabledPlatform(Platform::Android) => "Cannot update, android is disabled",
            Self::DisabledPlatform(Platform::Electron) => "Cannot update, electron is disabled",
            Self::DisableAutoUpdateToMajor => "Cannot upgrade major version",
            Self::DisableAutoUpdateToMinor => "Cannot upgrade minor version",
            Self::DisableAutoUpdateToPatch => "Cannot upgrade patch version",
            Self::DisableAutoUpdateToMetadata => {
                "Cannot upgrade version, min update version > current version"
            }
            Self::DisableAutoUpdateUnderNative => "Cannot revert under native version",
            Self::DisableProdBuild => "Cannot update, prod build is disabled",
            Self::DisableDevBuild => "Cannot update, dev build is disabled",
            Self::DisableDevice => "Cannot update, device is disabled",
            Self::DisableEmulator => "Cannot update, emulator is disabled",
            Self::RevertToBuiltinPluginVersionTooOld => {
                "revert_to_builtin used, but plugin version is too old"
            }
        }
    }

    /// The value of `kind`.
    pub const fn kind(self) -> Kind {
        match self {
            Self::UnsupportedPluginVersion | Self::NoChannel | Self::RevertToBuiltinPluginVersionTooOld => {
                Kind::Failed
            }
            _ => Kind::Blocked,
        }
    }

    /// Whether the client is told that a major update waits (`major: true`).
    pub const fn is_breaking(self) -> bool {
        matches!(
            self,
            Self::DisableAutoUpdateToMajor
                | Self::DisableAutoUpdateToMinor
                | Self::DisableAutoUpdateToPatch
                | Self::DisableAutoUpdateToMetadata
        )
    }

    /// Which version is repeated as `old`.
    pub const fn old(self) -> Old {
        match self {
            Self::UnsupportedPluginVersion
            | Self::NoChannel
            | Self::KeyIdMismatch
            | Self::RevertToBuiltinPluginVersionTooOld => Old::Absent,
            _ if self.is_breaking() => Old::Native,
            _ => Old::Current,
        }
    }
}

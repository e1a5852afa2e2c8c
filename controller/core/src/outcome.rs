//! What a device reports, and what that says about a bundle: the table of `device-protocol` section 3.3 and the traps
//! of 3.4.
//!
//! An event never says enough by itself: many failures name the active bundle although the new one failed, and some
//! name none. So each is classed here into what it means and *whose* it is; whoever knows what was last offered to the
//! device resolves the second.

use serde::{Deserialize, Serialize};

use crate::{
    channel::Platform,
    client::{Client, Feature, PluginVersion},
    ids::AppId,
    native::NativeVersion,
    request::DeviceKey,
};

/// One event, normalised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The app.
    pub app: AppId,
    /// The device.
    pub device: DeviceKey,
    /// Whether it comes from the publisher's probe, which is no device.
    pub probe: bool,
    /// The platform.
    pub platform: Platform,
    /// The plugin.
    pub plugin: PluginVersion,
    /// Native version at the time.
    pub native: NativeVersion,
    /// What happened, as sent; also actions that nobody knows yet.
    pub action: String,
    /// The bundle that it names: `version_name` up to the first `:`; `None` when it names none, or the shipped one by
    /// `builtin`.
    pub version: Option<String>,
    /// The file that it names: what follows the first `:`.
    pub file: Option<String>,
    /// The bundle before, on `set`, `reset` and `set_next`.
    pub old_version: Option<String>,
    /// The device's clock in milliseconds since 1970; only events from arrays have it.
    pub timestamp: Option<i64>,
    /// Production build.
    pub production: bool,
    /// Emulator.
    pub emulator: bool,
    /// Details, bounded.
    pub metadata: Vec<(String, String)>,
    /// What Electron says about a failure.
    pub message: Option<String>,
}

/// What an event means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Meaning {
    /// The bundle was made active; it has yet to prove itself.
    TrialStarted,
    /// The bundle started well. On Electron it counts only unless the same version failed before.
    Success,
    /// The bundle failed.
    Failure(FailureKind),
    /// What was answered does not fit the device: no fault of the bundle.
    ConfigurationFailure,
    /// Something failed, and it may be anything.
    Weak,
    /// The device lacks memory or space.
    Resource,
    /// The app is alive with this bundle.
    Alive,
    /// Health of the running app or its WebView; may be a sign of a bad bundle.
    Health,
    /// Says nothing about a bundle, also every unknown action.
    Neutral,
}

/// At which point a bundle failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FailureKind {
    /// It did not report that it is ready in time.
    Start,
    /// It could not be made active.
    Activation,
    /// Its bytes could not be fetched, verified or unpacked.
    Delivery,
}

/// Which bundle an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Attribution {
    /// The one that it names.
    Named,
    /// The one that was last offered to the device, whatever it names.
    LastOffered,
}

/// Whether a failure ends the offering of the bundle to this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Withhold {
    /// It does not.
    No,
    /// At once.
    AtOnce,
    /// After [`DELIVERY_ATTEMPTS`] failed attempts, see [`Attempts`].
    AfterRepeats,
}

/// What one event says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Outcome {
    /// What it means.
    pub meaning: Meaning,
    /// Whose it is.
    pub attribution: Attribution,
    /// Whether the device is still offered the bundle.
    pub withhold: Withhold,
}

/// Failed deliveries after which a bundle is withheld from the device.
pub const DELIVERY_ATTEMPTS: u32 = 3;

/// One failed attempt is reported by up to five events; those that come closer than this belong to one attempt. No
/// client tries again sooner by itself.
pub const ATTEMPT_MILLISECONDS: i64 = 60_000;

/// Counts failed attempts to deliver one bundle to one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attempts {
    /// How many.
    pub count: u32,
    /// When the last one began, in milliseconds since 1970.
    pub last: i64,
}

impl Attempts {
    /// Adds an event of a failed delivery. Returns whether the bundle is to be withheld from the device.
    pub fn add(&mut self, at: i64) -> bool {
        if self.count == 0 || (at - self.last).abs() >= ATTEMPT_MILLISECONDS {
            self.count += 1;
            self.last = at;
        }
        self.count >= DELIVERY_ATTEMPTS
    }
}

impl Event {
    /// The client that sent it.
    pub fn client(&self) -> Client {
        Client::new(self.platform, self.plugin)
    }

    /// Whether it may be evidence about a bundle: a production build on a physical device.
    pub fn counts(&self) -> bool {
        self.production && !self.emulator && !self.probe
    }

    /// What it says. A failure that names no bundle is of the one last offered.
    pub fn outcome(&self) -> Outcome {
        let outcome = outcome(&self.action, self.client());
        let nameless = self.version.is_none() && outcome.withhold != Withhold::No;
        if nameless { Outcome { attribution: Attribution::LastOffered, ..outcome } } else { outcome }
    }
}

/// Splits `version_name` into the version and the file that it names. Empty parts are `None`.
pub fn split_version_name(text: &str) -> (Option<&str>, Option<&str>) {
    let (version, file) = text.split_once(':').map_or((text, None), |(version, file)| (version, Some(file)));
    (Some(version).filter(|v| !v.is_empty()), file.filter(|f| !f.is_empty()))
}

/// What an action of a client says.
pub fn outcome(action: &str, client: Client) -> Outcome {
    use Attribution::{LastOffered, Named};
    use FailureKind::{Activation, Delivery, Start};
    let electron = client.platform == Platform::Electron;
    let ios = client.platform == Platform::Ios;
    // The oldest clients name the active bundle in every event.
    let target = if client.has(Feature::OldVersionName) { Named } else { LastOffered };
    let ios_target = if ios { target } else { LastOffered };
    let (meaning, attribution) = match action {
        "set" if electron => (Meaning::Success, Named),
        "set" => (Meaning::TrialStarted, Named),
        "app_launch_ready" => (Meaning::Success, Named),
        "update_fail" => (Meaning::Failure(Start), target),
        "app_launch_timeout" => (Meaning::Failure(Start), Named),
        // Electron's is an app-ready timeout after an activation, and it names the bundle.
        "set_fail" if electron => (Meaning::Failure(Start), Named),
        "set_fail" => (Meaning::Failure(Activation), target),
        "finish_download_fail"
        | "decrypt_fail"
        | "manifest_path_fail"
        | "download_manifest_file_fail"
        | "download_manifest_checksum_fail"
        | "download_manifest_brotli_fail"
        | "invalid_signature"
        | "signature_not_provided"
        | "signature_validation_failed" => (Meaning::Failure(Delivery), target),
        "checksum_fail" => (Meaning::Failure(Delivery), ios_target),
        "unzip_fail" | "windows_path_fail" | "canonical_path_fail" | "directory_path_fail" => {
            (Meaning::Failure(Delivery), LastOffered)
        }
        "checksum_required" => (Meaning::ConfigurationFailure, ios_target),
        "session_key_required" => (Meaning::ConfigurationFailure, LastOffered),
        "download_fail" if electron => (Meaning::Weak, Named),
        // Old clients send it for every refusal, "nothing new" included.
        "download_fail" if client.has(Feature::DownloadFailWeighs) => (Meaning::Weak, LastOffered),
        "low_mem_fail" | "insufficient_disk_space" => (Meaning::Resource, LastOffered),
        "app_moved_to_foreground" | "app_moved_to_background" | "app_launch_start" => (Meaning::Alive, Named),
        "app_crash"
        | "app_crash_native"
        | "app_anr"
        | "app_killed_low_memory"
        | "app_killed_excessive_resource_usage"
        | "app_initialization_failure"
        | "app_memory_warning"
        | "webview_javascript_error"
        | "webview_unhandled_rejection"
        | "webview_resource_error"
        | "webview_security_policy_violation"
        | "webview_unclean_restart"
        | "webview_render_process_gone"
        | "webview_content_process_terminated" => (Meaning::Health, Named),
        _ => (Meaning::Neutral, Named),
    };
    let withhold = match meaning {
        Meaning::Failure(Start | Activation) => Withhold::AtOnce,
        Meaning::Failure(Delivery) | Meaning::Weak => Withhold::AfterRepeats,
        _ => Withhold::No,
    };
    Outcome { meaning, attribution, withhold }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Attribution::{LastOffered, Named};
    use FailureKind::{Activation, Delivery, Start};
    use Meaning::{
        Alive, ConfigurationFailure, Failure, Health, Neutral, Resource, Success, TrialStarted, Weak,
    };

    fn of(action: &str, platform: Platform, plugin: &str) -> (Meaning, Attribution) {
        let Outcome { meaning, attribution, .. } =
            outcome(action, Client::new(platform, PluginVersion::parse(plugin)));
        (meaning, attribution)
    }

    /// Section 3.3, action by action: meaning, and whose it is on iOS, Android and Electron.
    #[test]
    fn every_action() {
        let table: &[(&str, Meaning, Attribution, Attribution)] = &[
            ("set", TrialStarted, Named, Named),
            ("app_launch_ready", Success, Named, Named),
            ("update_fail", Failure(Start), Named, Named),
            ("app_launch_timeout", Failure(Start), Named, Named),
            ("set_fail", Failure(Activation), Named, Named),
            ("finish_download_fail", Failure(Delivery), Named, Named),
            ("checksum_fail", Failure(Delivery), Named, LastOffered),
            ("checksum_required", ConfigurationFailure, Named, LastOffered),
            ("session_key_required", ConfigurationFailure, LastOffered, LastOffered),
            ("decrypt_fail", Failure(Delivery), Named, Named),
            ("unzip_fail", Failure(Delivery), LastOffered, LastOffered),
            ("windows_path_fail", Failure(Delivery), LastOffered, LastOffered),
            ("canonical_path_fail", Failure(Delivery), LastOffered, LastOffered),
            ("directory_path_fail", Failure(Delivery), LastOffered, LastOffered),
            ("manifest_path_fail", Failure(Delivery), Named, Named),
            ("download_manifest_file_fail", Failure(Delivery), Named, Named),
            ("download_manifest_checksum_fail", Failure(Delivery), Named, Named),
            ("download_manifest_brotli_fail", Failure(Delivery), Named, Named),
            ("download_fail", Weak, LastOffered, LastOffered),
            ("low_mem_fail", Resource, LastOffered, LastOffered),
            ("insufficient_disk_space", Resource, LastOffered, LastOffered),
            ("download_0", Neutral, Named, Named),
            ("download_18790", Neutral, Named, Named),
            ("download_complete", Neutral, Named, Named),
            ("download_zip_start", Neutral, Named, Named),
            ("download_zip_complete", Neutral, Named, Named),
            ("download_manifest_start", Neutral, Named, Named),
            ("download_manifest_complete", Neutral, Named, Named),
            ("set_next", Neutral, Named, Named),
            ("delete", Neutral, Named, Named),
            ("reset", Neutral, Named, Named),
            ("app_moved_to_foreground", Alive, Named, Named),
            ("app_moved_to_background", Alive, Named, Named),
            ("app_launch_start", Alive, Named, Named),
            ("blocked_by_server_url", Neutral, Named, Named),
            ("backend_refusal", Neutral, Named, Named),
            ("rate_limit_reached", Neutral, Named, Named),
            ("os_version_changed", Neutral, Named, Named),
            ("native_app_version_changed", Neutral, Named, Named),
            ("app_crash", Health, Named, Named),
            ("app_crash_native", Health, Named, Named),
            ("app_anr", Health, Named, Named),
            ("app_killed_low_memory", Health, Named, Named),
            ("app_killed_excessive_resource_usage", Health, Named, Named),
            ("app_initialization_failure", Health, Named, Named),
            ("app_memory_warning", Health, Named, Named),
            ("webview_javascript_error", Health, Named, Named),
            ("webview_unhandled_rejection", Health, Named, Named),
            ("webview_resource_error", Health, Named, Named),
            ("webview_security_policy_violation", Health, Named, Named),
            ("webview_unclean_restart", Health, Named, Named),
            ("webview_render_process_gone", Health, Named, Named),
            ("webview_content_process_terminated", Health, Named, Named),
            ("webview_dom_content_loaded", Neutral, Named, Named),
            ("webview_page_loaded", Neutral, Named, Named),
            ("invalid_signature", Failure(Delivery), Named, Named),
            ("signature_not_provided", Failure(Delivery), Named, Named),
            ("signature_validation_failed", Failure(Delivery), Named, Named),
            ("an_action_of_tomorrow", Neutral, Named, Named),
            ("", Neutral, Named, Named),
        ];
        for (action, meaning, ios, android) in table {
            assert_eq!(of(action, Platform::Ios, "8.51.23"), (*meaning, *ios), "{action} on iOS");
            assert_eq!(of(action, Platform::Android, "8.51.23"), (*meaning, *android), "{action} on Android");
        }
    }

    #[test]
    fn electron_has_its_own_words() {
        for (action, expected) in [
            ("set", (Success, Named)),
            ("set_fail", (Failure(Start), Named)),
            ("download_fail", (Weak, Named)),
            ("download_complete", (Neutral, Named)),
        ] {
            assert_eq!(of(action, Platform::Electron, "0.0.1"), expected, "{action}");
        }
    }

    #[test]
    fn download_fail_of_old_clients_weighs_nothing() {
        for (light, heavy) in
            [("7.27.9", "7.28.0"), ("6.25.8", "6.27.10"), ("5.9.5", "5.50.1"), ("10.0.0", "8.2.0")]
        {
            assert_eq!(of("download_fail", Platform::Android, light), (Neutral, Named), "{light}");
            assert_eq!(of("download_fail", Platform::Android, heavy), (Weak, LastOffered), "{heavy}");
        }
    }

    #[test]
    fn the_oldest_clients_name_the_active_bundle() {
        for plugin in ["5.0.0", "7.0.0", "9.0.0", "10.0.0"] {
            assert_eq!(of("update_fail", Platform::Ios, plugin), (Failure(Start), LastOffered), "{plugin}");
            assert_eq!(
                of("checksum_fail", Platform::Ios, plugin),
                (Failure(Delivery), LastOffered),
                "{plugin}"
            );
        }
    }

    #[test]
    fn what_ends_the_offering() {
        let withhold =
            |action| outcome(action, Client::new(Platform::Ios, PluginVersion::new(8, 51, 23))).withhold;
        assert_eq!(withhold("update_fail"), Withhold::AtOnce);
        assert_eq!(withhold("set_fail"), Withhold::AtOnce);
        assert_eq!(withhold("finish_download_fail"), Withhold::AfterRepeats);
        assert_eq!(withhold("download_fail"), Withhold::AfterRepeats);
        for no in ["checksum_required", "low_mem_fail", "app_crash", "set", "reset"] {
            assert_eq!(withhold(no), Withhold::No, "{no}");
        }
    }

    #[test]
    fn one_attempt_may_report_five_times() {
        let mut attempts = Attempts::default();
        for at in [1_000, 1_001, 2_000, 900, 5_000] {
            assert!(!attempts.add(at));
        }
        assert_eq!(attempts.count, 1);
        assert!(!attempts.add(700_000));
        assert!(!attempts.add(701_000));
        assert!(attempts.add(1_400_000));
    }

    #[test]
    fn version_names_may_name_a_file() {
        assert_eq!(split_version_name("2.0.0:assets/a:b.js"), (Some("2.0.0"), Some("assets/a:b.js")));
        assert_eq!(split_version_name("2.0.0"), (Some("2.0.0"), None));
        assert_eq!(split_version_name(""), (None, None));
        assert_eq!(split_version_name(":x"), (None, Some("x")));
    }
}

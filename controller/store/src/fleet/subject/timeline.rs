//! What happened to one device, in order, from everything that is kept of it.

use serde::Serialize;
use sluice_core::trial::Arm;

use super::{EventView, OverrideView};
use crate::fleet::{trials::EnrolmentView, types::DeviceView};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Happening {
    /// When, in seconds since 1970 of the server's clock.
    pub at: i64,
    /// What, in words.
    pub what: String,
}

/// Puts it in order. A report stands where it came, with the version that it named.
pub(super) fn timeline(
    about: Option<&DeviceView>,
    chosen: Option<&OverrideView>,
    enrolments: &[EnrolmentView],
    events: &[EventView],
) -> Vec<Happening> {
    let mut all = Vec::new();
    let mut add = |at: Option<i64>, what: String| all.extend(at.map(|at| Happening { at, what }));
    if let Some(about) = about {
        add(Some(about.first_seen), "was seen for the first time".into());
        add(Some(about.last_seen), format!("was seen last, on {}", named(&about.running)));
        if let Some(offered) = &about.offered {
            add(Some(offered.at), format!("was last offered {}", offered.version));
        }
        for of in &about.outcomes {
            let version = &of.version;
            add(of.offered_at, format!("was first offered {version}"));
            add(of.downloaded_at, format!("downloaded {version}"));
            add(of.ran_at, format!("ran {version}"));
            add(of.rolled_back_at, format!("went back from {version}"));
            add(of.trial_at, format!("made {version} active"));
            add(of.success_at, format!("started {version}"));
            let failures = [
                (&of.launch_failed, "did not start"),
                (&of.install_failed, "could not install"),
                (&of.refused, "could not take"),
                (&of.health_failed, "was not well on"),
            ];
            for (failure, words) in failures {
                if let Some((at, action)) = failure {
                    add(Some(*at), format!("{words} {version} ({action})"));
                }
            }
        }
    }
    if let Some(chosen) = chosen {
        add(Some(chosen.at), format!("was put on channel {} by {}", chosen.channel, chosen.by));
    }
    for enrolment in enrolments {
        let arm = if enrolment.arm == Arm::Treatment { "who are offered it" } else { "who are compared" };
        let EnrolmentView { candidate, rollout, .. } = enrolment;
        add(
            Some(enrolment.at),
            format!("enrolled in the trial of {candidate} on {}, among those {arm}", rollout.channel),
        );
        add(enrolment.launched_at, format!("ran {candidate} in its trial"));
    }
    for event in events {
        let about = if event.version.is_empty() { String::new() } else { format!(" {}", event.version) };
        add(Some(event.received), format!("reported {}{about}", event.action));
    }
    all.sort();
    all
}

fn named(version: &str) -> &str {
    if version.is_empty() { "its shipped bundle" } else { version }
}

//! What holds for every request.

use rand_like::Numbers;

use super::{
    braked::{brakes, on},
    rollout::rollout,
    *,
};
use crate::{
    brake::{Devices, Scope},
    cohort::ALL,
};

/// A repeatable run of numbers, so that a failure can be looked at.
mod rand_like {
    pub(super) struct Numbers(pub(super) u64);

    impl Numbers {
        pub(super) fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % end as u64).unwrap()
        }

        pub(super) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
            all[self.below(all.len())]
        }
    }
}

const VERSIONS: [&str; 6] = ["0.9.0", "1.0.0", "1.0.1", "1.2.0", "1.5.0", "2.0.0"];

fn some_device(n: &mut Numbers) -> Device {
    let failed = |n: &mut Numbers| Failed {
        digest: digest(n.one_of(&VERSIONS)),
        native: "1.0.0".parse().unwrap(),
        at: 0,
    };
    let channel = n.one_of(&[None, None, Some("production"), Some("beta"), Some("gone")]);
    let channel = channel.map(|channel| Override {
        channel: channel.parse().unwrap(),
        by: n.one_of(&[OverrideBy::Device, OverrideBy::Support]),
    });
    let failed: Vec<Failed> = (0..n.below(3)).map(|_| failed(n)).collect();
    let (platform, plugin) =
        n.one_of(&[(Android, NEW), (Ios, NEW), (Ios, "7.0.1"), (Android, "5.9.5"), (Electron, "0.0.1")]);
    Device {
        id: n.below(10_000) as u64,
        app: APP,
        platform,
        plugin,
        native: n.one_of(&["1.0.0", "0.9", "1.2.0", "2.1.0"]),
        runs: n.one_of(&["builtin", "0.9.0", "1.0.1", "1.2.0", "1.5.0", "2.0.0", "1.3.0", "x"]),
        wish: n.one_of(&[None, None, Some("beta"), Some("production"), Some("x")]),
        key: n.one_of(&[None, None, None, Some("MIIBCgKCAQEAsyjtLM18")]),
        emulator: n.below(5) == 0,
        production: n.below(5) > 0,
        probe: false,
        memory: Some(DeviceMemory { channel, failed }),
        custom_id: n.one_of(&[None, Some("staff-ada"), Some("guest")]),
    }
}

fn some_line(n: &mut Numbers) -> Value {
    let mut line = super::rollout::line(
        n.one_of(&[0, 50_000, 500_000, ALL]),
        json!({
            "stable": n.one_of(&[None, Some("1.2.0"), Some("1.0.0"), Some("0.9.0"), Some("builtin")]),
            "candidate.open": n.below(4) > 0,
            "candidate.release": n.one_of(&["1.5.0", "1.5.0", "1.0.1", "2.0.0"]),
            "kept": if n.below(3) == 0 { vec!["1.0.1"] } else { vec![] },
            "fallbacks": if n.below(2) == 0 { vec!["1.0.1", "1.0.0", "0.9.0"] } else { vec![] },
        }),
    );
    if n.below(3) == 0 {
        line.as_object_mut().unwrap().remove("candidate");
    }
    line
}

fn some_channels(n: &mut Numbers) -> Vec<Value> {
    ["production", "beta"]
        .into_iter()
        .map(|name| {
            channel(json!({
                "channel": name, "public": name == "production", "selfAssign": true,
                "lines": [some_line(n)],
                "upgrade": n.one_of(&["Any", "SameMajor", "SameMinor"]),
                "underNative": n.below(2) == 0,
                "production": n.below(8) > 0,
                "audience": n.one_of(&[None, None, Some(r#"{"customIds":["staff-*"]}"#), Some(r#"{"platforms":["android"]}"#)])
                    .map(|audience| serde_json::from_str::<Value>(audience).unwrap()),
            }))
        })
        .collect()
}

fn some_snapshot(n: &mut Numbers) -> Snapshot {
    let rollback = n.one_of(&["Allowed", "Allowed", "StopOnly"]);
    snapshot_of(&some_channels(n), json!({ "1.5.0": { "rollback": rollback } }))
}

/// Rule 8, and "never to nothing while it runs a braked digest".
#[test]
fn a_braked_digest_is_never_offered_in_its_scope() {
    let n = &mut Numbers(0x5EED);
    let (mut offered, mut left, mut paused) = (0, 0, 0);
    for _ in 0..6_000 {
        let snapshot = some_snapshot(n);
        let device = some_device(n);
        let bad = n.one_of(&VERSIONS);
        let scope = n.one_of(&[None, Some("production"), Some("beta")]).map_or(Scope::App, on);
        let devices = n.one_of(&[Devices::Return, Devices::Keep]);
        let brakes = brakes(&[(bad, scope.clone(), devices)]);
        let decision = device.asks_braked(&snapshot, &brakes, 0);
        let story = || format!("{:?} {:?}", decision.answer, decision.trace);
        // Wherever it is stopped or paused, nobody is offered it.
        if let Answer::Update(bundle) = decision.answer {
            assert_ne!(bundle.offer.digest, digest(bad), "{}", story());
            offered += 1;
        }
        if let Some(trial) = decision.trial {
            assert_ne!(trial.candidate.offer.digest, digest(bad), "{}", story());
        }
        let channel = decision.trace.iter().find_map(|step| match step {
            Step::Channel { channel, .. } => Some(*channel),
            _ => None,
        });
        // A shipped bundle of that name is not the bundle.
        let Some(channel) = channel.filter(|_| device.runs == bad && device.native != bad) else { continue };
        let here = scope == Scope::App || scope == on(channel);
        let stop_only = bad == "1.5.0"
            && snapshot.app(APP).unwrap().bundle(bad).unwrap().offer.rollback
                == crate::release::RollbackPolicy::StopOnly;
        let stays = matches!(decision.answer, Answer::NothingNew | Answer::Refused(_));
        let revertible = matches!(
            decision.answer,
            Answer::Refused(Refusal { code: RefusalCode::RevertToBuiltinPluginVersionTooOld, .. })
        );
        if here && devices == Devices::Return && !stop_only {
            assert!(!stays || revertible, "it stays on it: {}", story());
            left += 1;
        } else if here {
            // Kept, or forward.
            let forward = match decision.answer {
                Answer::Update(bundle) => bundle.version > bad.parse().unwrap(),
                Answer::Builtin => false,
                _ => true,
            };
            assert!(forward, "{}", story());
        } else {
            paused += 1;
        }
    }
    assert!(offered > 500 && left > 100 && paused > 100, "{offered} {left} {paused}");
}

/// Rule 10: a larger weight only adds devices, whatever else is the case.
#[test]
fn the_answer_is_monotone_in_weight() {
    let n = &mut Numbers(0xFEED);
    let snapshots = [0, 10_000, 100_000, 500_000, 990_000, ALL].map(|weight| rollout(weight, json!({})));
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..1_500 {
        let device = Device { wish: None, ..some_device(n) };
        let answers: Vec<String> = snapshots.iter().map(|s| short(&device.asks(s)).0).collect();
        let first = answers.iter().position(|answer| answer == "1.5.0").unwrap_or(answers.len());
        assert!(answers[..first].iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert!(answers[first..].iter().all(|answer| answer == "1.5.0"), "{answers:?}");
        seen.insert(first);
    }
    assert!(seen.len() >= 6, "{seen:?}");
}

/// Without a candidate that reaches somebody and without a brake of what is served, everything is as it always was.
#[test]
fn what_concerns_nobody_changes_no_answer() {
    let n = &mut Numbers(0xACED);
    let other = brakes(&[("6.6.6", Scope::App, Devices::Return)]);
    for _ in 0..5_000 {
        let mut channels = some_channels(n);
        for channel in &mut channels {
            channel["lines"][0]["kept"] = json!([]);
            if let Some(candidate) = channel["lines"][0].get_mut("candidate") {
                candidate["cohort"]["weight"] = json!(0);
            }
        }
        let mut plain = channels.clone();
        for channel in &mut plain {
            let line = channel["lines"][0].as_object_mut().unwrap();
            line.remove("candidate");
            line.remove("fallbacks");
        }
        let device = some_device(n);
        // Who runs the candidate keeps it, and that is not as it was. A channel without anything is passed over.
        let runs_it = channels.iter().any(|c| c["lines"][0]["candidate"]["release"] == device.runs);
        let shipped = channels.iter().any(|c| {
            c["lines"][0]["candidate"]["release"]
                .as_str()
                .is_some_and(|v| v.trim_end_matches(".0") == device.native.trim_end_matches(".0"))
        });
        let empty = plain.iter().any(|c| c["lines"][0]["stable"].is_null());
        if runs_it || shipped || (empty && device.memory.as_ref().is_some_and(|m| m.channel.is_some())) {
            continue;
        }
        let (with, without) = (snapshot(&channels), snapshot(&plain));
        let (now, before) = (device.asks_braked(&with, &other, 0), device.asks(&without));
        assert_eq!(short(&now).0, short(&before).0, "{:?}\n{:?}", now.trace, before.trace);
        if let (Answer::Refused(now), Answer::Refused(before)) = (now.answer, before.answer) {
            assert_eq!(now, before);
        }
    }
}

use super::*;
use crate::{
    channel::{Audience, Strategy},
    diagnostic::Severity,
    inventory::Located,
    observed::{Braked, Failure},
    record::Zip,
    resolve::tests::{channel, edit, release},
};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const SEED: [u8; 32] = [7; 32];

fn app() -> AppId {
    "com.example.shop".parse().unwrap()
}

/// Observations in which each listed version is bound to its source, `git:<version>`.
fn observed(bound: &[&str], seen: &[&str]) -> ObservedApp {
    let mut record = AppRecord::new(app(), "default");
    for version in bound {
        let digest = Digest::of(version.as_bytes());
        let zip = Zip { sha256: digest, crc32: 1, size: 2 };
        let binding =
            Binding { digest, release: format!("r-{version}"), source: format!("git:{version}"), zip };
        record.versions.insert(version.parse().unwrap(), binding.into());
    }
    let paths = seen.iter().map(|v| (format!("bundles/{v}"), Found::Object((*v).to_owned()))).collect();
    ObservedApp { record: Some(Arc::new(record)), paths: Arc::new(paths), ..ObservedApp::default() }
}

fn owner() -> Owner {
    Owner { name: "default".into(), apps: Vec::new() }
}

fn all(observed: &ObservedApp) -> Observed {
    Observed { apps: BTreeMap::from([(app(), observed.clone())]) }
}

fn run(objects: &[Arc<Located>], observed: &ObservedApp) -> Arc<AppPlan> {
    let plan = Planner::default().plan(objects, &owner(), &all(observed), NOW, &SEED);
    Arc::clone(&plan.apps[&app()])
}

/// What is observed after `plan` was applied.
fn applied(observed: ObservedApp, plan: &AppPlan) -> ObservedApp {
    ObservedApp { record: Some(Arc::clone(&plan.record)), shard: plan.shard.clone(), ..observed }
}

fn served(plan: &AppPlan) -> Option<String> {
    plan.shard.as_ref().unwrap().channels[0].lines[0].stable.as_ref().map(ToString::to_string)
}

/// Makes the source of a version another one.
fn change(observed: &mut ObservedApp, version: &str, id: &str) {
    let path = format!("bundles/{version}");
    Arc::make_mut(&mut observed.paths).insert(path, Found::Object(id.into()));
}

#[test]
fn a_release_is_served_once_its_bundle_is_made() {
    let objects =
        [release("r-1.0.0", "1.0.0"), release("r-0.9.0", "0.9.0"), channel("c", "production", "1.0.0")];
    let first = run(&objects, &observed(&[], &["1.0.0", "0.9.0"]));
    assert_eq!(served(&first), None);
    let needs: Vec<_> = first.needs.iter().map(|n| (n.version.to_string(), n.wanted)).collect();
    assert_eq!(
        needs,
        [("1.0.0".to_owned(), true), ("0.9.0".to_owned(), false)],
        "what a channel wants comes first"
    );
    assert_eq!(first.channels[0].hindrance, Some(Hindrance::Pending));

    let second = run(&objects, &observed(&["1.0.0"], &["1.0.0", "0.9.0"]));
    assert_eq!(served(&second).as_deref(), Some("1.0.0"));
    assert_eq!(second.channels[0].hindrance, None);
    assert_eq!(second.shard.as_ref().unwrap().offers.len(), 1);
    let line = second.record.channels.values().next().unwrap().lines.values().next().unwrap();
    assert_eq!(line.serial, 1);
}

#[test]
fn nothing_is_made_of_a_source_that_was_not_observed() {
    let objects =
        [release("r-1.0.0", "1.0.0"), release("r-2.0.0", "2.0.0"), channel("c", "production", "1.0.0")];
    let plan = run(&objects, &observed(&["1.0.0"], &[]));
    assert!(plan.needs.is_empty());
    assert_eq!(served(&plan).as_deref(), Some("1.0.0"), "what is known stays");
    assert_eq!(run(&objects, &observed(&[], &[])).channels[0].hindrance, Some(Hindrance::Pending));
}

#[test]
fn planning_what_is_applied_changes_nothing() {
    let objects = [release("r-1.0.0", "1.0.0"), channel("c", "production", "1.0.0")];
    let observed = observed(&["1.0.0"], &["1.0.0"]);
    let first = run(&objects, &observed);
    let second = run(&objects, &applied(observed, &first));
    assert_eq!(first, second);
}

#[test]
fn the_last_good_release_stays_while_the_next_is_not_ready() {
    let before = [release("r-1.0.0", "1.0.0"), channel("c", "production", "1.0.0")];
    let base = observed(&["1.0.0"], &["1.0.0", "2.0.0"]);
    let first = run(&before, &base);

    let after =
        [release("r-1.0.0", "1.0.0"), release("r-2.0.0", "2.0.0"), channel("c", "production", "2.0.0")];
    let mut state = applied(observed(&["1.0.0"], &["1.0.0", "2.0.0"]), &first);
    assert_eq!(served(&run(&after, &state)).as_deref(), Some("1.0.0"), "pending");

    let problem = Diagnostic::new(Code::BundleWithoutIndex, Location::default(), "no index.html");
    state.failures.insert("2.0.0".parse().unwrap(), Failure { source: "git:2.0.0".into(), problem });
    let failed = run(&after, &state);
    assert_eq!(served(&failed).as_deref(), Some("1.0.0"), "failed");
    assert!(failed.needs.is_empty(), "a failed source is not tried again");
    assert!(failed.problems.iter().any(|p| p.code == Code::BundleWithoutIndex));

    let gone = [channel("c", "production", "2.0.0")];
    let plan = run(&gone, &state);
    assert_eq!(
        served(&plan).as_deref(),
        Some("1.0.0"),
        "the Release object of what is served may even be gone"
    );
    assert_eq!(plan.shard.as_ref().unwrap().offers.len(), 1);
}

#[test]
fn a_changed_source_is_checked_before_it_is_believed() {
    let objects = [release("r-1.0.0", "1.0.0"), channel("c", "production", "1.0.0")];
    let base = observed(&["1.0.0"], &["1.0.0"]);
    let first = run(&objects, &base);
    let mut state = applied(base, &first);
    change(&mut state, "1.0.0", "other");
    let changed = run(&objects, &state);
    assert_eq!(changed.needs.len(), 1);
    assert_eq!(served(&changed).as_deref(), Some("1.0.0"));
    let problem = Diagnostic::new(Code::VersionBurnt, Location::default(), "burnt");
    state.failures.insert("1.0.0".parse().unwrap(), Failure { source: "git:other".into(), problem });
    let burnt = run(&objects, &state);
    assert_eq!(served(&burnt).as_deref(), Some("1.0.0"), "the first bytes stay served");
    assert_eq!(burnt.channels[0].hindrance, Some(Hindrance::Problem(Code::VersionBurnt)));
}

#[test]
fn a_lost_bundle_is_not_offered_until_it_is_made_again() {
    let objects = [release("r-1.0.0", "1.0.0"), channel("c", "production", "1.0.0")];
    let base = observed(&["1.0.0"], &["1.0.0"]);
    let mut state = applied(base, &run(&objects, &observed(&["1.0.0"], &["1.0.0"])));
    for binding in Arc::make_mut(state.record.as_mut().unwrap()).versions.values_mut() {
        Arc::make_mut(binding).lose();
    }
    let lost = run(&objects, &state);
    assert_eq!(served(&lost), None, "devices are answered that there is nothing new");
    assert_eq!(lost.needs.len(), 1);
    let made = observed(&["1.0.0"], &["1.0.0"]);
    let mended = run(&objects, &ObservedApp { shard: lost.shard.clone(), ..made });
    assert_eq!(served(&mended).as_deref(), Some("1.0.0"));
}

#[test]
fn suspension_moves_nobody() {
    let releases = [release("r-1.0.0", "1.0.0"), release("r-2.0.0", "2.0.0")];
    let base = observed(&["1.0.0", "2.0.0"], &["1.0.0", "2.0.0"]);
    let first = run(&[&releases[..], &[channel("c", "p", "1.0.0")]].concat(), &base);
    let state = applied(base, &first);
    let suspended = edit(channel("c", "p", "2.0.0"), |c| c.suspend = true);
    let next = run(&[&releases[..], &[suspended]].concat(), &state);
    assert_eq!(served(&next).as_deref(), Some("1.0.0"));
    assert_eq!(next.channels[0].hindrance, Some(Hindrance::Suspended));
}

#[test]
fn a_rollout_in_steps_is_served_beside_what_is_stable() {
    let releases = [release("r-1.0.0", "1.0.0"), release("r-2.0.0", "2.0.0")];
    let base = observed(&["1.0.0", "2.0.0"], &["1.0.0", "2.0.0"]);
    let first = run(&[&releases[..], &[channel("c", "p", "1.0.0")]].concat(), &base);
    let state = applied(base, &first);
    let steps = edit(channel("c", "p", "2.0.0"), |c| {
        c.rollout.strategy = Strategy::Steps;
        let size = crate::channel::Size::Share(100_000);
        c.rollout.steps = vec![crate::channel::Step { size, soak: 3_600, approval: false, audience: None }];
    });
    let objects = [&releases[..], &[steps]].concat();
    let started = run(&objects, &state);
    assert_eq!(served(&started).as_deref(), Some("1.0.0"));
    assert_eq!(started.channels[0].hindrance, None, "served as asked, also in the middle of a rollout");
    let shard = started.shard.clone().unwrap();
    let candidate = shard.channels[0].lines[0].candidate.clone().unwrap();
    assert_eq!((candidate.cohort.weight, candidate.cohort.serial, candidate.open), (100_000, 2, true));
    assert_eq!(shard.offers.len(), 2, "both can be offered");
    let state = applied(state, &started);
    assert_eq!(run(&objects, &state), started, "planning what is applied changes nothing");

    // Time alone makes another plan.
    let mut planner = Planner::default();
    let all = all(&state);
    let before = planner.plan(&objects, &owner(), &all, NOW, &SEED);
    let hour = before.wake().unwrap();
    assert_eq!(hour.as_second(), 3_600);
    let same = planner.plan(&objects, &owner(), &all, hour - jiff::ToSpan::seconds(1), &SEED);
    assert!(Arc::ptr_eq(&before.apps[&app()], &same.apps[&app()]));
    let later = planner.plan(&objects, &owner(), &all, hour, &SEED);
    let progress = later.apps[&app()].channels[0].lines[0].rollout.clone().unwrap();
    assert_eq!(progress.phase, Phase::Held, "soaked, and nothing says that it is good");
}

#[test]
fn a_new_line_inherits_what_its_devices_were_served() {
    let base = observed(&["1.0.0"], &["1.0.0"]);
    let first = run(&[release("r-1.0.0", "1.0.0"), channel("c", "p", "1.0.0")], &base);
    let state = applied(base, &first);
    let split = edit(channel("c", "p", "9.9.9"), |c| c.lines[0].native = Some(">=2.0.0".parse().unwrap()));
    let next = run(&[release("r-1.0.0", "1.0.0"), split], &state);
    assert_eq!(served(&next).as_deref(), Some("1.0.0"));
}

#[test]
fn the_loser_of_a_public_clash_keeps_what_it_served() {
    let public = |name: &str| edit(channel(name, name, "1.0.0"), |c| c.access.public = true);
    let release = release("r-1.0.0", "1.0.0");
    let base = observed(&["1.0.0"], &["1.0.0"]);
    let private = edit(public("a"), |c| c.access.public = false);
    let first = run(&[release.clone(), private, public("b")], &base);
    let state = applied(base, &first);
    let clash = run(&[release, public("a"), public("b")], &state);
    let shard = clash.shard.as_ref().unwrap();
    assert_eq!(shard.channels.iter().map(|c| c.access.public).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn a_removed_channel_is_served_no_more() {
    let release = release("r-1.0.0", "1.0.0");
    let base = observed(&["1.0.0"], &["1.0.0"]);
    let first = run(&[release.clone(), channel("c", "p", "1.0.0")], &base);
    let next = run(&[release], &applied(base, &first));
    assert_eq!(next.shard, None);
    assert_eq!(next.record.versions.len(), 1, "bindings are for ever");
}

#[test]
fn only_an_app_that_something_changed_for_is_planned_again() {
    let other: AppId = "com.example.other".parse().unwrap();
    let of_other = |mut located: Arc<Located>| {
        match &mut Arc::make_mut(&mut located).object {
            crate::inventory::Object::Release(release) => release.app = other.clone(),
            crate::inventory::Object::Channel(channel) => channel.app = other.clone(),
        }
        located
    };
    let mut objects = vec![
        release("r-1.0.0", "1.0.0"),
        channel("c", "production", "1.0.0"),
        of_other(release("o-1.0.0", "1.0.0")),
        of_other(channel("o", "production", "1.0.0")),
    ];
    let mut state = all(&observed(&["1.0.0", "2.0.0"], &["1.0.0", "2.0.0"]));
    state.apps.insert(other.clone(), ObservedApp::default());
    let mut planner = Planner::default();
    let first = planner.plan(&objects, &owner(), &state, NOW, &SEED);
    let again = planner.plan(&objects, &owner(), &state, NOW, &SEED);
    assert!(first.apps.iter().all(|(app, plan)| Arc::ptr_eq(plan, &again.apps[app])));

    // A value of its own that says the same is the same.
    for located in &mut objects {
        *located = Arc::new(Located::clone(located));
    }
    objects[1] = channel("c", "production", "2.0.0");
    objects.push(release("r-2.0.0", "2.0.0"));
    let third = planner.plan(&objects, &owner(), &state, NOW, &SEED);
    assert!(Arc::ptr_eq(&first.apps[&other], &third.apps[&other]));
    assert_eq!(served(&third.apps[&app()]).as_deref(), Some("2.0.0"));
    // However it came about, a plan follows from what is declared and observed now, and from nothing else.
    assert_eq!(third, Planner::default().plan(&objects, &owner(), &state, NOW, &SEED));

    state.apps.get_mut(&other).unwrap().record = Some(Arc::new(AppRecord::new(other.clone(), "default")));
    let fourth = planner.plan(&objects, &owner(), &state, NOW, &SEED);
    assert!(Arc::ptr_eq(&third.apps[&app()], &fourth.apps[&app()]));
    assert!(!Arc::ptr_eq(&third.apps[&other], &fourth.apps[&other]));
    assert_eq!(
        planner.plan(&objects[..1], &owner(), &state, NOW, &SEED).apps.len(),
        1,
        "what is gone is forgotten"
    );
}

/// Nobody knows how many devices a wider audience has: for eight days everybody counts whom no channel served.
#[test]
fn a_wider_audience_is_not_taken_for_a_small_one() {
    let staff: Audience = serde_json::from_str(r#"{"customIds": ["staff-*"]}"#).unwrap();
    let of = |version: &str, audience: Option<&Audience>| {
        let channel =
            edit(channel("c", "production", version), |channel| channel.audience = audience.cloned());
        [release("r-1.0.0", "1.0.0"), release("r-2.0.0", "2.0.0"), channel]
    };
    let base = observed(&["1.0.0", "2.0.0"], &["1.0.0", "2.0.0"]);
    let first = run(&of("1.0.0", Some(&staff)), &base);
    assert_eq!(first.shard.as_ref().unwrap().channels[0].audience, Some(staff.clone()));
    let mut state = applied(base, &first);
    let key = first.channels[0].lines[0].key.clone();
    let fleet = Fleet { active: 50, unserved: 100_000, verdict: None };
    state.rollouts = Arc::new(BTreeMap::from([(("production".parse().unwrap(), key), fleet)]));

    let small = run(&of("2.0.0", Some(&staff)), &state);
    assert_eq!(served(&small).as_deref(), Some("2.0.0"), "fifty devices are reached at once");

    let wider = run(&of("2.0.0", None), &state);
    assert_eq!(served(&wider).as_deref(), Some("1.0.0"), "a hundred thousand are not");
    assert!(wider.shard.as_ref().unwrap().channels[0].audience.is_none());
    let again = applied(state.clone(), &wider);
    assert_eq!(run(&of("2.0.0", None), &again), wider);

    // Also when the release comes some days later, until everybody was counted.
    let state = applied(state.clone(), &run(&of("1.0.0", None), &state));
    for (days, reached) in [(7, "1.0.0"), (9, "2.0.0")] {
        let now = NOW + SignedDuration::from_hours(24 * days);
        let plan = Planner::default().plan(&of("2.0.0", None), &owner(), &all(&state), now, &SEED);
        assert_eq!(served(&plan.apps[&app()]).as_deref(), Some(reached), "{days} days later");
    }
}

#[test]
fn an_id_that_no_brake_has_is_a_warning_and_changes_nothing() {
    let lifting = edit(channel("c", "production", "1.0.0"), |channel| {
        channel.allow_held = ["0123456789abcdef0123".to_owned(), "0123456789abcdef9999".to_owned()].into();
    });
    let objects = [release("r-1.0.0", "1.0.0"), lifting];
    let (id, digest) = ("0123456789abcdef0123".into(), Digest::of(b"other"));
    let brake = Braked { id, digest, channel: None, by: "somebody".into(), why: "no".into() };
    let observed = ObservedApp { brakes: Arc::new(vec![brake]), ..observed(&["1.0.0"], &["1.0.0"]) };
    let plan = run(&objects, &observed);
    assert_eq!(served(&plan).as_deref(), Some("1.0.0"));
    assert_eq!(plan.channels[0].hindrance, None);
    let [problem] = plan.problems.as_slice() else { panic!("{:?}", plan.problems) };
    assert_eq!((problem.code, problem.severity), (Code::BrakeUnknown, Severity::Warning));
    assert!(problem.message.contains("`0123456789abcdef9999` is the id of no brake"), "{problem}");
    assert!(problem.message.ends_with("did you mean `0123456789abcdef0123`?"), "{problem}");
}

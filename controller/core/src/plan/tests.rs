use super::*;
use crate::{
    channel::Strategy,
    inventory::{Located, Object},
    record::Zip,
    resolve::{
        resolve,
        tests::{channel, release},
    },
};

fn app() -> AppId {
    "com.example.shop".parse().unwrap()
}

fn id(version: &str) -> ReleaseId {
    (app(), version.parse().unwrap())
}

/// Observations in which each listed version is bound to its source, `git:<version>`.
fn observed(bound: &[&str], seen: &[&str]) -> Observed {
    let mut record = AppRecord::new(app(), "default");
    for version in bound {
        let digest = Digest::of(version.as_bytes());
        let zip = Zip { sha256: digest, crc32: 1, size: 2 };
        let binding =
            Binding { digest, release: format!("r-{version}"), source: format!("git:{version}"), zip };
        record.versions.insert(version.parse().unwrap(), binding);
    }
    let sources = seen.iter().map(|v| (id(v), format!("git:{v}"))).collect();
    Observed { records: BTreeMap::from([(app(), record)]), sources, ..Observed::default() }
}

fn run(objects: &[Located], observed: &Observed) -> Plan {
    let owner = Owner { name: "default".into(), apps: Vec::new() };
    plan(&resolve(objects, &owner, &observed.records), &owner, observed)
}

/// What is observed after `plan` was applied.
fn applied(mut observed: Observed, plan: &Plan) -> Observed {
    observed.records.clone_from(&plan.records);
    observed.shards.clone_from(&plan.shards);
    observed
}

fn served(plan: &Plan) -> Option<String> {
    plan.shards[&app()].channels[0].lines[0].stable.as_ref().map(ToString::to_string)
}

fn edit(mut located: Located, edit: impl FnOnce(&mut crate::channel::Channel)) -> Located {
    if let Object::Channel(channel) = &mut located.object {
        edit(channel);
    }
    located
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
    assert_eq!(second.shards[&app()].offers.len(), 1);
    let line = second.records[&app()].channels.values().next().unwrap().lines.values().next().unwrap();
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
    state.failures.insert(id("2.0.0"), Failure { source: "git:2.0.0".into(), problem });
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
    assert_eq!(plan.shards[&app()].offers.len(), 1);
}

#[test]
fn a_changed_source_is_checked_before_it_is_believed() {
    let objects = [release("r-1.0.0", "1.0.0"), channel("c", "production", "1.0.0")];
    let base = observed(&["1.0.0"], &["1.0.0"]);
    let first = run(&objects, &base);
    let mut state = applied(base, &first);
    state.sources.insert(id("1.0.0"), "git:other".into());
    let changed = run(&objects, &state);
    assert_eq!(changed.needs.len(), 1);
    assert_eq!(served(&changed).as_deref(), Some("1.0.0"));
    let problem = Diagnostic::new(Code::VersionBurnt, Location::default(), "burnt");
    state.failures.insert(id("1.0.0"), Failure { source: "git:other".into(), problem });
    let burnt = run(&objects, &state);
    assert_eq!(served(&burnt).as_deref(), Some("1.0.0"), "the first bytes stay served");
    assert_eq!(burnt.channels[0].hindrance, Some(Hindrance::Problem(Code::VersionBurnt)));
}

#[test]
fn a_lost_bundle_is_not_offered_until_it_is_made_again() {
    let objects = [release("r-1.0.0", "1.0.0"), channel("c", "production", "1.0.0")];
    let base = observed(&["1.0.0"], &["1.0.0"]);
    let mut state = applied(base, &run(&objects, &observed(&["1.0.0"], &["1.0.0"])));
    for binding in state.records.values_mut().flat_map(|r| r.versions.values_mut()) {
        binding.lose();
    }
    let lost = run(&objects, &state);
    assert_eq!(served(&lost), None, "devices are answered that there is nothing new");
    assert_eq!(lost.needs.len(), 1);
    let mended = run(
        &objects,
        &applied(
            observed(&["1.0.0"], &["1.0.0"]),
            &Plan { records: observed(&["1.0.0"], &[]).records, ..lost },
        ),
    );
    assert_eq!(served(&mended).as_deref(), Some("1.0.0"));
}

#[test]
fn steps_and_suspension_move_nobody() {
    for change in [
        (|c: &mut crate::channel::Channel| c.strategy = Strategy::Steps) as fn(&mut crate::channel::Channel),
        |c| c.suspend = true,
    ] {
        let releases = [release("r-1.0.0", "1.0.0"), release("r-2.0.0", "2.0.0")];
        let base = observed(&["1.0.0", "2.0.0"], &["1.0.0", "2.0.0"]);
        let first = run(&[&releases[..], &[channel("c", "p", "1.0.0")]].concat(), &base);
        let state = applied(base, &first);
        let next = run(&[&releases[..], &[edit(channel("c", "p", "2.0.0"), change)]].concat(), &state);
        assert_eq!(served(&next).as_deref(), Some("1.0.0"));
        assert!(next.channels[0].hindrance.is_some());
    }
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
    let shard = &clash.shards[&app()];
    assert_eq!(shard.channels.iter().map(|c| c.access.public).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn a_removed_channel_is_served_no_more() {
    let release = release("r-1.0.0", "1.0.0");
    let base = observed(&["1.0.0"], &["1.0.0"]);
    let first = run(&[release.clone(), channel("c", "p", "1.0.0")], &base);
    let next = run(&[release], &applied(base, &first));
    assert!(next.shards.is_empty());
    assert_eq!(next.records[&app()].versions.len(), 1, "bindings are for ever");
}

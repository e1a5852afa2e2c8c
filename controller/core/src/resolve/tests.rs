use super::*;
use crate::{
    channel::{Access, Platforms},
    digest::Digest,
    observed::ObservedApp,
    record::{Binding, ChannelRecord, Zip},
    release::RollbackPolicy,
};

pub(crate) fn release(name: &str, version: &str) -> Arc<Located> {
    Arc::new(Located {
        object: Object::Release(Box::new(Release {
            name: name.into(),
            app: "com.example.shop".parse().unwrap(),
            version: version.parse().unwrap(),
            source: Source::Path(format!("bundles/{version}")),
            native: None,
            rollback: RollbackPolicy::Allowed,
            notes: None,
            link: None,
            labels: BTreeMap::new(),
        })),
        at: Location { file: format!("{name}.yaml"), line: 1, column: 1 },
        fields: BTreeMap::new(),
        stale: false,
        held: false,
        refused: None,
    })
}

pub(crate) fn channel(name: &str, channel: &str, target: &str) -> Arc<Located> {
    let line =
        Line { native: None, platforms: Platforms::ALL, target: target.to_owned().try_into().unwrap() };
    Arc::new(Located {
        object: Object::Channel(Box::new(Channel::new(
            name.into(),
            "com.example.shop".parse().unwrap(),
            channel.parse().unwrap(),
            vec![line],
            Access { self_assign: true, ..Access::default() },
        ))),
        at: Location { file: format!("{name}.yaml"), line: 1, column: 1 },
        fields: BTreeMap::new(),
        stale: false,
        held: false,
        refused: None,
    })
}

pub(crate) fn edit(mut located: Arc<Located>, edit: impl FnOnce(&mut Channel)) -> Arc<Located> {
    if let Object::Channel(channel) = &mut Arc::make_mut(&mut located).object {
        edit(channel);
    }
    located
}

fn owner(apps: &[&str]) -> Owner {
    Owner { name: "default".into(), apps: apps.iter().map(ToString::to_string).collect() }
}

fn codes(resolved: &Resolved<'_>) -> Vec<Code> {
    resolved.problems.iter().map(|p| p.code).collect()
}

/// What is observed when this is an app's record.
fn recorded(record: AppRecord) -> Observed {
    let app = record.app.clone();
    let observed = ObservedApp { record: Some(Arc::new(record)), ..ObservedApp::default() };
    Observed { apps: BTreeMap::from([(app, observed)]) }
}

fn record() -> AppRecord {
    AppRecord::new("com.example.shop".parse().unwrap(), "default")
}

#[test]
fn a_clean_tree_has_no_problems() {
    let objects = [release("r", "1.0.0"), channel("c", "production", "1.0.0")];
    let resolved = resolve(&objects, &owner(&[]), &Observed::default());
    assert_eq!(codes(&resolved), []);
    let app = &resolved.apps["com.example.shop"];
    assert_eq!((app.releases.len(), app.channels.len()), (1, 1));
}

#[test]
fn apps_are_owned() {
    let objects = [release("r", "1.0.0")];
    for (apps, allowed) in [
        (&["com.example.shop"][..], true),
        (&["com.example.*"], true),
        (&["*.shop"], true),
        (&["org.*"], false),
        (&["com.example.shop2", "com.*.other"], false),
    ] {
        let resolved = resolve(&objects, &owner(apps), &Observed::default());
        assert_eq!(resolved.problems.is_empty(), allowed, "{apps:?}");
        assert_eq!(resolved.apps.len(), usize::from(allowed));
    }
    let mut other = record();
    other.owner = "team/other".into();
    assert_eq!(codes(&resolve(&objects, &owner(&[]), &recorded(other))), [Code::AppNotAllowed]);
}

#[test]
fn of_two_claims_the_served_one_wins_else_the_lower_name() {
    let objects = [
        release("a", "1.0.0"),
        release("b", "1.0.0"),
        channel("x", "p", "1.0.0"),
        channel("y", "p", "1.0.0"),
    ];
    let resolved = resolve(&objects, &owner(&[]), &Observed::default());
    assert_eq!(codes(&resolved), [Code::VersionConflict, Code::ChannelConflict]);
    assert_eq!(resolved.problems[0].at.file, "b.yaml");
    assert_eq!(resolved.problems[1].at.file, "y.yaml");

    let mut served = record();
    let zip = Zip { sha256: Digest::of(b""), crc32: 0, size: 0 };
    let binding = Binding { digest: Digest::of(b""), release: "b".into(), source: String::new(), zip };
    served.versions.insert("1.0.0".parse().unwrap(), binding.into());
    served
        .channels
        .insert("p".parse().unwrap(), ChannelRecord { name: "y".into(), ..ChannelRecord::default() });
    let resolved = resolve(&objects, &owner(&[]), &recorded(served));
    let app = &resolved.apps["com.example.shop"];
    assert_eq!(app.releases[&"1.0.0".parse().unwrap()].0.name, "b");
    assert_eq!(app.channels[&"p".parse::<ChannelName>().unwrap()].channel.name, "y");
}

#[test]
fn duplicate_names_keep_the_first() {
    let mut second = release("r", "2.0.0");
    Arc::make_mut(&mut second).at.file = "z.yaml".into();
    let objects = [second, release("r", "1.0.0")];
    let resolved = resolve(&objects, &owner(&[]), &Observed::default());
    assert_eq!(codes(&resolved), [Code::DuplicateName]);
    assert_eq!(resolved.problems[0].at.file, "z.yaml");
}

#[test]
fn one_public_channel_per_platform() {
    use Platform::{Android, Ios};
    let public = |name: &str, platforms: Vec<Platform>| {
        edit(channel(name, name, "builtin"), |c| {
            c.access.public = true;
            c.access.platforms = platforms.into();
        })
    };
    let divided = [public("a", vec![Ios]), public("b", vec![Android])];
    assert_eq!(codes(&resolve(&divided, &owner(&[]), &Observed::default())), []);

    let clash = [public("a", vec![Ios, Android]), public("b", vec![Android])];
    let resolved = resolve(&clash, &owner(&[]), &Observed::default());
    assert_eq!(codes(&resolved), [Code::PublicChannelConflict]);
    assert_eq!(resolved.problems[0].at.file, "b.yaml");

    let mut served = record();
    let b = ChannelRecord { name: "b".into(), public: true, ..ChannelRecord::default() };
    served.channels.insert("b".parse().unwrap(), b);
    let resolved = resolve(&clash, &owner(&[]), &recorded(served));
    assert_eq!(resolved.problems[0].at.file, "a.yaml", "what is served already wins");
}

#[test]
fn references_and_requirements() {
    let missing = [channel("c", "p", "1.0.0"), release("r", "0.9.0")];
    let resolved = resolve(&missing, &owner(&[]), &Observed::default());
    assert_eq!(codes(&resolved), [Code::ReleaseNotFound]);
    assert!(resolved.problems[0].message.contains("0.9.0"), "{}", resolved.problems[0].message);

    for (line, policy, under, expected) in [
        (None, Upgrade::SameMajor, false, false),
        (Some("<2.0.0"), Upgrade::SameMajor, false, true),
        (Some("<2.0.0"), Upgrade::Any, false, false),
        (Some(">=2.1.0"), Upgrade::Any, false, true),
        (Some(">=2.1.0"), Upgrade::Any, true, false),
        (Some("2.0.0"), Upgrade::SamePatch, false, false),
        (Some("~2.1"), Upgrade::SameMinor, true, true),
    ] {
        let objects = [
            edit(channel("c", "p", "2.0.0"), |c| {
                c.lines[0].native = line.map(|l: &str| l.parse().unwrap());
                c.access.upgrade = policy;
                c.access.under_native = under;
            }),
            release("r", "2.0.0"),
        ];
        let found = codes(&resolve(&objects, &owner(&[]), &Observed::default()));
        assert_eq!(found == [Code::ReleaseUnsatisfiable], expected, "{line:?} {policy:?} {under} {found:?}");
    }
}

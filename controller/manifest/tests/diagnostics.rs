//! Every kind of problem, with its place: what a person sees who made the mistake.

use sluice_core::{
    channel::{OnDecrease, Platform, Platforms, Size, Strategy, Target, Upgrade},
    cohort::Order,
    diagnostic::Code,
    digest::Digest,
    inventory::{Located, Object},
    release::{Release, RollbackPolicy, Source},
    request::DeviceKey,
};
use sluice_manifest::{ParsedFile, is_candidate, parse_file};

const FILE: &str = "shop/releases/a.yaml";

fn parse(text: &str) -> ParsedFile {
    parse_file(FILE, text.as_bytes())
}

/// A Release with these lines under `spec`, which begins on line 5.
fn release(spec: &str) -> String {
    format!("apiVersion: sluice.dev/v1alpha1\nkind: Release\nmetadata:\n  name: shop-1\nspec:\n{spec}")
}

/// A valid Release with more lines, the first of which is line 10.
fn release_and(more: &str) -> String {
    release(&format!("  app: com.example.shop\n  version: 1.4.2\n  bundle:\n    path: bundles/1.4.2\n{more}"))
}

/// A Channel with these lines under `spec`; the first of them is line 7.
fn channel(spec: &str) -> String {
    format!(
        "apiVersion: sluice.dev/v1alpha1\nkind: Channel\nmetadata:\n  name: shop-production\nspec:\n  app: com.example.shop\n{spec}"
    )
}

/// A reachable Channel with one release and more lines, the first of which is line 9.
fn channel_and(more: &str) -> String {
    channel(&format!("  public: true\n  release: 1.4.2\n{more}"))
}

/// `line:column Code`, one per problem.
fn found(file: &ParsedFile) -> Vec<String> {
    file.problems
        .iter()
        .map(|p| {
            assert_eq!(p.at.file, FILE);
            assert_eq!(p.severity, p.code.severity());
            format!("{}:{} {}", p.at.line, p.at.column, p.code)
        })
        .collect()
}

#[track_caller]
fn expect(text: &str, problems: &[&str], says: &str) {
    let file = parse(text);
    assert_eq!(found(&file), problems, "{text}\n{:#?}", file.problems);
    let messages: Vec<&str> = file.problems.iter().map(|p| p.message.as_str()).collect();
    assert!(messages.iter().any(|m| m.contains(says)), "{says:?} is not said: {messages:#?}");
    let is_error = |code: Code| code.severity() == sluice_core::diagnostic::Severity::Error;
    let only_noted = file.problems.iter().all(|p| !is_error(p.code) || p.code == Code::SourceNotSupported);
    assert_eq!(file.complete, only_noted, "complete");
    assert_eq!(file.objects.len(), usize::from(only_noted), "objects");
}

fn the_release(text: &str) -> (Release, Located) {
    let file = parse(text);
    assert_eq!(found(&file), Vec::<String>::new());
    let located = file.objects.into_iter().next().expect("an object");
    let Object::Release(release) = &located.object else { unreachable!("not a release") };
    (Release::clone(release), located)
}

#[test]
fn the_release_of_the_contract() {
    let text = "# A comment\n---\napiVersion: sluice.dev/v1alpha1\nkind: Release\nmetadata:\n  name: shop-1.4.2\nspec:\n  \
                app: com.example.shop\n  version: 1.4.2\n  bundle:\n    path: ../bundles/1.4.2\n  requires:\n    native: \
                \">=1.0.0 <5.0.0\"\n  rollback: StopOnly\n  notes: Fixes the basket total.\n  link: https://example.org/n\n  \
                labels: { team: shop }\n";
    let (release, located) = the_release(text);
    assert_eq!(release.name, "shop-1.4.2");
    assert_eq!(release.app.as_str(), "com.example.shop");
    assert_eq!(release.version.to_string(), "1.4.2");
    assert_eq!(release.source, Source::Path("shop/bundles/1.4.2".into()));
    assert_eq!(release.native.unwrap().as_str(), ">=1.0.0 <5.0.0");
    assert_eq!(release.rollback, RollbackPolicy::StopOnly);
    assert_eq!(release.notes.as_deref(), Some("Fixes the basket total."));
    assert_eq!(release.link.as_deref(), Some("https://example.org/n"));
    assert_eq!(release.labels["team"], "shop");
    assert_eq!(located.at.to_string(), format!("{FILE}:3:1"));
    assert_eq!(located.field("spec.version").to_string(), format!("{FILE}:9:12"));
    assert_eq!(located.field("spec.bundle.path").to_string(), format!("{FILE}:11:11"));
    assert_eq!(located.field("metadata.name").to_string(), format!("{FILE}:6:9"));
}

#[test]
fn the_channel_of_the_contract() {
    let text = channel(
        "  channel: production\n  releases:\n    - { native: \">=4.0.0\", release: 2.1.0 }\n    - { native: \">=3.0.0 \
         <4.0.0\", platforms: [android], release: builtin }\n  public: true\n  platforms: [ios, android, electron]\n  \
         allow: { production: true, development: true, device: true, emulator: false, selfAssign: false }\n  native:\n    \
         upgrade: Any\n    underNative: true\n  rollout:\n    steps:\n      - { weight: 1%, soak: 30m }\n      - { weight: \
         10%, soak: 2h, approval: Required }\n    ramp: Auto\n    window: { days: [Mon, Tue], from: \"09:00\", to: \
         17:00, timeZone: Europe/Paris }\n    notBefore: 2026-12-01T09:00:00Z\n    maxHold: 24h\n  gate: { onBad: \
         Rollback, onInconclusive: Hold, devices: Return }\n  suspend: false\n  allowHeld: []\n",
    );
    let file = parse(&text);
    assert_eq!(found(&file), Vec::<String>::new());
    let [located] = &file.objects[..] else { panic!("one object") };
    let Object::Channel(channel) = &located.object else { panic!("a channel") };
    assert_eq!(channel.channel.as_str(), "production");
    assert_eq!(channel.lines.len(), 2);
    assert_eq!(channel.lines[0].platforms, Platforms::ALL);
    assert_eq!(channel.lines[1].target, Target::Builtin);
    assert_eq!(channel.rollout.strategy, Strategy::Steps);
    assert_eq!(channel.access.upgrade, Upgrade::Any);
    assert!(channel.access.public && channel.access.under_native && !channel.access.emulator);
    assert_eq!(located.field("spec.releases[1].release").line, 10);
    assert_eq!(located.field("spec.releases[1].release").column, 66);
}

#[test]
fn defaults_are_those_of_the_contract() {
    let file = parse(&channel_and(""));
    let Object::Channel(channel) = &file.objects[0].object else { panic!("a channel") };
    assert_eq!(channel.channel.as_str(), "shop-production");
    let expected = sluice_core::channel::Access { public: true, ..Default::default() };
    assert_eq!(channel.access, expected);
    assert_eq!(channel.rollout.strategy, Strategy::Auto);
    assert!(!channel.suspend);
}

#[test]
fn unknown_fields() {
    expect(&release_and("  note: x\n"), &["10:3 UnknownField"], "did you mean `notes`?");
    expect(&release_and("  native: x\n"), &["10:3 UnknownField"], "it belongs in `spec.requires.native`");
    expect(&release_and("  colour: x\n"), &["10:3 UnknownField"], "the fields here are app, ");
    expect(
        &channel_and("  selfAssign: true\n"),
        &["9:3 UnknownField"],
        "it belongs in `spec.allow.selfAssign`",
    );
    expect(
        &release_and("").replace("apiVersion", "apiversion"),
        &["1:1 UnknownField"],
        "did you mean `apiVersion`?",
    );
}

#[test]
fn everything_wrong_is_said_at_once() {
    let text = release(
        "  app: shop\n  version: 1.4\n  bundel:\n    path: x\n  rollback: stopOnly\n  requires: { native: \">=x\" }\n",
    );
    expect(
        &text,
        &[
            "5:1 MissingField",
            "6:8 InvalidValue",
            "7:12 InvalidValue",
            "8:3 UnknownField",
            "10:13 InvalidValue",
            "11:23 InvalidValue",
        ],
        "did you mean `StopOnly`?",
    );
}

#[test]
fn missing_fields() {
    expect(
        &release("  app: com.example.shop\n  version: 1.0.0\n"),
        &["5:1 MissingField"],
        "`bundle` is missing in spec",
    );
    expect(
        &release("  app: com.example.shop\n  version: 1.0.0\n  bundle: {}\n"),
        &["8:3 MissingField"],
        "needs one of",
    );
    expect(&channel("  public: true\n"), &["5:1 MissingField"], "needs `release`");
    expect("apiVersion: sluice.dev/v1alpha1\n", &["1:1 MissingField"], "`kind` is missing");
    expect(
        "apiVersion: sluice.dev/v1alpha1\nkind: Release\n",
        &["1:1 MissingField", "1:1 MissingField"],
        "`spec` is missing in the document",
    );
    expect(&channel_and("  rollout: { strategy: Steps }\n"), &["9:24 MissingField"], "needs `steps`");
}

#[test]
fn invalid_values_of_a_release() {
    for (more, at, says) in [
        ("  notes: 12\n", "10:10", "read as a number, not as text; write \"12\""),
        ("  notes: yes\n", "10:10", "read as `true`"),
        ("  notes:\n", "10:3", "has no value"),
        ("  notes: [a]\n", "10:3", "must be text, not a list"),
        ("  requires: text\n", "10:13", "must be a mapping with native"),
        ("  requires: { native: \"\" }\n", "10:23", "version range"),
        ("  requires: { native: \">=1 || <2\" }\n", "10:23", "alternatives"),
        ("  rollback: Never\n", "10:13", "none of Allowed, StopOnly"),
        ("  link: ftp://example.org\n", "10:9", "only `https`"),
        ("  labels: { a: { b: c } }\n", "10:13", "must be text"),
        ("  labels: { ü: ok, b: { c: d } }\n", "10:20", "must be text"),
    ] {
        expect(&release_and(more), &[&format!("{at} InvalidValue")], says);
    }
    let long = format!("  notes: {}\n", "x".repeat(5000));
    expect(&release_and(&long), &["10:10 InvalidValue"], "longer than 4096");
    expect(&release_and("").replace("shop-1", "Shop"), &["4:9 InvalidValue"], "not an object name");
    expect(
        &release_and("").replace("1.4.2\n  bundle", "v1.4.2\n  bundle"),
        &["7:12 InvalidValue"],
        "write `1.4.2`",
    );
    expect(
        &release_and("").replace("1.4.2\n  bundle", "1.4.2+5\n  bundle"),
        &["7:12 InvalidValue"],
        "build metadata",
    );
    for (path, says) in [
        ("../../../x", "leaves the repository"),
        ("/x", "absolute"),
        (".", "holds this file itself"),
        ("a\\b", "separate directories"),
    ] {
        expect(&release_and("").replace("bundles/1.4.2", path), &["9:11 InvalidValue"], says);
    }
}

#[test]
fn sources() {
    let with =
        |source: &str| release(&format!("  app: com.example.shop\n  version: 1.0.0\n  bundle: {source}\n"));
    let digest = "a".repeat(64);
    let https = format!("{{ https: {{ url: \"https://example.org/a.zip\", sha256: {digest} }} }}");
    let (release, _) = the_release(&with(&https));
    let url = "https://example.org/a.zip".to_owned();
    assert_eq!(release.source, Source::Https { url, sha256: digest.parse().unwrap() });
    expect(&with(&https.replace("https://", "http://")), &["8:27 BundleAddressRefused"], "only `https`");
    expect(&with(&https.replace(&digest, "abc")), &["8:64 InvalidValue"], "64 lower-case");
    expect(
        &with("{ path: a, https: { url: \"https://e.org/a\" } }"),
        &["8:22 MissingField", "8:22 InvalidValue"],
        "one source",
    );
    let oci = format!("{{ oci: {{ image: registry.example.org/shop/web, digest: \"sha256:{digest}\" }} }}");
    expect(&with(&oci), &["8:13 SourceNotSupported"], "use `path` or `https`");
}

#[test]
fn invalid_values_of_a_channel() {
    for (more, at, says) in [
        ("  channel: \"a b\"\n", "9:12", "not a channel name"),
        ("  public: \"true\"\n", "9:11", "without quotes"),
        ("  suspend: yes\n", "9:12", "write true"),
        ("  platforms: []\n", "9:3", "must not be empty"),
        ("  platforms: [ios, ios]\n", "9:20", "twice"),
        ("  platforms: [iOS]\n", "9:15", "did you mean `ios`?"),
        ("  native: { upgrade: Major }\n", "9:22", "none of Any, SameMajor"),
        ("  releases: [{ release: 1.0.0 }]\n", "9:3", "either `release` or `releases`"),
        ("  rollout: { maxHold: 1 day }\n", "9:23", "not a duration"),
        ("  rollout: { ramp: Off }\n", "9:20", "write \"Off\""),
        ("  rollout: { notBefore: tomorrow }\n", "9:25", "RFC 3339"),
        ("  rollout: { steps: [{ weight: 100% }] }\n", "9:32", "100 % follows"),
        ("  rollout: { steps: [{ weight: 10% }, { weight: 5% }] }\n", "9:49", "must rise"),
        ("  rollout: { strategy: Immediate, steps: [{ weight: 10% }] }\n", "9:35", "has no steps"),
        ("  rollout: { window: { from: \"9\", to: \"10:00\" } }\n", "9:30", "HH:MM"),
        ("  rollout: { window: { from: \"10:00\", to: \"10:00\" } }\n", "9:43", "ends when it begins"),
        (
            "  rollout: { window: { from: \"10:00\", to: \"11:00\", timeZone: Mars } }\n",
            "9:62",
            "not a time zone",
        ),
    ] {
        // A second `public` would be a duplicate, and needs none.
        let text = if more.contains("public") {
            channel(&format!("  release: 1.4.2\n  suspend: false\n{more}"))
        } else {
            channel_and(more)
        };
        expect(&text, &[&format!("{at} InvalidValue")], says);
    }
    let long = channel_and("").replace("shop-production", &"x".repeat(64));
    expect(&long, &["4:9 InvalidValue"], "set `spec.channel`");
    let builtin = channel("  public: true\n  release: Builtin\n");
    expect(&builtin, &["8:12 InvalidValue"], "write `builtin` in lower case");
}

#[test]
fn reserved_fields_are_refused() {
    for field in ["encryption: {}", "require: {}"] {
        expect(&channel_and(&format!("  {field}\n")), &["9:3 FieldNotSupported"], "not supported yet");
    }
}

#[test]
fn whom_a_channel_is_limited_to() {
    let id = "1B4E28BA-2FA1-11D2-883F-0016D3CCA427";
    let hashed = format!("sha256:{}", Digest::of(id.to_lowercase().as_bytes()));
    let text = channel_and(&format!(
        "  audience:\n    platforms: [ios, android]\n    native: \">=1.0.0\"\n    os: \">=15\"\n    plugin: \">=7.0.0\"\n    customIds: \
         [staff-*]\n    deviceIds: [{id}, \"{hashed}\"]\n    locales: [fr-CA]\n    countries: [CA]\n"
    ));
    let file = parse(&text);
    assert_eq!(found(&file), Vec::<String>::new());
    let Object::Channel(channel) = &file.objects[0].object else { panic!("a channel") };
    let audience = channel.audience.as_ref().unwrap();
    assert_eq!(audience.devices.iter().collect::<Vec<_>>(), [&DeviceKey::of(id)], "both are the same device");
    assert_eq!(audience.platforms, Some([Platform::Ios, Platform::Android].into_iter().collect()));
    assert_eq!(audience.os.as_ref().unwrap().as_str(), ">=15");
    assert_eq!((&audience.custom_ids[0], &audience.locales[0]), (&"staff-*".to_owned(), &"fr-CA".to_owned()));
}

#[test]
fn an_audience_that_is_none() {
    for (audience, at, says) in [
        ("{}", "9:3 InvalidValue", "at least one condition"),
        ("{ platforms: [] }", "9:15 InvalidValue", "must not be empty"),
        ("{ native: \">=x\" }", "9:23 InvalidValue", "is not a version range"),
        ("{ os: \">=1 <1\" }", "9:19 ChannelUnreachable", "no version is in"),
        ("{ deviceIds: [abc] }", "9:27 InvalidValue", "expected a UUID"),
        ("{ customIds: [\" x\"] }", "9:27 InvalidValue", "neither begins nor ends with a space"),
        ("{ locales: [\"fr CA\"] }", "9:25 InvalidValue", "is not a language"),
        ("{ countries: [FRA] }", "9:27 InvalidValue", "longer than 2"),
        ("{ countries: [\"1A\"] }", "9:27 InvalidValue", "is not a country"),
        ("{ platforms: [ios], country: FR }", "9:33 UnknownField", "did you mean `countries`?"),
        ("{ platforms: [electron] }\n  platforms: [ios]", "9:15 ChannelUnreachable", "serves none of these"),
    ] {
        expect(&channel_and(&format!("  audience: {audience}\n")), &[at], says);
    }
}

#[test]
fn what_a_channel_says_of_its_rollout() {
    let text = channel_and(
        "  rollout: { steps: [{ devices: 20, soak: 90s }, { weight: 10%, approval: Required }], order: Ring, onDecrease: Return, \
         maxHold: 2d }\n  gate: { onBad: Brake, alpha: 0.5%, horizon: 10m, minExposure: 80, margin: 3% }\n  approvals: [{ \
         release: 1.4.2, step: 2 }]\n  urgent: { release: 1.4.2, reason: it burns }\n  allowHeld: [b-1]\n",
    );
    let file = parse(&text);
    assert_eq!(found(&file), Vec::<String>::new());
    let Object::Channel(channel) = &file.objects[0].object else { panic!("a channel") };
    let rollout = &channel.rollout;
    let steps: Vec<_> = rollout.steps.iter().map(|step| (step.size, step.soak, step.approval)).collect();
    assert_eq!(steps, [(Size::Devices(20), 90, false), (Size::Share(100_000), 0, true)]);
    assert_eq!(
        (rollout.order, rollout.on_decrease, rollout.max_hold),
        (Order::Ring, OnDecrease::Return, 172_800)
    );
    let statistics = channel.gate.statistics;
    assert_eq!((statistics.alpha, statistics.horizon), (Some(5_000), Some(600)));
    assert_eq!((statistics.min_exposure, statistics.margin), (Some(80), Some(30_000)));
    assert_eq!(channel.approvals.first().unwrap().step, 2);
    assert_eq!(channel.urgent.as_ref().unwrap().reason, "it burns");
    assert!(channel.allow_held.contains("b-1"));
}

#[test]
fn steps_of_their_own_audience() {
    let text = channel_and(
        "  rollout: { steps: [{ audience: { customIds: [\"staff-*\"] }, soak: 1h }, { weight: 5%, audience: { platforms: [ios] } }, \
         { weight: 20%, audience: { platforms: [ios] } }, { weight: 10% }] }\n",
    );
    let file = parse(&text);
    assert_eq!(found(&file), Vec::<String>::new());
    let Object::Channel(channel) = &file.objects[0].object else { panic!("a channel") };
    let steps: Vec<_> = channel.rollout.steps.iter().map(|s| (s.size, s.audience.is_some())).collect();
    let share = |weight, limited| (Size::Share(weight), limited);
    assert_eq!(
        steps,
        [share(1_000_000, true), share(50_000, true), share(200_000, true), share(100_000, false)]
    );
    for (steps, at, says) in [
        ("{ audience: {} }", "9:24 InvalidValue", "at least one condition"),
        ("{ audience: { os: \"x\" } }", "9:40 InvalidValue", "is not a version range"),
        ("{ weight: 5%, audience: { os: \">=2 <1\" } }", "9:52 ChannelUnreachable", "no version is in"),
        (
            "{ weight: 5%, audience: { platforms: [ios] } }, { weight: 5%, audience: { platforms: [ios] } }",
            "9:80 InvalidValue",
            "reaches nobody new",
        ),
        (
            "{ weight: 10% }, { weight: 5%, audience: { platforms: [ios] } }",
            "9:49 InvalidValue",
            "reaches nobody new",
        ),
        ("{ soak: 1h }", "9:22 MissingField", "or an `audience`"),
    ] {
        expect(&channel_and(&format!("  rollout: {{ steps: [{steps}] }}\n")), &[at], says);
    }
}

#[test]
fn the_ready_made_rollouts_are_clean() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/rollouts.md");
    let text = std::fs::read_to_string(page).unwrap();
    let examples: Vec<&str> =
        text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 5);
    for example in examples {
        let indented: Vec<String> = example.lines().map(|line| format!("  {line}\n")).collect();
        let indented = indented.concat();
        assert_eq!(found(&parse(&channel_and(&indented))), Vec::<String>::new(), "{example}");
    }
}

#[test]
fn what_is_unclear_in_a_rollout() {
    for (more, at, says) in [
        ("  approvals: [{ release: 1.4.2, step: 1 }]\n", "9:39", "there is no step 1"),
        ("  urgent: { release: 1.0.0, reason: x }\n", "9:22", "nothing is urgent"),
        ("  rollout: { steps: [{ weight: 1%, soak: 2d }] }\n", "9:42", "`maxHold`"),
    ] {
        expect(&channel_and(more), &[&format!("{at} RolloutUnclear")], says);
    }
    let both = channel_and("  rollout: { steps: [{ weight: 1%, devices: 2 }] }\n");
    expect(&both, &["9:45 InvalidValue"], "either `weight` or `devices`");
    expect(&channel_and("  rollout: { steps: [{ soak: 2h }] }\n"), &["9:22 MissingField"], "a step needs");
}

#[test]
fn kinds_and_versions() {
    let text = release_and("");
    expect(&text.replace("v1alpha1", "v1"), &["1:13 UnknownVersion"], "write `sluice.dev/v1alpha1`");
    expect(&text.replace("kind: Release", "kind: Relaese"), &["2:7 UnknownKind"], "did you mean `Release`?");
    expect(&text.replace("kind: Release", "kind: Pod"), &["2:7 UnknownKind"], "Release and Channel");
    expect(&text.replace("kind: Release", "kind: Repository"), &["2:7 KindNotInGit"], "the platform team");
    expect(&text.replace("kind: Release", "kind: Rollback"), &["2:7 KindNotInGit"], "revert");
}

#[test]
fn syntax() {
    expect(&release_and("  notes: \"open\n"), &["10:10 Syntax"], "this is not YAML");
    expect(&release_and("\tnotes: x\n"), &["10:1 Syntax"], "tab");
    expect(&release_and("  notes: *nowhere\n"), &["10:10 Syntax"], "no anchor");
    expect(&release_and("  ? [a]\n  : b\n"), &["10:5 Syntax"], "a key must be plain text");
    expect(&release_and("  notes: !secret x\n"), &["10:18 Syntax"], "the tag");
    expect(&release_and("  app: com.example.other\n"), &["10:3 DuplicateKey"], "first on line 6");
}

#[test]
fn whole_files() {
    let text = release_and("");
    let problem = |bytes: &[u8]| {
        let file = parse_file(FILE, bytes);
        assert!(!file.complete && file.objects.is_empty());
        found(&file).join(" ")
    };
    assert_eq!(
        problem(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
        "0:0 LfsPointer"
    );
    let wide: Vec<u8> =
        [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    assert_eq!(problem(&wide), "0:0 Encoding");
    assert_eq!(problem(text.replace("shop-1", "shop\0").as_bytes()), "4:13 Encoding");
    let mut latin = text.clone().into_bytes();
    latin.extend(b"  notes: Gr\xfc\xdfe\n");
    assert_eq!(problem(&latin), "10:12 Encoding");
    assert_eq!(problem(format!("{text}# {}\n", "x".repeat(1 << 20)).as_bytes()), "0:0 TooLarge");
    // The same in files that are not ours.
    let ours = sluice_crds::GROUP;
    for bytes in [&latin[..], &wide, format!("{text}#{}", "x".repeat(1 << 20)).as_bytes()] {
        let theirs =
            String::from_utf8_lossy(bytes).replace(ours, "other.dev").replace("s\0l\0u\0i\0c\0e", "o");
        assert_eq!(
            parse_file(FILE, theirs.as_bytes()),
            ParsedFile { complete: true, ..ParsedFile::default() }
        );
    }
}

#[test]
fn budgets() {
    let mut bomb = "  a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, before) in [("b", "a"), ("c", "b"), ("d", "c"), ("e", "d")] {
        let aliases = vec![format!("*{before}"); 10].join(", ");
        bomb = format!("{bomb}  {name}: &{name} [{aliases}]\n");
    }
    expect(&release_and(&bomb), &["13:22 TooComplex"], "behind aliases");
    let nested = format!("  notes: {}{}\n", "[".repeat(200), "]".repeat(200));
    expect(&release_and(&nested), &["10:42 TooComplex"], "deep");
    let mut ladder = "  a0: &a0 [x]\n".to_owned();
    for step in 1..60 {
        ladder = format!("{ladder}  a{step}: &a{step} [*a{}]\n", step - 1);
    }
    assert!(found(&parse(&release_and(&ladder)))[0].ends_with("TooComplex"), "depth through aliases");
    let many = (0..2000).fold(String::new(), |text, n| text + &format!("  x{n}: 1\n"));
    let file = parse(&release_and(&many));
    assert_eq!(file.problems.len(), sluice_manifest::limits::PROBLEMS, "problems are bounded");
}

#[test]
fn files_of_very_many_documents() {
    let text = "---\napiVersion: sluice.dev/v1\n".repeat(2000);
    let file = parse(&text);
    assert!(!file.complete);
    assert_eq!(file.problems.len(), sluice_manifest::limits::FILE_PROBLEMS, "problems are bounded");
    let text = format!("{}---\n{}", "---\nsluice.dev: 1\n".repeat(1000), release_and(""));
    assert_eq!(found(&parse(&text)), ["2001:1 TooLarge"]);
}

#[test]
fn lints() {
    let unreachable = channel("  release: 1.4.2\n");
    expect(&unreachable, &["5:1 ChannelUnreachable"], "set `public: true`");
    expect(&channel("  public: false\n  release: 1.4.2\n"), &["7:11 ChannelUnreachable"], "not public");
    let nobody = channel_and("  allow: { production: false, development: false }\n");
    expect(&nobody, &["9:3 ChannelUnreachable"], "neither production nor development");
    let empty = release_and("  requires: { native: \">=2 <1\" }\n");
    expect(&empty, &["10:23 ReleaseUnsatisfiable"], "no version is in");
    let lines = "  public: true\n  releases:\n    - { native: \"<3\", release: 1.0.0 }\n    - { native: \">=3\", release: \
                 2.0.0 }\n    - { native: \">=2 <4\", release: 3.0.0 }\n";
    expect(&channel(lines), &["11:7 LineShadowed"], "never used");
    let divided = lines.replace("\">=3\",", "\">=3\", platforms: [ios],");
    let file = parse(&channel(&divided));
    assert_eq!(found(&file), Vec::<String>::new(), "android still reaches the last line");
    let nothing = channel("  public: true\n  releases: [{ native: \">2 <1\", release: 1.0.0 }]\n");
    expect(&nothing, &["8:24 ReleaseUnsatisfiable"], "no device is in this line");
}

#[test]
fn documents_of_others_are_left_alone() {
    let ours = release_and("");
    for theirs in [
        "apiVersion: v1\nkind: ConfigMap\ndata: { a: b }\n",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  annotations:\n    sluice.dev/requestedAt: now\n",
        "apiVersion: apps/v1\nmetadata: { annotations: { x: sluice.dev } }\nspec: {{ .Values.x }}: [\n",
        "{{- if .Values.x }}\na: [b\n{{- end }}\n",
        "- a\n- sluice.dev\n",
        "just text about sluice.dev\n",
        "",
        "# sluice.dev\n",
        "a: 1\na: 2\n",
    ] {
        let file = parse(&format!("{theirs}---\n{ours}---\n{theirs}...\n---\n{theirs}"));
        assert_eq!(found(&file), Vec::<String>::new(), "{theirs}");
        assert_eq!(file.objects.len(), 1, "{theirs}");
        assert!(file.complete, "{theirs}");
    }
}

#[test]
fn a_broken_document_leaves_its_neighbours_alone() {
    let good = release_and("");
    let text = format!("{good}---\n{good}  notes: [\n---\n{}", good.replace("shop-1", "shop-2"));
    let file = parse(&text);
    assert_eq!(found(&file), ["20:10 Syntax"]);
    let names: Vec<&str> = file.objects.iter().map(|o| o.object.name()).collect();
    assert_eq!(names, ["shop-1", "shop-2"]);
    assert!(!file.complete);
    assert_eq!(file.objects[1].at.line, 22);
}

#[test]
fn ways_to_write_the_same() {
    let text = release_and("");
    let (expected, _) = the_release(&text);
    for same in [
        text.replace('\n', "\r\n"),
        format!("\u{feff}{text}"),
        format!("%YAML 1.2\n---\n{text}"),
        format!("--- # ours\n{text}...\n"),
        text.replace("  version: 1.4.2", "  version: \"1.4.2\""),
        text.replace("  version: 1.4.2", "  version: !!str 1.4.2"),
        text.replace("  version: 1.4.2", "  version: &v 1.4.2"),
        text.replace("  name: shop-1", "  name: shop-1\n  labels:\n  creationTimestamp: null"),
        format!("{text}status: {{ conditions: [] }}\n"),
        text.trim_end().to_owned(),
        text.replace("  bundle:\n    path: bundles/1.4.2", "  bundle: { <<: { path: bundles/1.4.2 } }"),
        text.replace("  bundle:\n    path: bundles/1.4.2", "  bundle: {\"path\": 'bundles/1.4.2'}"),
    ] {
        assert_eq!(the_release(&same).0, expected, "{same}");
    }
}

#[test]
fn control_characters_and_credentials_do_not_come_back() {
    let text = release(
        "  app: \"com\\e[31m\"\n  version: 1.0.0\n  bundle: { https: { url: \"https://bob:hunter2@example.org/\", sha256: x } }\n",
    );
    let file = parse(&text);
    assert!(!file.problems.is_empty());
    for problem in &file.problems {
        assert!(!problem.message.contains('\u{1b}') && !problem.message.contains("hunter2"), "{problem}");
    }
}

#[test]
fn names_of_candidates() {
    for name in ["a.yaml", "b/c.yml", "d.YAML", "e.f.yaml"] {
        assert!(is_candidate(name), "{name}");
    }
    for name in ["yaml", ".yaml", "a.json", "a.yaml.bak", "b.yaml/c", "d/.yml", ""] {
        assert!(!is_candidate(name), "{name}");
    }
}

//! The commands beside `serve` and `validate`, and what they say when something is wrong.

use std::fs;

use crate::support::{APP, ROOT, SLUICE, World, phone, run_bash, sluice, sluice_with};

#[test]
fn nothing_that_is_made_from_the_code_is_stale() {
    let ran = sluice(["generate", "--check", "--root", ROOT]).exits(0);
    assert_eq!(ran.out, "");
    // The check can fail.
    let folder = tempfile::tempdir().unwrap();
    let ran = sluice(["generate", "--check", "--root", folder.path().to_str().unwrap()]).exits(1);
    assert!(ran.out.contains("docs/reference/cli.md"), "{ran:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "a check writes nothing");
}

#[test]
fn status_is_for_people_and_machines() {
    let world = World::shop();
    let server = world.serve();
    phone(1).awaits(&server, "1.1.0");
    server.await_status("both releases are stored", |status| {
        status["releases"].as_array().unwrap().iter().all(|r| r["conditions"][0]["status"] == true)
    });
    let text = server.ask("status", &[]).exits(0).out;
    for word in ["production", APP, "1.1.0", "shop-1.2.0", "True", "is served"] {
        assert!(text.contains(word), "`{word}` is not in\n{text}");
    }
    let json = server.ask("status", &["--output", "json"]).exits(0).json();
    assert_eq!(json["channels"], server.status()["channels"]);
    assert_eq!(json["generation"], server.status()["generation"]);
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let ran = sluice(["status", "--data", data]).exits(2);
    assert!(ran.err.contains("admin-url") && ran.err.contains("was started?"), "{ran:?}");
    let ran = sluice(["status"]).exits(2);
    assert!(ran.err.contains("--data DIR"), "{ran:?}");

    let world = World::shop();
    let server = world.serve();
    let wrong = world.file("wrong-token");
    fs::write(&wrong, "0".repeat(64)).unwrap();
    let ran = server.ask("status", &["--token-file", wrong.to_str().unwrap()]).exits(1);
    assert!(ran.err.contains("401"), "{ran:?}");
    let ran = server.ask("wait", &["prodution"]).exits(1);
    assert!(
        ran.err.contains(
            "no channel `prodution`; known: production, shop-production; did you mean `production`?"
        ),
        "{ran:?}"
    );
    assert!(server.stop().success());
    let data = world.data();
    let ran = sluice(["status", "--data", data.to_str().unwrap()]).exits(2);
    assert!(ran.err.contains("is `sluice serve` running?"), "{ran:?}");
}

#[test]
fn the_client_configuration_names_the_server() {
    let base = ["client-config", "--app", APP, "--server", "https://ota.example.org"];
    let ts = sluice(base).exits(0).out;
    for word in ["plugins: {", "updateUrl: 'https://ota.example.org/updates'", "notifyAppReady", "at-launch"]
    {
        assert!(ts.contains(word), "`{word}` is not in\n{ts}");
    }
    let more = ["--format", "json", "--mode", "always", "--channel", "beta"];
    let json = sluice(base.iter().chain(&more)).exits(0).json();
    let updater = &json["plugins"]["CapacitorUpdater"];
    assert_eq!(updater["statsUrl"], "https://ota.example.org/stats");
    assert_eq!(updater["channelUrl"], "https://ota.example.org/channel_self");
    assert_eq!(updater["directUpdate"], "always");
    assert_eq!(updater["defaultChannel"], "beta");
    for wrong in
        [["--app", "shop", "--server", "https://x.example"], ["--app", APP, "--server", "ftp://x.example"]]
    {
        sluice(["client-config"].iter().chain(&wrong)).exits(2);
    }
}

#[test]
fn shells_complete_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = sluice(["completions", shell]).exits(0).out;
        for command in ["serve", "validate", "status", "explain", "client-config"] {
            assert!(script.contains(command), "{shell} does not know {command}");
        }
    }
    let script = sluice(["completions", "bash"]).exits(0).out;
    let completed = run_bash(&format!(
        "{script}\nCOMP_WORDS=({SLUICE} val)\nCOMP_CWORD=1\n_sluice {SLUICE} val {SLUICE}\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    ));
    assert_eq!(completed.trim(), "validate");
    assert!(sluice(["completions", "kubectl"]).exits(0).out.starts_with("#!/usr/bin/env bash\n"));
    sluice(["completions", "tcsh"]).exits(2);
}

#[test]
fn wrong_words_are_refused() {
    for words in [&["deploy"][..], &["serve", "--no-such-flag"], &["validate"], &[]] {
        let ran = sluice(words).exits(2);
        assert!(!ran.err.is_empty(), "{words:?}");
    }
    assert!(sluice(["--version"]).exits(0).out.starts_with("sluice "));
    assert!(sluice(["--help"]).exits(0).out.contains("Usage"));
}

#[test]
fn all_mistakes_of_the_settings_are_reported_together() {
    let ran = sluice([
        "serve",
        "--poll",
        "often",
        "--listen",
        "here",
        "--path",
        "../elsewhere",
        "--write",
        "force",
        "--branch",
        "a",
        "--tag",
        "b",
        "--public-url",
        "ftp://x",
        "--trusted-proxies",
        "10.0.0.0/8,everyone",
        "--tls-cert-file",
        "cert.pem",
        "--max-connections",
        "0",
        "--log-format",
        "xml",
        "--git-username",
        "ada",
        "--hook-secret-file",
        "/no/such/file",
    ])
    .exits(2);
    for flag in [
        "repository",
        "data",
        "poll",
        "listen",
        "path",
        "write",
        "branch",
        "public-url",
        "trusted-proxies",
        "tls-cert-file",
        "max-connections",
        "log-format",
        "git-username",
        "hook-secret-file",
    ] {
        assert!(ran.err.contains(&format!("\n  --{flag}: ")), "--{flag} is not in\n{}", ran.err);
    }
    assert!(ran.err.contains("`everyone`") && !ran.err.contains("`10.0.0.0/8`"), "{}", ran.err);
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sluice.yaml");
    fs::write(&file, "listen: from-file\nadmin-listen: from-file-too\npoll: from-file-as-well\n").unwrap();
    let file = file.to_str().unwrap();
    let ran = sluice_with(
        ["serve", "--config", file, "--listen", "from-flag"],
        &[("SLUICE_LISTEN", "from-environment"), ("SLUICE_ADMIN_LISTEN", "from-environment-too")],
        "",
    )
    .exits(2);
    for found in
        ["--listen: `from-flag`", "--admin-listen: `from-environment-too`", "--poll: `from-file-as-well`"]
    {
        assert!(ran.err.contains(found), "{}", ran.err);
    }
    let odd = folder.path().join("odd.yaml");
    fs::write(&odd, "listne: 127.0.0.1:1\n").unwrap();
    let ran = sluice(["serve", "--config", odd.to_str().unwrap()]).exits(2);
    assert!(ran.err.contains("listne"), "{}", ran.err);
    let ran = sluice(["serve", "--config", "/no/such/file.yaml"]).exits(2);
    assert!(ran.err.contains("/no/such/file.yaml"), "{}", ran.err);
}

#[test]
fn a_server_that_is_asked_to_stop_stops() {
    let world = World::shop();
    let server = world.serve();
    phone(1).awaits(&server, "1.1.0");
    assert!(server.stop().success());
}

#[test]
fn the_log_names_no_device_and_no_secret() {
    let world = World::shop();
    let server = world.serve_with(&["--log", "debug"]);
    phone(1).awaits(&server, "1.1.0");
    server.post("/stats", &phone(1).event("set", "1.1.0")).has_status(200);
    server.send(
        "GET",
        &format!("/channel_self?app_id={APP}&device_id=00000000-0000-4000-8000-000000000001"),
        &[],
        b"",
    );
    let token = fs::read_to_string(world.data().join("admin-token")).unwrap();
    server.status();
    let log = server.log();
    assert!(log.contains("new commit"), "{log}");
    for secret in ["00000000-0000-4000-8000", token.trim()] {
        assert!(!log.contains(secret), "{secret} is in\n{log}");
    }
}

use rstest::rstest;
use sluice_forge::{ForgeKind, Settings, SettingsError, connect};

use crate::script::TOKEN;

fn settings(repository: &str) -> Settings {
    Settings {
        repository: repository.into(),
        kind: None,
        base: None,
        user: None,
        token: TOKEN.into(),
        certificates: None,
        insecure_http: false,
    }
}

#[rstest]
#[case("https://github.com/shop/releases.git", None, "github at https://api.github.com/")]
#[case("git@github.com:shop/releases.git", None, "github at https://api.github.com/")]
#[case("https://shop.ghe.com/shop/releases", None, "github at https://api.shop.ghe.com/")]
#[case(
    "https://github.example.org:8443/shop/releases",
    None,
    "github at https://github.example.org:8443/api/v3"
)]
#[case("https://gitlab.com/a/b/c/d.git", None, "gitlab at https://gitlab.com/api/v4")]
#[case(
    "ssh://git@git.example.org:22/a/b",
    Some(ForgeKind::GitLab),
    "gitlab at https://git.example.org/api/v4"
)]
#[case("https://codeberg.org/shop/releases", None, "gitea at https://codeberg.org/api/v1")]
#[case("https://bitbucket.org/shop/releases", None, "bitbucket at https://api.bitbucket.org/2.0")]
#[case("https://dev.azure.com/org/shop/_git/releases", None, "azure-devops at https://dev.azure.com/org")]
fn the_api_follows_from_the_address(
    #[case] repository: &str,
    #[case] kind: Option<ForgeKind>,
    #[case] expected: &str,
) {
    let forge = connect(&Settings { kind, ..settings(repository) }).unwrap();
    let shown = format!("{forge:?}");
    assert!(shown.contains(expected), "{shown}");
    assert!(!shown.contains(TOKEN));
}

#[test]
fn the_address_of_the_api_can_be_given() {
    let base = Some("https://example.org/gitlab/api/v4/".parse().unwrap());
    let kind = Some(ForgeKind::GitLab);
    let forge =
        connect(&Settings { base, kind, ..settings("https://example.org/gitlab/shop/releases") }).unwrap();
    let shown = format!("{forge:?}");
    assert!(
        shown.contains("https://example.org/gitlab/api/v4/") && shown.contains("\"shop/releases\""),
        "{shown}"
    );
}

#[test]
fn what_cannot_work_is_refused_with_what_to_do() {
    let with = |repository: &str, change: &dyn Fn(&mut Settings)| {
        let mut settings = settings(repository);
        change(&mut settings);
        connect(&settings).unwrap_err()
    };
    let same = |_: &mut Settings| {};
    assert_eq!(with("/srv/git/releases.git", &same), SettingsError::NoHost);
    let unknown = with("https://git.example.org/shop/releases", &same);
    assert!(unknown.to_string().contains("git.example.org is; name it: github"), "{unknown}");
    for repository in [
        "https://github.com/shop",
        "https://github.com/shop/releases/tree/main",
        "https://gitlab.com/shop",
        "https://bitbucket.org/shop",
        "https://dev.azure.com/org/shop/releases",
    ] {
        let error = with(repository, &same);
        assert!(matches!(error, SettingsError::Repository { .. }), "{repository}: {error}");
        assert!(error.to_string().contains("looks like https://"), "{error}");
    }
    // Bitbucket Data Center, which has another API.
    let error = with("https://bitbucket.example.org/scm/shop/ota", &|s| s.kind = Some(ForgeKind::Bitbucket));
    assert!(matches!(error, SettingsError::Repository { .. }), "{error}");

    let github = "https://github.com/shop/releases";
    for token in ["", " ", "two words", "line\nbreak", "größer"] {
        assert_eq!(with(github, &|s| s.token = token.into()), SettingsError::Token);
    }
    for base in [
        "http://git.example.org/api",
        "https://user:canary-token@git.example.org/api",
        "https://git.example.org/api?x=1",
        "ftp://git.example.org/",
    ] {
        let error = with(github, &|s| s.base = Some(base.parse().unwrap()));
        assert_eq!(error, SettingsError::Base, "{base}");
    }
    let error = with(github, &|s| {
        s.certificates = Some("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n".into());
    });
    assert!(matches!(error, SettingsError::Client(_)), "{error}");
}

#[test]
fn clear_text_needs_leave() {
    let mut settings = settings("http://gitea.example.org/shop/releases");
    assert_eq!(connect(&settings).unwrap_err(), SettingsError::Base);
    settings.insecure_http = true;
    assert!(connect(&settings).is_ok());
}

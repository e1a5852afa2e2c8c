use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};
use sluice_forge::{ForgeError, ForgeKind, Settings, connect};

use crate::{
    number,
    script::{Host, Step, TOKEN},
};

fn address(kind: ForgeKind) -> &'static str {
    match kind {
        ForgeKind::GitHub => "/api/v3/repos/shop/releases/pulls/7",
        ForgeKind::GitLab => "/api/v4/projects/group%2Fshop%2Freleases/merge_requests/7",
        ForgeKind::Gitea => "/api/v1/repos/shop/releases/pulls/7",
        ForgeKind::Bitbucket => "/2.0/repositories/shop/releases/pullrequests/7",
        ForgeKind::AzureDevOps => {
            "/org/My%20Shop/_apis/git/repositories/releases/pullrequests/7?api-version=7.0"
        }
    }
}

async fn refused(kind: ForgeKind, answer: impl FnOnce(Step) -> Step) -> ForgeError {
    let host = Host::with([answer(Step::get(address(kind)))]).await;
    let error = host.forge(kind).state(&number(7)).await.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(!error.to_string().contains('\n') && error.to_string().len() < 1500, "{shown}");
    assert!(!shown.contains(TOKEN) && !shown.contains("OmNhbmFyeS10b2tlbg"), "{shown}");
    error
}

#[rstest]
#[case(ForgeKind::GitHub, 401, json!({ "message": "Bad credentials" }), "ForgeUnauthorized", "Bad credentials")]
#[case(
    ForgeKind::GitLab,
    401,
    json!({ "error": "invalid_token", "error_description": "Token was revoked." }),
    "ForgeUnauthorized",
    "invalid_token, Token was revoked."
)]
#[case(ForgeKind::Gitea, 401, json!({ "message": "invalid username, password or token" }), "ForgeUnauthorized", "")]
#[case(
    ForgeKind::GitHub,
    403,
    json!({ "message": "Resource not accessible by personal access token" }),
    "ForgeForbidden",
    "it needs repository permission \"Pull requests: read\""
)]
#[case(
    ForgeKind::GitLab,
    403,
    json!({ "error": "insufficient_scope", "error_description": "higher privileges", "scope": "api" }),
    "ForgeForbidden",
    "it needs scope api and role Developer"
)]
#[case(
    ForgeKind::Gitea,
    403,
    json!({ "message": "token does not have at least one of required scope(s): [read:repository]" }),
    "ForgeForbidden",
    "it needs scope read:repository"
)]
#[case(
    ForgeKind::Bitbucket,
    403,
    json!({
        "type": "error",
        "error": {
            "message": "Your credentials lack one or more required privilege scopes.",
            "detail": { "granted": ["repository"], "required": ["pullrequest"] },
        },
    }),
    "ForgeForbidden",
    "it needs scope pullrequest"
)]
#[case(
    ForgeKind::AzureDevOps,
    403,
    json!({ "message": "TF401027: You need the Git 'PullRequestContribute' permission to perform this action." }),
    "ForgeForbidden",
    "PullRequestContribute"
)]
#[case(ForgeKind::GitHub, 404, json!({ "message": "Not Found" }), "ForgeNotFound", "may the token see")]
#[case(ForgeKind::GitLab, 404, json!({ "message": "404 Project Not Found" }), "ForgeNotFound", "Project Not Found")]
#[case(ForgeKind::Gitea, 423, json!({ "message": "repo is archived" }), "ForgeForbidden", "repo is archived")]
#[case(ForgeKind::Bitbucket, 410, json!({}), "ForgeNotFound", "HTTP 410")]
#[case(ForgeKind::GitHub, 422, json!({ "message": "No commits" }), "ForgeRefused", "HTTP 422: No commits")]
#[case(
    ForgeKind::GitLab,
    400,
    json!({ "message": { "source_branch": ["is invalid"], "base": [] } }),
    "ForgeRefused",
    "is invalid"
)]
#[case(ForgeKind::Gitea, 500, json!({ "message": "" }), "ForgeUnavailable", "HTTP 500")]
#[case(ForgeKind::Bitbucket, 502, json!(null), "ForgeUnavailable", "HTTP 502")]
#[case(ForgeKind::GitHub, 408, json!(null), "ForgeUnavailable", "HTTP 408")]
#[case(ForgeKind::AzureDevOps, 429, json!(null), "ForgeRateLimited", "60 s")]
#[case(ForgeKind::GitHub, 200, json!({ "number": 1 }), "ForgeRefused", "another form")]
#[case(ForgeKind::GitLab, 200, json!("canary-token\n"), "ForgeRefused", "another form")]
#[case(ForgeKind::Gitea, 403, json!({ "message": "no\ncanary-token\nhere" }), "ForgeForbidden", "no … here")]
#[case(ForgeKind::AzureDevOps, 400, json!({ "message": "OmNhbmFyeS10b2tlbg==" }), "ForgeRefused", "HTTP 400: …")]
#[case(ForgeKind::GitHub, 418, json!({ "message": "x".repeat(5000) }), "ForgeRefused", "xxx…")]
#[tokio::test]
async fn refusals_are_told_apart(
    #[case] kind: ForgeKind,
    #[case] status: u16,
    #[case] body: Value,
    #[case] reason: &str,
    #[case] says: &str,
) {
    let error = refused(kind, |step| step.gives(status, body)).await;
    assert_eq!(error.reason(), reason, "{error}");
    assert!(error.to_string().contains(says), "{error}");
    assert_eq!(error.is_transient(), matches!(reason, "ForgeUnavailable" | "ForgeRateLimited"), "{error}");
}

#[rstest]
#[case(ForgeKind::GitLab, 429, &[("retry-after", "7")], 7)]
#[case(ForgeKind::GitHub, 403, &[("retry-after", "60")], 60)]
#[case(ForgeKind::GitHub, 429, &[("retry-after", "999999")], 3600)]
#[case(
    ForgeKind::GitHub,
    403,
    &[
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "1445412600"),
        ("date", "Wed, 21 Oct 2015 07:28:00 GMT"),
    ],
    120
)]
#[case(
    ForgeKind::GitLab,
    429,
    &[("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT"), ("date", "Wed, 21 Oct 2015 07:28:00 GMT")],
    30
)]
#[case(ForgeKind::GitHub, 403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1")], 60)]
#[case(ForgeKind::Bitbucket, 429, &[("retry-after", "soon")], 60)]
#[tokio::test]
async fn hosts_say_how_long_to_wait(
    #[case] kind: ForgeKind,
    #[case] status: u16,
    #[case] headers: &[(&'static str, &str)],
    #[case] seconds: u64,
) {
    let answer =
        |step: Step| headers.iter().fold(step.text(status, "slow down"), |step, (n, v)| step.with(n, *v));
    let error = refused(kind, answer).await;
    assert_eq!(error.reason(), "ForgeRateLimited", "{error}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(seconds)));
}

#[tokio::test]
async fn a_403_of_github_is_a_limit_only_where_it_says_so() {
    let secondary = json!({ "message": "You have exceeded a secondary rate limit." });
    let error = refused(ForgeKind::GitHub, |step| step.gives(403, secondary)).await;
    assert_eq!(error.reason(), "ForgeRateLimited", "{error}");
    let error = refused(ForgeKind::GitHub, |step| {
        step.with("x-ratelimit-remaining", "4999")
            .with("x-accepted-github-permissions", "pull_requests=read")
            .gives(403, json!({ "message": "Resource not accessible by integration" }))
    })
    .await;
    assert_eq!(error.reason(), "ForgeForbidden", "{error}");
    assert!(error.to_string().contains("it asks for pull_requests=read"), "{error}");
}

#[tokio::test]
async fn trouble_of_a_host_can_have_a_time_as_well() {
    let error = refused(ForgeKind::GitLab, |step| step.with("retry-after", "5").text(503, "")).await;
    assert_eq!((error.reason(), error.retry_after()), ("ForgeUnavailable", Some(Duration::from_secs(5))));
}

#[tokio::test]
async fn pages_for_people_are_no_answers() {
    let page = "<!doctype html><title>Sign in</title>";
    for (kind, status, reason) in [
        (ForgeKind::GitHub, 200, "ForgeRefused"),
        (ForgeKind::GitLab, 404, "ForgeNotFound"),
        (ForgeKind::Gitea, 502, "ForgeUnavailable"),
        // The sign-in page of Azure DevOps.
        (ForgeKind::AzureDevOps, 203, "ForgeUnauthorized"),
    ] {
        let html = |step: Step| step.with("content-type", "text/html; charset=utf-8").text(status, page);
        let error = refused(kind, html).await;
        assert_eq!(error.reason(), reason, "{error}");
        assert!(!error.to_string().contains('<'), "{error}");
    }
    let signin = |step: Step| {
        step.with("location", "https://spsprodweu1.vssps.visualstudio.com/_signin?x=1").text(302, "")
    };
    assert_eq!(refused(ForgeKind::AzureDevOps, signin).await.reason(), "ForgeUnauthorized");
}

#[tokio::test]
async fn odd_answers_are_errors() {
    let scripted = json!({ "number": 7, "html_url": "javascript:alert(1)", "state": "open" });
    let list = "/api/v3/repos/shop/releases/pulls?head=shop%3Arollback%2Fshop%2F1a2b&state=all&sort=created&direction=desc&per_page=10";
    let mut wanted = json!({ "head": crate::HEAD, "base": "main", "body": "It breaks.\n/merge" });
    wanted["title"] = json!("Roll back shop to 1.4.1");
    let host = Host::with([
        Step::get(list).gives(200, json!([])),
        Step::post("/api/v3/repos/shop/releases/pulls", wanted).gives(201, scripted),
    ])
    .await;
    let error = host.forge(ForgeKind::GitHub).propose(&crate::proposal()).await.unwrap_err();
    assert!(error.to_string().contains("no address"), "{error}");

    let endless = |step: Step| step.text(200, &"x".repeat(5 << 20));
    assert!(refused(ForgeKind::GitHub, endless).await.to_string().contains("too long"));
}

#[tokio::test]
async fn a_host_that_is_away_is_unavailable() {
    let gone = Settings { repository: "http://127.0.0.1:9/shop/releases".into(), ..settings() };
    let error = connect(&gone).unwrap().state(&number(7)).await.unwrap_err();
    assert_eq!(error.reason(), "ForgeUnavailable");
    assert!(error.to_string().contains("127.0.0.1") && error.is_transient(), "{error}");
}

fn settings() -> Settings {
    Settings {
        repository: String::new(),
        kind: Some(ForgeKind::Gitea),
        base: None,
        user: None,
        token: TOKEN.into(),
        certificates: None,
        insecure_http: false,
    }
}

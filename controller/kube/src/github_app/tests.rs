use std::{
    sync::{
        LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    routing::post,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use super::{exchange::Claims, *};

static KEY: LazyLock<rcgen::KeyPair> =
    LazyLock::new(|| rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap());
static PKCS8: LazyLock<String> = LazyLock::new(|| KEY.serialize_pem());
static PKCS1: LazyLock<String> = LazyLock::new(|| {
    // Version, algorithm and the head of an octet string stand before the key in the other form; all of fixed length
    // for keys of 2048 bits.
    let body = STANDARD.encode(&KEY.serialized_der()[26..]);
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|l| std::str::from_utf8(l).unwrap()).collect();
    format!("-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n", lines.join("\n"))
});

/// The key in the form that newer tools write.
pub(crate) fn pkcs8() -> &'static str {
    &PKCS8
}

/// The same key in the form that GitHub gives out.
pub(crate) fn pkcs1() -> &'static str {
    &PKCS1
}

/// GitHub's side: it checks the claim with the public key, as GitHub does, and counts the tokens that it gives.
#[derive(Default)]
struct Host {
    given: AtomicUsize,
    /// What is answered instead of a token.
    instead: Mutex<Option<(StatusCode, Value)>>,
    seen: Mutex<String>,
    asked_for: Mutex<Value>,
    /// Seconds that a token holds.
    holds: i64,
}

async fn access_tokens(
    State(host): State<Arc<Host>>,
    Path(installation): Path<u64>,
    headers: HeaderMap,
    Json(asked_for): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let claim = headers[header::AUTHORIZATION].to_str().unwrap().strip_prefix("Bearer ").unwrap();
    *host.seen.lock().unwrap() = claim.to_owned();
    *host.asked_for.lock().unwrap() = asked_for;
    if let Some((status, body)) = host.instead.lock().unwrap().clone() {
        let body = body.to_string().replace("CLAIM", claim);
        return (status, Json(serde_json::from_str(&body).unwrap()));
    }
    let key = DecodingKey::from_rsa_pem(KEY.public_key_pem().as_bytes()).unwrap();
    let mut rules = Validation::new(Algorithm::RS256);
    rules.set_issuer(&["12345"]);
    rules.leeway = 0;
    let refused = |message: &str| (StatusCode::UNAUTHORIZED, Json(json!({ "message": message })));
    let Ok(claims) = jsonwebtoken::decode::<Claims>(claim, &key, &rules).map(|token| token.claims) else {
        return refused("A JSON web token could not be decoded");
    };
    if claims.exp > now().as_second() + 600 || claims.iat > now().as_second() {
        return refused("'Expiration time' claim ('exp') is too far in the future");
    }
    if headers[header::USER_AGENT].is_empty() || installation != 678 {
        return (StatusCode::NOT_FOUND, Json(json!({ "message": "Not Found" })));
    }
    let number = host.given.fetch_add(1, Ordering::SeqCst) + 1;
    let ends = now() + SignedDuration::from_secs(host.holds);
    (StatusCode::CREATED, Json(json!({ "token": format!("ghs_{number}"), "expires_at": ends.to_string() })))
}

fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the host that is imitated has a clock of its own")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_second(i64::try_from(since.as_secs()).unwrap()).unwrap()
}

async fn start(holds: i64) -> (Arc<Host>, GitHubApp) {
    let host = Arc::new(Host { holds, ..Host::default() });
    let router = Router::new()
        .route("/api/v3/app/installations/{id}/access_tokens", post(access_tokens))
        .with_state(host.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/api/v3/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let app = GitHubApp {
        id: "12345".into(),
        installation: 678,
        key: pkcs1().into(),
        base: GitHubApp::base(&base).unwrap(),
        certificates: None,
    };
    (host, app)
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_renewed_before_it_ends() {
    let (host, app) = start(3600).await;
    let (tokens, now) = (Tokens::default(), now());
    let take = async |at: Timestamp| tokens.token(&app, at).await.unwrap().expose_secret().to_owned();
    let all = futures::future::join_all((0..20).map(|_| take(now))).await;
    assert_eq!(all, vec!["ghs_1"; 20], "twenty repositories of one installation ask once");
    assert_eq!(*host.asked_for.lock().unwrap(), json!({"permissions": {"contents": "read"}}));
    assert_eq!(take(now + SignedDuration::from_mins(54)).await, "ghs_1");
    assert_eq!(take(now + SignedDuration::from_secs(55 * 60 - 5)).await, "ghs_1");
    // Less than a minute from now: the host would not take a claim from farther ahead.
    let soon = now + SignedDuration::from_secs(50);
    let (short, short_app) = start(330).await;
    assert_eq!(tokens.token(&short_app, now).await.unwrap().expose_secret(), "ghs_1");
    assert_eq!(tokens.token(&short_app, soon).await.unwrap().expose_secret(), "ghs_2", "280 s are left");
    assert_eq!(short.given.load(Ordering::SeqCst), 2);
    assert_eq!(host.given.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn both_forms_of_the_key_sign() {
    let (_, mut app) = start(3600).await;
    for key in [pkcs1(), pkcs8()] {
        app.key = key.into();
        assert!(Tokens::default().token(&app, now()).await.is_ok());
    }
}

#[tokio::test]
async fn a_refused_token_is_made_again() {
    let (_, app) = start(3600).await;
    let tokens = Tokens::default();
    let access = RepositoryAccess { access: Access::default(), github_app: Some(app.clone()) };
    for expected in ["ghs_1", "ghs_2"] {
        let Credentials::Token(token) = access.resolve(&tokens, now()).await.unwrap().credentials else {
            panic!("not a token")
        };
        assert_eq!(token.expose_secret(), expected);
        tokens.forget(&app);
    }
}

#[tokio::test]
async fn a_new_key_or_installation_is_another_app() {
    let (_, app) = start(3600).await;
    let tokens = Tokens::default();
    tokens.token(&app, now()).await.unwrap();
    let other = GitHubApp { installation: 1, ..app.clone() };
    let error = tokens.token(&other, now()).await.unwrap_err();
    assert_eq!(error.reason(), "AuthenticationFailed");
    assert!(error.to_string().contains("HTTP 404: Not Found"), "{error}");
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap().serialize_pem();
    let error = tokens.token(&GitHubApp { key: key.into(), ..app }, now()).await.unwrap_err();
    assert!(error.to_string().contains("could not be decoded"), "{error}");
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_told_apart_by_the_hosts_words() {
    let (_, app) = start(3600).await;
    let ahead = now() + SignedDuration::from_mins(30);
    let error = Tokens::default().token(&app, ahead).await.unwrap_err();
    assert!(error.to_string().contains("too far in the future") && !error.is_transient(), "{error}");
    let little = now() + SignedDuration::from_secs(50);
    assert!(Tokens::default().token(&app, little).await.is_ok(), "less than a minute ahead is taken");
}

#[tokio::test]
async fn an_outage_is_bridged_by_the_token_that_still_holds() {
    let (host, app) = start(200).await;
    let tokens = Tokens::default();
    assert_eq!(tokens.token(&app, now()).await.unwrap().expose_secret(), "ghs_1");
    *host.instead.lock().unwrap() = Some((StatusCode::BAD_GATEWAY, json!({})));
    assert_eq!(tokens.token(&app, now()).await.unwrap().expose_secret(), "ghs_1");
    let late = now() + SignedDuration::from_secs(201);
    let error = tokens.token(&app, late).await.unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("Unreachable", true));
    // A host that says no ends it at once.
    *host.instead.lock().unwrap() = Some((StatusCode::FORBIDDEN, json!({ "message": "suspended" })));
    assert!(!tokens.token(&app, now()).await.unwrap_err().is_transient());
}

#[tokio::test]
async fn odd_answers_are_errors_and_never_show_what_was_sent() {
    let (host, app) = start(3600).await;
    let cases = [
        (StatusCode::UNAUTHORIZED, json!({ "message": "bad claim CLAIM\nof yours" }), false),
        (StatusCode::UNAUTHORIZED, json!({ "message": "x".repeat(5000) }), false),
        (StatusCode::FORBIDDEN, json!({ "message": "API rate limit exceeded" }), true),
        (StatusCode::TOO_MANY_REQUESTS, json!("CLAIM"), true),
        (StatusCode::OK, json!({ "token": 1 }), true),
        (StatusCode::OK, json!({ "token": "CLAIM", "expires_at": "soon" }), true),
        (StatusCode::OK, json!({ "much": "x".repeat(100_000) }), true),
        (StatusCode::FOUND, json!({}), false),
    ];
    for (status, body, transient) in cases {
        *host.instead.lock().unwrap() = Some((status, body.clone()));
        let error = Tokens::default().token(&app, now()).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert_eq!(error.is_transient(), transient, "{shown}");
        assert!(shown.len() < 2000 && !error.to_string().contains('\n'), "{shown}");
        assert!(!shown.contains(host.seen.lock().unwrap().as_str()), "{shown}");
    }
    let gone = GitHubApp { base: "http://127.0.0.1:9/".parse().unwrap(), ..app };
    let error = Tokens::default().token(&gone, now()).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("127.0.0.1"), "{error}");
}

#[tokio::test]
async fn an_end_beyond_belief_does_not_last() {
    let (host, app) = start(3600).await;
    let body = json!({ "token": "ghs_ever", "expires_at": "9999-12-30T00:00:00Z" });
    *host.instead.lock().unwrap() = Some((StatusCode::CREATED, body));
    let tokens = Tokens::default();
    assert_eq!(tokens.token(&app, now()).await.unwrap().expose_secret(), "ghs_ever");
    *host.instead.lock().unwrap() = Some((StatusCode::UNAUTHORIZED, json!({})));
    assert!(tokens.token(&app, now() + SignedDuration::from_mins(56)).await.is_err());
}

#[test]
fn addresses_of_apis() {
    for (text, good) in [
        ("https://api.github.com", true),
        ("https://git.example.org/api/v3", true),
        ("http://localhost:3000", true),
        ("http://[::1]:3000", true),
        ("http://127.0.0.1.example.org", false),
        ("http://10.0.0.1", false),
        ("ssh://git.example.org", false),
        ("https://git.example.org#x", false),
    ] {
        assert_eq!(GitHubApp::base(text).is_some(), good, "{text}");
    }
}

#[test]
fn the_store_of_tokens_is_bounded() {
    let tokens = Tokens::default();
    for number in 0..2 * MOST {
        let mut fingerprint = [0; 32];
        fingerprint[..8].copy_from_slice(&number.to_be_bytes());
        tokens.slot(fingerprint, Timestamp::UNIX_EPOCH);
        assert!(tokens.lock().len() <= MOST);
    }
}

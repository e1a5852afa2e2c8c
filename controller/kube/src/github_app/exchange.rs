//! One exchange with the host: a signed claim against a token.

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{StatusCode, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::{GitHubApp, GitHubAppError, PATIENCE, Token};

/// Seconds by which the claim is dated back, for clocks that are ahead of GitHub's.
const BACK: i64 = 60;
/// Seconds that the claim holds. GitHub takes ten minutes at most, from its own clock.
const HOLDS: i64 = 480;
/// GitHub's tokens live an hour; a host that says more is not believed.
const LONGEST: SignedDuration = SignedDuration::from_hours(1);
/// Most bytes of an answer that are read.
const MOST: usize = 64 << 10;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) iat: i64,
    pub(super) exp: i64,
    pub(super) iss: String,
}

/// What the token is asked to allow; less than the App may do.
#[derive(Serialize)]
struct Wanted {
    permissions: Permissions,
}

#[derive(Serialize)]
struct Permissions {
    contents: &'static str,
}

#[derive(Deserialize)]
struct Given {
    token: String,
    expires_at: Timestamp,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

/// The claim of an App, signed; nothing when the key is not one.
pub(super) fn sign(id: &str, now: i64, key: &SecretString) -> Option<SecretString> {
    let key = EncodingKey::from_rsa_pem(key.expose_secret().as_bytes()).ok()?;
    let claims = Claims { iat: now - BACK, exp: now + HOLDS, iss: id.to_owned() };
    jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key).map(SecretString::from).ok()
}

/// Asks for a token that can read contents.
pub(super) async fn token(app: &GitHubApp, now: Timestamp) -> Result<Token, GitHubAppError> {
    let unavailable = |detail: String| GitHubAppError::Unavailable { host: app.host(), detail };
    let claim = sign(&app.id, now.as_second(), &app.key)
        .ok_or_else(|| unavailable("the private key does not sign".into()))?;
    let base = app.base.as_str().trim_end_matches('/');
    let answer = client(app)
        .map_err(|error| unavailable(why(&error)))?
        .post(format!("{base}/app/installations/{}/access_tokens", app.installation))
        .bearer_auth(claim.expose_secret())
        .header("accept", "application/vnd.github+json")
        .header("x-github-api-version", "2022-11-28")
        .json(&Wanted { permissions: Permissions { contents: "read" } })
        .send()
        .await
        .map_err(|error| unavailable(why(&error)))?;
    let status = answer.status();
    let body = body(answer).await.map_err(unavailable)?;
    if status.is_success() {
        let given: Given = serde_json::from_slice(&body)
            .map_err(|_| unavailable("its answer holds no token; is this the address of its API?".into()))?;
        return Ok(Token { secret: given.token.into(), ends: given.expires_at.min(now + LONGEST) });
    }
    let detail = match serde_json::from_slice::<Refusal>(&body) {
        Ok(refusal) => said(&refusal.message, &claim),
        Err(_) => "no reason given".into(),
    };
    let passes = status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
        // GitHub's second way to say "slower".
        || (status == StatusCode::FORBIDDEN && detail.contains("rate limit"));
    Err(if passes {
        unavailable(format!("HTTP {}: {detail}", status.as_u16()))
    } else {
        GitHubAppError::Refused { host: app.host(), status: status.as_u16(), detail }
    })
}

fn client(app: &GitHubApp) -> reqwest::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")))
        // The claim goes to the configured host and nowhere else.
        .redirect(redirect::Policy::none())
        .timeout(PATIENCE);
    if let Some(pem) = &app.certificates {
        builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(pem.as_bytes())?);
    }
    builder.build()
}

async fn body(mut answer: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| why(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > MOST {
            return Err("its answer is longer than any token".into());
        }
    }
    Ok(body)
}

/// What failed, to the last cause.
fn why(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

/// What the host says, bounded, on one line, and never with the claim that it was sent.
fn said(message: &str, claim: &SecretString) -> String {
    let message = message.replace(claim.expose_secret(), "…");
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

//! Signatures of webhooks.

use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::{Refused, Scheme, WINDOW_SECONDS};

/// Checks the first signature that is present, the strongest first; a wrong one is not rescued by another.
pub(super) fn check<'h>(
    header: &impl Fn(&str) -> Option<&'h str>,
    body: &[u8],
    secrets: &[SecretString],
    now: i64,
) -> Result<Scheme, Refused> {
    let secrets: Vec<&str> = secrets
        .iter()
        .map(|secret| secret.expose_secret().trim())
        .filter(|secret| !secret.is_empty())
        .collect();
    if secrets.is_empty() {
        return Err(Refused::NoSecret);
    }
    let any = |good: &dyn Fn(&str) -> bool| {
        if secrets.iter().any(|secret| good(secret)) { Ok(()) } else { Err(Refused::WrongSignature) }
    };
    if let Some(given) = header("webhook-signature") {
        let (Some(id), Some(time)) = (header("webhook-id"), header("webhook-timestamp")) else {
            return Err(Refused::NotSigned);
        };
        any(&|secret| standard(secret, &[id.as_bytes(), b".", time.as_bytes(), b".", body], given))?;
        fresh(time, now)?;
        return Ok(Scheme::Standard);
    }
    if let Some(given) = header("x-sluice-signature") {
        let time = header("x-sluice-timestamp").ok_or(Refused::NotSigned)?;
        time.parse::<i64>().map_err(|_| Refused::NotSigned)?;
        any(&|secret| hex_matches(secret, &[time.as_bytes(), b".", body], given.strip_prefix("sha256=")))?;
        fresh(time, now)?;
        return Ok(Scheme::Generic);
    }
    let plain = [
        ("x-hub-signature-256", Scheme::GitHub, true),
        ("x-forgejo-signature", Scheme::Forgejo, false),
        ("x-gitea-signature", Scheme::Gitea, false),
        ("x-hub-signature", Scheme::Bitbucket, true),
    ];
    for (name, scheme, prefixed) in plain {
        if let Some(given) = header(name) {
            let digits = if prefixed { given.strip_prefix("sha256=") } else { Some(given) };
            any(&|secret| hex_matches(secret, &[body], digits))?;
            return Ok(scheme);
        }
    }
    let Some(given) = header("x-gitlab-token") else { return Err(Refused::NotSigned) };
    // Hashed first, so that not even the length of the secret shows.
    let given = hmac(b"compare", &[given.as_bytes()]);
    any(&|secret| hmac(b"compare", &[secret.as_bytes()]).ct_eq(&given).into())?;
    Ok(Scheme::GitLabToken)
}

/// HMAC-SHA256 over the parts.
pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn hex_matches(secret: &str, parts: &[&[u8]], given: Option<&str>) -> bool {
    let mut bytes = [0; 32];
    given.is_some_and(|digits| hex::decode_to_slice(digits, &mut bytes).is_ok())
        && hmac(secret.as_bytes(), parts).ct_eq(&bytes).into()
}

/// One of several signatures of the current version must fit. A `whsec_` token is a key in base64.
fn standard(secret: &str, parts: &[&[u8]], given: &str) -> bool {
    let engine = base64::engine::general_purpose::STANDARD;
    let key = match secret.strip_prefix("whsec_") {
        Some(encoded) => match engine.decode(encoded) {
            Ok(key) => key,
            Err(_) => return false,
        },
        None => secret.as_bytes().to_vec(),
    };
    let expected = hmac(&key, parts);
    given
        .split(' ')
        .filter_map(|one| one.strip_prefix("v1,"))
        .filter_map(|encoded| engine.decode(encoded).ok())
        .any(|bytes| bytes.ct_eq(&expected).into())
}

fn fresh(time: &str, now: i64) -> Result<(), Refused> {
    let time: i64 = time.parse().map_err(|_| Refused::NotSigned)?;
    if now.abs_diff(time) <= WINDOW_SECONDS.unsigned_abs() { Ok(()) } else { Err(Refused::Expired) }
}

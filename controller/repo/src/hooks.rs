//! Webhooks of Git hosts: is it really from there, and which reference was pushed.
//!
//! A webhook is only a hint to look now. Nothing in it is believed beyond that, so an unknown payload is a hint as well.
//! The signature is checked over the raw bytes before any of them is parsed, in constant time.

mod payload;
mod signature;

use secrecy::SecretString;

use crate::reference::Reference;

/// Most bytes of a body; stop reading there.
pub const MAX_BODY: usize = 1 << 20;
/// How far the time of a signed request may be off, in seconds.
pub const WINDOW_SECONDS: i64 = 300;

/// What a genuine webhook tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// The way it was signed.
    pub scheme: Scheme,
    /// The full name of the reference that was pushed, when there is exactly one and it could be found.
    pub reference: Option<String>,
}

/// How a webhook is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `X-Hub-Signature-256`: GitHub, and others that imitate it.
    GitHub,
    /// `X-Hub-Signature` with SHA-256: Bitbucket.
    Bitbucket,
    /// `X-Gitea-Signature`.
    Gitea,
    /// `X-Forgejo-Signature`.
    Forgejo,
    /// `webhook-signature` over id, time and body: GitLab's signing token, and the Standard Webhooks specification.
    Standard,
    /// `X-Gitlab-Token`: the secret itself.
    GitLabToken,
    /// `X-Sluice-Signature: sha256=…` over `time.body`, with `X-Sluice-Timestamp`: scripts and build pipelines.
    Generic,
}

/// Why a webhook was refused. Callers outside get the same answer for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No secret is configured.
    #[error("no webhook secret is configured")]
    NoSecret,
    /// No known signature header.
    #[error("the webhook is not signed in a known way")]
    NotSigned,
    /// The signature belongs to another secret or body.
    #[error("the signature of the webhook is wrong")]
    WrongSignature,
    /// The signed time is too far away.
    #[error("the webhook is too old, or the clocks differ")]
    Expired,
    /// The body is too long.
    #[error("the webhook is longer than one mebibyte")]
    TooLarge,
}

/// Checks a webhook against every secret, so that secrets can be rotated, and then looks for the pushed reference.
///
/// `header` looks up a header by its lower-case name; `now` is in seconds since 1970.
pub fn verify<'h>(
    header: impl Fn(&str) -> Option<&'h str>,
    body: &[u8],
    secrets: &[SecretString],
    now: i64,
) -> Result<Hint, Refused> {
    if body.len() > MAX_BODY {
        return Err(Refused::TooLarge);
    }
    let scheme = signature::check(&header, body, secrets, now)?;
    Ok(Hint { scheme, reference: payload::pushed(body) })
}

impl Hint {
    /// Whether it can be about `reference`; when in doubt, yes.
    pub fn concerns(&self, reference: &Reference) -> bool {
        let Some(pushed) = self.reference.as_deref() else { return true };
        match reference {
            Reference::Branch(name) => pushed.strip_prefix("refs/heads/") == Some(name),
            Reference::Tag(name) => pushed.strip_prefix("refs/tags/") == Some(name),
            Reference::Semver(_) => pushed.starts_with("refs/tags/"),
            Reference::Commit(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use rstest::rstest;

    use super::*;

    const NOW: i64 = 1_790_000_000;
    /// The example of GitHub's documentation.
    const SECRET: &str = "It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const HEX: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn run(headers: &[(&str, &str)], body: &[u8], secrets: &[&str]) -> Result<Hint, Refused> {
        let secrets: Vec<SecretString> = secrets.iter().map(|secret| SecretString::from(*secret)).collect();
        verify(|name| headers.iter().find(|(n, _)| *n == name).map(|(_, v)| *v), body, &secrets, NOW)
    }

    fn prefixed(hex: &str) -> String {
        format!("sha256={hex}")
    }

    #[rstest]
    #[case("x-hub-signature-256", prefixed(HEX), Scheme::GitHub)]
    #[case("x-hub-signature", prefixed(HEX), Scheme::Bitbucket)]
    #[case("x-gitea-signature", HEX.to_owned(), Scheme::Gitea)]
    #[case("x-forgejo-signature", HEX.to_owned(), Scheme::Forgejo)]
    #[case("x-gitlab-token", SECRET.to_owned(), Scheme::GitLabToken)]
    fn good_signatures_of_every_host(#[case] name: &str, #[case] value: String, #[case] scheme: Scheme) {
        let hint = Hint { scheme, reference: None };
        assert_eq!(run(&[(name, &value)], BODY, &[SECRET]), Ok(hint.clone()));
        assert_eq!(run(&[(name, &value)], BODY, &["new", SECRET]), Ok(hint), "rotation");
        assert_eq!(run(&[(name, &value)], BODY, &["other"]), Err(Refused::WrongSignature));
        assert_eq!(run(&[(name, &value)], BODY, &[]), Err(Refused::NoSecret));
        assert_eq!(
            run(&[(name, &value)], BODY, &["", "\n"]),
            Err(Refused::NoSecret),
            "an empty secret is none"
        );
        assert_eq!(run(&[(name, &value[1..])], BODY, &[SECRET]), Err(Refused::WrongSignature));
        assert_eq!(run(&[(name, "")], BODY, &[SECRET]), Err(Refused::WrongSignature));
        if scheme != Scheme::GitLabToken {
            assert_eq!(run(&[(name, &value)], b"Hello, World?", &[SECRET]), Err(Refused::WrongSignature));
        }
    }

    #[test]
    fn a_secret_from_a_file_may_end_with_a_line_break() {
        let value = prefixed(HEX);
        assert!(run(&[("x-hub-signature-256", &value)], BODY, &["It's a Secret to Everybody\n"]).is_ok());
    }

    #[test]
    fn sha1_and_unsigned_requests_are_refused() {
        assert_eq!(run(&[], BODY, &[SECRET]), Err(Refused::NotSigned));
        let old = [("x-hub-signature", "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59")];
        assert_eq!(run(&old, BODY, &[SECRET]), Err(Refused::WrongSignature));
    }

    #[test]
    fn a_wrong_signature_is_not_rescued_by_a_weaker_one() {
        let wrong = prefixed(&HEX.replace('7', "8"));
        let headers = [("x-hub-signature-256", wrong.as_str()), ("x-gitlab-token", SECRET)];
        assert_eq!(run(&headers, BODY, &[SECRET]), Err(Refused::WrongSignature));
    }

    #[test]
    fn signed_time_bounds_a_replay() {
        let sign = |time: i64| {
            let mut signed = format!("{time}.").into_bytes();
            signed.extend_from_slice(BODY);
            (time.to_string(), prefixed(&hex::encode(signature::hmac(SECRET.as_bytes(), &[&signed]))))
        };
        for (offset, expected) in [
            (0, Ok(())),
            (-300, Ok(())),
            (300, Ok(())),
            (-301, Err(Refused::Expired)),
            (301, Err(Refused::Expired)),
        ] {
            let (time, value) = sign(NOW + offset);
            let headers = [("x-sluice-timestamp", time.as_str()), ("x-sluice-signature", value.as_str())];
            assert_eq!(run(&headers, BODY, &[SECRET]).map(|_| ()), expected, "{offset}");
        }
        let (_, value) = sign(NOW);
        let later = (NOW + 1).to_string();
        let headers = [("x-sluice-timestamp", later.as_str()), ("x-sluice-signature", value.as_str())];
        assert_eq!(run(&headers, BODY, &[SECRET]), Err(Refused::WrongSignature), "the time is signed");
        assert_eq!(run(&headers[1..], BODY, &[SECRET]), Err(Refused::NotSigned), "the time is missing");
        let odd = [("x-sluice-timestamp", "soon"), headers[1]];
        assert_eq!(run(&odd, BODY, &[SECRET]), Err(Refused::NotSigned));
        let far = [("x-sluice-timestamp", "-9223372036854775808"), headers[1]];
        assert!(run(&far, BODY, &[SECRET]).is_err());
    }

    #[test]
    fn signing_tokens_of_gitlab() {
        let engine = base64::engine::general_purpose::STANDARD;
        let token = format!("whsec_{}", engine.encode([7; 32]));
        let time = NOW.to_string();
        let value = |key: &[u8]| {
            let mac = signature::hmac(key, &[b"id-1.", time.as_bytes(), b".", BODY]);
            format!("v1,{}", engine.encode(mac))
        };
        let (good, wrong, plain) = (value(&[7; 32]), value(&[8; 32]), value(b"plain secret"));
        let several = format!("v1a,xyz v1,AAAA {good}");
        let headers = |value| {
            [("webhook-id", "id-1"), ("webhook-timestamp", time.as_str()), ("webhook-signature", value)]
        };
        let hint = run(&headers(&good), BODY, &[&token]).unwrap();
        assert_eq!(hint.scheme, Scheme::Standard);
        assert!(run(&headers(&several), BODY, &[&token]).is_ok());
        assert_eq!(run(&headers(&wrong), BODY, &[&token]), Err(Refused::WrongSignature));
        assert_eq!(run(&headers(&good)[1..], BODY, &[&token]), Err(Refused::NotSigned));
        assert!(run(&headers(&plain), BODY, &["plain secret"]).is_ok());
    }

    #[rstest]
    #[case(r#"{"ref":"refs/heads/main","commits":[]}"#, Some("refs/heads/main"))]
    #[case(r#"{"object_kind":"tag_push","ref":"refs/tags/v1"}"#, Some("refs/tags/v1"))]
    #[case(r#"{"push":{"changes":[{"new":{"type":"branch","name":"main"}}]}}"#, Some("refs/heads/main"))]
    #[case(r#"{"push":{"changes":[{"new":null,"old":{"type":"tag","name":"v1"}}]}}"#, Some("refs/tags/v1"))]
    #[case(r#"{"changes":[{"ref":{"id":"refs/heads/main"}}]}"#, Some("refs/heads/main"))]
    #[case(r#"{"changes":[{"ref":{"id":"refs/heads/a"}},{"ref":{"id":"refs/heads/b"}}]}"#, None)]
    #[case(r#"{"ref":"main","ref_type":"branch"}"#, None)]
    #[case(r#"{"zen":"Keep it logically awesome."}"#, None)]
    #[case(r#"{"ref":17}"#, None)]
    #[case("payload=%7B%7D", None)]
    #[case("", None)]
    #[case("[[[[[[[[", None)]
    fn the_pushed_reference(#[case] body: &str, #[case] expected: Option<&str>) {
        let value = prefixed(&hex::encode(signature::hmac(b"s", &[body.as_bytes()])));
        let hint = run(&[("x-hub-signature-256", &value)], body.as_bytes(), &["s"]).unwrap();
        assert_eq!(hint.reference.as_deref(), expected);
    }

    #[test]
    fn deep_nesting_is_harmless_and_long_bodies_are_refused() {
        let deep = "[".repeat(100_000);
        let value = prefixed(&hex::encode(signature::hmac(b"s", &[deep.as_bytes()])));
        assert_eq!(run(&[("x-hub-signature-256", &value)], deep.as_bytes(), &["s"]).unwrap().reference, None);
        let long = vec![b' '; MAX_BODY + 1];
        assert_eq!(run(&[], &long, &["s"]), Err(Refused::TooLarge));
    }

    #[test]
    fn hints_are_filtered_only_when_sure() {
        let hint = |reference: Option<&str>| Hint {
            scheme: Scheme::GitHub,
            reference: reference.map(str::to_owned),
        };
        let main = Reference::branch("main").unwrap();
        assert!(hint(None).concerns(&main));
        assert!(hint(Some("refs/heads/main")).concerns(&main));
        assert!(!hint(Some("refs/heads/other")).concerns(&main));
        assert!(!hint(Some("refs/tags/main")).concerns(&main));
        assert!(hint(Some("refs/tags/v2")).concerns(&Reference::semver(">=1").unwrap()));
        assert!(!hint(Some("refs/heads/main")).concerns(&Reference::tag("v1").unwrap()));
    }
}

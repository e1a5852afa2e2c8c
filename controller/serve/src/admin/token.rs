//! The constant bearer token of an admin API that has no cluster to ask.

use std::fmt;

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::authorise::{Authorise, DeviceRight, Owned, Refusal};

/// A token, kept as its hash: two hashes are compared in constant time whatever the lengths of what they are of, and
/// nothing can print the token.
#[derive(Clone)]
pub struct Token([u8; 32]);

/// A token that could be guessed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a token has {length} characters, at least {} are needed", Token::LEAST)]
pub struct WeakToken {
    /// How many it has.
    pub length: usize,
}

/// Not the hash of a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("after `sha256:` the 64 hexadecimal digits of SHA-256 over the token are expected")]
pub struct InvalidHash;

impl Token {
    /// Fewer characters could be guessed.
    pub const LEAST: usize = 16;

    /// Takes a token, as it stands in its file: white space around it does not count.
    pub fn new(text: &str) -> Result<Self, WeakToken> {
        let text = text.trim();
        if text.len() < Self::LEAST {
            return Err(WeakToken { length: text.len() });
        }
        Ok(Self(Sha256::digest(text).into()))
    }

    /// Takes the hash of a token: SHA-256 over its characters, in hexadecimal.
    pub fn hashed(hash: &str) -> Result<Self, InvalidHash> {
        let bytes = hex::decode(hash).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(InvalidHash)
    }

    pub(super) fn is(&self, given: &str) -> bool {
        let given: [u8; 32] = Sha256::digest(given).into();
        given.ct_eq(&self.0).into()
    }
}

#[async_trait]
impl Authorise for Token {
    async fn may_read(&self, token: Option<&str>) -> Result<(), Refusal> {
        self.knows(token).await
    }

    async fn knows(&self, token: Option<&str>) -> Result<(), Refusal> {
        if token.is_some_and(|given| self.is(given)) {
            return Ok(());
        }
        Err(Refusal::Unauthenticated(
            "send the header `Authorization: Bearer <token>` with the token from the file that the program made under \
             its data directory"
                .into(),
        ))
    }

    async fn may_brake(&self, token: Option<&str>, _: Option<Owned<'_>>) -> Result<Option<String>, Refusal> {
        self.knows(token).await.map(|()| None)
    }

    async fn may_release(&self, token: Option<&str>) -> Result<(), Refusal> {
        self.knows(token).await
    }

    async fn may_touch(&self, token: Option<&str>, _: DeviceRight) -> Result<(), Refusal> {
        self.knows(token).await
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_opens() {
        let token = Token::new("0123456789abcdef\n").unwrap();
        for (given, opens) in [
            ("0123456789abcdef", true),
            ("0123456789abcdeg", false),
            ("0123456789abcdef0", false),
            ("", false),
        ] {
            assert_eq!(token.is(given), opens, "{given}");
        }
    }

    #[test]
    fn short_ones_are_refused_and_none_is_printed() {
        assert_eq!(Token::new("  short \n").unwrap_err(), WeakToken { length: 5 });
        assert!(!format!("{:?}", Token::new("0123456789abcdef").unwrap()).contains("0123"));
    }
}

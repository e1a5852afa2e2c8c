//! The bearer token of the admin API.

use std::fmt;

use http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// A token, kept as its hash: two hashes are compared in constant time whatever the lengths of what they are of, and
/// nothing can print the token.
#[derive(Clone)]
pub struct Token([u8; 32]);

/// A token that could be guessed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the admin token has {length} characters, at least {} are needed", Token::LEAST)]
pub struct WeakToken {
    /// How many it has.
    pub length: usize,
}

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

    /// Whether a request carries it.
    pub(super) fn is_in(&self, headers: &HeaderMap) -> bool {
        let Some((scheme, given)) = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
        else {
            return false;
        };
        let given: [u8; 32] = Sha256::digest(given.trim()).into();
        scheme.eq_ignore_ascii_case("bearer") && bool::from(given.ct_eq(&self.0))
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
        for (value, opens) in [
            ("Bearer 0123456789abcdef", true),
            ("bearer 0123456789abcdef ", true),
            ("Bearer 0123456789abcdeg", false),
            ("Bearer 0123456789abcdef0", false),
            ("Bearer ", false),
            ("Bearer", false),
            ("Basic 0123456789abcdef", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            assert_eq!(token.is_in(&headers), opens, "{value}");
        }
        assert!(!token.is_in(&HeaderMap::new()));
    }

    #[test]
    fn short_ones_are_refused_and_none_is_printed() {
        assert_eq!(Token::new("  short \n").unwrap_err(), WeakToken { length: 5 });
        assert!(!format!("{:?}", Token::new("0123456789abcdef").unwrap()).contains("0123"));
    }
}

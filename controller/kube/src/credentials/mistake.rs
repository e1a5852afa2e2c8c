//! What can be wrong with the data of a Secret, told by keys and never by values.

use std::fmt;

/// One thing that is wrong with a Secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// A value that is not a text.
    #[error("`{0}` is not UTF-8 text")]
    NotText(&'static str),
    /// A value of several lines where one is needed.
    #[error("`{0}` has several lines, and one is needed")]
    NotOneLine(&'static str),
    /// Two keys for one thing that say different things.
    #[error("`{0}` and `{1}` mean the same and differ; keep one of them")]
    Disagree(&'static str, &'static str),
    /// A key that another one needs.
    #[error("`{needed}` is missing or empty, and `{present}` needs it")]
    Needs {
        /// The key that is there.
        present: &'static str,
        /// The key that is not.
        needed: &'static str,
    },
    /// Credentials of several kinds.
    #[error("it holds credentials of several kinds ({0}); keep one kind")]
    SeveralKinds(String),
    /// Nothing that is understood.
    #[error(
        "none of its keys is known ({0}); give username and password, bearerToken, identity and known_hosts, the githubApp keys, or ca.crt"
    )]
    NothingKnown(String),
    /// No webhook secret.
    #[error("`token` is missing or empty; it holds the webhook's secret, one per line")]
    NoWebhookSecret,
    /// Nobody to tell.
    #[error("`address` is missing or empty; it holds the URL that is told")]
    NoAddress,
    /// Nothing to sign with.
    #[error("`token` is missing or empty; it holds what messages are signed with")]
    NotSigned,
    /// Not an address of the web.
    #[error("`{0}` is not an http or https URL, such as https://host.example.org/path")]
    NotAUrl(&'static str),
    /// Not somebody who is told.
    #[error("{0}")]
    Target(String),
    /// Not a private key for SSH.
    #[error("`{0}` is not a private key in PEM or OpenSSH form")]
    NotAPrivateKey(&'static str),
    /// A private key that needs a passphrase which is not there.
    #[error("`identity` is encrypted; add its passphrase as `password`")]
    Encrypted,
    /// Not certificates.
    #[error("`{0}` holds no certificates in PEM form")]
    NotCertificates(&'static str),
    /// Not the key of a GitHub App.
    #[error("`{0}` is not an unencrypted RSA private key in PEM form")]
    NotAnRsaKey(&'static str),
    /// Not an id that GitHub gives.
    #[error("`{0}` is not an id as GitHub shows it in the settings of the App")]
    NotAnId(&'static str),
    /// Not the address of an API.
    #[error("`{0}` is not an https address without credentials, such as https://github.example.org/api/v3")]
    NotAnAddress(&'static str),
}

/// Everything that is wrong with a Secret; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// `Ok` when there are none.
    pub(super) fn check(mistakes: Vec<Mistake>) -> Result<(), Self> {
        if mistakes.is_empty() { Ok(()) } else { Err(Self(mistakes)) }
    }

    /// A single one.
    pub(super) fn of(mistake: Mistake) -> Self {
        Self(vec![mistake])
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            let before = if index == 0 { "" } else { "; " };
            write!(f, "{before}{mistake}")?;
        }
        Ok(())
    }
}

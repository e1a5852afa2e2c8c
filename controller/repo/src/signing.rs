//! Signing commits with an SSH key, as `git commit -S` does with `gpg.format=ssh`.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use ssh_key::{HashAlg, LineEnding, PrivateKey};

/// What Git puts into the signatures of commits, so that no other signature of the key is taken for one.
const NAMESPACE: &str = "git";

/// A private key that signs commits. The same commit is signed the same way every time: the keys are ed25519.
#[derive(Clone)]
pub struct SigningKey(PrivateKey);

/// Why a key cannot sign commits. None of these repeats anything of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSigningKey {
    /// It is no key.
    #[error("it is not a private key in the form of OpenSSH, as `ssh-keygen -t ed25519` writes it")]
    NoKey,
    /// The passphrase is wrong or missing.
    #[error("the key is encrypted, and the passphrase is missing or wrong")]
    Passphrase,
    /// A kind of key whose signatures differ each time.
    #[error("only ed25519 keys sign commits; make one with `ssh-keygen -t ed25519`")]
    Kind,
}

impl SigningKey {
    /// Reads a key in the form of OpenSSH.
    pub fn read(key: &SecretString, passphrase: Option<&SecretString>) -> Result<Self, InvalidSigningKey> {
        let mut key = PrivateKey::from_openssh(key.expose_secret()).map_err(|_| InvalidSigningKey::NoKey)?;
        if key.is_encrypted() {
            let passphrase = passphrase.ok_or(InvalidSigningKey::Passphrase)?;
            key = key.decrypt(passphrase.expose_secret()).map_err(|_| InvalidSigningKey::Passphrase)?;
        }
        if key.algorithm().is_ed25519() { Ok(Self(key)) } else { Err(InvalidSigningKey::Kind) }
    }

    /// The public half, as it stands in a file of allowed signers.
    pub fn public(&self) -> String {
        self.0.public_key().to_openssh().unwrap_or_default()
    }

    /// The signature of a commit as it is without one.
    pub(crate) fn sign(&self, commit: &[u8]) -> Result<String, git2::Error> {
        let failed = |error: ssh_key::Error| git2::Error::from_str(&error.to_string());
        let signature = self.0.sign(NAMESPACE, HashAlg::Sha512, commit).map_err(failed)?;
        // Git itself writes no empty line behind it, and the object's id depends on that.
        Ok(signature.to_pem(LineEnding::LF).map_err(failed)?.trim_end().to_owned())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

/// The commit with its signature among the headers.
pub(crate) fn signed(commit: &[u8], signature: &str) -> Vec<u8> {
    let end = commit.windows(2).position(|two| two == b"\n\n").map_or(commit.len(), |at| at + 1);
    let mut whole = commit[..end].to_vec();
    let folded = signature.lines().collect::<Vec<_>>().join("\n ");
    whole.extend_from_slice(format!("gpgsig {folded}\n").as_bytes());
    whole.extend_from_slice(&commit[end..]);
    whole
}

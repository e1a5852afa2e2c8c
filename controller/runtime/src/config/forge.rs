//! The API of the Git host, where its name or a flag says which one that is.

use std::sync::Arc;

use secrecy::SecretString;
use sluice_forge::{Forge, ForgeKind, Settings, SettingsError, connect};
use sluice_repo::{Credentials, RepositoryUrl};

use super::Check;
use crate::args::ServeArgs;

/// Nothing where there is no host, or none that is known and nobody asked for one.
pub(super) fn forge(
    args: &ServeArgs,
    repository: Option<&RepositoryUrl>,
    credentials: Option<&Credentials>,
    certificates: Option<&str>,
    check: &mut Check,
) -> Option<Arc<dyn Forge>> {
    let asked = args.forge.is_some() || args.forge_url.is_some() || args.forge_token_file.is_some();
    let kind = match args.forge.as_deref() {
        Some("off") => return None,
        Some(name) => Some(check.keep("forge", name.parse::<ForgeKind>())?),
        None => None,
    };
    let own = check.read("forge-token-file", args.forge_token_file.as_deref()).map(SecretString::from);
    let (user, password) = match credentials {
        Some(Credentials::Basic { username, password }) => (Some(username.clone()), Some(password.clone())),
        Some(Credentials::Token(token)) => (None, Some(token.clone())),
        _ => (None, None),
    };
    let Some(token) = own.or(password) else {
        if asked {
            check.wrong("forge-token-file", "is required: a token for the API of the Git host");
        }
        return None;
    };
    let base = check.url("forge-url", args.forge_url.as_deref());
    let settings = Settings {
        repository: repository?.to_string(),
        kind,
        base,
        user,
        token,
        certificates: certificates.map(str::to_owned),
        insecure_http: false,
    };
    match connect(&settings) {
        Ok(forge) => Some(forge),
        // Then a branch waits, and somebody opens the pull request.
        Err(SettingsError::NoHost | SettingsError::UnknownHost(_)) if !asked => None,
        Err(error) => {
            check.wrong("forge", error);
            None
        }
    }
}

//! The constant tokens of an admin API that has no cluster to ask: one that may everything, and any number that may stop
//! releases of one app and nothing else, for CI, bots of people on call, and monitoring.

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use sluice_core::{digest::Digest, ids::AppId};
use tokio_util::sync::CancellationToken;

use super::{
    authorise::{Authorise, DeviceRight, Owned, Refusal},
    token::{InvalidHash, Token, WeakToken},
};

/// Characters of a name that are kept.
const LONGEST_NAME: usize = 64;

/// A token that may stop releases of one app.
#[derive(Debug, Clone)]
pub struct BrakeToken {
    app: AppId,
    /// Whose it is, for the record of a brake.
    name: String,
    token: Token,
}

/// A line that is none of a file of brake tokens; its text is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct InvalidBrakeToken {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: WrongBrakeToken,
}

/// What can be wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrongBrakeToken {
    /// Not three words.
    #[error(
        "expected three words: the id of an app, whose token it is, and the token or `sha256:` and its hash"
    )]
    Words,
    /// The first one.
    #[error("the first word is not the id of an app")]
    App,
    /// The second one.
    #[error("the second word, whose token it is, has more than {LONGEST_NAME} characters")]
    Name,
    /// The third one.
    #[error(transparent)]
    Weak(#[from] WeakToken),
    /// The third one.
    #[error(transparent)]
    Hash(#[from] InvalidHash),
}

impl BrakeToken {
    /// Reads a file of them: `APP NAME TOKEN` or `APP NAME sha256:HASH` a line. Empty lines and those that begin with `#` are
    /// none.
    pub fn read_all(text: &str) -> Result<Vec<Self>, InvalidBrakeToken> {
        let lines = text.lines().map(str::trim).enumerate();
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        lines
            .map(|(index, line)| Self::read(line).map_err(|what| InvalidBrakeToken { line: index + 1, what }))
            .collect()
    }

    fn read(line: &str) -> Result<Self, WrongBrakeToken> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let &[app, name, token] = words.as_slice() else { return Err(WrongBrakeToken::Words) };
        let app = app.parse().map_err(|_| WrongBrakeToken::App)?;
        if name.chars().count() > LONGEST_NAME {
            return Err(WrongBrakeToken::Name);
        }
        let token = match token.strip_prefix("sha256:") {
            Some(hash) => Token::hashed(hash)?,
            None => Token::new(token)?,
        };
        Ok(Self { app, name: name.to_owned(), token })
    }
}

/// All of them. Clones share those that may brake.
#[derive(Debug, Clone)]
pub struct Tokens {
    admin: Token,
    brake: Arc<ArcSwap<Vec<BrakeToken>>>,
}

/// Whose a token is.
enum Bearer {
    Admin,
    /// Never empty: one token may be of several apps.
    Braker(Vec<BrakeToken>),
}

impl Tokens {
    /// The token that may everything, and those that may brake.
    pub fn new(admin: Token, brake: Vec<BrakeToken>) -> Self {
        Self { admin, brake: Arc::new(ArcSwap::from_pointee(brake)) }
    }

    /// Reads those that may brake again when their file changes, until `stop` is cancelled. A file that cannot be read, or has
    /// a mistake, changes nothing: the tokens that are known stay.
    pub async fn follow(self, file: PathBuf, every: Duration, stop: CancellationToken) {
        let (mut seen, mut said) = (None, String::new());
        loop {
            match self.look(&file, &mut seen).await {
                Ok(replaced) => {
                    if let Some(tokens) = replaced {
                        tracing::info!(file = %file.display(), tokens, "the tokens that may brake were replaced");
                    }
                    said.clear();
                }
                Err(why) if why != said => {
                    tracing::error!(file = %file.display(), error = why, "tokens that may brake cannot be read, the old ones stay");
                    said = why;
                }
                Err(_) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
        }
    }

    /// Takes what the file says, unless it is as `seen`. Says how many tokens there are then, if that is news.
    async fn look(&self, file: &PathBuf, seen: &mut Option<Digest>) -> Result<Option<usize>, String> {
        let text = tokio::fs::read_to_string(file).await.map_err(|error| error.to_string())?;
        let digest = Digest::of(text.as_bytes());
        if *seen == Some(digest) {
            return Ok(None);
        }
        let tokens = BrakeToken::read_all(&text).map_err(|error| error.to_string())?;
        let count = tokens.len();
        self.brake.store(Arc::new(tokens));
        Ok(seen.replace(digest).map(|_| count))
    }

    async fn bearer(&self, token: Option<&str>) -> Result<Bearer, Refusal> {
        let Err(refusal) = self.admin.knows(token).await else { return Ok(Bearer::Admin) };
        // Each is compared, whichever it is.
        let mine: Vec<BrakeToken> = match token {
            Some(given) => self.brake.load().iter().filter(|known| known.token.is(given)).cloned().collect(),
            None => Vec::new(),
        };
        if mine.is_empty() { Err(refusal) } else { Ok(Bearer::Braker(mine)) }
    }
}

#[async_trait]
impl Authorise for Tokens {
    async fn may_read(&self, token: Option<&str>) -> Result<(), Refusal> {
        match self.bearer(token).await? {
            Bearer::Admin => Ok(()),
            Bearer::Braker(mine) => Err(only(&mine)),
        }
    }

    async fn knows(&self, token: Option<&str>) -> Result<(), Refusal> {
        self.bearer(token).await.map(|_| ())
    }

    async fn may_brake(
        &self,
        token: Option<&str>,
        app: Option<Owned<'_>>,
    ) -> Result<Option<String>, Refusal> {
        let mine = match self.bearer(token).await? {
            Bearer::Admin => return Ok(None),
            Bearer::Braker(mine) => mine,
        };
        let found = mine.iter().find(|known| app.is_some_and(|owned| *owned.app == known.app));
        found.map(|known| Some(known.name.clone())).ok_or_else(|| only(&mine))
    }

    async fn may_release(&self, token: Option<&str>) -> Result<(), Refusal> {
        self.may_read(token).await
    }

    async fn may_touch(&self, token: Option<&str>, _: DeviceRight) -> Result<(), Refusal> {
        self.may_read(token).await
    }
}

fn only(mine: &[BrakeToken]) -> Refusal {
    let apps: Vec<&str> = mine.iter().map(|token| token.app.as_str()).collect();
    Refusal::Forbidden(format!(
        "this token may stop releases of {}, and nothing else; name the app with `app`",
        apps.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# who may stop what\n\ncom.example.shop ci a-secret-of-the-pipeline\n  com.example.shop on-call \
                        sha256:e3fa0425c09e18de2a0716e968dd2b7ec32c19dcac9c9d65fbecdc28a6176f8a\ncom.example.bank ci \
                        a-secret-of-the-pipeline\n";

    #[test]
    fn a_file_is_read_and_its_mistakes_repeat_no_secret() {
        let all = BrakeToken::read_all(FILE).unwrap();
        assert_eq!(all.len(), 3);
        assert!(!format!("{all:?}").contains("secret"), "{all:?}");
        for (text, what) in [
            ("com.example.shop a-secret-of-the-pipeline", "line 1: expected three words"),
            ("\n# x\ncom.example.shop ci a-secret more", "line 3: expected three words"),
            ("shop ci a-secret-of-the-pipeline", "line 1: the first word"),
            ("com.example.shop ci a-secret", "line 1: a token has 8 characters"),
            ("com.example.shop ci sha256:a-secret", "line 1: after `sha256:`"),
        ] {
            let error = BrakeToken::read_all(text).unwrap_err().to_string();
            assert!(error.starts_with(what) && !error.contains("a-secret"), "{text}: {error}");
        }
    }

    #[tokio::test]
    async fn a_file_that_changes_is_read_again_and_one_with_a_mistake_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        let tokens = Tokens::new(Token::new("the-token-of-the-admin").unwrap(), Vec::new());
        let ci = async || tokens.knows(Some("a-secret-of-the-pipeline")).await.is_ok();
        let mut seen = None;
        assert!(tokens.look(&file, &mut seen).await.is_err());
        write(FILE);
        assert_eq!(tokens.look(&file, &mut seen).await, Ok(None), "what was read at the start is no news");
        assert!(ci().await);
        write("com.example.shop ci a-secret");
        assert!(tokens.look(&file, &mut seen).await.unwrap_err().starts_with("line 1"));
        assert!(ci().await, "the old ones stay");
        write("com.example.shop on-call another-secret-of-on-call");
        assert_eq!(tokens.look(&file, &mut seen).await, Ok(Some(1)));
        assert!(!ci().await && tokens.knows(Some("another-secret-of-on-call")).await.is_ok());
        write("");
        assert_eq!(tokens.look(&file, &mut seen).await, Ok(Some(0)));
        assert!(tokens.knows(Some("another-secret-of-on-call")).await.is_err());
    }

    #[tokio::test]
    async fn a_brake_token_stops_its_own_apps_and_does_nothing_else() {
        let tokens =
            Tokens::new(Token::new("the-token-of-the-admin").unwrap(), BrakeToken::read_all(FILE).unwrap());
        let may = async |token: &str, app: Option<&str>| {
            let app: Option<AppId> = app.map(|app| app.parse().unwrap());
            let owned = app.as_ref().map(|app| Owned { app, owner: None });
            tokens.may_brake(Some(token), owned).await
        };
        let ci = "a-secret-of-the-pipeline";
        for app in ["com.example.shop", "com.example.bank"] {
            assert_eq!(may(ci, Some(app)).await, Ok(Some("ci".to_owned())));
            assert_eq!(may("the-token-of-the-admin", Some(app)).await, Ok(None));
        }
        let on_call = "another-secret-of-on-call";
        assert_eq!(may(on_call, Some("com.example.shop")).await, Ok(Some("on-call".to_owned())));
        assert!(matches!(may(on_call, Some("com.example.bank")).await, Err(Refusal::Forbidden(_))));
        for app in [Some("com.example.news"), None] {
            let Err(Refusal::Forbidden(why)) = may(ci, app).await else { panic!("{app:?}") };
            assert!(why.contains("com.example.shop, com.example.bank"), "{why}");
        }
        assert!(matches!(tokens.may_read(Some(ci)).await, Err(Refusal::Forbidden(_))));
        assert_eq!(tokens.knows(Some(ci)).await, Ok(()));
        for wrong in ["a-secret-of-the-pipelinf", "", FILE] {
            assert!(matches!(may(wrong, Some("com.example.shop")).await, Err(Refusal::Unauthenticated(_))));
            assert!(matches!(tokens.may_read(Some(wrong)).await, Err(Refusal::Unauthenticated(_))));
        }
    }
}

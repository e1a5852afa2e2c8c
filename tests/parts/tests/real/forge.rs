//! Pull requests and commit statuses at a real Git host.

use std::{process::Command, sync::Arc};

use serde_json::{Value, json};
use sluice_forge::{CommitState, CommitStatus, Forge, ForgeKind, Proposal, Settings, State, connect};
use sluice_test_parts::Gitea;

/// A clone of a repository whose `main` nobody may push to.
struct Clone {
    repository: String,
    folder: tempfile::TempDir,
}

impl Clone {
    async fn of(gitea: &Gitea) -> Self {
        let repository = gitea.repository().await;
        let clone = Self { folder: tempfile::tempdir().unwrap(), repository };
        clone.git(&["clone", "--quiet", &gitea.with_credentials(&clone.repository), "."]).unwrap();
        gitea.protect(&clone.repository, "main").await;
        clone
    }

    /// Commits on top of `main`, and gives the commit's id.
    fn commit(&self, file: &str) -> String {
        self.git(&["checkout", "--quiet", "--detach", "origin/main"]).unwrap();
        std::fs::write(self.folder.path().join(file), file).unwrap();
        self.git(&["add", file]).unwrap();
        self.git(&["-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "--quiet", "-m", file])
            .unwrap();
        self.git(&["rev-parse", "HEAD"]).unwrap()
    }

    fn push(&self, branch: &str) -> Result<String, String> {
        self.git(&["push", "--quiet", "origin", &format!("HEAD:refs/heads/{branch}")])
    }

    fn git(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(self.folder.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    fn forge(&self, token: &str) -> Arc<dyn Forge> {
        let settings = Settings {
            repository: self.repository.clone(),
            kind: Some(ForgeKind::Gitea),
            base: None,
            user: None,
            token: token.into(),
            certificates: None,
            insecure_http: false,
        };
        connect(&settings).unwrap()
    }
}

fn proposal(head: &str) -> Proposal {
    Proposal {
        head: head.into(),
        base: "main".into(),
        title: "Roll back shop to 1.4.1".into(),
        body: "It breaks.".into(),
        labels: vec!["rollback".into(), "of nobody".into()],
    }
}

#[tokio::test]
async fn a_protected_branch_moves_by_a_pull_request() {
    let gitea = Gitea::shared().await;
    let clone = Clone::of(gitea).await;
    let forge = clone.forge(gitea.token());
    gitea
        .of(
            http::Method::POST,
            &clone.repository,
            "labels",
            &json!({ "name": "rollback", "color": "#ff0000" }),
        )
        .await;

    clone.commit("one");
    let refused = clone.push("main").unwrap_err();
    assert!(refused.contains("pre-receive hook declined"), "{refused}");
    let head = "rollback/shop/1a2b";
    clone.push(head).unwrap();
    let made = forge.propose(&proposal(head)).await.unwrap();
    assert_eq!(forge.propose(&proposal(head)).await.unwrap(), made);
    assert!(made.url.starts_with(&gitea.endpoint()), "{made:?}");
    assert_eq!(forge.state(&made).await.unwrap(), State::Open);
    let number = made.number;
    let pull = format!("pulls/{number}");
    let seen = gitea.of(http::Method::GET, &clone.repository, &pull, &Value::Null).await;
    assert_eq!((&seen["title"], &seen["body"]), (&json!("Roll back shop to 1.4.1"), &json!("It breaks.")));
    assert_eq!(seen["labels"][0]["name"], "rollback");

    forge.comment(&made, "Look at it.").await.unwrap();
    let comments = format!("issues/{number}/comments");
    let comments = gitea.of(http::Method::GET, &clone.repository, &comments, &Value::Null).await;
    assert_eq!(comments[0]["body"], "Look at it.");

    let merge = json!({ "Do": "merge", "force_merge": true });
    gitea.of(http::Method::POST, &clone.repository, &format!("{pull}/merge"), &merge).await;
    assert_eq!(forge.state(&made).await.unwrap(), State::Merged);
    // Nothing is closed, and nothing opened again.
    forge.close(&made).await.unwrap();
    assert_eq!(forge.state(&made).await.unwrap(), State::Merged);
    assert_eq!(forge.propose(&proposal(head)).await.unwrap(), made);
}

#[tokio::test]
async fn a_pull_request_that_was_declined_stays_so() {
    let gitea = Gitea::shared().await;
    let clone = Clone::of(gitea).await;
    let forge = clone.forge(gitea.token());
    clone.commit("one");
    clone.push("rollback/shop/2").unwrap();
    let (one, two) = tokio::join!(async { forge.propose(&proposal("rollback/shop/2")).await }, async {
        forge.propose(&proposal("rollback/shop/2")).await
    },);
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one, two, "one of them is kept");
    let open = gitea.of(http::Method::GET, &clone.repository, "pulls?state=open", &Value::Null).await;
    assert_eq!(open.as_array().unwrap().len(), 1, "{open}");
    forge.close(&one).await.unwrap();
    assert_eq!(forge.state(&one).await.unwrap(), State::Closed);
    forge.close(&one).await.unwrap();
    assert_eq!(forge.propose(&proposal("rollback/shop/2")).await.unwrap(), one);
    // A person may open another of the same branch: that counts.
    let other = json!({ "head": "rollback/shop/2", "base": "main", "title": "again" });
    let other = gitea.of(http::Method::POST, &clone.repository, "pulls", &other).await;
    assert_eq!(forge.propose(&proposal("rollback/shop/2")).await.unwrap().number, other["number"]);
    // A branch for another one, with a slash in its name as well.
    clone.git(&["checkout", "--quiet", "--detach", "origin/main"]).unwrap();
    clone.push("release/1").unwrap();
    let to = Proposal { base: "release/1".into(), ..proposal("rollback/shop/3") };
    clone.commit("two");
    clone.push("rollback/shop/3").unwrap();
    let made = forge.propose(&to).await.unwrap();
    forge.close(&made).await.unwrap();
    assert_eq!(forge.propose(&to).await.unwrap(), made);
}

#[tokio::test]
async fn a_commit_shows_its_status() {
    let gitea = Gitea::shared().await;
    let clone = Clone::of(gitea).await;
    let forge = clone.forge(gitea.token());
    let commit = clone.commit("one");
    clone.push("topic").unwrap();
    for state in [CommitState::Pending, CommitState::Pending, CommitState::Failure] {
        let status = CommitStatus {
            commit: commit.clone(),
            context: "sluice/shop".into(),
            state,
            description: "the hold was not lifted".into(),
            url: Some("https://ota.example.org/shop".parse().unwrap()),
        };
        forge.commit_status(&status).await.unwrap();
    }
    let path = format!("commits/{commit}/status");
    let seen = gitea.of(http::Method::GET, &clone.repository, &path, &Value::Null).await;
    assert_eq!((&seen["state"], &seen["total_count"]), (&json!("failure"), &json!(1)), "{seen}");
    assert_eq!(seen["statuses"][0]["context"], "sluice/shop");
    assert_eq!(seen["statuses"][0]["target_url"], "https://ota.example.org/shop");
}

#[tokio::test]
async fn a_token_needs_its_scopes() {
    let gitea = Gitea::shared().await;
    let clone = Clone::of(gitea).await;
    clone.commit("one");
    clone.push("rollback/shop/1").unwrap();

    let writer = clone.forge(&gitea.token_for(&["write:repository"]).await);
    let made = writer.propose(&proposal("rollback/shop/1")).await.unwrap();
    assert_eq!(writer.comment(&made, "x").await.unwrap_err().reason(), "ForgeForbidden");
    let both = clone.forge(&gitea.token_for(&["write:repository", "write:issue"]).await);
    both.comment(&made, "x").await.unwrap();

    let reader = clone.forge(&gitea.token_for(&["read:repository"]).await);
    assert_eq!(reader.state(&made).await.unwrap(), State::Open);
    let refused = reader.close(&made).await.unwrap_err();
    assert_eq!(refused.reason(), "ForgeForbidden");
    assert!(refused.to_string().contains("it needs scope write:repository"), "{refused}");
    let nothing = clone.forge(&gitea.token_for(&["read:user"]).await);
    assert_eq!(nothing.state(&made).await.unwrap_err().reason(), "ForgeForbidden");
    assert_eq!(clone.forge("0123456789abcdef").state(&made).await.unwrap_err().reason(), "ForgeUnauthorized");
    let elsewhere = Clone { repository: format!("{}/sluice/absent", gitea.endpoint()), ..clone };
    let absent = elsewhere.forge(gitea.token()).propose(&proposal("x")).await.unwrap_err();
    assert_eq!(absent.reason(), "ForgeNotFound", "{absent}");
}

//! What is asked of each host, and what its answers mean: exchanges as the hosts document them, with a server that knows
//! nothing else.
#![expect(clippy::unwrap_used, reason = "helpers fail the test that uses them")]

mod azure;
mod bitbucket;
mod gitea;
mod github;
mod gitlab;
mod redirects;
mod refusals;
mod script;
mod settings;

use sluice_forge::{CommitState, CommitStatus, Proposal, PullRequest};

/// A branch of a rollback.
const HEAD: &str = "rollback/shop/1a2b";
const COMMIT: &str = "e10dae226959c2194f2b07b077c07762d93821cf";

fn proposal() -> Proposal {
    Proposal {
        head: HEAD.into(),
        base: "main".into(),
        title: "Roll back shop\nto 1.4.1".into(),
        body: "It breaks.\n/merge".into(),
        labels: vec!["rollback".into(), "ota".into()],
    }
}

fn number(number: u64) -> PullRequest {
    PullRequest { number, url: format!("https://git.example.org/{number}") }
}

fn status(state: CommitState) -> CommitStatus {
    CommitStatus {
        commit: COMMIT.into(),
        context: "sluice/shop".into(),
        state,
        description: "x".repeat(200),
        url: Some("https://ota.example.org/shop".parse().unwrap()),
    }
}

/// The description as it is sent.
fn description() -> String {
    format!("{}…", "x".repeat(139))
}

//! Which Git hosts there are.

use std::{fmt, str::FromStr};

/// A kind of Git host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ForgeKind {
    /// github.com and GitHub Enterprise.
    GitHub,
    /// gitlab.com and GitLab of one's own.
    GitLab,
    /// Gitea and Forgejo, whose APIs are the same here.
    Gitea,
    /// Bitbucket Cloud. Bitbucket Data Center has another API.
    Bitbucket,
    /// Azure DevOps Services and Server.
    AzureDevOps,
}

/// No kind has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no kind of Git host has this name; there are github, gitlab, gitea, forgejo, bitbucket and azure-devops"
)]
pub struct UnknownKind;

impl ForgeKind {
    /// The kind of a host that everybody knows, or whose name says it (`gitlab.example.org`).
    pub fn of_host(host: &str) -> Option<Self> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let below = |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        match host.as_str() {
            "github.com" | "ssh.github.com" => return Some(Self::GitHub),
            "gitlab.com" | "altssh.gitlab.com" => return Some(Self::GitLab),
            "codeberg.org" => return Some(Self::Gitea),
            "bitbucket.org" | "altssh.bitbucket.org" => return Some(Self::Bitbucket),
            "dev.azure.com" | "ssh.dev.azure.com" => return Some(Self::AzureDevOps),
            _ if below("ghe.com") => return Some(Self::GitHub),
            _ if below("visualstudio.com") => return Some(Self::AzureDevOps),
            _ => {}
        }
        match host.split_once('.')?.0 {
            "github" => Some(Self::GitHub),
            "gitlab" => Some(Self::GitLab),
            "gitea" | "forgejo" => Some(Self::Gitea),
            _ => None,
        }
    }

    /// Its name for machines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GitHub => "github",
            Self::GitLab => "gitlab",
            Self::Gitea => "gitea",
            Self::Bitbucket => "bitbucket",
            Self::AzureDevOps => "azure-devops",
        }
    }
}

impl fmt::Display for ForgeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ForgeKind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        match name {
            "github" => Ok(Self::GitHub),
            "gitlab" => Ok(Self::GitLab),
            "gitea" | "forgejo" => Ok(Self::Gitea),
            "bitbucket" => Ok(Self::Bitbucket),
            "azure-devops" => Ok(Self::AzureDevOps),
            _ => Err(UnknownKind),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("github.com", Some(ForgeKind::GitHub))]
    #[case("GitHub.com", Some(ForgeKind::GitHub))]
    #[case("shop.ghe.com", Some(ForgeKind::GitHub))]
    #[case("github.example.org", Some(ForgeKind::GitHub))]
    #[case("gitlab.com", Some(ForgeKind::GitLab))]
    #[case("gitlab.example.org", Some(ForgeKind::GitLab))]
    #[case("codeberg.org", Some(ForgeKind::Gitea))]
    #[case("gitea.com", Some(ForgeKind::Gitea))]
    #[case("altssh.bitbucket.org", Some(ForgeKind::Bitbucket))]
    #[case("shop.visualstudio.com", Some(ForgeKind::AzureDevOps))]
    #[case("ssh.dev.azure.com", Some(ForgeKind::AzureDevOps))]
    #[case("bitbucket.example.org", None)]
    #[case("notghe.com", None)]
    #[case("git.example.org", None)]
    #[case("gitlab", None)]
    fn hosts_are_recognised(#[case] host: &str, #[case] kind: Option<ForgeKind>) {
        assert_eq!(ForgeKind::of_host(host), kind);
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for kind in [
            ForgeKind::GitHub,
            ForgeKind::GitLab,
            ForgeKind::Gitea,
            ForgeKind::Bitbucket,
            ForgeKind::AzureDevOps,
        ] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!("forgejo".parse(), Ok(ForgeKind::Gitea));
        assert!("svn".parse::<ForgeKind>().is_err());
    }
}

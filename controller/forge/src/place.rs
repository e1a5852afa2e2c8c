//! Where a repository is at its host, read from the address that Git uses.

use percent_encoding::percent_decode_str;
use url::Url;

/// A repository's host and its path there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The host as people visit it: scheme, name, and port where it is not the usual one.
    pub(crate) web: Url,
    /// The parts of the path, without `.git`.
    pub(crate) path: Vec<String>,
}

impl Place {
    /// Reads `https://…`, `http://…`, `ssh://…` and `user@host:path`; anything else is at no host.
    pub(crate) fn parse(repository: &str) -> Option<Self> {
        let repository = repository.trim();
        if !repository.contains("://") {
            return Self::scp(repository);
        }
        let url = Url::parse(repository).ok()?;
        let path = |url: &Url| url.path_segments().into_iter().flatten().map(decoded).collect();
        match url.scheme() {
            "http" | "https" => {
                let mut web = url.clone();
                web.set_username("").and_then(|()| web.set_password(None)).ok()?;
                web.set_query(None);
                web.set_fragment(None);
                web.set_path("/");
                Some(Self::new(web, path(&url)))
            }
            // The port is that of SSH.
            "ssh" => Some(Self::new(https(url.host_str()?)?, path(&url))),
            _ => None,
        }
    }

    fn scp(repository: &str) -> Option<Self> {
        let (host, path) = repository.split_once(':')?;
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        if host.is_empty() || host.contains('/') || host.starts_with('.') {
            return None;
        }
        Some(Self::new(https(host)?, path.split('/').map(str::to_owned).collect()))
    }

    fn new(web: Url, mut path: Vec<String>) -> Self {
        path.retain(|part| !part.is_empty());
        if let Some(last) = path.last_mut()
            && let Some(bare) = last.strip_suffix(".git")
        {
            *last = bare.to_owned();
        }
        Self { web, path }
    }

    /// The host's name.
    pub(crate) fn host(&self) -> &str {
        self.web.host_str().unwrap_or_default()
    }

    /// Takes what the address of an API has in front of `api` off the path: a host that lives in a folder of a server.
    pub(crate) fn below(&mut self, base: &Url) {
        let folder = base.path_segments().into_iter().flatten().map(decoded);
        let folder: Vec<_> = folder.take_while(|part| part != "api" && !part.is_empty()).collect();
        if self.path.len() > folder.len() && self.path.starts_with(&folder) {
            self.path.drain(..folder.len());
        }
    }
}

fn https(host: &str) -> Option<Url> {
    // Names under which hosts take SSH where its port is blocked.
    let host = match host.to_ascii_lowercase().as_str() {
        "ssh.github.com" => "github.com",
        "altssh.gitlab.com" => "gitlab.com",
        "altssh.bitbucket.org" => "bitbucket.org",
        "ssh.dev.azure.com" | "vs-ssh.visualstudio.com" => "dev.azure.com",
        _ => host,
    };
    Url::parse(&format!("https://{host}/")).ok()
}

fn decoded(part: &str) -> String {
    percent_decode_str(part).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://github.com/shop/releases.git", "https://github.com/", "shop/releases")]
    #[case("http://127.0.0.1:3000/shop/releases", "http://127.0.0.1:3000/", "shop/releases")]
    #[case("https://user@git.example.org:8443/a/b/c.git/", "https://git.example.org:8443/", "a/b/c.git")]
    #[case("ssh://git@git.example.org:2222/shop/releases.git", "https://git.example.org/", "shop/releases")]
    #[case("ssh://git@ssh.github.com:443/shop/releases.git", "https://github.com/", "shop/releases")]
    #[case("git@gitlab.com:group/sub/releases.git", "https://gitlab.com/", "group/sub/releases")]
    #[case("git.example.org:/shop/releases.git", "https://git.example.org/", "shop/releases")]
    #[case("https://dev.azure.com/o/My%20Project/_git/r", "https://dev.azure.com/", "o/My Project/_git/r")]
    fn addresses_are_read(#[case] address: &str, #[case] web: &str, #[case] path: &str) {
        let place = Place::parse(address).unwrap();
        assert_eq!(place.web.as_str(), web);
        assert_eq!(place.path.join("/").trim_end_matches(".git"), path.trim_end_matches(".git"));
    }

    #[rstest]
    #[case("/srv/git/releases.git")]
    #[case("./odd:name")]
    #[case("releases")]
    #[case("file:///srv/git/releases.git")]
    #[case("ftp://git.example.org/a/b")]
    fn folders_are_at_no_host(#[case] address: &str) {
        assert_eq!(Place::parse(address), None);
    }

    #[test]
    fn the_folder_of_a_host_is_no_part_of_the_repository() {
        let mut place = Place::parse("https://example.org/gitlab/shop/releases.git").unwrap();
        place.below(&"https://example.org/gitlab/api/v4".parse().unwrap());
        assert_eq!(place.path, ["shop", "releases"]);
        let mut place = Place::parse("https://example.org/shop/releases.git").unwrap();
        place.below(&"https://example.org/api/v4".parse().unwrap());
        assert_eq!(place.path, ["shop", "releases"]);
    }
}

//! A real bare repository beside a data directory, and the documents that tests put into it.

use std::path::PathBuf;

use sluice_repo::testing::{Changes, Upstream};
use tempfile::TempDir;

use super::Server;

/// The app of most tests.
pub const APP: &str = "com.example.shop";

/// A repository and where a server keeps what it knows.
#[derive(Debug)]
pub struct World {
    folder: TempDir,
    pub upstream: Upstream,
}

impl World {
    /// An empty repository.
    pub fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), upstream: Upstream::new() }
    }

    /// A shop with releases 1.1.0 and 1.2.0, and production on 1.1.0.
    pub fn shop() -> Self {
        let world = Self::empty();
        world.commit(shop());
        world
    }

    /// Commits, and returns the id in full.
    pub fn commit(&self, changes: Changes) -> String {
        self.upstream.commit(changes).to_string()
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A path for a file of the test.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Serves the repository from its folder.
    pub fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    /// The same with more flags.
    pub fn serve_with(&self, more: &[&str]) -> Server {
        self.serve_from(self.upstream.path().to_str().unwrap(), more)
    }

    /// Serves it from an address.
    pub fn serve_from(&self, repository: &str, more: &[&str]) -> Server {
        Server::start(repository, &self.data(), more)
    }
}

/// The documents and bundles of [`World::shop`].
pub fn shop() -> Changes {
    ["1.1.0", "1.2.0"]
        .iter()
        .fold(Changes::new(), |changes, version| {
            with_version(changes, version)
                .file(&format!("bundles/{version}/assets/app.js"), format!("console.log('{version}')"))
        })
        .file("channels/production.yaml", channel("production", "1.1.0", "  public: true\n"))
}

/// Adds a version: its bundle, of one page, and its Release.
pub fn with_version(changes: Changes, version: &str) -> Changes {
    changes
        .file(&format!("bundles/{version}/index.html"), index(version))
        .file(&format!("releases/{version}.yaml"), release(version, &format!("../bundles/{version}")))
}

/// A page.
pub fn index(title: &str) -> String {
    format!("<!doctype html><title>{title}</title>")
}

/// A Release of [`APP`].
pub fn release(version: &str, path: &str) -> String {
    format!(
        "apiVersion: sluice.dev/v1alpha1\nkind: Release\nmetadata:\n  name: shop-{version}\nspec:\n  app: {APP}\n  \
         version: {version}\n  bundle:\n    path: {path}\n"
    )
}

/// A Channel of [`APP`]; `more` are further lines of its spec.
pub fn channel(name: &str, release: &str, more: &str) -> String {
    format!(
        "apiVersion: sluice.dev/v1alpha1\nkind: Channel\nmetadata:\n  name: shop-{name}\nspec:\n  app: {APP}\n  channel: \
         {name}\n  release: {release}\n{more}"
    )
}

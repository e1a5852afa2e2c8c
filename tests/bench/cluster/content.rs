//! What the repositories hold: for every size the same, only more of it.

use sluice_repo::testing::{Changes, Upstream};

/// Releases for each channel.
const RELEASES: usize = 9;
/// Channels of an app.
const CHANNELS: usize = 5;
/// Resources of an app.
const OF_AN_APP: usize = CHANNELS * (RELEASES + 1);

/// Apps with five channels and 45 releases each, and a small bundle for each release.
#[derive(Debug, Clone, Copy)]
pub struct Content {
    apps: usize,
}

/// One channel.
#[derive(Debug, Clone, Copy)]
pub struct ChannelId {
    app: usize,
    channel: usize,
}

impl Content {
    /// So many resources, in whole apps.
    pub fn of(resources: usize) -> Self {
        Self { apps: (resources / OF_AN_APP).max(1) }
    }

    /// How many resources there are.
    pub fn resources(self) -> usize {
        self.apps * OF_AN_APP
    }

    /// How many channels there are.
    pub fn channels(self) -> usize {
        self.apps * CHANNELS
    }

    /// A channel, far from the one before.
    pub fn channel(self, number: usize) -> ChannelId {
        ChannelId { app: number % self.apps, channel: number / self.apps % CHANNELS }
    }

    /// Moves each channel to a release that no other channel of its app has.
    pub fn apart(self) -> Changes {
        let channels = (0..self.channels()).map(|number| self.channel(number));
        channels.fold(Changes::new(), |changes, id| changes.file(&id.path(), id.document(&id.own())))
    }

    /// Commits everything, as one pack, as a Git host keeps it.
    pub fn commit(self, upstream: &Upstream) {
        let mut changes = Changes::new();
        for app in 0..self.apps {
            for release in 0..CHANNELS * RELEASES {
                let version = version(release);
                changes = changes
                    .file(
                        &format!("app-{app}/bundles/{version}/index.html"),
                        format!("<p>{app} {version}</p>"),
                    )
                    .file(&format!("app-{app}/releases/{version}.yaml"), release_document(app, &version));
            }
            for channel in 0..CHANNELS {
                let id = ChannelId { app, channel };
                changes = changes.file(&id.path(), id.document(&version(0)));
            }
        }
        upstream.commit(changes);
        let packed = std::process::Command::new("git")
            .arg("-C")
            .arg(upstream.path())
            .args(["repack", "-adq"])
            .status();
        assert!(packed.unwrap().success(), "git repack");
    }
}

impl ChannelId {
    /// What devices and people call it.
    pub fn channel(self) -> String {
        format!("channel-{}", self.channel)
    }

    /// The version that only this one of the channels of its app is moved to by [`Content::apart`].
    pub fn own(self) -> String {
        version(1 + self.channel)
    }

    /// Name of the resource.
    pub fn name(self) -> String {
        format!("app-{}-channel-{}", self.app, self.channel)
    }

    /// The app that its devices run.
    pub fn app(self) -> String {
        format!("com.example.app{}", self.app)
    }

    /// What its devices ask for: nothing on the public channel.
    pub fn asked(self) -> String {
        if self.channel == 0 { String::new() } else { self.channel() }
    }

    /// Moves it to a release.
    pub fn moved_to(self, version: &str) -> Changes {
        Changes::new().file(&self.path(), self.document(version))
    }

    fn path(self) -> String {
        format!("app-{}/channels/channel-{}.yaml", self.app, self.channel)
    }

    fn document(self, release: &str) -> String {
        let audience = if self.channel == 0 { "public: true" } else { "allow: { selfAssign: true }" };
        format!(
            "apiVersion: sluice.dev/v1alpha1\nkind: Channel\nmetadata:\n  name: {}\nspec:\n  app: {}\n  channel: {}\n  \
             release: {release}\n  {audience}\n",
            self.name(),
            self.app(),
            self.channel()
        )
    }
}

/// The version of a release.
pub fn version(number: usize) -> String {
    format!("1.{}.{}", 1 + number / RELEASES, number % RELEASES)
}

/// Another release for each push.
pub fn next(number: usize) -> String {
    version(1 + number % (CHANNELS * RELEASES - 1))
}

fn release_document(app: usize, version: &str) -> String {
    format!(
        "apiVersion: sluice.dev/v1alpha1\nkind: Release\nmetadata:\n  name: app-{app}-{version}\nspec:\n  app: com.example.app{app}\n  \
         version: {version}\n  bundle:\n    path: ../bundles/{version}\n  notes: Version {version}.\n"
    )
}

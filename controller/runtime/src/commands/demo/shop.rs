//! The app of the story: what stands in its repository.

use sluice_repo::{Content, Edit};

/// The app.
pub(super) const APP: &str = "com.example.shop";
/// What phones have from the app store.
pub(super) const SHIPPED: &str = "1.0.0";
/// The release that does well.
pub(super) const GOOD: &str = "1.1.0";
/// The one that most phones cannot start.
pub(super) const BAD: &str = "1.2.0";
/// The file that says what everybody gets.
pub(super) const CHANNEL: &str = "channels/production.yaml";

/// Everybody at once: the first release has nothing that it could be compared with.
pub(super) const AT_ONCE: &str = "  rollout: { strategy: Immediate }\n";
/// In steps that last seconds, judged by a gate that is content with a small fleet.
pub(super) const IN_STEPS: &str = "  rollout:
    ramp: \"Off\"
    steps:
      - { weight: 20%, soak: 20s }
      - { weight: 50%, soak: 20s }
  gate: { horizon: 5s, minExposure: 50, margin: 20% }
";

/// A release: its document, and a bundle of one page.
pub(super) fn release(version: &str) -> Vec<Edit> {
    let document = format!(
        "apiVersion: sluice.dev/v1alpha1\nkind: Release\nmetadata:\n  name: shop-{version}\nspec:\n  app: {APP}\n  \
         version: {version}\n  bundle:\n    path: ../bundles/{version}\n"
    );
    let page = format!(
        "<!doctype html>\n<title>Corner shop {version}</title>\n<script>\n  const basket = JSON.parse(localStorage.basket);\n  \
         window.Capacitor?.Plugins?.CapacitorUpdater?.notifyAppReady();\n</script>\n"
    );
    // A phone without a basket has nothing that could be read.
    let safe = "JSON.parse(localStorage.basket ?? '[]')";
    let page = if version == BAD { page } else { page.replace("JSON.parse(localStorage.basket)", safe) };
    vec![
        written(&format!("releases/{version}.yaml"), document),
        written(&format!("bundles/{version}/index.html"), page),
    ]
}

/// What everybody gets, and how.
pub(super) fn channel(version: &str, how: &str) -> Edit {
    let document = format!(
        "apiVersion: sluice.dev/v1alpha1\nkind: Channel\nmetadata:\n  name: shop-production\nspec:\n  app: {APP}\n  \
         channel: production\n  release: {version}\n  public: true\n{how}"
    );
    written(CHANNEL, document)
}

fn written(path: &str, text: String) -> Edit {
    Edit { path: path.to_owned(), content: Content::Written(text.into_bytes()) }
}

//! `sluice client-config`: the block of `capacitor.config` that points an app at a server, with the update modes
//! explained.

use anyhow::ensure;
use serde_json::{Map, Value, json};
use sluice_core::ids::{AppId, ChannelName};
use url::Url;

use crate::{
    args::{ClientConfigArgs, ConfigFormat, UpdateMode},
    commands::print,
    config, exit,
};

const MODES: &str = "\
autoUpdate, directUpdate: when an update is installed (--mode)
  background   autoUpdate: true,  directUpdate: false        download while in use, install when the app goes to the background
  at-install   autoUpdate: true,  directUpdate: 'atInstall'  like background, but at once in the first start after an install or a store update
  at-launch    autoUpdate: true,  directUpdate: 'onLaunch'   at once in every cold start, else like background
  always       autoUpdate: true,  directUpdate: 'always'     at once whenever the app comes to the foreground
  manual       autoUpdate: false                             the app calls getLatest, download and set itself
In every mode the app must call CapacitorUpdater.notifyAppReady() soon after each start: a bundle that does not within
appReadyTimeout is taken back by the phone itself and counts as a failure.";

/// Prints the block.
pub(crate) fn run(args: &ClientConfigArgs) -> anyhow::Result<u8> {
    let app: AppId = args.app.parse()?;
    let channel: Option<ChannelName> = args.channel.as_deref().map(str::parse).transpose()?;
    let server = config::web(&args.server).map_err(|why| anyhow::anyhow!("--server: {why}"))?;
    ensure!(server.query().is_none(), "--server: `{server}` must be a URL without a query");
    let last = server.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or("");
    ensure!(
        !["updates", "stats", "channel_self"].contains(&last),
        "--server is the address of the server itself; leave out `/{last}`, which is added for each of its three URLs"
    );
    let block = block(&app, channel.as_ref(), &server, args.mode);
    let text = match args.format {
        ConfigFormat::Json => format!("{block:#}\n"),
        ConfigFormat::Ts => typescript(&block, &server),
    };
    print(&text)?;
    Ok(exit::OK)
}

fn block(app: &AppId, channel: Option<&ChannelName>, server: &Url, mode: UpdateMode) -> Value {
    let base = server.as_str().trim_end_matches('/');
    let mut updater = Map::new();
    updater.insert("appId".into(), json!(app));
    for (name, path) in [("updateUrl", "updates"), ("statsUrl", "stats"), ("channelUrl", "channel_self")] {
        updater.insert(name.into(), json!(format!("{base}/{path}")));
    }
    if let Some(channel) = channel {
        updater.insert("defaultChannel".into(), json!(channel));
    }
    updater.insert("autoUpdate".into(), json!(mode != UpdateMode::Manual));
    let direct = match mode {
        UpdateMode::Manual => None,
        UpdateMode::Background => Some(json!(false)),
        UpdateMode::AtInstall => Some(json!("atInstall")),
        UpdateMode::AtLaunch => Some(json!("onLaunch")),
        UpdateMode::Always => Some(json!("always")),
    };
    updater.extend(direct.map(|direct| ("directUpdate".to_owned(), direct)));
    updater.insert("appReadyTimeout".into(), json!(10_000));
    json!({ "plugins": { "CapacitorUpdater": updater } })
}

/// The block as it stands in `capacitor.config.ts`, with comments.
fn typescript(block: &Value, server: &Url) -> String {
    let mut text = String::from("// In capacitor.config.ts, beside appId and webDir:\n");
    if server.scheme() == "http" {
        text.push_str("// Phones refuse plain http unless the native project allows it: use https for anything but a trial.\n");
    }
    text.extend(MODES.lines().map(|line| format!("// {line}\n")));
    text.push_str("plugins: {\n  CapacitorUpdater: {\n");
    for (name, value) in block["plugins"]["CapacitorUpdater"].as_object().into_iter().flatten() {
        let value = match value {
            Value::String(text) => format!("'{text}'"),
            other => other.to_string(),
        };
        text.push_str(&format!("    {name}: {value},\n"));
    }
    text.push_str("  },\n},\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_names_every_url() {
        let app = "com.example.shop".parse().unwrap();
        let server = "https://ota.example.org/x/".parse().unwrap();
        let channel = "beta".parse().unwrap();
        let made = block(&app, Some(&channel), &server, UpdateMode::AtLaunch);
        let updater = &made["plugins"]["CapacitorUpdater"];
        assert_eq!(updater["updateUrl"], "https://ota.example.org/x/updates");
        assert_eq!(updater["channelUrl"], "https://ota.example.org/x/channel_self");
        assert_eq!(updater["defaultChannel"], "beta");
        assert_eq!(updater["directUpdate"], "onLaunch");
        let text = typescript(&made, &server);
        assert!(text.contains("statsUrl: 'https://ota.example.org/x/stats',"), "{text}");
    }
}

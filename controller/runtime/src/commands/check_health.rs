//! `sluice check-health`: waits until addresses answer; for the test pod of the chart, whose image has no shell.

use std::time::Duration;

use anyhow::bail;
use serde_json::json;

use crate::{args::CheckHealthArgs, commands::print, exit};

/// Between two tries.
const AGAIN: Duration = Duration::from_millis(500);
/// An app that nobody serves: asking for it changes nothing.
const NOBODY: &str = "dev.sluice.nobody";

/// Waits until every address answers as it should.
pub(crate) fn run(args: &CheckHealthArgs) -> anyhow::Result<u8> {
    let Ok(limit) = args.timeout.parse::<jiff::SignedDuration>().map(jiff::SignedDuration::unsigned_abs)
    else {
        bail!("--timeout: `{}` is not a duration such as 60s", args.timeout);
    };
    super::block_on(async {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        for url in &args.url {
            let mut last = "nothing answered".to_owned();
            let asking = async {
                loop {
                    match ask(&http, url).await {
                        Ok(()) => return,
                        Err(seen) => last = seen,
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            };
            if tokio::time::timeout(limit, asking).await.is_err() {
                print(&format!("{url}: {last}\n"))?;
                return Ok(exit::FAILED);
            }
            print(&format!("{url}: ok\n"))?;
        }
        Ok(exit::OK)
    })
}

/// One try: a device's question where devices ask, a plain look elsewhere.
async fn ask(http: &reqwest::Client, url: &str) -> Result<(), String> {
    let request = if url.trim_end_matches('/').ends_with("/updates") {
        http.post(url).json(&json!({
            "app_id": NOBODY, "device_id": "00000000-0000-4000-8000-000000000000", "platform": "android",
            "version_build": "1.0.0", "version_name": "builtin", "plugin_version": "8.51.23",
            "is_prod": false, "is_emulator": true,
        }))
    } else {
        http.get(url)
    };
    let answer = request.send().await.map_err(|error| error.without_url().to_string())?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let text = answer.text().await.unwrap_or_default();
    Err(format!("{status} {}", text.chars().take(300).collect::<String>()))
}

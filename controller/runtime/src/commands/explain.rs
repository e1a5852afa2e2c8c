//! `sluice explain`: what a running server answers a device, and why. The device's id travels in a body, never in a URL.

use std::{fs, io::Read as _};

use anyhow::{Context as _, ensure};
use serde_json::{Map, Value, json};

use crate::{
    admin::Admin,
    args::{ExplainArgs, StatusOutput},
    commands::{block_on, print},
    exit,
};

/// The device that is asked for when none is named: a current Android client on its shipped bundle.
const DEFAULTS: [(&str, &str); 6] = [
    ("device_id", "00000000-0000-4000-8000-000000000000"),
    ("platform", "android"),
    ("version_build", "1.0.0"),
    ("version_name", "builtin"),
    ("plugin_version", "8.51.23"),
    ("version_os", "14"),
];

/// Prints the explanation.
pub(crate) fn run(args: &ExplainArgs) -> anyhow::Result<u8> {
    let request = request(args)?;
    let admin = Admin::new(&args.admin)?;
    let answer: Value = block_on(admin.post("/api/v1/explain", &request))?;
    let text = match args.output {
        StatusOutput::Json => format!("{answer:#}\n"),
        StatusOutput::Text => text(&answer),
    };
    print(&text)?;
    Ok(exit::OK)
}

fn request(args: &ExplainArgs) -> anyhow::Result<Value> {
    let mut fields = match &args.request {
        None => Map::new(),
        Some(path) => {
            let text = if path.as_os_str() == "-" {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
                text
            } else {
                fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
            };
            serde_json::from_str(&text).context("the request is not a JSON object")?
        }
    };
    for (name, value) in [
        ("app_id", &args.app),
        ("device_id", &args.device),
        ("platform", &args.platform),
        ("version_build", &args.native),
        ("version_name", &args.running),
        ("plugin_version", &args.plugin),
        ("defaultChannel", &args.channel),
        ("version_os", &args.os),
        ("custom_id", &args.custom_id),
        ("locale", &args.locale),
        ("country", &args.country),
    ] {
        if let Some(value) = value {
            fields.insert(name.to_owned(), json!(value));
        }
    }
    ensure!(fields.contains_key("app_id"), "say which app: --app ID, or `app_id` in the request");
    for (name, value) in DEFAULTS {
        fields.entry(name).or_insert_with(|| json!(value));
    }
    fields.entry("is_prod").or_insert(json!(true));
    fields.entry("is_emulator").or_insert(json!(false));
    Ok(Value::Object(fields))
}

fn text(answer: &Value) -> String {
    let line = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    let mut text = String::new();
    if let Some(summary) = answer.get("summary") {
        text.push_str(&format!("{}\n\n", line(summary)));
    }
    for note in answer["notes"].as_array().into_iter().flatten() {
        text.push_str(&format!("Note: {}\n\n", line(note)));
    }
    text.push_str("Why:\n");
    for (index, step) in answer["trace"].as_array().into_iter().flatten().enumerate() {
        let sentence = step.get("message").unwrap_or(step);
        text.push_str(&format!("  {}. {}\n", index + 1, line(sentence)));
    }
    let trials: Vec<&Value> = answer["trials"].as_array().into_iter().flatten().collect();
    if !trials.is_empty() {
        text.push_str("\nTrials of rollouts:\n");
        text.extend(trials.iter().map(|trial| format!("  {}\n", line(&trial["sentence"]))));
    }
    if let Some(device) = answer.get("device").filter(|d| !d.is_null()) {
        text.push_str(&format!("\nWhat is known of the device:\n{device:#}\n"));
    }
    text.push_str(&format!("\nHTTP {} {:#}\n", answer["status"], answer["body"]));
    text
}

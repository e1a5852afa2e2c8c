//! What is kept of a device, for people.

use jiff::Timestamp;
use serde_json::Value;

/// Each device with its traits and its timeline.
pub(super) fn shown(kept: &Value) -> String {
    let devices = list(&kept["devices"]);
    if devices.is_empty() {
        return "Nothing is kept of it.\n".to_owned();
    }
    devices.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn one(device: &Value) -> String {
    let text = |field: &str| device[field].as_str().unwrap_or("-").to_owned();
    let mut out = format!("Device {} of {}\n", text("device"), text("app"));
    if device["platform"].is_string() {
        let kind = match (device["production"].as_bool(), device["emulator"].as_bool()) {
            (_, Some(true)) => ", an emulator",
            (Some(false), _) => ", a development build",
            _ => "",
        };
        out.push_str(&format!(
            "  {} {}, app {}, plugin {}{kind}\n  runs {}, answered by channel {}, {} sessions\n",
            text("platform"),
            text("os"),
            text("native"),
            text("plugin"),
            text("running"),
            text("channel"),
            device["sessions"],
        ));
    }
    let chosen = &device["override"];
    if let Some(channel) = chosen["channel"].as_str() {
        let until = chosen["expires"].as_i64().map(|at| format!(" until {}", time(at))).unwrap_or_default();
        let author =
            chosen["who"].as_str().map(|who| format!(" ({who}: {})", chosen["why"].as_str().unwrap_or("-")));
        out.push_str(&format!("  put on channel {channel}{until}{}\n", author.unwrap_or_default()));
    }
    let failed = list(&device["remembered"]["failed"]).len();
    if failed > 0 {
        out.push_str(&format!("  {failed} bundles are withheld because they failed here\n"));
    }
    for happening in list(&device["timeline"]) {
        let at = happening["at"].as_i64().map(time).unwrap_or_default();
        out.push_str(&format!("  {at}  {}\n", happening["what"].as_str().unwrap_or("-")));
    }
    out
}

/// One act a line, and its reason.
pub(super) fn acts(answer: &Value) -> String {
    let acts = list(&answer["acts"]);
    if acts.is_empty() {
        return "Nobody erased or moved a device.\n".to_owned();
    }
    let mut out = String::new();
    for act in acts {
        let text = |field: &str| act[field].as_str().unwrap_or("-");
        let at = act["at"].as_i64().map(time).unwrap_or_default();
        let what = match text("kind") {
            "Erase" => format!("erased {} devices", act["devices"]),
            "Override" => {
                let until = act["expires"].as_i64().map(time).unwrap_or_default();
                format!("put a device on {} until {until}", text("channel"))
            }
            _ => "took a device off its channel".to_owned(),
        };
        out.push_str(&format!("{at}  {} {what}: {}\n", text("who"), text("why")));
    }
    out
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[][..], Vec::as_slice)
}

fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |at| at.to_string())
}

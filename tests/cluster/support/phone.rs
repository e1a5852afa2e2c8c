//! A phone: the fields that its requests have.

use serde_json::{Value, json};

use super::APP;

/// See the module.
#[derive(Debug, Clone)]
pub struct Phone(Value);

impl Phone {
    /// A current Android phone on its shipped bundle, number `number` of all.
    pub fn new(number: u32) -> Self {
        Self(json!({
            "platform": "android", "device_id": format!("00000000-0000-4000-8000-{number:012}"), "app_id": APP,
            "custom_id": "", "version_build": "1.0.0", "version_code": "1", "version_os": "14",
            "version_name": "1.0.0", "plugin_version": "8.51.23", "is_emulator": false, "is_prod": true,
            "defaultChannel": "",
        }))
    }

    /// The body of an update check.
    pub fn body(&self) -> Value {
        self.0.clone()
    }

    /// The body of a report.
    pub fn event(&self, action: &str, version: &str) -> Value {
        let mut body = self.body();
        body["action"] = action.into();
        body["version_name"] = version.into();
        body["old_version_name"] = "".into();
        body
    }
}

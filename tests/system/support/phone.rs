//! A phone: the fields that its requests have.

use serde_json::{Map, Value, json};

use super::{APP, Server, sha256, unzip};

/// Fields of requests.
#[derive(Debug, Clone)]
pub struct Phone(Map<String, Value>);

/// A current Android phone on its shipped bundle, number `number` of all.
pub fn phone(number: u32) -> Phone {
    let fields = json!({
        "platform": "android", "device_id": format!("00000000-0000-4000-8000-{number:012}"), "app_id": APP,
        "custom_id": "", "version_build": "1.0.0", "version_code": "1", "version_os": "14",
        "version_name": "1.0.0", "plugin_version": "8.51.23", "is_emulator": false, "is_prod": true,
        "defaultChannel": "",
    });
    let Value::Object(fields) = fields else { unreachable!("it is an object") };
    Phone(fields)
}

impl Phone {
    /// The same with another value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// The body of an update check.
    pub fn body(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// The body of a report.
    pub fn event(&self, action: &str, version: &str) -> Value {
        self.clone().with("action", action).with("version_name", version).with("old_version_name", "").body()
    }

    /// What it is answered.
    pub fn asks(&self, server: &Server) -> Value {
        server.post("/updates", &self.body()).has_status(200).json()
    }

    /// Fails unless it is offered `version`; returns the zip, checked against the checksum.
    pub fn downloads(&self, server: &Server, version: &str) -> Vec<u8> {
        let answer = self.asks(server);
        assert_eq!(answer["version"], version, "{answer}");
        let zip = server.download(&answer);
        assert_eq!(answer["checksum"], sha256(&zip), "{answer}");
        assert!(unzip(&zip).contains_key("index.html"));
        zip
    }

    /// Waits until it is offered `version` and returns the answer.
    pub fn awaits(&self, server: &Server, version: &str) -> Value {
        let mut last = Value::Null;
        server.eventually(&format!("{version} is offered"), |server| {
            last = self.asks(server);
            (last["version"] == version && last.get("error").is_none()).then(|| last.clone())
        })
    }
}

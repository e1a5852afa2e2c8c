//! What is said, in the form that the other side reads.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluice_core::decisions::{Page, Row};

/// The form of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Form {
    /// `CloudEvents` 1.0 in JSON, structured mode.
    #[default]
    CloudEvents,
    /// What incoming webhooks of Slack and its like take.
    Slack,
}

impl Form {
    /// The media type.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::CloudEvents => "application/cloudevents+json",
            Self::Slack => "application/json",
        }
    }

    /// The message of a row.
    pub(crate) fn message(self, installation: &str, page: &Page, row: &Row, id: &str) -> Value {
        let Row { transition, sentence, numbers } = row;
        match self {
            Self::CloudEvents => json!({
                "specversion": "1.0",
                "id": id,
                "source": format!("urn:sluice:{installation}"),
                "type": format!("dev.sluice.rollout.{}", transition.kind.to_string().to_lowercase()),
                "time": page.at,
                "subject": format!("{}/{}", page.app, transition.channel),
                "datacontenttype": "application/json",
                "data": {
                    "app": page.app,
                    "channel": transition.channel,
                    "line": transition.line,
                    "rollout": transition.serial,
                    "release": transition.release,
                    "kind": transition.kind,
                    "weight": f64::from(transition.weight) / 10_000.0,
                    "limited": transition.limited,
                    "reason": transition.reason,
                    "sentence": sentence,
                    "numbers": numbers,
                },
            }),
            Self::Slack => {
                json!({ "text": format!("*{}*: {}", escape(page.app.as_str()), escape(sentence)) })
            }
        }
    }
}

/// The three characters that Slack gives a meaning to.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The name of a row, the same whenever it is told.
pub(crate) fn id(page: &Page, row: usize) -> String {
    format!("{}-{}-{row}", page.app, page.sequence)
}

//! Who is told what becomes of rollouts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::SecretReference;

/// Who is told what becomes of rollouts: one signed request for each row of the decision log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notifications {
    /// Where to, and what requests are signed with: the keys `address`, a URL, and `token`.
    pub secret_ref: SecretReference,
    /// The form of a message.
    #[serde(default)]
    pub form: NotificationForm,
    /// Where `address` may be. `Public`: https to addresses of the Internet. `Any`: http and private addresses, too, such as a
    /// Service of the cluster; whoever may write the Secret then chooses where the operator sends to.
    #[serde(default)]
    pub network: NotificationNetwork,
}

/// The form of a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NotificationForm {
    /// `CloudEvents` 1.0, signed.
    #[default]
    CloudEvents,
    /// What incoming webhooks of Slack and its like take.
    Slack,
}

/// Where an address may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NotificationNetwork {
    /// On the Internet.
    #[default]
    Public,
    /// Anywhere.
    Any,
}

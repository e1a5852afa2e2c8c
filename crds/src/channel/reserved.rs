//! Fields of a channel whose names are taken now and whose meaning a later release brings. Until then a channel that
//! uses one is refused, since serving it without what it asks for would reach the wrong phones.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::SecretReference;

/// Encryption of a channel's artefacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Encryption {
    /// The key, as the command `sluice keys` writes it.
    pub secret_ref: SecretReference,
}

/// What a release must prove before it is served.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Require {
    /// Signers, of which one must have signed the bundle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 16),
        inner(length(min = 1, max = 253)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub signers: Vec<String>,
}

//! Bodies of requests, and errors of them that repeat nothing: a body may hold the id of a device.

use http::StatusCode;
use serde::de::DeserializeOwned;

use super::ApiError;

/// Reads a body.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        // The text of an error about a value would repeat it.
        let what =
            if error.is_data() { "a field is missing, unknown or of a wrong type" } else { "it is no JSON" };
        let (line, column) = (error.line(), error.column());
        invalid(format!("the request cannot be read: {what} (line {line}, column {column})"))
    })
}

/// A request that asks for nothing that could be done.
pub(super) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "invalid_request", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its shape is used")]
    struct Shape {
        by: String,
    }

    #[test]
    fn no_error_repeats_what_was_sent() {
        for body in [r#"{"canary":1}"#, r#"{"by":{"canary":1}}"#, r#"{"by":"canary""#, "canary"] {
            let error = parse::<Shape>(body.as_bytes()).unwrap_err();
            assert!(
                error.message.contains("(line 1, column ") && !error.message.contains("canary"),
                "{error:?}"
            );
        }
    }
}

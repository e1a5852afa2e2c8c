//! What the API server's refusals mean.

use std::fmt;

use kube::Error;
use sluice_core::diagnostic::Code;
use sluice_crds::LATER_LEADER;

/// Why a request about one object failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// The object is refused; the code says by whom, the text what the server said.
    Refused(Code, String),
    /// There is no such object, or another one by now.
    Gone,
    /// Nothing is known: the server is away, overloaded or broken. The same request may succeed later.
    Away(String),
}

impl Problem {
    /// Reads an error.
    pub(crate) fn of(error: &Error) -> Self {
        let Error::Api(status) = error else { return Self::Away(plain(error)) };
        let message = status.message.clone();
        let code = match (status.code, status.reason.as_str()) {
            (429 | 500.., _) => return Self::Away(format!("{} ({})", message, status.code)),
            // The credentials of the operator itself: nothing can be said of any object.
            (401, _) => return Self::Away(format!("the operator is not known to the API server: {message}")),
            (403, _) if message.contains("exceeded quota") => Code::QuotaExceeded,
            (403, _) if message.contains("being terminated") => Code::NamespaceUnavailable,
            (403, _) if is_policy(&message) => Code::ApplyRejected,
            (403, _) => Code::ApplyForbidden,
            (404, _) if message.starts_with("namespaces ") => Code::NamespaceUnavailable,
            (404, _) if message.contains("could not find") || message.contains("page not found") => {
                Code::CustomResourcesMissing
            }
            (404, _) | (409, "Conflict") => return Self::Gone,
            (_, _)
                if message.contains("field not declared in schema") || message.contains("unknown field") =>
            {
                Code::CustomResourcesMissing
            }
            _ => Code::ApplyRejected,
        };
        Self::Refused(code, message)
    }

    /// Whether a status was refused because it shows a later term than the writer's.
    pub(crate) fn is_deposed(&self) -> bool {
        matches!(self, Self::Refused(_, message) if message.contains(LATER_LEADER))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(message) | Self::Refused(_, message) => f.write_str(message),
            Self::Gone => f.write_str("the watched resource is not there"),
        }
    }
}

/// Admission policies and webhooks answer 403 as well as missing rights do.
fn is_policy(message: &str) -> bool {
    message.contains("admission webhook")
        || message.contains("ValidatingAdmissionPolicy")
        || message.contains("denied request")
        || message.contains("denied the request")
}

/// The innermost cause: what the layers of a client add tells nobody anything.
fn plain(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    format!("the API server cannot be reached: {cause}")
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn api(code: u16, reason: &str, message: &str) -> Problem {
        Problem::of(&Error::Api(Box::new(Status {
            code,
            reason: reason.into(),
            message: message.into(),
            ..Status::default()
        })))
    }

    #[test]
    fn what_is_gone_is_not_away() {
        assert_eq!(api(404, "NotFound", "releases.sluice.dev \"a\" not found"), Problem::Gone);
        assert_eq!(api(409, "Conflict", "the UID in the precondition does not match"), Problem::Gone);
    }

    #[test]
    fn refusals_are_told_apart() {
        let code = |problem| match problem {
            Problem::Refused(code, _) => Some(code),
            Problem::Gone | Problem::Away(_) => None,
        };
        for (status, reason, message, expected) in [
            (
                403,
                "Forbidden",
                "releases.sluice.dev \"a\" is forbidden: User \"x\" cannot patch",
                Some(Code::ApplyForbidden),
            ),
            (
                403,
                "Forbidden",
                "releases.sluice.dev \"a\" is forbidden: exceeded quota: q",
                Some(Code::QuotaExceeded),
            ),
            (403, "Forbidden", "… because it is being terminated", Some(Code::NamespaceUnavailable)),
            (403, "Forbidden", "admission webhook \"w\" denied the request: no", Some(Code::ApplyRejected)),
            (422, "Invalid", "ValidatingAdmissionPolicy 'p' denied request: no", Some(Code::ApplyRejected)),
            (422, "Invalid", "spec.app: Invalid value: app is immutable", Some(Code::ApplyRejected)),
            (404, "NotFound", "namespaces \"shop\" not found", Some(Code::NamespaceUnavailable)),
            (404, "NotFound", "404 page not found", Some(Code::CustomResourcesMissing)),
            (409, "Conflict", "the UID in the precondition does not match", None),
            (404, "NotFound", "releases.sluice.dev \"a\" not found", None),
            (500, "", ".spec.gate: field not declared in schema", None),
            (429, "TooManyRequests", "slow down", None),
            (401, "Unauthorized", "Unauthorized", None),
            (503, "ServiceUnavailable", "apiserver is shutting down", None),
        ] {
            assert_eq!(code(api(status, reason, message)), expected, "{message}");
        }
    }
}

//! Writing Events.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, Recorder};

/// Writes an Event about `object`. One that is lost is lost: status or the log has the same.
pub(crate) async fn publish(recorder: &Recorder, event: &Event, object: &ObjectReference) {
    if let Err(error) = recorder.publish(event, object).await {
        tracing::debug!(%error, "an event could not be written");
    }
}

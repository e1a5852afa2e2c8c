//! What a channel lifts that nobody stopped: probably a mistyped id. It lifts nothing, and stands in nobody's way.

use crate::{
    diagnostic::{Code, Diagnostic},
    observed::Braked,
    resolve::ResolvedChannel,
    suggest::closest,
};

/// One problem for each id in `allowHeld` that none of the app's `brakes` has.
pub(super) fn unknown(channel: &ResolvedChannel<'_>, brakes: &[Braked]) -> Vec<Diagnostic> {
    let spec = channel.channel;
    let known = || brakes.iter().map(|brake| brake.id.as_str());
    let lifts_nothing = spec.allow_held.iter().filter(|id| known().all(|known| known != id.as_str()));
    let problem = |id: &String| {
        let hint = closest(id, known()).map_or_else(String::new, |id| format!("; did you mean `{id}`?"));
        let message = format!(
            "`{id}` is the id of no brake of {}, so it lifts nothing: `sluice brake list` shows the ids{hint}",
            spec.app
        );
        Diagnostic::new(Code::BrakeUnknown, channel.located.field("spec.allowHeld"), message)
    };
    lifts_nothing.map(problem).collect()
}

//! What to do after the story.

use super::{
    place::Place,
    shop::{APP, BAD, CHANNEL, GOOD, SHIPPED},
    voice::Voice,
};
use crate::admin::URL_FILE;

/// What to do next, when everything goes on.
pub(super) fn stay(voice: &Voice, place: &Place, url: &str) -> anyhow::Result<()> {
    let program = std::env::args_os().next().unwrap_or_else(|| "sluice".into());
    let (program, data) = (program.display(), place.path().display());
    let (repository, log) = (place.repository(), place.log());
    let (repository, log) = (repository.display(), log.display());
    let people = std::fs::read_to_string(place.path().join(URL_FILE))?;
    voice.plainly(&format!(
        "\nIt goes on like this until Ctrl-C: phones at {url}, people at {}. In another terminal:\n\n\
         \x20 {program} status --data {data}\n\
         \x20 {program} decisions --app {APP} --data {data}\n\
         \x20 {program} explain --app {APP} --platform android --native {SHIPPED} --data {data}\n\
         \x20 {program} report --app {APP} --data {data}\n\
         \x20 git clone {repository}\n\n\
         To release, commit a file like `releases/{GOOD}.yaml` with its bundle, change `release` in `{CHANNEL}`, and push. \
         The phones like every version but {BAD}. The server writes its log to {log}.",
        people.trim(),
    ))
}

/// What to do next, when everything is removed.
pub(super) fn part(voice: &Voice) -> anyhow::Result<()> {
    voice.plainly(
        "\nTry next: `sluice demo --keep` leaves all of this running, to look around in and to release to. `sluice serve` does \
         the same for your own repository and real phones: README.md shows how in three steps, docs/rollouts.md what a \
         rollout can wait for and what stops it, and docs/kubernetes.md how it runs in a cluster.",
    )
}

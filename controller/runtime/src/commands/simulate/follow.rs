//! How far the rollout is, asked of the server while a fleet runs.

use std::time::Duration;

use sluice_core::{
    cohort::ALL,
    rollout::Phase,
    status::{ChannelStatus, LineStatus, Status},
    suggest::unknown,
};
use sluice_simulate::Said;
use tokio::sync::watch;

use super::SimulateArgs;
use crate::{
    admin::{Admin, Refused},
    args::AdminArgs,
    commands::{connect::ClusterArgs, wait::is_unread},
};

/// Between two questions.
const LOOK: Duration = Duration::from_secs(1);

/// Asks, or does not, when nobody said where.
pub(crate) struct Follow {
    admin: Option<Admin>,
    app: String,
    channel: Option<String>,
}

impl Follow {
    pub(crate) fn new(args: &SimulateArgs) -> anyhow::Result<Self> {
        let asked = args.admin.data.is_some() || args.admin.admin_url.is_some();
        let place = || AdminArgs { server: args.admin.clone(), cluster: ClusterArgs::default() };
        let admin = asked.then(|| Admin::new(&place())).transpose()?;
        Ok(Self { admin, app: args.app.clone(), channel: args.channel.clone() })
    }

    /// Fails when the server has no such app or channel. One that does not answer, or has read nothing yet, is asked again
    /// while the fleet runs.
    pub(crate) async fn check(&self) -> Result<(), Refused> {
        let Self { admin: Some(admin), app, channel } = self else { return Ok(()) };
        match admin.get::<Status>("/api/v1/status").await {
            Ok(status) if !is_unread(&status) => known(&status, app, channel.as_deref()),
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::debug!(%error, "the server does not say what it has");
                Ok(())
            }
        }
    }

    /// Goes on asking for as long as the runtime lives.
    pub(crate) fn start(self) -> watch::Receiver<Option<Said>> {
        let (tell, said) = watch::channel(None);
        let Self { admin: Some(admin), app, channel } = self else { return said };
        tokio::spawn(async move {
            while !tell.is_closed() {
                match admin.get::<Status>("/api/v1/status").await {
                    Ok(status) => drop(tell.send(of(&status, &app, channel.as_deref()))),
                    Err(error) => tracing::debug!(%error, "the server does not say how far its rollout is"),
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        said
    }
}

fn known(status: &Status, app: &str, channel: Option<&str>) -> Result<(), Refused> {
    let apps = || status.channels.iter().map(|channel| channel.app.as_str());
    if apps().all(|known| known != app) {
        return Err(Refused(unknown("app", app, None, apps())));
    }
    let Some(channel) = channel else { return Ok(()) };
    let of_app = status.channels.iter().filter(|channel| channel.app.as_str() == app);
    let channels = of_app.map(|channel| channel.channel.as_str());
    if channels.clone().all(|known| known != channel) {
        return Err(Refused(unknown("channel", channel, Some(app), channels)));
    }
    Ok(())
}

/// What the status says of the channel that the phones ask for; of the first of the app, if they ask for none.
fn of(status: &Status, app: &str, channel: Option<&str>) -> Option<Said> {
    let is = |c: &&ChannelStatus| {
        c.app.as_str() == app && channel.is_none_or(|channel| c.channel.as_str() == channel)
    };
    let channel = status.channels.iter().map(AsRef::as_ref).find(is)?;
    let LineStatus { wanted, served, rollout, .. } = channel.lines.first()?;
    let wanted_name = wanted.to_string();
    Some(match rollout {
        Some(progress) => Said {
            wanted: wanted_name,
            share: if progress.phase == Phase::Braked {
                0.0
            } else {
                f64::from(progress.weight) / f64::from(ALL)
            },
            phase: progress.phase.reason().to_owned(),
            message: progress.message.clone(),
        },
        None if served.as_ref() == Some(wanted) => Said {
            wanted: wanted_name,
            share: 1.0,
            phase: Phase::Completed.reason().to_owned(),
            message: "everybody is offered it".to_owned(),
        },
        None => Said {
            wanted: wanted_name,
            share: 0.0,
            phase: Phase::Preparing.reason().to_owned(),
            message: channel.conditions.first().map(|ready| ready.message.clone()).unwrap_or_default(),
        },
    })
}

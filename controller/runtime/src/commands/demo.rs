//! `sluice demo`: a repository, the server and a fleet of phones in one process and one folder; a bad release, and how it is
//! stopped and taken back. For people who have never seen that.

mod after;
mod asked;
mod place;
mod shop;
mod story;
mod voice;
mod words;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use sluice_simulate::{Live, Sample, Totals};
use tokio::{
    sync::{oneshot, watch},
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::{config::ServeConfig, exit, process, telemetry, wiring};
use place::Place;
use story::Story;
use voice::{Bar, Voice};

/// The arguments of `sluice demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Go on until Ctrl-C: the server, the repository and the phones stay to be played with, and the folder is left
    #[arg(long)]
    keep: bool,
    /// Folder to work in, new or empty, which is left [default: a temporary one, which is removed]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// As no-color.org says
    #[arg(long, env = "NO_COLOR", hide = true)]
    no_color: Option<String>,
}

/// Tells the story, and removes what it made.
pub(crate) fn run(args: &DemoArgs) -> anyhow::Result<u8> {
    let mut place = Place::make(args.data.as_deref())?;
    telemetry::start_in(place.make_log()?, EnvFilter::try_new("info")?);
    let config = place.config()?;
    let voice = Voice::new(args.no_color.as_ref().is_some_and(|text| !text.is_empty()));
    let told =
        process::until_stopped(async |stop| Box::pin(play(args.keep, &place, config, &voice, stop)).await);
    voice.end();
    let told = told.with_context(|| {
        place.leave();
        format!("the demonstration broke off; what its server says of that is in {}", place.log().display())
    })?;
    if args.keep {
        place.leave();
        voice.plainly(&format!("\nStopped. What was made is left in {}.", place.path().display()))?;
    } else if !told {
        voice.plainly("Stopped before the end.")?;
    }
    place.remove()?;
    Ok(if told { exit::OK } else { exit::FAILED })
}

/// Whether the story was told to its end, and not stopped before.
async fn play(
    keep: bool,
    place: &Place,
    config: ServeConfig,
    voice: &Voice,
    stop: CancellationToken,
) -> anyhow::Result<bool> {
    let down = stop.child_token();
    let mut cast = Cast { parts: JoinSet::new(), stop, down };
    let told = act(keep, place, config, voice, &mut cast).await;
    cast.end().await;
    told
}

async fn act(
    keep: bool,
    place: &Place,
    config: ServeConfig,
    voice: &Voice,
    cast: &mut Cast,
) -> anyhow::Result<bool> {
    let story = Story::begin(place, voice)?;
    let (tell, told) = oneshot::channel();
    cast.parts.spawn(wiring::serve_and_tell(config, cast.down.clone(), tell));
    let answers = async {
        // A server that ends says why itself.
        let Ok(url) = told.await else { return std::future::pending().await };
        story.serve(place, &url).await?;
        Ok(url)
    };
    let Some(url) = cast.during(answers).await? else { return Ok(false) };
    let (count, counted) = watch::channel(Totals::default());
    let (phones, fleet) = (place::phones(&url)?, Fleet { count, bar: voice.bar() });
    let down = cast.down.clone();
    cast.parts.spawn(async move {
        sluice_simulate::run(phones, fleet, watch::channel(None).1, down).await?;
        Ok(())
    });
    let told = cast.during(story.tell(place, counted)).await?.is_some();
    if told && keep {
        after::stay(voice, place, &url)?;
        cast.during(std::future::pending::<anyhow::Result<()>>()).await?;
    } else if told {
        after::part(voice)?;
    }
    Ok(told)
}

/// Whoever is at work while the story is told.
struct Cast {
    parts: JoinSet<anyhow::Result<()>>,
    /// Somebody has had enough.
    stop: CancellationToken,
    /// It is over.
    down: CancellationToken,
}

impl Cast {
    /// Does something for as long as all are at work; nothing when it is stopped meanwhile.
    async fn during<T>(
        &mut self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<Option<T>> {
        let done = tokio::select! {
            () = self.stop.cancelled() => Ok(None),
            done = work => done.map(Some),
            Some(ended) = self.parts.join_next() => Err(why(ended)),
        };
        // Whoever ends because it is stopped is no failure.
        done.or_else(|error| if self.stop.is_cancelled() { Ok(None) } else { Err(error) })
    }

    /// Ends everybody's work.
    async fn end(mut self) {
        self.down.cancel();
        while let Some(ended) = self.parts.join_next().await {
            if !matches!(ended, Ok(Ok(()))) {
                tracing::warn!(error = %why(ended), "a part did not end well");
            }
        }
    }
}

/// Why a part ended that should not.
fn why(ended: Result<anyhow::Result<()>, JoinError>) -> anyhow::Error {
    match ended {
        Ok(Ok(())) => anyhow::anyhow!("the server or the fleet of phones ended early"),
        Ok(Err(error)) => error,
        Err(error) => error.into(),
    }
}

/// Passes on what the phones did.
struct Fleet {
    count: watch::Sender<Totals>,
    bar: Option<Bar>,
}

impl Live for Fleet {
    fn sample(&mut self, sample: &Sample) {
        if let Some(bar) = &self.bar {
            bar.show(&sample.totals);
        }
        // At the end nobody looks any more.
        let _ = self.count.send(sample.totals.clone());
    }
}

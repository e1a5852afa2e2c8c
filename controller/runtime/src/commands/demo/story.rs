//! The story, act by act. What it tells is what the server, the repository and the phones say.

use std::time::{Duration, Instant};

use anyhow::bail;
use jiff::Timestamp;
use sluice_core::{
    decisions::percent,
    gate::{Numbers, Reason},
    rollback::{Phase, Rollback},
};
use sluice_repo::{Bare, Edit, Identity, Reader};
use sluice_simulate::{Totals, count};

use super::{
    asked::{self, Phones, fresh, is, until, wait},
    place::{PHONES, Place},
    shop::{self, BAD, CHANNEL, GOOD, SHIPPED},
    voice::Voice,
    words::{log_entry, many},
};
use crate::admin::Admin;

/// Share of the phones that must have the good release before the bad one comes; the others are switched off.
const MOST: f64 = 0.97;
/// Time to read what was told before the next thing happens.
const READING: Duration = Duration::from_secs(4);
/// Time after which it is told what is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
const BRANCH: &str = "main";

/// The story, once its repository is there.
pub(super) struct Story<'a> {
    voice: &'a Voice,
    repository: Bare,
}

impl<'a> Story<'a> {
    /// The repository gets its first release.
    pub(super) fn begin(place: &Place, voice: &'a Voice) -> anyhow::Result<Self> {
        voice.plainly(&format!(
            "A minute with Sluice. It brings new web builds to apps on phones, from a Git repository: what is merged goes to a \
             few phones first, and is taken back when they do badly. Everything here but the phones is real, and stays in {}.\n\n",
            place.path().display()
        ))?;
        let story = Self { voice, repository: Bare::create(place.repository(), BRANCH)? };
        voice.say(&format!(
            "Rosa makes a shop app. Phones got version {SHIPPED} from the app store, and get what comes after it from Sluice. \
             Rosa commits release {GOOD} to a Git repository:"
        ))?;
        let edits = [shop::release(GOOD), vec![shop::channel(GOOD, shop::AT_ONCE)]].concat();
        let commit = story.commit(&edits, &format!("Release {GOOD}"))?;
        voice.show(&format!("{} Release {GOOD}", &commit[..7]))?;
        Ok(story)
    }

    /// The server follows the repository.
    pub(super) async fn serve(&self, place: &Place, url: &str) -> anyhow::Result<()> {
        let admin = asked::admin(place)?;
        until(&format!("{GOOD} is served"), async || {
            let line = asked::line(&admin).await?;
            Ok(line.filter(|line| line.served.as_ref().is_some_and(|served| is(served, GOOD))))
        })
        .await?;
        tokio::time::sleep(READING).await;
        self.voice.say(&format!(
            "Sluice follows the repository, has packed {GOOD}, and serves it at {url}. {} phones begin to ask it for updates; \
             a day of theirs takes a minute.",
            many(u64::from(PHONES))
        ))
    }

    /// The release that does well, and the one that does not.
    pub(super) async fn tell(&self, place: &Place, mut phones: Phones) -> anyhow::Result<()> {
        let admin = asked::admin(place)?;
        self.known(&admin, &mut phones).await?;
        self.release().await?;
        let merged = Instant::now();
        let started = self.started(&admin).await?;
        let rollback = self.braked(&admin, place, started, &mut phones).await?;
        self.reverted(&admin, &rollback).await?;
        self.returned(&mut phones, merged).await
    }

    async fn known(&self, admin: &Admin, phones: &mut Phones) -> anyhow::Result<()> {
        let all = f64::from(PHONES);
        let running = |totals: &Totals| count(&totals.running, GOOD);
        let half = wait(phones, |totals| running(totals) as f64 >= all / 2.0).await?;
        self.voice.say(&format!("{} phones run {GOOD}.", many(running(&half))))?;
        let most = wait(phones, |totals| running(totals) as f64 >= all * MOST).await?;
        self.voice.say(&format!(
            "{} of {} run it; the others are switched off. From now on, writes Rosa, a release goes to 20 % of the phones \
             first, then to 50 %, then to everybody:",
            many(running(&most)),
            many(u64::from(PHONES))
        ))?;
        let subject = "Release in steps";
        let commit = self.commit(&[shop::channel(GOOD, shop::IN_STEPS)], subject)?;
        self.voice.show(&format!("{} {subject}", &commit[..7]))?;
        until("the steps are known", async || {
            Ok(asked::applied(admin).await?.filter(|applied| *applied == commit))
        })
        .await
        .map(drop)
    }

    async fn release(&self) -> anyhow::Result<()> {
        tokio::time::sleep(READING).await;
        self.voice.say(&format!(
            "Rosa releases {BAD}. It has a mistake that no test has found: 9 of 10 phones cannot start it."
        ))?;
        let edits = [shop::release(BAD), vec![shop::channel(BAD, shop::IN_STEPS)]].concat();
        let commit = self.commit(&edits, &format!("Release {BAD}"))?;
        let short = &commit[..7];
        self.voice.show(&format!("{short} Release {BAD}\n{CHANNEL}:\n-  release: {GOOD}\n+  release: {BAD}"))
    }

    /// When the bad release began.
    async fn started(&self, admin: &Admin) -> anyhow::Result<Timestamp> {
        let offered = async || asked::started(admin).await;
        let (at, weight) = until(&format!("{BAD} is offered to the first phones"), offered).await?;
        self.voice.say(&format!(
            "Sluice offers {BAD} to {} of the phones, and compares how they do with others that it leaves on {GOOD}.",
            percent(weight)
        ))?;
        Ok(at)
    }

    async fn braked(
        &self,
        admin: &Admin,
        place: &Place,
        started: Timestamp,
        phones: &mut Phones,
    ) -> anyhow::Result<Rollback> {
        let rollback = until(&format!("{BAD} is stopped"), async || asked::rollback(admin).await).await?;
        let Numbers { launch, treatment, control, .. } = asked::numbers(place, &rollback).await?;
        // What it compared, or else how many could not start it at all.
        let compared = rollback.why.starts_with(Reason::WorseThanControl.reason());
        let (failed, seen) =
            if compared { (treatment.health, treatment.enrolled) } else { (launch.failed, launch.seen) };
        let took = rollback.at.duration_since(started).as_secs_f64();
        self.voice.alarm(&format!(
            "Sluice stops {BAD}, {took:.1} s after its first offer. The evidence: {failed} of {seen} phones with {BAD} had failed, and \
             {} of {} that it had left on {GOOD}.",
            if control.health == 0 { "none".to_owned() } else { control.health.to_string() },
            many(control.enrolled.into()),
        ))?;
        let totals = fresh(phones).await?;
        let stay = match count(&totals.running, BAD) {
            0 => format!("The phones themselves went back to {GOOD} when it did not start."),
            n => {
                let run = match n {
                    1 => format!("one runs it, and gets {GOOD} when it asks next"),
                    n => format!("{} run it, and get {GOOD} when they ask next", many(n)),
                };
                format!("Where it did not start the phones themselves went back to {GOOD}; {run}.")
            }
        };
        self.voice.say(&format!(
            "Nobody is offered {BAD} any more; {} of {} phones were. {stay}",
            many(count(&totals.offered, BAD)),
            many(u64::from(PHONES)),
        ))?;
        Ok(rollback)
    }

    async fn reverted(&self, admin: &Admin, opened: &Rollback) -> anyhow::Result<()> {
        let done = until("Git is told", async || {
            let now = asked::rollback(admin).await?.filter(|now| now.id == opened.id);
            Ok(now.filter(|now| now.phase.is_end()))
        })
        .await?;
        if done.phase != Phase::Complete {
            let why = done.log.last().map_or("", |entry| entry.message.as_str());
            bail!("the rollback ended as {}: {why}", done.phase.reason());
        }
        self.voice.say(&format!(
            "What Git says is what everybody gets, so Sluice takes {BAD} back there, too, by one commit that says why:"
        ))?;
        let (reader, _) = Reader::discover(self.repository.path())?;
        let entry = log_entry(&reader.commit(reader.resolve(BRANCH)?)?);
        self.voice.show(&format!("$ git log -1\n{entry}\n"))
    }

    async fn returned(&self, phones: &mut Phones, merged: Instant) -> anyhow::Result<()> {
        let back = |totals: &Totals| count(&totals.running, BAD) == 0;
        loop {
            if let Ok(found) = tokio::time::timeout(PATIENCE, wait(phones, back)).await {
                found?;
                // What was downloaded before the brake may be started a moment later.
                if back(&fresh(phones).await?) {
                    break;
                }
                continue;
            }
            match count(&phones.borrow().running, BAD) {
                0 => {}
                1 => self.voice.say(&format!("One of them was not opened since, and still runs {BAD}."))?,
                n => self.voice.say(&format!("{n} of them were not opened since, and still run {BAD}."))?,
            }
        }
        let totals = phones.borrow().clone();
        let (offered, failed) = (count(&totals.offered, BAD), count(&totals.launch_failed, BAD));
        let good = count(&totals.running, GOOD);
        let off = u64::from(PHONES).saturating_sub(good);
        let others = if off == 0 { String::new() } else { format!(" ({off} are still switched off)") };
        let rest = if failed < offered { "; Sluice sent the rest back" } else { "" };
        self.voice.cheer(&format!(
            "Everybody is back: {} of {} phones run {GOOD}{others}, and none runs {BAD}. Of the {} that had been offered it {} \
             could not start it{rest}. All that took {} s from the merge, and nobody did anything.",
            many(good),
            many(u64::from(PHONES)),
            many(offered),
            many(failed),
            merged.elapsed().as_secs(),
        ))
    }

    /// Commits as Rosa does, and gives the id.
    fn commit(&self, edits: &[Edit], subject: &str) -> anyhow::Result<String> {
        let rosa = Identity { name: "Rosa".to_owned(), email: "rosa@example.com".to_owned() };
        let now = Timestamp::now().as_second();
        Ok(self.repository.commit(edits, &rosa, now, &format!("{subject}\n"))?.to_string())
    }
}

//! The fleet at work: phones wait for their time in a queue, and so many at once as there are connections have a session.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rand::{Rng, SeedableRng as _, rngs::SmallRng};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    phone::{Act, Change, Phone, Report},
    report::Report as Outcome,
    server::{Answer, Server},
    settings::Settings,
    tally::{Said, Sample, Tally},
};

/// Between two samples.
const SAMPLE: Duration = Duration::from_secs(1);

/// Where invented devices come from: one machine that somebody rents (an address of documentation, RFC 5737).
const FORGERS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);

/// Told once a second while the fleet runs.
pub trait Live: Send {
    /// How it stands.
    fn sample(&mut self, sample: &Sample);
}

/// A phone's number, and the simulated milliseconds at which its time comes.
type Due = Reverse<(u64, u32)>;

struct World {
    settings: Settings,
    server: Server,
    phones: Vec<Mutex<Phone>>,
    tally: Tally,
    began: Instant,
}

/// Runs a fleet until its time is over or `stop` is cancelled, and tells what happened. `said` holds what the server says
/// of its rollout, when somebody asks it.
pub async fn run(
    settings: Settings,
    mut live: impl Live,
    said: watch::Receiver<Option<Said>>,
    stop: CancellationToken,
) -> Result<Outcome, reqwest::Error> {
    let server = Server::new(&settings.server, settings.connections)?;
    let phones = (0..settings.phones).map(|number| Mutex::new(Phone::new(&settings, number))).collect();
    let tally = Tally::new(settings.phones);
    let world = Arc::new(World { server, phones, tally, began: Instant::now(), settings });

    let (ready, waiting) = mpsc::channel::<Due>(world.settings.connections * 2);
    let waiting = Arc::new(tokio::sync::Mutex::new(waiting));
    let (again, mut queue) = mpsc::unbounded_channel::<Due>();
    let mut at_work = JoinSet::new();
    for _ in 0..world.settings.connections {
        let (world, waiting, again) = (Arc::clone(&world), Arc::clone(&waiting), again.clone());
        at_work.spawn(async move {
            loop {
                let due = waiting.lock().await.recv().await;
                let Some(Reverse((at, number))) = due else { return };
                let next = world.turn(at, number).await;
                if again.send(Reverse((next, number))).is_err() {
                    return;
                }
            }
        });
    }
    for forger in 0..world.settings.forgers {
        let world = Arc::clone(&world);
        at_work.spawn(async move { world.forge(forger).await });
    }

    let mut dues = first(&world.settings);
    let mut samples = Vec::new();
    let mut ticks = tokio::time::interval(SAMPLE);
    let end = world.began + world.settings.time;
    loop {
        let soonest = dues.peek().map_or(end, |Reverse((at, _))| world.real(*at));
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = tokio::time::sleep_until(end.into()) => break,
            _ = ticks.tick() => {
                let sample = world.sample(&said);
                live.sample(&sample);
                samples.push(sample);
            }
            Some(due) = queue.recv() => dues.push(due),
            room = ready.reserve(), if soonest <= Instant::now() => {
                if let (Ok(room), Some(due)) = (room, dues.pop()) {
                    world.tally.note(|totals| totals.behind = world.late(due.0.0));
                    room.send(due);
                }
            }
            () = tokio::time::sleep_until(soonest.into()), if soonest > Instant::now() => {}
        }
    }
    // Who is in the middle of a session ends it, so that nothing that was sent is uncounted.
    drop(ready);
    let forgers = usize::try_from(world.settings.forgers).unwrap_or(usize::MAX);
    while at_work.len() > forgers && at_work.join_next().await.is_some() {}
    at_work.abort_all();
    let sample = world.sample(&said);
    live.sample(&sample);
    samples.push(sample);
    Ok(Outcome { settings: world.settings.clone(), samples })
}

/// When each phone asks for the first time: all within the warm-up.
fn first(settings: &Settings) -> BinaryHeap<Due> {
    let mut random = SmallRng::seed_from_u64(settings.seed);
    let warm_up = settings.warm_up.as_secs_f64() * settings.speed * 1_000.0;
    (0..settings.phones).map(|number| Reverse((whole(warm_up * random.random::<f64>()), number))).collect()
}

impl World {
    fn sample(&self, said: &watch::Receiver<Option<Said>>) -> Sample {
        let at = self.began.elapsed().as_secs_f64();
        Sample { at, totals: self.tally.totals(), said: said.borrow().clone() }
    }

    /// One turn of a phone; when its next one is, in simulated milliseconds.
    async fn turn(&self, at: u64, number: u32) -> u64 {
        let Some(phone) = self.phones.get(number as usize) else { return u64::MAX };
        let mut changes = Vec::new();
        let act = lock(phone).act(&self.settings, self.incident(), clock(), &mut changes);
        match act {
            Act::Nothing => {}
            Act::Report(reports) => self.report(phone, reports).await,
            Act::Ask { check, reports } => {
                self.report(phone, reports).await;
                let from = lock(phone).address();
                match self.server.ask(from, &check).await {
                    None => self.tally.note(|totals| totals.unanswered += 1),
                    Some(Answer { body, took }) => self.answered(phone, &body, took, &mut changes).await,
                }
            }
        }
        self.tally.changed(changes);
        let now = at as f64 / 1_000.0;
        at.saturating_add(whole(lock(phone).pause(now) * 1_000.0).max(1))
    }

    async fn answered(&self, phone: &Mutex<Phone>, body: &Value, took: Duration, changes: &mut Vec<Change>) {
        let offered = lock(phone).answered(body);
        let without_channel = body["error"] == "no_channel";
        self.tally.answered(took, offered.map(|(version, _)| version), without_channel);
        let Some((version, url)) = offered else { return };
        let really = rand::random::<f64>() < self.settings.downloads;
        if really {
            match self.server.download(url).await {
                Some(bytes) => self.tally.note(|totals| totals.bytes += bytes),
                // The next check tries again.
                None => return,
            }
        }
        let reports = lock(phone).downloaded(&self.settings, version, clock(), changes);
        self.report(phone, reports).await;
    }

    async fn report(&self, phone: &Mutex<Phone>, reports: Vec<Report>) {
        let from = lock(phone).address();
        for report in reports {
            let taken = self.server.report(from, &report.body).await;
            self.tally.reported(taken, lock(phone).reported(&report.body, taken));
            if !taken {
                lock(phone).unanswered(report);
            }
        }
    }

    /// An invented device after the other: each asks, and says that what it is offered does not start.
    async fn forge(&self, forger: u32) {
        let mut random = SmallRng::seed_from_u64(self.settings.seed ^ (u64::from(forger) << 32));
        // Who forges waits until there is something to forge about.
        tokio::time::sleep(self.settings.warm_up).await;
        loop {
            let id = uuid::Builder::from_random_bytes(random.random()).into_uuid();
            let check = invented(&self.settings, id);
            if let Some(answer) = self.server.ask(FORGERS, &Value::Object(check.clone())).await
                && let Some(version) = answer.body["version"].as_str()
                && answer.body.get("error").is_none()
            {
                let mut event = check;
                event.insert("action".into(), json!("update_fail"));
                event.insert("version_name".into(), json!(version));
                self.server.report(FORGERS, &Value::Array(vec![Value::Object(event)])).await;
                self.tally.note(|totals| totals.forged += 1);
            }
            tokio::time::sleep(Duration::from_millis(random.random_range(20..200))).await;
        }
    }

    /// The chance of a crash that every session has now.
    fn incident(&self) -> f64 {
        let now = self.began.elapsed();
        let running = self.settings.incidents.iter().filter(|i| i.from <= now && now < i.from + i.time);
        running.map(|incident| incident.crash).fold(0.0, f64::max)
    }

    /// The moment at which a simulated time comes.
    fn real(&self, at: u64) -> Instant {
        self.began + Duration::from_secs_f64(at as f64 / 1_000.0 / self.settings.speed)
    }

    /// Simulated seconds by which a turn is late.
    fn late(&self, at: u64) -> f64 {
        Instant::now().saturating_duration_since(self.real(at)).as_secs_f64() * self.settings.speed
    }
}

fn invented(settings: &Settings, id: Uuid) -> serde_json::Map<String, Value> {
    let about = json!({
        "platform": "android", "device_id": id, "app_id": settings.app, "custom_id": "",
        "version_build": settings.native.first(), "version_code": "1", "version_os": "14",
        "version_name": settings.native.first(), "plugin_version": "8.51.23", "is_emulator": false, "is_prod": true,
        "defaultChannel": settings.channel.as_ref().map_or("", |channel| channel.as_str()),
    });
    match about {
        Value::Object(about) => about,
        _ => serde_json::Map::new(),
    }
}

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the phones' own clocks, which stand at the edge")]
fn clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and a time is not negative"
)]
fn whole(milliseconds: f64) -> u64 {
    milliseconds as u64
}

fn lock(phone: &Mutex<Phone>) -> MutexGuard<'_, Phone> {
    phone.lock().unwrap_or_else(PoisonError::into_inner)
}

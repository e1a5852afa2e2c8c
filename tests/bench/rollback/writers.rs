//! Others who push to the same branch: real clones, real pushes, each thinking in between.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use crate::shop::Shop;

/// Writers at work.
pub struct Writers {
    stop: Arc<AtomicBool>,
    /// Each returns the subjects of the commits that it pushed.
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Writers {
    /// `count` of them, each thinking for so many milliseconds between two pushes.
    pub fn start(shop: &Shop, count: usize, thinks: Range<u64>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let first = shop.path("writer");
        git(&shop.path(""), &["clone", "-q", &shop.http.url().to_string(), &first.display().to_string()]);
        let threads = (0..count).map(|number| {
            let clone = shop.path(&format!("writer-{number}"));
            copy(&first, &clone);
            let (stop, thinks) = (Arc::clone(&stop), thinks.clone());
            std::thread::spawn(move || write(number, &clone, &thinks, &stop))
        });
        let threads = threads.collect();
        Self { stop, threads }
    }

    /// Ends them. How many commits they pushed, and how many of these the branch does not have.
    pub fn stop(self, shop: &Shop) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let pushed: Vec<String> =
            self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let log = shop.git(&["log", "--format=%s", "main"]);
        let there: std::collections::HashSet<&str> = log.lines().collect();
        (pushed.len(), pushed.iter().filter(|subject| !there.contains(subject.as_str())).count())
    }
}

fn write(number: usize, clone: &Path, thinks: &Range<u64>, stop: &AtomicBool) -> Vec<String> {
    let mut random = SmallRng::seed_from_u64(number as u64);
    let mut pushed = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(random.random_range(thinks.clone())));
        let subject = format!("Note {} of writer {number}", pushed.len());
        std::fs::create_dir_all(clone.join("notes")).unwrap();
        std::fs::write(clone.join(format!("notes/writer-{number}.txt")), &subject).unwrap();
        git(clone, &["add", "notes"]);
        git(clone, &["commit", "-q", "-m", &subject]);
        while !git(clone, &["push", "-q", "origin", "HEAD:main"]) {
            git(clone, &["pull", "-q", "--rebase", "origin", "main"]);
        }
        pushed.push(subject);
    }
    pushed
}

fn git(folder: &Path, arguments: &[&str]) -> bool {
    let identity = ["-c", "user.name=Writer", "-c", "user.email=writer@example.org"];
    let output = Command::new("git").args(identity).args(arguments).current_dir(folder).output().unwrap();
    output.status.success()
}

fn copy(from: &Path, to: &PathBuf) {
    assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
}

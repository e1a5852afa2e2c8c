//! How the story is told: lines with the time that has passed; on a terminal with colours, and a bar of the phones below.

use std::{io::IsTerminal as _, time::Instant};

use indicatif::{ProgressBar, ProgressStyle};
use sluice_simulate::{Totals, count};

use super::{
    place::PHONES,
    shop::{BAD, GOOD},
    words::{many, wrapped},
};
use crate::commands::print;

/// Where text begins that follows a time.
const INDENT: usize = 6;
const RED: &str = "\x1b[1;31m";
const GREEN: &str = "\x1b[1;32m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

/// Who tells.
pub(super) struct Voice {
    began: Instant,
    bar: Option<Bar>,
}

impl Voice {
    /// `plain`: without colours and movement also on a terminal.
    pub(super) fn new(plain: bool) -> Self {
        let lively = !plain && std::io::stdout().is_terminal();
        Self { began: Instant::now(), bar: lively.then(Bar::new) }
    }

    /// The bar, where there is one.
    pub(super) fn bar(&self) -> Option<Bar> {
        self.bar.clone()
    }

    /// Something happens.
    pub(super) fn say(&self, text: &str) -> anyhow::Result<()> {
        self.paragraph(text, "")
    }

    /// Something bad.
    pub(super) fn alarm(&self, text: &str) -> anyhow::Result<()> {
        self.paragraph(text, RED)
    }

    /// Something good.
    pub(super) fn cheer(&self, text: &str) -> anyhow::Result<()> {
        self.paragraph(text, GREEN)
    }

    /// Lines as they are, below what was said.
    pub(super) fn show(&self, text: &str) -> anyhow::Result<()> {
        let (dim, reset) = if self.bar.is_some() { (DIM, RESET) } else { ("", "") };
        let mut shown = String::new();
        for line in text.lines().flat_map(|line| wrapped(line, INDENT + 2)) {
            let blank = if line.is_empty() { "" } else { "        " };
            shown.push_str(&format!("{blank}{dim}{line}{reset}\n"));
        }
        self.put(&shown)
    }

    /// Lines without a time. Those that are indented are for copying, and stay whole.
    pub(super) fn plainly(&self, text: &str) -> anyhow::Result<()> {
        let whole = |line: &str| vec![line.to_owned()];
        let lines =
            text.lines().flat_map(|line| if line.starts_with(' ') { whole(line) } else { wrapped(line, 0) });
        self.put(&lines.map(|line| line + "\n").collect::<String>())
    }

    /// No bar any more.
    pub(super) fn end(&self) {
        if let Some(Bar(bar)) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn paragraph(&self, text: &str, colour: &str) -> anyhow::Result<()> {
        let passed = self.began.elapsed().as_secs();
        let time = format!("{:>2}:{:02}", passed / 60, passed % 60);
        let (dim, reset) = if self.bar.is_some() { (DIM, RESET) } else { ("", "") };
        let colour = if self.bar.is_some() { colour } else { "" };
        let mut told = String::new();
        for (number, line) in wrapped(text, INDENT).into_iter().enumerate() {
            let head = if number == 0 { format!("{dim}{time}{reset}") } else { " ".repeat(time.len()) };
            told.push_str(&format!("{head} {colour}{line}{}\n", if colour.is_empty() { "" } else { reset }));
        }
        self.put(&told)
    }

    fn put(&self, text: &str) -> anyhow::Result<()> {
        match &self.bar {
            Some(Bar(bar)) => bar.suspend(|| print(text)),
            None => print(text),
        }
    }
}

/// The phones, by what they run.
#[derive(Clone)]
pub(super) struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::new(u64::from(PHONES));
        // The template is a constant.
        let style = ProgressStyle::with_template("      {bar:30} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self(bar)
    }

    /// How it stands.
    pub(super) fn show(&self, totals: &Totals) {
        let (good, bad) = (count(&totals.running, GOOD), count(&totals.running, BAD));
        let failed = count(&totals.launch_failed, BAD);
        self.0.set_position(good);
        let mut text = format!("{} of {} phones run {GOOD}", many(good), many(u64::from(PHONES)));
        if bad + failed > 0 {
            text.push_str(&format!("; {BAD} runs on {bad}, and did not start on {failed}"));
        }
        self.0.set_message(text);
    }
}

//! What came out: tables with ratios, a plot, and every figure for later.

mod plot;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use crate::peers::Peer;
use crate::statistics::{bounds, median};
use crate::workload::{Better, Workload};

/// What one measurement found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    /// In the unit of the workload.
    pub(crate) value: f64,
    /// The proxy's CPU time per unit of work.
    pub(crate) cpu: Option<f64>,
    /// Microseconds.
    pub(crate) p99: Option<f64>,
}

/// All figures of a run.
pub(crate) struct Report {
    threads: usize,
    versions: Vec<(Peer, String)>,
    /// By workload and peer, then by round.
    figures: BTreeMap<(Workload, Peer), BTreeMap<usize, Figure>>,
    failures: BTreeMap<(Workload, Peer), usize>,
}

impl Report {
    /// Of a run with these peers.
    pub(crate) fn new(threads: usize, versions: impl Iterator<Item = (Peer, String)>) -> Self {
        let (figures, failures) = Default::default();
        Self { threads, versions: versions.collect(), figures, failures }
    }

    /// Adds a figure.
    pub(crate) fn add(&mut self, round: usize, workload: Workload, peer: Peer, figure: Figure) {
        self.figures.entry((workload, peer)).or_default().insert(round, figure);
    }

    /// Notes that there is none.
    pub(crate) fn failed(&mut self, workload: Workload, peer: Peer) {
        *self.failures.entry((workload, peer)).or_default() += 1;
    }

    /// One table for each workload.
    pub(crate) fn tables(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "{} threads each. {}", self.threads, self.said());
        let workloads: BTreeSet<Workload> =
            self.figures.keys().map(|(workload, _)| *workload).collect();
        for workload in workloads {
            let (title, unit) = workload.title();
            let better = match workload.better() {
                Better::More => "more is better",
                Better::Less => "less is better",
            };
            let _ = write!(
                text,
                "\n**{title}** ({unit}; {better})\n\n| | median [min..max] | vipgate ÷ it [95 %] | {} | vipgate ÷ it \
                 [95 %] | p99 µs | failed |\n|---|---|---|---|---|---|---|\n",
                match workload.cpu_unit() {
                    "" => "CPU",
                    unit => unit,
                }
            );
            for (peer, _) in &self.versions {
                let Some(figures) = self.figures.get(&(workload, *peer)) else { continue };
                let of = |what: fn(&Figure) -> Option<f64>| -> Vec<f64> {
                    figures.values().filter_map(what).collect()
                };
                let values = of(|figure| Some(figure.value));
                let (cpu, p99) = (of(|figure| figure.cpu), of(|figure| figure.p99));
                let failed = self.failures.get(&(workload, *peer)).copied().unwrap_or(0);
                let _ = writeln!(
                    text,
                    "| {} | {} | {} | {} | {} | {} | {failed} |",
                    peer.name(),
                    spread(&values),
                    certain(&self.ratios(workload, *peer, |figure| Some(figure.value))),
                    if cpu.is_empty() { String::new() } else { number(median(&cpu)) },
                    certain(&self.ratios(workload, *peer, |figure| figure.cpu)),
                    if p99.is_empty() { String::new() } else { number(median(&p99)) },
                );
            }
        }
        text
    }

    /// vipgate's figure over a peer's, round by round.
    fn ratios(&self, workload: Workload, peer: Peer, of: fn(&Figure) -> Option<f64>) -> Vec<f64> {
        if peer == Peer::Vipgate {
            return Vec::new();
        }
        let get = |peer| self.figures.get(&(workload, peer));
        let (Some(ours), Some(theirs)) = (get(Peer::Vipgate), get(peer)) else { return Vec::new() };
        let pairs =
            ours.iter().filter_map(|(round, ours)| Some((of(ours)?, of(theirs.get(round)?)?)));
        pairs.filter(|(_, theirs)| *theirs > 0.0).map(|(ours, theirs)| ours / theirs).collect()
    }

    fn said(&self) -> String {
        let said = self.versions.iter().filter(|(peer, _)| peer.is_program());
        said.map(|(_, version)| version.as_str()).collect::<Vec<_>>().join("; ")
    }

    /// Tables and plots as they are now, and the figures behind those of earlier runs.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory)?;
        fs::write(directory.join("tables.md"), self.tables())?;
        fs::write(directory.join("ratios.svg"), plot::ratios(&self.median_ratios()))?;
        let history = directory.join("history.csv");
        let is_new = !history.exists();
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&history)?;
        if is_new {
            writeln!(
                file,
                "seconds_since_1970,threads,round,workload,peer,version,value,cpu,p99_us"
            )?;
        }
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().context("the clock")?.as_secs();
        for ((workload, peer), figures) in &self.figures {
            let version =
                self.versions.iter().find(|(one, _)| one == peer).map(|(_, v)| v.as_str());
            // What separates columns is in none of them.
            let version = version.unwrap_or_default().replace([',', '"'], " ");
            for (round, figure) in figures {
                let or_nothing =
                    |value: Option<f64>| value.map(|v| v.to_string()).unwrap_or_default();
                writeln!(
                    file,
                    "{now},{},{round},{workload:?},{peer:?},{version},{},{},{}",
                    self.threads,
                    figure.value,
                    or_nothing(figure.cpu),
                    or_nothing(figure.p99)
                )?;
            }
        }
        Ok(())
    }

    /// By workload: peers with the median of the ratio, above 1 where vipgate is better.
    fn median_ratios(&self) -> Vec<(&'static str, Vec<(&'static str, f64)>)> {
        let workloads: BTreeSet<Workload> =
            self.figures.keys().map(|(workload, _)| *workload).collect();
        let of = |workload: Workload| {
            let peers = self.versions.iter().map(|(peer, _)| *peer);
            let ratios = peers.filter_map(|peer| {
                let ratios = self.ratios(workload, peer, |figure| Some(figure.value));
                let ratio = median(&ratios);
                let ratio = if workload.better() == Better::More { ratio } else { 1.0 / ratio };
                ratio.is_finite().then_some((peer.name(), ratio))
            });
            (workload.title().0, ratios.collect())
        };
        workloads.into_iter().map(of).collect()
    }
}

fn spread(values: &[f64]) -> String {
    let (least, most) =
        values.iter().fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
    format!("{} [{}..{}]", number(median(values)), number(least), number(most))
}

fn certain(ratios: &[f64]) -> String {
    if ratios.is_empty() {
        return String::new();
    }
    match bounds(ratios) {
        Some((low, high)) => format!("{:.2} [{low:.2}..{high:.2}]", median(ratios)),
        None => format!("{:.2}", median(ratios)),
    }
}

/// With three digits that mean something.
fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

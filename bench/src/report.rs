//! What came out: tables with ratios, a plot, and every figure for later.

mod goals;
mod plot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use crate::peers::Peer;
use crate::statistics::{bounds, median};
use crate::workload::{Better, Workload};

use goals::{Against, Goal, Of};

/// What one measurement found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    /// In the unit of the workload.
    pub(crate) value: f64,
    /// The proxy's CPU time per unit of work.
    pub(crate) cpu: Option<f64>,
    /// Microseconds.
    pub(crate) p99: Option<f64>,
    /// Parts of a hundred of the datagrams; of what cannot be lost, none.
    pub(crate) lost: Option<f64>,
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

    /// One table for each workload, and one of the goals.
    pub(crate) fn tables(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "{} threads each. {}", self.threads, self.said());
        for workload in self.workloads() {
            self.table(&mut text, workload);
        }
        self.verdicts(&mut text);
        text
    }

    fn workloads(&self) -> BTreeSet<Workload> {
        self.figures.keys().chain(self.failures.keys()).map(|(workload, _)| *workload).collect()
    }

    fn table(&self, text: &mut String, workload: Workload) {
        let (unit, cpu) = (workload.measure().unit(), workload.measure().cpu_unit());
        let better = match workload.measure().better() {
            Better::More => "more is better",
            Better::Less => "less is better",
        };
        let _ = write!(
            text,
            "\n**{}** ({unit}; {better})\n\n| | median [min..max] | vipgate ÷ it [95 %] | {cpu} | vipgate ÷ it [95 %] | \
             p99 µs | lost % | failed |\n|---|---|---|---|---|---|---|---|\n",
            workload.title()
        );
        let peers = self.versions.iter().map(|(peer, _)| *peer);
        for peer in peers.filter(|peer| workload.is_for(*peer)) {
            let failed = self.failures.get(&(workload, peer)).copied().unwrap_or(0).to_string();
            let ratios = |of| {
                let other = (peer != Peer::Vipgate).then_some((workload, peer));
                other.map(|other| self.paired(workload, other, of)).unwrap_or_default()
            };
            self.row(text, peer.name(), (workload, peer), ratios, &failed);
        }
        // What it is to be equal to.
        if let Some(plain) = workload.without_tls() {
            let plain = (plain, Peer::Vipgate);
            let ratios = |of| self.paired(workload, plain, of);
            self.row(text, "vipgate, plain TCP", plain, ratios, "");
        }
    }

    fn row(
        &self,
        text: &mut String,
        name: &str,
        whose: (Workload, Peer),
        ratios: impl Fn(fn(&Figure) -> Option<f64>) -> Vec<f64>,
        failed: &str,
    ) {
        let figures: Vec<Figure> = self
            .figures
            .get(&whose)
            .into_iter()
            .flat_map(|rounds| rounds.values().copied())
            .collect();
        let of = |what: fn(&Figure) -> Option<f64>| -> Vec<f64> {
            figures.iter().filter_map(what).collect()
        };
        let middle = |values: Vec<f64>| {
            if values.is_empty() { String::new() } else { number(median(&values)) }
        };
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {} | {} | {} | {failed} |",
            spread(&of(Figure::value)),
            certain(&ratios(Figure::value)),
            middle(of(|figure| figure.cpu)),
            certain(&ratios(|figure| figure.cpu)),
            middle(of(|figure| figure.p99)),
            middle(of(|figure| figure.lost)),
        );
    }

    /// The goals that this run has something to say about.
    fn verdicts(&self, text: &mut String) {
        let _ = write!(
            text,
            "\n**Goals** (vipgate ÷ the other, in the same round; of at least {} pairs)\n\n\
             | | of | against | goal | ratio [95 %] | pairs | |\n|---|---|---|---|---|---|---|\n",
            goals::ROUNDS
        );
        for goal in goals::all() {
            let ratios = self.goal_ratios(&goal);
            if !ratios.is_empty() {
                let _ = writeln!(text, "{}", goal.line(&ratios, &certain(&ratios)));
            }
        }
    }

    /// What a goal is about, round by round.
    fn goal_ratios(&self, goal: &Goal) -> Vec<f64> {
        let of: fn(&Figure) -> Option<f64> = match goal.of {
            Of::Value | Of::Added => Figure::value,
            Of::Cpu => |figure| figure.cpu,
            Of::P99 => |figure| figure.p99,
        };
        let get = |workload: Workload, peer: Peer, round: usize| {
            self.figures.get(&(workload, peer)).and_then(|rounds| rounds.get(&round)).and_then(of)
        };
        let without_tls = goal.workload.without_tls().unwrap_or(goal.workload);
        let ratio = |round: usize| {
            let ours = get(goal.workload, Peer::Vipgate, round)?;
            let theirs = match goal.against {
                Against::Nobody => 1.0,
                Against::Peer(peer) => get(goal.workload, peer, round)?,
                Against::WithoutTls => get(without_tls, Peer::Vipgate, round)?,
                Against::Best => {
                    let others = Peer::ALL
                        .into_iter()
                        .filter(|peer| peer.is_program() && *peer != Peer::Vipgate);
                    // It is times that are compared with the best, so the least is.
                    others.filter_map(|peer| get(goal.workload, peer, round)).reduce(f64::min)?
                }
            };
            let base = match goal.of {
                Of::Added => get(goal.workload, Peer::Direct, round)?,
                _ => 0.0,
            };
            // Where the other adds nothing there is nothing to compare with.
            (theirs > base).then(|| (ours - base) / (theirs - base))
        };
        let rounds = self.figures.get(&(goal.workload, Peer::Vipgate));
        rounds.into_iter().flat_map(|rounds| rounds.keys().copied()).filter_map(ratio).collect()
    }

    /// vipgate's figures over others, round by round.
    fn paired(
        &self,
        workload: Workload,
        other: (Workload, Peer),
        of: fn(&Figure) -> Option<f64>,
    ) -> Vec<f64> {
        let ours = self.figures.get(&(workload, Peer::Vipgate));
        let (Some(ours), Some(theirs)) = (ours, self.figures.get(&other)) else {
            return Vec::new();
        };
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
        let of = |workload: Workload| {
            let peers = self.versions.iter().map(|(peer, _)| *peer);
            let ratios = peers.filter(|peer| *peer != Peer::Vipgate).filter_map(|peer| {
                let ratio = median(&self.paired(workload, (workload, peer), Figure::value));
                let more = workload.measure().better() == Better::More;
                let ratio = if more { ratio } else { 1.0 / ratio };
                ratio.is_finite().then_some((peer.name(), ratio))
            });
            (workload.title(), ratios.collect())
        };
        self.workloads().into_iter().map(of).collect()
    }
}

impl Figure {
    #[expect(clippy::unnecessary_wraps, reason = "the other figures may be missing")]
    fn value(&self) -> Option<f64> {
        Some(self.value)
    }
}

fn spread(values: &[f64]) -> String {
    if values.is_empty() {
        return String::new();
    }
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

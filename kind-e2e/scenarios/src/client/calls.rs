//! What became of calls that somebody made all the time, in the client's own time.

use std::fmt;

use anyhow::{Context, ensure};

use crate::Result;

/// A call that took longer than this, in seconds, is no good one: something was lost on its way, or had to wait.
const SLOW: f64 = 0.9;
/// So many calls in a row, a second's, are more than a busy machine loses at the edge of a measurement.
const MANY: usize = 10;

/// When calls began, in order, and what became of a connection that was held meanwhile.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Calls {
    /// Those that were answered at once.
    good: Vec<f64>,
    /// Those that were answered, later.
    slow: Vec<f64>,
    /// Those that were not.
    missed: Vec<f64>,
    /// When there was an answer on the connection that is held.
    held: Vec<f64>,
    /// When that was lost.
    lost: Option<f64>,
}

impl Calls {
    pub(super) fn read(printed: &str) -> Result<Self> {
        let mut calls = Self::default();
        for line in printed.lines() {
            let mut words = line.split(' ');
            let what = words.next().unwrap_or_default();
            let times: Vec<f64> = words.map(str::parse).collect::<Result<_, _>>()?;
            match (what, &times[..]) {
                ("call", [began, ended]) if ended - began < SLOW => calls.good.push(*began),
                ("call", [began, _]) => calls.slow.push(*began),
                ("missed", [began, _]) => calls.missed.push(*began),
                ("held", [at]) => calls.held.push(*at),
                ("lost", [at]) => calls.lost = Some(*at),
                _ => anyhow::bail!("the client says {line:?}"),
            }
        }
        for times in [&mut calls.good, &mut calls.slow, &mut calls.missed] {
            times.sort_by(f64::total_cmp);
        }
        Ok(calls)
    }

    /// How many were answered at once.
    pub(crate) fn good(&self) -> usize {
        self.good.len()
    }

    /// How many were not answered at all.
    pub(crate) fn missed(&self) -> usize {
        self.missed.len()
    }

    /// The longest time between two good calls that followed each other, in seconds.
    ///
    /// # Errors
    /// When the first calls or the last ones were no good ones: then it has no beginning or no end.
    pub(crate) fn outage(&self) -> Result<f64> {
        let first = *self.good.first().context("no call was answered")?;
        let last = *self.good.last().context("no call was answered")?;
        let others = || self.slow.iter().chain(&self.missed);
        let before = others().filter(|at| **at < first).count();
        let after = others().filter(|at| **at > last).count();
        ensure!(before < MANY, "the first {before} calls were no good ones: {self}");
        ensure!(after < MANY, "the last {after} calls were no good ones: {self}");
        Ok(self.good.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max))
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { good, slow, missed, held, lost } = self;
        let (good, slow) = (good.len(), slow.len());
        write!(f, "{good} calls were answered at once, {slow} later, {} not", missed.len())?;
        match (held.first(), held.last(), lost) {
            (Some(first), Some(last), None) => {
                write!(f, "; the open connection lived for {:.1} s, to the end", last - first)
            }
            (Some(first), _, Some(lost)) => {
                write!(f, "; the open connection was lost after {:.1} s", lost - first)
            }
            _ => write!(f, "; there was no answer on the open connection"),
        }
    }
}

//! `vipgate`: the one binary.

mod args;
mod ask;
mod bgp;
mod check;
mod cleanup;
mod completions;
mod controller;
mod crds;
mod demo;
#[cfg(test)]
mod golden;
mod keygen;
mod lint;
mod logging;
mod memory;
mod metrics;
mod objects;
mod priority;
mod rebalance;
mod run;
mod selftest;
mod signals;
mod speaker;
mod status;
mod sysdump;
mod why;

use std::process::ExitCode;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::of_process();
    let outcome = match args.command {
        Command::Run(run) => run::run(&run),
        Command::Controller(controller) => controller::run(&controller),
        Command::Speaker(speaker) => speaker::run(&speaker),
        Command::Crds => crds::run(),
        Command::Status(status) => status::run(&status),
        Command::Lint(lint) => lint::run(&lint),
        Command::Check(check) => check::run(&check),
        Command::Sysdump(sysdump) => sysdump::run(&sysdump),
        Command::Keygen => keygen::run(),
        Command::Cleanup => cleanup::run(),
        Command::Why(why) => why::run(&why),
        Command::Bgp(bgp) => bgp::run(&bgp),
        Command::Rebalance(rebalance) => rebalance::run(&rebalance),
        Command::Selftest(selftest) => selftest::run(&selftest),
        Command::Demo(demo) => demo::run(&demo),
        Command::Completions(completions) => completions::run(&completions),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("vipgate: {error:#}");
        ExitCode::FAILURE
    })
}

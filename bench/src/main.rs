//! Measures vipgate beside other proxies doing the same work, in one run.
//!
//! ```text
//!   client ── bridge ── proxy ── bridge ── server       three machines of the lab; what is on "proxy" takes turns:
//!   (load)              (a peer)           (echo, sink)  vipgate · Envoy · HAProxy · nginx · the kernel
//! ```
//!
//! Every workload is run with every peer, then all of it again, so that a noisy minute meets all of them; ratios are of
//! runs of one round. What is moved is checked, and a run with a failed connection does not count as a figure. The load and the servers are
//! this same program, started in the namespaces of their machines.

mod args;
mod cpu;
mod datagrams;
mod identity;
mod load;
mod peers;
mod piece;
mod report;
mod round;
mod scale;
mod serve;
mod service;
mod site;
mod statistics;
mod workload;

use anyhow::Result;
use clap::Parser;

use args::{Args, Command};

fn main() -> Result<()> {
    match Args::parse().command {
        Command::Run(run) => round::run(&run),
        Command::Scale(args) => scale::run(&args),
        Command::Serve(at) => serve::run(&at),
        Command::Load(load) => load::run(&load),
    }
}

//! Every `console` block of every page is run, or says why not.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use vipgate_lab::Lab;
use vipgate_lab::cluster::{Channel, Cluster, helm};

use crate::book;
use crate::console::{self, Piece, Step};
use crate::pages::{self, Page};
use crate::reader::Reader;

/// What takes a cluster.
const OF_CLUSTER: [&str; 4] = ["kubectl ", "helm ", "--kubeconfig", "vipgate controller"];

fn needs_cluster(pieces: &[Piece]) -> bool {
    pieces.iter().any(|piece| match piece {
        Piece::Type(step) => OF_CLUSTER.iter().any(|word| step.command.contains(word)),
        Piece::Write { .. } => false,
    })
}

/// The pages with something to type, and that.
fn to_follow(on_a_cluster: bool) -> Result<Vec<(Page, Vec<Piece>)>> {
    let mut some = Vec::new();
    for page in pages::all()?.into_values() {
        let (pieces, _) = console::read(&page)?;
        let types = pieces.iter().any(|piece| matches!(piece, Piece::Type(_)));
        if types && needs_cluster(&pieces) == on_a_cluster {
            some.push((page, pieces));
        }
    }
    Ok(some)
}

/// Does this with each at the same time, and tells of all that went wrong.
fn at_once<T: Sync>(all: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let work = &work;
    let done: Vec<Result<()>> = std::thread::scope(|scope| {
        let running: Vec<_> = all.iter().map(|one| scope.spawn(move || work(one))).collect();
        running.into_iter().map(|one| one.join().expect("no reader panics")).collect()
    });
    let wrong = done.into_iter().filter_map(Result::err);
    let wrong: Vec<_> = wrong.map(|error| format!("{error:#}")).collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    Ok(())
}

#[test]
fn what_pages_say_works_without_a_cluster() -> Result<()> {
    let pages = to_follow(false)?;
    ensure!(pages.len() >= 3, "{}", pages.len());
    at_once(&pages, |(page, pieces)| Reader::alone()?.follow(page, pieces))
}

/// In the order of the book, on one cluster, but that a page which makes the namespace of the installation
/// begins on a new one.
#[test]
fn what_pages_say_works_on_a_cluster() -> Result<()> {
    let mut pages = to_follow(true)?;
    let entries = book::entries()?;
    pages.sort_by_key(|(page, _)| entries.iter().position(|entry| *entry == page.path));
    let installs = |piece: &Piece| match piece {
        Piece::Type(step) => step.command.contains("create namespace vipgate-system"),
        Piece::Write { .. } => false,
    };
    let mut clusters: Vec<Vec<(Page, Vec<Piece>)>> = Vec::new();
    for (page, pieces) in pages {
        match clusters.last_mut() {
            Some(pages) if !pieces.iter().any(installs) => pages.push((page, pieces)),
            _ => clusters.push(vec![(page, pieces)]),
        }
    }
    ensure!(!clusters.is_empty(), "no page is about a cluster");
    at_once(&clusters, |pages| {
        let (mut reader, _cluster) = with_a_cluster()?;
        pages.iter().try_for_each(|(page, pieces)| reader.follow(page, pieces))
    })
}

/// Whoever installs something in a cluster: they have its admin's kubeconfig, kubectl and Helm, on a machine that
/// is a Node of it.
fn with_a_cluster() -> Result<(Reader, Cluster)> {
    let lab = Lab::new("docs-cl")?;
    let lan = lab.bridge("lan")?;
    let (plane, machine) = (lab.node("cp")?, lab.node("reader")?);
    let links = vec![plane.join(&lan, "192.0.2.1/24")?, machine.join(&lan, "192.0.2.11/24")?];
    let cluster = Cluster::start(plane, Ipv4Addr::new(192, 0, 2, 1))?;
    cluster.install_gateway_api("1.6.1", Channel::Standard)?;
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    cluster
        .apply(&format!("{{apiVersion: v1, kind: Node, metadata: {{name: {}}}}}", name.trim()))?;

    let reader = Reader::on(machine, (lab, lan, links))?;
    reader.has_program("kubectl", cluster.kubectl_program())?;
    reader.has_program("helm", &helm()?)?;
    let kube = reader.home().join(".kube");
    std::fs::create_dir(&kube)?;
    std::fs::copy(cluster.kubeconfig(), kube.join("config")).context("a kubeconfig")?;
    Ok((reader, cluster))
}

/// With what is not, and why, for who looks (`--nocapture`).
#[test]
fn more_is_run_than_is_not() -> Result<()> {
    let (mut run, mut not_run) = (0, 0);
    for page in pages::all()?.into_values() {
        let (pieces, excuses) = console::read(&page)?;
        run += pieces.iter().filter(|piece| matches!(piece, Piece::Type(_))).count();
        not_run += excuses.len();
        for excuse in excuses {
            println!("{}:{}: {}", page.path, excuse.line, excuse.reason);
        }
    }
    println!("{run} commands are run, {not_run} blocks are not");
    ensure!(run > not_run, "{run} commands are run, {not_run} blocks are not");
    Ok(())
}

/// A page that is wrong does not pass.
#[test]
fn a_page_that_is_wrong_is_found_out() -> Result<()> {
    let mut reader = Reader::alone()?;
    let page = Page { path: "x.md".to_owned(), text: String::new() };
    let mut follow = |command: &str, output: &[&str], code: i32, stays: bool| {
        let output = output.iter().map(|line| (*line).to_owned()).collect();
        let step = Step { line: 1, command: command.to_owned(), output, code, stays };
        reader.follow(&page, &[Piece::Type(step)])
    };
    follow("vipgate lint docs/examples/nats", &[], 0, false)?;
    follow("echo a; echo b >&2", &["a", "b"], 0, false)?;
    follow("sudo sh -c 'exit 3'", &[], 3, false)?;
    for (command, output, code, stays) in [
        ("vipgate lint docs/examples/absent", &[][..], 0, false),
        ("vipgate keygen", &["a key"][..], 0, false),
        ("true", &[][..], 1, false),
        ("true", &[][..], 0, true),
    ] {
        let done = follow(command, output, code, stays);
        assert!(done.is_err(), "{command} passes");
    }
    Ok(())
}

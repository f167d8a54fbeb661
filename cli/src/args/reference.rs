//! `docs/reference/cli.md`: every command with its options, from the definition that the program itself
//! reads.

use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};

use super::Args;
use crate::golden::{cell, hold, plain};

const HEAD: &str = "# Commands\n\n\
    Made from the code; `make reference` makes it again. `vipgate COMMAND --help` says the same.\n\n\
    An option goes before its variable of the environment. What is wrong with the command line ends with exit code 2, \
    what fails with 1.\n";

/// A table for each heading, in the order of the help.
fn options(page: &mut String, command: &Command) -> std::fmt::Result {
    let shown =
        |arg: &&Arg| !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str());
    let all: Vec<&Arg> = command.get_arguments().filter(shown).collect();
    let mut headings: Vec<Option<&str>> = Vec::new();
    for arg in &all {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    for heading in headings {
        if let Some(heading) = heading {
            writeln!(page, "\n{heading}:")?;
        }
        writeln!(page, "\n| option | default | variable | meaning |\n|---|---|---|---|")?;
        for arg in all.iter().filter(|arg| arg.get_help_heading() == heading) {
            row(page, arg)?;
        }
    }
    Ok(())
}

fn row(page: &mut String, arg: &Arg) -> std::fmt::Result {
    let takes = arg.get_num_args().is_some_and(|count| count.takes_values());
    let names = arg.get_value_names().unwrap_or_default();
    let value = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ");
    let long = arg.get_long().map(|long| match takes {
        true => format!("`--{long} {value}`"),
        false => format!("`--{long}`"),
    });
    let short = arg.get_short().map(|short| format!("`-{short}`"));
    let option = match arg.is_positional() {
        true => format!("`{value}`"),
        false => short.into_iter().chain(long).collect::<Vec<_>>().join(", "),
    };
    let defaults =
        arg.get_default_values().iter().map(|one| format!("`{}`", one.to_string_lossy()));
    let default = match arg.is_required_set() {
        true => "*required*".to_owned(),
        false if takes => defaults.collect::<Vec<_>>().join(" "),
        false => String::new(),
    };
    let variable = arg.get_env().map(|name| format!("`{}`", name.to_string_lossy()));
    let mut meaning = arg.get_help().map(|help| plain(&help.to_string())).unwrap_or_default();
    for one in arg.get_possible_values().iter().filter(|one| takes && !one.is_hide_set()) {
        let help = one
            .get_help()
            .map(|help| format!(": {}", plain(&help.to_string())))
            .unwrap_or_default();
        let _ = write!(meaning, "<br>`{}`{help}", one.get_name());
    }
    let cells = [option, default, variable.unwrap_or_default(), meaning].map(|text| cell(&text));
    writeln!(page, "| {} |", cells.join(" | "))
}

fn section(page: &mut String, command: &mut Command) -> std::fmt::Result {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let usage = command.render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage);
    writeln!(page, "\n## {name}\n\n{}.\n\n```text\n{usage}\n```", about.trim_end_matches('.'))?;
    options(page, command)?;
    below(page, command)
}

fn below(page: &mut String, command: &mut Command) -> std::fmt::Result {
    let shown = |one: &&mut Command| !one.is_hide_set() && one.get_name() != "help";
    command.get_subcommands_mut().filter(shown).try_for_each(|one| section(page, one))
}

#[test]
fn the_page_is_fresh() {
    let mut program = Args::command();
    program.build();
    let mut page = HEAD.to_owned();
    below(&mut page, &mut program).unwrap();
    assert!(page.contains("\n## vipgate run\n") && page.contains("`--drain-timeout SECONDS`"));
    hold("reference/cli.md", &page);
}

//! `vipgate completions`: what a shell needs to complete commands and options.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::args::{Args, CompletionsArgs};

/// Prints it.
pub(crate) fn run(args: &CompletionsArgs) -> Result<ExitCode> {
    std::io::stdout().write_all(&script(args.shell))?;
    Ok(ExitCode::SUCCESS)
}

fn script(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    generate(shell, &mut Args::command(), "vipgate", &mut text);
    text
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use clap::ValueEnum;

    use super::*;

    /// What bash has to offer for a line.
    fn offers(line: &[&str]) -> Vec<String> {
        let words = line.join(" ");
        let (last, before) = (line.len() - 1, line[line.len() - 2]);
        let ask = format!(
            "COMP_WORDS=({words} ''); COMP_CWORD={last}; _vipgate vipgate '{}' '{before}'; echo \"${{COMPREPLY[@]}}\"",
            line[last],
        );
        let script = String::from_utf8(script(Shell::Bash)).unwrap();
        let output =
            Command::new("bash").arg("-c").arg(format!("{script}\n{ask}")).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout)
            .unwrap()
            .split_whitespace()
            .map(ToOwned::to_owned)
            .collect()
    }

    #[test]
    fn bash_completes_commands_options_and_values() {
        assert_eq!(offers(&["vipgate", "sta"]), ["status"]);
        assert_eq!(offers(&["vipgate", "run", "--work"]), ["--workers"]);
        assert_eq!(offers(&["vipgate", "completions", "z"]), ["zsh"]);
    }

    #[test]
    fn there_is_something_for_each_shell() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            assert!(script.contains("keygen") && script.contains("cleanup"), "{shell}");
        }
    }
}

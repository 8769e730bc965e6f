//! `docs/cli.md`, made from the definitions of the commands.

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};

use super::Cli;

const HEAD: &str = "# Commands

<!-- Made by `dynowatch reference`; a test compares. -->

Everything that `dynowatch --help` and the help of its commands say, in one place. What the configuration means is in
[configuration.md](configuration.md).

Exit codes:

| code | meaning |
|---|---|
| 0 | done |
| 1 | it failed, or the answer is no: a message was not accepted, an instance did not take the test line, nothing has that name |
| 2 | the command line or the configuration is wrong; what is wrong is said on standard error, one line each |

Results are printed on standard output, errors and the log on standard error. With `--json` results are JSON, lists as
arrays on one line. Whatever stems from a log line is printed with secrets masked and with control characters written
out (`\\x1b`), so that no line can move your terminal.

Commands that look at alerts, apps, rules, deliveries and tokens work on the store that the configuration names, beside
a running server or without one: give them the same `--config` and environment as the server.
";

/// The text of `docs/cli.md`.
#[must_use]
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    // No width: whether clap can wrap depends on what else is built with it, and the manual must not.
    let mut root = Cli::command().after_help(None::<&str>).term_width(0);
    root.build();
    section(&mut text, &mut root, "");
    text
}

fn section(text: &mut String, command: &mut Command, parent: &str) {
    let name = format!("{parent} {}", command.get_name()).trim().to_owned();
    let help = command.render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    // Writing to a String cannot fail.
    _ = write!(text, "\n## {name}\n\n```text\n{}\n```\n", help.join("\n").trim());
    for sub in command.get_subcommands_mut().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        section(text, sub, &name);
    }
}

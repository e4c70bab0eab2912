//! `logs`: what a machine wrote to its serial port.

use std::{
    io::{self, Write},
    thread::sleep,
    time::Duration,
};

use anyhow::Result;
use serde::Deserialize;

use crate::{
    argv,
    cli::{Cli, LogsArgs},
    output,
    process::Argv,
    stack::Stack,
};

/// Between two looks for more.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(Deserialize)]
struct Serial {
    contents: String,
    next: i64,
}

/// Prints it.
pub fn run(cli: &Cli, args: &LogsArgs) -> Result<()> {
    let stack = Stack::read(cli)?;
    stack.workspace(&args.name)?;
    if cli.dry_run {
        let calls = [
            stack.cloud.machines_command(),
            words(&stack, &format!("ZONE/{}", args.name), 0),
        ];
        output::plan(cli, &calls.map(|words| stack.cloud.command(words)));
        return Ok(());
    }
    let place = stack.machine(&args.name)?.place();
    let mut start = 0;
    loop {
        let serial: Serial = stack.cloud.ask(words(&stack, &place, start))?;
        if cli.json {
            println!("{}", serde_json::json!({ "contents": serial.contents }));
        } else {
            print!("{}", for_a_terminal(&serial.contents));
            io::stdout().flush()?;
        }
        if !args.follow {
            return Ok(());
        }
        start = serial.next;
        sleep(PAUSE);
    }
}

fn words(stack: &Stack, place: &str, start: i64) -> Argv {
    argv![
        "instances",
        "serial",
        place,
        "--project",
        &stack.cloud.project,
        "--start",
        start.to_string()
    ]
}

/// Whoever is root on the machine decides what it writes: nothing of it may steer a terminal.
fn for_a_terminal(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            // A colour or a move of the cursor: ESC [ … letter.
            '\u{1b}' if characters.peek() == Some(&'[') => {
                characters.next();
                for c in characters.by_ref() {
                    if ('@'..='~').contains(&c) {
                        break;
                    }
                }
            }
            '\n' | '\t' => plain.push(c),
            c if c.is_control() => {}
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machines_output_cannot_steer_the_terminal() {
        let text = "\u{1b}[0;32m  OK  \u{1b}[0m] up\r\n\u{1b}]0;title\u{7}\tend\u{9b}2J\n";
        assert_eq!(for_a_terminal(text), "  OK  ] up\n]0;title\tend2J\n");
    }
}

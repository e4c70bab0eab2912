//! The one place that runs programs.

use std::{
    ffi::{OsStr, OsString},
    io::{self, BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
};

use anyhow::{Context, Result};
use xshell::Shell;

use crate::error::{Kind, Told};

/// Longest command that is echoed whole, in characters.
const LONGEST_ECHO: usize = 2000;

/// A command: the program, then its arguments.
pub type Argv = Vec<OsString>;

/// A command from words of different types.
#[macro_export]
macro_rules! argv {
    ($($word:expr),* $(,)?) => { vec![$(::std::ffi::OsString::from($word)),*] };
}

/// Runs a command in a folder for its effect, after echoing it. Its stdout goes to stderr, as xtask's stdout is for
/// results.
///
/// # Errors
/// [`Kind::Missing`] if there is no such program, [`Kind::Failed`] if it does not end with status 0.
pub fn run(dir: &Path, argv: &Argv) -> Result<()> {
    let mut command = echoed(dir, argv)?;
    let status = command.stdout(io::stderr()).status();
    check(argv, status.map_err(|e| not_started(argv, &e))?)
}

/// As [`run`], for a program that says on stderr how it went: each line of it is shown, and given to `line`.
///
/// # Errors
/// As [`run`].
pub fn run_watched(dir: &Path, argv: &Argv, mut line: impl FnMut(&str)) -> Result<()> {
    let mut command = echoed(dir, argv)?;
    command.stdout(io::stderr()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| not_started(argv, &e))?;
    let stderr = child.stderr.take().expect("it is piped");
    for bytes in BufReader::new(stderr).split(b'\n') {
        let text = String::from_utf8_lossy(&bytes?).into_owned();
        eprintln!("{text}");
        line(&text);
    }
    check(argv, child.wait()?)
}

/// Runs a command in a folder for what it prints, after echoing it. Its stderr stays the terminal's.
///
/// # Errors
/// As [`run`]; [`Kind::Failed`] also if it prints no UTF-8 text.
pub fn read(dir: &Path, argv: &Argv) -> Result<String> {
    let mut command = echoed(dir, argv)?;
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|e| not_started(argv, &e))?;
    check(argv, output.status)?;
    let text = String::from_utf8(output.stdout);
    Ok(text
        .with_context(|| format!("{} printed no text", display(argv)))?
        .trim()
        .to_owned())
}

/// Runs a program of this project for what it prints, as [`read`] does.
///
/// # Errors
/// [`Told`] when it ends with a status of its own: it has said why, in the same form as xtask would.
pub fn ask(dir: &Path, argv: &Argv) -> Result<String> {
    let mut command = echoed(dir, argv)?;
    let output = command.stderr(Stdio::inherit()).output();
    answer(argv, output.map_err(|e| not_started(argv, &e))?)
}

/// As [`ask`], without an echo of the command.
///
/// # Errors
/// As [`ask`].
pub fn ask_quietly(dir: &Path, argv: &Argv) -> Result<String> {
    let output = command(dir, argv)?.stderr(Stdio::inherit()).output();
    answer(argv, output.map_err(|e| not_started(argv, &e))?)
}

/// As [`ask`], of a program that prints something also when it fails: both.
///
/// # Errors
/// [`Kind::Missing`] if there is no such program.
pub fn ask_why(dir: &Path, argv: &Argv) -> Result<(String, Result<()>)> {
    let mut command = echoed(dir, argv)?;
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|e| not_started(argv, &e))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((said, answer(argv, output).map(drop)))
}

/// As [`ask`], with a secret on the program's stdin, where no list of processes shows it.
///
/// # Errors
/// As [`ask`].
pub fn ask_with(dir: &Path, argv: &Argv, secret: &str) -> Result<String> {
    let mut command = echoed(dir, argv)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|e| not_started(argv, &e))?;
    let mut stdin = child.stdin.take().expect("it is piped");
    // A program that ends early says why itself.
    let _ = stdin.write_all(secret.as_bytes());
    drop(stdin);
    answer(argv, child.wait_with_output()?)
}

/// Runs a command for each line that it prints. `started` learns its process id.
///
/// # Errors
/// [`Kind::Missing`] if there is no such program. How it ended is the caller's to judge.
pub fn lines(
    dir: &Path,
    argv: &Argv,
    variables: &[(&str, OsString)],
    started: impl FnOnce(u32) -> Result<()>,
    mut line: impl FnMut(&str),
) -> Result<ExitStatus> {
    let mut command = echoed(dir, argv)?;
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|e| not_started(argv, &e))?;
    started(child.id())?;
    let stdout = child.stdout.take().expect("it is piped");
    for text in BufReader::new(stdout).lines() {
        line(&text?);
    }
    Ok(child.wait()?)
}

/// Runs a command for what it says, on stdout and stderr. `started` learns its process id.
///
/// # Errors
/// As [`lines`].
pub fn capture(
    dir: &Path,
    argv: &Argv,
    variables: &[(&str, OsString)],
    started: impl FnOnce(u32) -> Result<()>,
) -> Result<Output> {
    let mut command = echoed(dir, argv)?;
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|e| not_started(argv, &e))?;
    started(child.id())?;
    Ok(child.wait_with_output()?)
}

/// Hands the terminal to a program until it ends.
///
/// # Errors
/// As [`run`].
pub fn interact(argv: &Argv) -> Result<()> {
    let status = echoed(Path::new("."), argv)?.status();
    check(argv, status.map_err(|e| not_started(argv, &e))?)
}

/// Starts a program that goes on beside xtask, with a pipe for its stdin. The terminal's Ctrl-C is xtask's alone.
///
/// # Errors
/// [`Kind::Missing`] if there is no such program.
pub fn start(dir: &Path, argv: &Argv) -> Result<Child> {
    let mut command = echoed(dir, argv)?;
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let child = command.process_group(0).spawn();
    child.map_err(|e| not_started(argv, &e))
}

fn answer(argv: &Argv, output: Output) -> Result<String> {
    match output
        .status
        .code()
        .and_then(|code| u8::try_from(code).ok())
    {
        Some(0) => Ok(String::from_utf8(output.stdout)?),
        // cargo's own status when it cannot build the program.
        Some(101) | None => {
            check(argv, output.status)?;
            unreachable!("a success has the status 0")
        }
        Some(status) => Err(Told(status).into()),
    }
}

/// Asks a program about itself, without a word on the terminal: what it printed and how it ended.
///
/// # Errors
/// As [`run`], but for a status other than 0.
pub fn probe(argv: &Argv) -> Result<Output> {
    let mut command = command(Path::new("."), argv)?;
    // terraform would ask the network for a newer version of itself.
    command.env("CHECKPOINT_DISABLE", "1").stdin(Stdio::null());
    command.output().map_err(|e| not_started(argv, &e))
}

/// A command as one line for a shell.
pub fn display(argv: &[OsString]) -> String {
    let words: Vec<_> = argv.iter().map(|word| quote(word)).collect();
    words.join(" ")
}

fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    // A # only begins a comment at the start of a word.
    let safe = word
        .chars()
        .enumerate()
        .all(|(at, c)| plain(c) || (c == '#' && at > 0));
    if safe && !word.is_empty() {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn echoed(dir: &Path, argv: &Argv) -> Result<Command> {
    eprintln!("$ {}", shortened(&display(argv)));
    command(dir, argv)
}

/// A line that people read: a command about a thousand machines names them all.
fn shortened(line: &str) -> String {
    match line.char_indices().nth(LONGEST_ECHO) {
        Some((end, _)) => format!("{} … ({} characters)", &line[..end], line.chars().count()),
        None => line.to_owned(),
    }
}

fn command(dir: &Path, argv: &Argv) -> Result<Command> {
    let (program, arguments) = argv.split_first().expect("a command has a program");
    let shell = Shell::new()?;
    shell.change_dir(dir);
    Ok(shell.cmd(program).args(arguments).into())
}

fn not_started(argv: &Argv, error: &io::Error) -> anyhow::Error {
    let program = argv[0].to_string_lossy();
    if error.kind() == io::ErrorKind::NotFound {
        let mend = "See what else is missing: cargo xtask doctor";
        return Kind::Missing.error(format!("there is no {program} on this machine"), mend);
    }
    let mend = "See what is wrong with it: cargo xtask doctor";
    Kind::Failed.error(format!("{program} cannot be started: {error}"), mend)
}

fn check(argv: &Argv, status: ExitStatus) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    Err(Kind::Failed.error(
        format!("{} ended with {status}", display(argv)),
        "Its messages are above.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echoed_command_can_be_pasted_into_a_shell() {
        let argv = argv![
            "nix",
            "build",
            ".#image-base",
            "a b",
            "it's",
            "$(id)",
            "",
            "#x"
        ];
        let line = display(&argv);
        assert_eq!(
            line,
            r"nix build .#image-base 'a b' 'it'\''s' '$(id)' '' '#x'"
        );
    }
}

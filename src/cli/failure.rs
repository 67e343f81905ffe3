//! Failures: what a person or a program is told, and the exit code.
//!
//! For people it is one line, `error: MESSAGE`, and where it helps a line `hint: WHAT TO DO`. With `--json` it is one
//! object in one line on standard error:
//!
//! ```json
//! {"error": {"kind": "not_found", "message": "…", "retryable": false, "hint": "…"}}
//! ```
//!
//! `kind` is one of `busy`, `deadline`, `denied`, `not_found`, `conflict`, `invalid`, `corrupt` and `unavailable`; `hint`
//! is null where the message says it all.

use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind as UsageErrorKind;
use serde::Serialize;

use super::screen::{DIM, FAILURE, paint, printable};
use memos::{Error, ErrorKind};

/// Refused or failed.
const FAILED: u8 = 1;
/// Wrong usage or bad input.
const WRONG_INPUT: u8 = 2;
/// Nothing found.
pub(super) const NOTHING_FOUND: u8 = 3;

#[derive(Serialize)]
struct Report<'a> {
    error: Failure<'a>,
}

#[derive(Serialize)]
struct Failure<'a> {
    kind: ErrorKind,
    message: &'a str,
    retryable: bool,
    hint: Option<&'a str>,
}

/// Says what failed and returns the exit code for it.
pub(super) fn report(error: &Error, json: bool) -> ExitCode {
    let message = error.to_string();
    let hint = hint(error.kind());
    if json {
        print_json(Failure { kind: error.kind(), message: &message, retryable: error.kind().is_retryable(), hint });
    } else {
        let mut stderr = anstream::stderr().lock();
        // Where standard error is closed too, the exit code alone must do.
        let _ = writeln!(stderr, "{} {}", paint(FAILURE, "error:"), printable(&message));
        if let Some(hint) = hint {
            let _ = writeln!(stderr, "{}", paint(DIM, format!("hint: {hint}")));
        }
    }
    ExitCode::from(match error.kind() {
        ErrorKind::Invalid => WRONG_INPUT,
        ErrorKind::NotFound => NOTHING_FOUND,
        ErrorKind::Busy
        | ErrorKind::Deadline
        | ErrorKind::Denied
        | ErrorKind::Conflict
        | ErrorKind::Corrupt
        | ErrorKind::Unavailable => FAILED,
    })
}

/// Says what is wrong with the arguments, or shows the help that was asked for.
pub(super) fn report_usage(error: &clap::Error, json: bool) -> ExitCode {
    let asked = matches!(error.kind(), UsageErrorKind::DisplayHelp | UsageErrorKind::DisplayVersion);
    if json && !asked {
        let text = error.render().to_string();
        // The first paragraph says what is wrong; the rest is layout for people.
        let paragraph = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
        let message = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        let hint = Some("`memos help` and `memos help COMMAND` show what can be typed");
        print_json(Failure { kind: ErrorKind::Invalid, message: &message, retryable: false, hint });
    } else {
        // Help into a closed pipe has been read as far as anybody wanted.
        let _ = error.print();
    }
    ExitCode::from(if asked { 0 } else { WRONG_INPUT })
}

fn print_json(failure: Failure<'_>) {
    if let Ok(line) = serde_json::to_string(&Report { error: failure }) {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

fn hint(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::Busy | ErrorKind::Deadline => Some("try again in a moment"),
        ErrorKind::Denied => {
            Some("act as its owner with `--as`, ask the owner for the right, or give the right key with `--key-file`")
        }
        ErrorKind::NotFound => {
            Some("`memos spaces` lists the spaces, `--as` says who is looking, and `recall` prints ids")
        }
        ErrorKind::Conflict => Some("look at it again with `memos show`, then repeat the change"),
        ErrorKind::Corrupt => Some("nothing was changed; restore the data folder from a copy"),
        ErrorKind::Unavailable => Some("look at the free space and the rights of the folder, then try again"),
        ErrorKind::Invalid => None,
    }
}

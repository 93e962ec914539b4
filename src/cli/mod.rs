//! The command line: `reelay` alone serves; each other command is one module.

mod audit;
mod bench;
mod check;
pub(crate) mod client;
mod files;
mod publish;
mod reindex;
mod repair;
mod replay_capture;
mod serve;
mod token;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use serve::ServeArgs;

/// A WebRTC media server with a recorder inside: people join a call in the browser, everybody is recorded into files
/// that play the moment the call ends.
#[derive(Debug, Parser)]
#[command(name = "reelay", version, about, long_about = None, args_conflicts_with_subcommands = true)]
#[command(
    after_help = "Without a command, `reelay` serves. Settings: reelay.toml, REELAY_SECTION__KEY variables, flags."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (what `reelay` alone does).
    Serve(ServeArgs),
    /// Send files, or a test picture, to a room as a camera would
    Publish(publish::PublishArgs),
    /// Receive a room, and write it into a file if wanted
    Watch(watch::WatchArgs),
    /// Measure what forwarding and recording cost on this machine
    Bench(bench::BenchArgs),
    /// Make a token for somebody: text, link and QR code
    Token(token::TokenArgs),
    /// Build the catalogue of recordings anew from their folder
    Reindex(reindex::ReindexArgs),
    /// Check that no line of the audit log was changed or taken out
    Audit(audit::AuditArgs),
    /// Judge recordings: every rule that a file of ours keeps
    Check(check::CheckArgs),
    /// Make recordings whole that nobody closed, in place
    Repair(repair::RepairArgs),
    /// Make the recordings of a captured call once more, byte for byte
    ReplayCapture(replay_capture::ReplayArgs),
}

/// Reads the command line and does what it says. Only `check` and `repair` answer with an exit code of their own.
///
/// # Errors
/// What went wrong, for people.
pub fn run() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(args) => serve::run(args)?,
        Command::Publish(args) => publish::run(args)?,
        Command::Watch(args) => watch::run(args)?,
        Command::Bench(args) => bench::run(args)?,
        Command::Token(args) => token::run(args)?,
        Command::Audit(args) => audit::run(args)?,
        Command::Reindex(args) => reindex::run(args)?,
        Command::ReplayCapture(args) => replay_capture::run(&args)?,
        Command::Check(args) => return check::run(&args),
        Command::Repair(args) => return repair::run(&args),
    }
    Ok(ExitCode::SUCCESS)
}

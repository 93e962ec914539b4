//! The command line: `reelay` alone serves; each other command is one module.

mod client;
mod publish;
mod reindex;
mod serve;
mod watch;

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
    /// Build the catalogue of recordings anew from their folder
    Reindex(reindex::ReindexArgs),
}

/// Reads the command line and does what it says.
///
/// # Errors
/// What went wrong, for people.
pub fn run() -> anyhow::Result<()> {
    let cli = Cli::parse();
    match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(args) => serve::run(args),
        Command::Publish(args) => publish::run(args),
        Command::Watch(args) => watch::run(args),
        Command::Reindex(args) => reindex::run(args),
    }
}

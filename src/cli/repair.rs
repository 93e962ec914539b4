//! `reelay repair FILE…`: what the server does at its start with files that nobody closed, by hand.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::files;
use crate::recording::repair::{Outcome, RepairReport, repair_with};
use crate::recording::storage::{Disk, Storage};

/// Arguments of `reelay repair`.
#[derive(Debug, Clone, Args)]
pub struct RepairArgs {
    /// WebM files of this program, or folders of recordings. What is whole is left as it is
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Repaired {
    file: PathBuf,
    outcome: &'static str,
    error: Option<String>,
    duration_ms: u64,
    bytes: u64,
    blocks: u64,
    cut_bytes: u64,
    damaged_bytes: u64,
}

/// Exit code 0: all are whole now; 1: at least one could not be repaired.
pub(super) fn run(args: &RepairArgs) -> anyhow::Result<ExitCode> {
    let storage: Arc<dyn Storage> = Arc::new(Disk);
    let mut all = Vec::new();
    for path in files::below(&args.paths)? {
        let bar = files::progress(path.metadata().map_or(0, |meta| meta.len()));
        let result = repair_with(&storage, &path, &mut |done, _| bar.set_position(done));
        bar.finish_and_clear();
        let done = match result {
            Ok(report) => Repaired::new(report),
            Err(error) => Repaired::failed(path, format!("{:#}", anyhow::Error::from(error))),
        };
        if !args.json {
            print(&done);
        }
        all.push(done);
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&all)?);
    }
    Ok(if all.iter().all(|file| file.error.is_none()) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(file: &Repaired) {
    let name = file.file.display();
    if let Some(error) = &file.error {
        println!("{name}: {error}");
        return;
    }
    match file.outcome {
        "removed" => println!("{name}: held no block, removed"),
        "whole" => println!("{name}: is whole, {}", files::length(file.duration_ms)),
        _ => println!("{name}: repaired, {}, {}", files::length(file.duration_ms), files::size(file.bytes)),
    }
    if file.cut_bytes > 0 && file.outcome != "removed" {
        println!("  {} bytes behind the last complete block were cut", file.cut_bytes);
    }
    if file.damaged_bytes > 0 {
        println!("  {} bytes inside were damaged; players step over them now", file.damaged_bytes);
    }
}

impl Repaired {
    fn new(report: RepairReport) -> Self {
        let outcome = match report.outcome {
            Outcome::Whole => "whole",
            Outcome::Repaired => "repaired",
            Outcome::Removed => "removed",
        };
        Self {
            file: report.path,
            outcome,
            error: None,
            duration_ms: report.duration_ms,
            bytes: report.bytes,
            blocks: report.tally.blocks(),
            cut_bytes: report.cut_bytes,
            damaged_bytes: report.damaged_bytes,
        }
    }

    fn failed(file: PathBuf, error: String) -> Self {
        Self {
            file,
            outcome: "failed",
            error: Some(error),
            duration_ms: 0,
            bytes: 0,
            blocks: 0,
            cut_bytes: 0,
            damaged_bytes: 0,
        }
    }
}

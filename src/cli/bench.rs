//! `reelay bench`: measures this program on this machine.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::bench::Size;

/// Flags of `reelay bench`.
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// One publisher and many viewers: what a forwarded packet costs
    Fanout {
        /// How many viewers
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=2000))]
        viewers: u16,
        #[command(flatten)]
        common: Common,
    },
    /// Many publishers of 1 Mbit/s, recorded: what a recorded packet costs
    Record {
        /// How many publishers
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=900))]
        publishers: u16,
        #[command(flatten)]
        common: Common,
    },
    /// A page of the library among 100,000 recordings, by every filter and order
    Library {
        /// A hundredth of them: shows that it works, and nothing about speed
        #[arg(long)]
        tiny: bool,
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Files alone: cost of a frame, memory over a day, repair, close, start with many recordings
    Files {
        /// Make everything a hundredth of its size: shows that it works, and nothing about speed
        #[arg(long)]
        tiny: bool,
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Clone, Args)]
struct Common {
    /// How long to measure
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: BenchArgs) -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("a debug build is several times slower: measure with `cargo run --release -- bench …`");
    }
    match args.what {
        What::Fanout { viewers, common } => {
            print(&crate::bench::fanout(viewers.into(), Duration::from_secs(common.seconds))?, common.json)
        }
        What::Record { publishers, common } => {
            print(&crate::bench::record(publishers.into(), Duration::from_secs(common.seconds))?, common.json)
        }
        What::Library { tiny, json } => print(&crate::bench::library(size(tiny))?, json),
        What::Files { tiny, json } => print(&crate::bench::files(size(tiny))?, json),
    }
}

fn size(is_tiny: bool) -> Size {
    if is_tiny { Size::Tiny } else { Size::Full }
}

fn print(report: &(impl Serialize + std::fmt::Display), json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(report)?);
    } else {
        println!("{report}");
    }
    Ok(())
}

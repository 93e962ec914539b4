//! `reelay reindex`: builds the catalogue anew from the recordings folder.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::ServeArgs;
use crate::recording::library::Library;

/// Flags of `reelay reindex`.
#[derive(Debug, Clone, Args)]
pub struct ReindexArgs {
    /// Settings file [default: reelay.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the recordings [default: recordings]
    #[arg(long, value_name = "FOLDER")]
    recordings: Option<PathBuf>,
}

pub(super) fn run(args: ReindexArgs) -> anyhow::Result<()> {
    let settings = ServeArgs { config: args.config, recordings: args.recordings, ..ServeArgs::default() };
    let config = settings.settings().context("the settings cannot be used")?;
    crate::telemetry::start(&config.log)?;
    let dir = &config.recording.dir;
    anyhow::ensure!(dir.is_dir(), "there is no recordings folder '{}'", dir.display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let began = Instant::now();
    let report = runtime.block_on(async {
        let library = Library::open(dir, config.catalog.url.as_deref()).await?;
        let bar = ProgressBar::no_length();
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} recordings, {eta} left") {
            bar.set_style(style);
        }
        let report = library
            .rebuild(|done, of| {
                bar.set_length(of as u64);
                bar.set_position(done as u64);
            })
            .await?;
        bar.finish_and_clear();
        library.catalog().close().await;
        anyhow::Ok(report)
    })?;
    println!("{} recordings in the catalogue, in {:.1} s", report.read, began.elapsed().as_secs_f64());
    if report.damaged > 0 {
        println!("{} folders have a manifest that cannot be read; the log names them", report.damaged);
    }
    Ok(())
}

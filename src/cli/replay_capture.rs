//! `reelay replay-capture`: makes the recordings of a captured call once more.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::files;
use crate::recording::replay;

/// Arguments of `reelay replay-capture`.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// A capture that `reelay serve --capture FOLDER` made
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Folder for the recordings that come out
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

pub(super) fn run(args: &ReplayArgs) -> anyhow::Result<()> {
    let manifests =
        replay(&args.file, &args.out).with_context(|| format!("cannot replay '{}'", args.file.display()))?;
    for manifest in &manifests {
        for file in &manifest.files {
            let path = args.out.join(manifest.id.as_str()).join(&file.file);
            let (length, size) = (files::length(file.duration_ms), files::size(file.bytes));
            println!("{}  {}  {length}, {size}", file.sha256.as_deref().unwrap_or_default(), path.display());
        }
    }
    if manifests.is_empty() {
        println!("nothing was sent in this capture");
    }
    Ok(())
}

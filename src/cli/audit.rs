//! `reelay audit`: checks that no line of the audit log was changed or taken out.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::ServeArgs;

/// Flags of `reelay audit`.
#[derive(Debug, Clone, Args)]
pub struct AuditArgs {
    /// Settings file [default: reelay.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the recordings [default: recordings]
    #[arg(long, value_name = "FOLDER")]
    recordings: Option<PathBuf>,
}

pub(super) fn run(args: AuditArgs) -> anyhow::Result<()> {
    let settings = ServeArgs { config: args.config, recordings: args.recordings, ..ServeArgs::default() };
    let config = settings.settings().context("the settings cannot be used")?;
    let path = config.recording.dir.join(crate::audit::FILE);
    let checked = crate::audit::verify(&path).with_context(|| format!("reading {}", path.display()))?;
    match checked {
        Ok(lines) => println!("{}: {lines} lines, each where it was", path.display()),
        Err(line) => anyhow::bail!("{}: line {line} was changed, or one before it is missing", path.display()),
    }
    Ok(())
}

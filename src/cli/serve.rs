//! `reelay serve`: flags over settings, then the server.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use crate::config::{Config, ConfigError, DEFAULT_FILE};

/// Flags of `reelay serve`; everything else is in the settings.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeArgs {
    /// Settings file [default: reelay.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address and port of pages and API; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// UDP port of the media; 0 takes a free one [default: 7342]
    #[arg(long, value_name = "PORT")]
    pub udp_port: Option<u16>,
    /// Folder of the recordings [default: recordings]
    #[arg(long, value_name = "FOLDER")]
    pub recordings: Option<PathBuf>,
    /// Keep all that the recorder receives in this folder, at most recording.capture_size [default: 1GiB], so that
    /// `reelay replay-capture` makes the same recordings again
    #[arg(long, value_name = "FOLDER")]
    pub capture: Option<PathBuf>,
    /// Write the chosen addresses and ports to this file, as JSON, when everything listens
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Serve the pages from this folder instead of the built-in ones
    #[arg(long, value_name = "FOLDER")]
    pub web_dir: Option<PathBuf>,
    /// What is logged, such as `debug` or `warn,reelay=debug` [default: info]
    #[arg(long, value_name = "LEVELS")]
    pub log: Option<String>,
    /// Open the browser when the server is ready
    #[arg(long)]
    pub open: bool,
    /// Let other devices of this network in: https on port 8443 with a certificate authority and a key of our own
    #[arg(long)]
    pub lan: bool,
    /// Write a settings file with a fresh key, readable by you only, and end
    #[arg(long)]
    pub init: bool,
}

impl ServeArgs {
    /// The settings with these flags on top.
    ///
    /// # Errors
    /// A setting that is unknown or does not fit.
    pub fn settings(&self) -> Result<Config, ConfigError> {
        let path = |path: &PathBuf| path.display().to_string();
        let lan_listen = self.lan.then(|| format!("0.0.0.0:{}", crate::server::LAN_PORT));
        let flags = [
            ("http.listen", self.listen.map(|listen| listen.to_string()).or(lan_listen)),
            ("media.udp_port", self.udp_port.map(|port| port.to_string())),
            ("recording.dir", self.recordings.as_ref().map(path)),
            ("recording.capture_dir", self.capture.as_ref().map(path)),
            ("http.web_dir", self.web_dir.as_ref().map(path)),
            ("log.filter", self.log.clone()),
        ];
        let flags: Vec<_> = flags.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        Config::load(self.config.as_deref(), std::env::vars(), &flags)
    }
}

pub(super) fn run(args: ServeArgs) -> anyhow::Result<()> {
    if args.init {
        return init(args.config.as_deref().unwrap_or(Path::new(DEFAULT_FILE)));
    }
    let config = args.settings().context("the settings cannot be used")?;
    let launch = crate::server::Launch { ready_file: args.ready_file, open: args.open, lan: args.lan };
    crate::server::run(config, launch)
}

/// Writes settings with a fresh key; never over a file that is there.
fn init(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    if path.exists() {
        bail!("{shown} is there already and stays as it is; put `key` under [auth] yourself, or name another --config");
    }
    let key = crate::auth::new_key();
    let text = format!(
        "# Reelay's settings; reelay.example.toml lists all of them with their defaults.\n\n[auth]\n\
         # Signs the tokens: who has it may do everything.\nkey = \"{key}\"\n"
    );
    crate::tls::write_secret(path, &text)?;
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    println!("Wrote {} with a fresh key, readable by you only.", path.display());
    println!("Next: `reelay serve --listen 0.0.0.0:8080`, and `reelay token --room ROOM --name NAME` for each person.");
    Ok(())
}

//! `reelay check FILE…`: judges recordings by the rules that they keep, with a reader of our own.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::files;
use crate::webm::check::{Judgement, State, check_with};
use crate::webm::ebml::Source;
use crate::webm::is_part;

/// Arguments of `reelay check`.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// WebM files, or folders of recordings. One that ends in .part is judged as a file that still grows
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Checked {
    file: PathBuf,
    sound: bool,
    error: Option<String>,
    #[serde(flatten)]
    judgement: Option<Judgement>,
}

/// Exit code 0: all are sound; 1: at least one has faults or cannot be read.
pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let files: Vec<Checked> = files::below(&args.paths)?.iter().map(|path| judge(path)).collect();
    let is_sound = files.iter().all(|file| file.sound);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&files)?);
    } else {
        files.iter().for_each(print);
    }
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn judge(path: &Path) -> Checked {
    let state = if is_part(path) { State::Growing } else { State::Closed };
    let result = File::open(path).and_then(|file| Ok((file.metadata()?, file))).map_err(anyhow::Error::from);
    let result = result.and_then(|(meta, file)| {
        anyhow::ensure!(meta.is_file(), "not a file");
        let bar = files::progress(meta.len());
        let judgement = check_with(DiskSource(&file), meta.len(), state, &mut |done| bar.set_position(done));
        bar.finish_and_clear();
        Ok(judgement?)
    });
    let file = path.to_path_buf();
    match result {
        Ok(judgement) => Checked { file, sound: judgement.is_sound(), error: None, judgement: Some(judgement) },
        Err(error) => Checked { file, sound: false, error: Some(format!("{error:#}")), judgement: None },
    }
}

fn print(file: &Checked) {
    let name = file.file.display();
    let Some(judgement) = &file.judgement else {
        println!("{name}: {}", file.error.as_deref().unwrap_or_default());
        return;
    };
    let word = match judgement.fault_count {
        0 => "sound".to_owned(),
        1 => "1 fault".to_owned(),
        count => format!("{count} faults"),
    };
    println!("{name}: {word}. {}", facts(judgement));
    for fault in &judgement.faults {
        let place = fault.at.map(|at| format!(" at byte {at}")).unwrap_or_default();
        println!("  {}{place}: {}", fault.rule, fault.message);
    }
    let hidden = judgement.fault_count - judgement.faults.len() as u64;
    if hidden > 0 {
        println!("  and {hidden} more");
    }
}

fn facts(judgement: &Judgement) -> String {
    let mut parts = vec![files::length(judgement.duration_ms), files::size(judgement.bytes)];
    if let Some(video) = &judgement.video {
        let sizes: Vec<String> = video.sizes.iter().map(|(width, height)| format!("{width}×{height}")).collect();
        let fills = if video.fills > 0 { format!(" and {} fills", video.fills) } else { String::new() };
        let frames = video.frames - video.fills;
        parts.push(format!(
            "{} {}: {frames} frames{fills}, {} keyframes",
            video.codec,
            sizes.join(", "),
            video.keyframes
        ));
    }
    if let Some(audio) = &judgement.audio {
        parts.push(format!("{}: {} packets, {} of them silence", audio.codec, audio.packets, audio.silent));
    }
    parts.push(format!("{} clusters, {} cue points", judgement.clusters, judgement.cue_points));
    parts.join("; ")
}

#[derive(Clone, Copy)]
struct DiskSource<'a>(&'a File);

impl Source for DiskSource<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
}

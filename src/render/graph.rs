//! What `ffmpeg` is told: inputs, filters and outputs. Pure.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::story::{Layout, Story, Take};

/// What the installed `ffmpeg` can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tools {
    /// Writes H.264; else MPEG-4 part 2.
    pub x264: bool,
    /// Writes names into pictures.
    pub names: bool,
}

/// One run of `ffmpeg`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub args: Vec<OsString>,
    pub output: PathBuf,
}

/// Everybody in one MP4. `name_of` gives a file that holds the name of a lane.
pub(super) fn movie(
    story: &Story,
    layout: Layout,
    tools: Tools,
    name_of: impl Fn(usize) -> PathBuf,
    output: &Path,
) -> Run {
    let takes: Vec<&Take> = story.takes.iter().collect();
    let mut filters = vec![base(story.length_ms, WIDTH, HEIGHT)];
    let pictures: Vec<usize> =
        (0..story.lanes.len()).filter(|lane| takes.iter().any(|take| take.lane == *lane && take.has_picture)).collect();
    let mut below = "base".to_owned();
    for (n, take) in takes.iter().enumerate().filter(|(_, take)| take.has_picture) {
        let Some(place) = pictures.iter().position(|lane| *lane == take.lane) else { continue };
        let (x, y, width, height, shown) = match layout {
            Layout::Grid => {
                let (x, y, width, height) = cell(place, pictures.len());
                (x, y, width, height, vec![(take.offset_ms, take.offset_ms + take.duration_ms)])
            }
            Layout::Speaker => {
                let end = take.offset_ms + take.duration_ms;
                let spans =
                    story.large(take.lane).into_iter().map(|(from, to)| (from.max(take.offset_ms), to.min(end)));
                (0, 0, WIDTH, HEIGHT, spans.filter(|(from, to)| from < to).collect())
            }
        };
        if shown.is_empty() {
            continue;
        }
        let name = if tools.names { drawn(&name_of(take.lane)) } else { String::new() };
        filters.push(format!("{}{name}[v{n}]", picture(n, take, width, height)));
        filters.push(format!("[{below}][v{n}]overlay={x}:{y}:eof_action=pass:enable='{}'[o{n}]", between(&shown)));
        below = format!("o{n}");
    }
    movie_of(&takes, filters, &below, story.length_ms, tools, output)
}

/// The picture of one lane, at a constant rate and of the recording's length.
pub(super) fn lane_movie(story: &Story, lane: usize, tools: Tools, output: &Path) -> Run {
    let takes: Vec<&Take> = story.takes.iter().filter(|take| take.lane == lane).collect();
    let mut filters = vec![base(story.length_ms, WIDTH, HEIGHT)];
    let mut below = "base".to_owned();
    for (n, take) in takes.iter().enumerate().filter(|(_, take)| take.has_picture) {
        filters.push(format!("{}[v{n}]", picture(n, take, WIDTH, HEIGHT)));
        let shown = between(&[(take.offset_ms, take.offset_ms + take.duration_ms)]);
        filters.push(format!("[{below}][v{n}]overlay=eof_action=pass:enable='{shown}'[o{n}]"));
        below = format!("o{n}");
    }
    movie_of(&takes, filters, &below, story.length_ms, tools, output)
}

/// A movie whose picture is what the filters call `shown`, with the sound of the takes.
fn movie_of(
    takes: &[&Take],
    mut filters: Vec<String>,
    shown: &str,
    length_ms: u64,
    tools: Tools,
    output: &Path,
) -> Run {
    filters.push(format!("[{shown}]format=yuv420p[picture]"));
    filters.push(sound(takes, length_ms));
    let maps: [(&str, &[&str]); 2] = [("picture", video_codec(tools)), ("sound", &["-c:a", "aac", "-b:a", "160k"])];
    run(takes, &filters, &maps, length_ms, output)
}

/// The sound of one lane, or of all together, as WAV of the recording's length.
pub(super) fn wav(story: &Story, lane: Option<usize>, output: &Path) -> Run {
    let takes: Vec<&Take> = story.takes.iter().filter(|take| lane.is_none_or(|lane| take.lane == lane)).collect();
    let filters = [sound(&takes, story.length_ms)];
    run(&takes, &filters, &[("sound", &["-c:a", "pcm_s16le", "-rf64", "auto"])], story.length_ms, output)
}

fn run(takes: &[&Take], filters: &[String], maps: &[(&str, &[&str])], length_ms: u64, output: &Path) -> Run {
    let mut args: Vec<OsString> =
        ["-nostdin", "-v", "error", "-y", "-progress", "pipe:1", "-nostats"].map(Into::into).into();
    for take in takes {
        args.extend(["-i".into(), take.path.clone().into_os_string()]);
    }
    args.extend(["-filter_complex".into(), filters.join(";").into()]);
    for (label, codec) in maps {
        args.extend(["-map".into(), format!("[{label}]").into()]);
        args.extend(codec.iter().map(Into::into));
    }
    args.extend(["-t".into(), seconds(length_ms).into()]);
    if output.extension().is_some_and(|extension| extension == "mp4") {
        args.extend(["-movflags", "+faststart"].map(Into::into));
    }
    args.push(output.into());
    Run { args, output: output.into() }
}

fn base(length_ms: u64, width: u32, height: u32) -> String {
    format!("color=c=0x0B0D11:s={width}x{height}:r={RATE}:d={}[base]", seconds(length_ms))
}

/// A picture in its frame, at its time.
fn picture(input: usize, take: &Take, width: u32, height: u32) -> String {
    format!(
        "[{input}:v]fps={RATE},scale={width}:{height}:force_original_aspect_ratio=decrease:force_divisible_by=2,\
         pad={width}:{height}:(ow-iw)/2:(oh-ih)/2:color=0x171A21,setsar=1,setpts=PTS+{}/TB",
        seconds(take.offset_ms)
    )
}

fn drawn(name_file: &Path) -> String {
    // The path is of our own making: letters, digits, dashes and dots of a temporary folder, or the administrator's.
    let path = name_file.to_string_lossy().replace('\\', "\\\\").replace('\'', "'\\''").replace(':', "\\:");
    format!(
        ",drawtext=textfile='{path}':expansion=none:x=14:y=h-th-14:fontsize=22:fontcolor=white:box=1:boxcolor=0x0B0D11A0:boxborderw=8"
    )
}

/// All sound together, from 0 to the end.
fn sound(takes: &[&Take], length_ms: u64) -> String {
    let mut filters = Vec::new();
    let mut labels = String::new();
    for (n, take) in takes.iter().enumerate().filter(|(_, take)| take.has_sound) {
        filters.push(format!("[{n}:a]aresample=48000:async=1:first_pts=0,adelay={}:all=1[a{n}]", take.offset_ms));
        labels.push_str(&format!("[a{n}]"));
    }
    let length = seconds(length_ms);
    if filters.is_empty() {
        return format!("anullsrc=r=48000:cl=stereo:d={length}[sound]");
    }
    let count = filters.len();
    filters.push(format!(
        "{labels}amix=inputs={count}:normalize=0:duration=longest,alimiter=limit=0.95:level=0,\
         aformat=channel_layouts=stereo,apad=whole_dur={length},atrim=0:{length}[sound]"
    ));
    filters.join(";")
}

fn video_codec(tools: Tools) -> &'static [&'static str] {
    match tools.x264 {
        true => &["-c:v", "libx264", "-preset", "veryfast", "-crf", "22"],
        false => &["-c:v", "mpeg4", "-q:v", "4"],
    }
}

/// Place and size of a cell of a grid: as square as the count allows.
fn cell(place: usize, count: usize) -> (u32, u32, u32, u32) {
    let columns = (1..=count.max(1)).find(|columns| columns * columns >= count).unwrap_or(1) as u32;
    let rows = (count.max(1) as u32).div_ceil(columns);
    let (width, height) = ((WIDTH / columns) & !1, (HEIGHT / rows) & !1);
    let (column, row) = (place as u32 % columns, place as u32 / columns);
    // A last row that is not full stands in the middle.
    let in_row = (count as u32 - row * columns).min(columns);
    (column * width + (columns - in_row) * width / 2, row * height, width, height)
}

fn between(spans: &[(u64, u64)]) -> String {
    let parts: Vec<String> =
        spans.iter().map(|(from, to)| format!("between(t,{},{})", seconds(*from), seconds(*to))).collect();
    parts.join("+")
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

const WIDTH: u32 = 1280;
const HEIGHT: u32 = 720;
/// Pictures a second of what is made.
pub(super) const RATE: u32 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_do_not_overlap_and_stay_inside() {
        for count in 1..=25 {
            let cells: Vec<_> = (0..count).map(|place| cell(place, count)).collect();
            for (n, (x, y, width, height)) in cells.iter().enumerate() {
                assert!(x + width <= WIDTH && y + height <= HEIGHT, "{n} of {count}");
                for (ox, oy, ow, oh) in &cells[..n] {
                    assert!(
                        x >= &(ox + ow) || ox >= &(x + width) || y >= &(oy + oh) || oy >= &(y + height),
                        "{n} of {count}"
                    );
                }
            }
        }
        assert_eq!(cell(2, 3), (320, 360, 640, 360));
    }

    #[test]
    fn times_are_written_to_the_millisecond() {
        assert_eq!(between(&[(0, 1_500), (61_001, 62_000)]), "between(t,0.000,1.500)+between(t,61.001,62.000)");
    }
}

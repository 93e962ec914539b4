//! `captions/<language>.vtt` in a recording's folder: WebVTT in the time of the recording, with `<v Name>` for who speaks.
//! Whoever makes captions writes them; here they are found, cut to a span, and cleared of a person.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::catalog::Terms;

/// The folder of them, inside a recording's.
pub const FOLDER: &str = "captions";

/// The languages that a recording has captions in, sorted; none when it has none.
pub fn languages(folder: &Path) -> Vec<String> {
    let Ok(items) = fs::read_dir(folder.join(FOLDER)) else { return Vec::new() };
    let language = |item: fs::DirEntry| item.file_name().to_str()?.strip_suffix(".vtt").map(str::to_owned);
    let mut found: Vec<String> = items.flatten().filter_map(language).filter(|name| is_language(name)).collect();
    found.sort();
    found.truncate(MAX_LANGUAGES);
    found
}

/// Where the captions of a language are; `None` when that is no language (as in BCP 47).
pub fn path_of(folder: &Path, language: &str) -> Option<PathBuf> {
    is_language(language).then(|| folder.join(FOLDER).join(format!("{language}.vtt")))
}

/// Where in a recording something is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Said {
    /// When, in milliseconds since the recording began.
    pub t_ms: u64,
    /// Who says it; empty where the captions do not tell.
    pub who: String,
    /// The caption.
    pub text: String,
    /// Of these captions, as in BCP 47.
    pub language: String,
}

/// All that is said, in every language, for the search; empty when there are no captions.
pub fn text_of(folder: &Path) -> String {
    let mut all = String::new();
    for language in languages(folder) {
        let text = read(folder, &language);
        for cue in cues(&text) {
            if all.len() < MAX_SAID_BYTES {
                all += &cue.words();
                all.push('\n');
            }
        }
    }
    all
}

/// The first caption with all that is searched for, else the first with some of it.
pub fn find(folder: &Path, terms: &Terms) -> Option<Said> {
    let mut best: Option<(usize, Said)> = None;
    for language in languages(folder) {
        let text = read(folder, &language);
        for cue in cues(&text) {
            let words = cue.words();
            let hits = terms.hits(&words);
            if hits > best.as_ref().map_or(0, |(hits, _)| *hits) {
                let text = words.chars().take(MAX_QUOTE_CHARS).collect();
                let who = voices(&cue.lines).into_iter().next().unwrap_or_default();
                best = Some((hits, Said { t_ms: cue.from_ms, who, text, language: language.clone() }));
            }
            if hits == terms.len() {
                return best.map(|(_, said)| said);
            }
        }
    }
    best.map(|(_, said)| said)
}

/// When the captions of a recording were last written, as far as the disk tells: the folder, or a file in it.
pub fn written_at(folder: &Path) -> Option<std::time::SystemTime> {
    let of = |path: &Path| fs::metadata(path).and_then(|about| about.modified()).ok();
    let place = of(&folder.join(FOLDER))?;
    let files = languages(folder).into_iter().filter_map(|language| of(&path_of(folder, &language)?));
    files.chain([place]).max()
}

/// The captions of a language; empty when they cannot be read.
pub fn read(folder: &Path, language: &str) -> String {
    let mut bytes = Vec::new();
    if let Some(file) = path_of(folder, language).and_then(|path| fs::File::open(path).ok()) {
        // What cannot be read to its end is as good as not there.
        let _ = file.take(MAX_FILE_BYTES).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn is_language(name: &str) -> bool {
    let mut parts = name.split('-');
    let is_part = |part: &str, least: usize| {
        (least..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    parts.next().is_some_and(|first| is_part(first, 2)) && parts.all(|part| is_part(part, 1)) && name.len() <= 35
}

/// The cues that somebody speaks who has none of these names. One that names nobody could be theirs, so it goes too.
pub fn without(text: &str, names: &[String]) -> String {
    let is_others = |cue: &Cue<'_>| {
        let voices = voices(&cue.lines);
        !voices.is_empty() && !voices.iter().any(|voice| names.contains(voice))
    };
    written(cues(text).into_iter().filter(is_others))
}

/// The cues that only people with one of these names speak.
pub fn only(text: &str, names: &[String]) -> String {
    let is_theirs = |cue: &Cue<'_>| {
        let voices = voices(&cue.lines);
        !voices.is_empty() && voices.iter().all(|voice| names.contains(voice))
    };
    written(cues(text).into_iter().filter(is_theirs))
}

/// The cues between two moments, in time since the first.
pub fn span(text: &str, from_ms: u64, to_ms: u64) -> String {
    let inside = cues(text).into_iter().filter(|cue| cue.from_ms < to_ms && cue.to_ms > from_ms);
    written(inside.map(|cue| Cue {
        from_ms: cue.from_ms.saturating_sub(from_ms),
        to_ms: cue.to_ms.min(to_ms) - from_ms,
        ..cue
    }))
}

struct Cue<'a> {
    from_ms: u64,
    to_ms: u64,
    settings: &'a str,
    lines: Vec<&'a str>,
}

impl Cue<'_> {
    /// The text without marks. What looks like a mark and is none stays.
    fn words(&self) -> String {
        let text = self.lines.join(" ");
        let mut parts = text.split('<');
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            match part.split_once('>') {
                Some((tag, rest)) if is_mark(tag) => out += rest,
                _ => {
                    out.push('<');
                    out += part;
                }
            }
        }
        plain(out.trim())
    }
}

/// `v Name`, `/b`, `c.loud`, `00:01.000`
fn is_mark(tag: &str) -> bool {
    let tag = tag.strip_prefix('/').unwrap_or(tag);
    let kind = tag.split(|c: char| c == '.' || c.is_whitespace()).next().unwrap_or_default();
    matches!(kind, "v" | "c" | "b" | "i" | "u" | "ruby" | "rt" | "lang") || time(tag).is_some()
}

/// What is no cue, such as notes and styles, is left out.
fn cues(text: &str) -> Vec<Cue<'_>> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some((from, rest)) = line.split_once("-->") else { continue };
        let (to, settings) = rest.trim_start().split_once([' ', '\t']).unwrap_or((rest.trim(), ""));
        let (Some(from_ms), Some(to_ms)) = (time(from.trim()), time(to.trim())) else { continue };
        let lines = lines.by_ref().take_while(|line| !line.trim().is_empty()).collect();
        found.push(Cue { from_ms, to_ms, settings: settings.trim(), lines });
    }
    found
}

fn written<'a>(cues: impl Iterator<Item = Cue<'a>>) -> String {
    let mut out = String::new();
    for cue in cues {
        let (from, to) = (clock(cue.from_ms), clock(cue.to_ms));
        let text = cue.lines.join("\n");
        out += format!("\n{from} --> {to} {}", cue.settings).trim_end_matches(' ');
        out += &format!("\n{text}\n");
    }
    if out.is_empty() { out } else { format!("WEBVTT\n{out}") }
}

/// `[h:]mm:ss.mmm`
fn time(text: &str) -> Option<u64> {
    let (clock, ms) = text.split_once('.')?;
    let ms: u64 = (ms.len() == 3).then(|| ms.parse().ok())??;
    let parts: Vec<u64> = clock.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let (h, m, s) = match parts[..] {
        [m, s] => (0, m, s),
        [h, m, s] => (h, m, s),
        _ => return None,
    };
    h.checked_mul(3600)?.checked_add(m.checked_mul(60)?)?.checked_add(s)?.checked_mul(1000)?.checked_add(ms)
}

fn clock(ms: u64) -> String {
    let s = ms / 1000;
    format!("{:02}:{:02}:{:02}.{:03}", s / 3600, s / 60 % 60, s % 60, ms % 1000)
}

/// The names in `<v Name>` and `<v.class Name>`.
fn voices(lines: &[&str]) -> Vec<String> {
    let text = lines.join(" ");
    let name = |tag: &str| {
        let (kind, name) = tag.split_once('>')?.0.split_once(char::is_whitespace)?;
        (kind == "v" || kind.starts_with("v.")).then(|| plain(name.trim()))
    };
    text.split('<').skip(1).filter_map(name).filter(|name| !name.is_empty()).collect()
}

fn plain(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", " ").replace("&amp;", "&")
}

const MAX_LANGUAGES: usize = 50;
/// More than a day of talk.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
const MAX_SAID_BYTES: usize = 16 * 1024 * 1024;
const MAX_QUOTE_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\u{feff}WEBVTT\n\nNOTE made by hand\n\n1\n00:01.000 --> 00:02.500 align:start\n<v Ada>Hello & <b>all</b>\nof you\n\n\
        01:00:00.000 --> 01:00:01.000\n<v.loud Bo &amp; Co>Bye\n\n00:03.000 --> later\n<v Ada>no cue\n\n00:04.000 --> 00:05.000\nnobody's\n";

    #[test]
    fn one_person_goes_and_so_does_what_names_nobody() {
        let left = without(TEXT, &["Ada".to_owned()]);
        assert_eq!(left, "WEBVTT\n\n01:00:00.000 --> 01:00:01.000\n<v.loud Bo &amp; Co>Bye\n");
        assert_eq!(without(TEXT, &["Ada".to_owned(), "Bo & Co".to_owned()]), "");
    }

    #[test]
    fn span_has_its_own_time() {
        let cut = span(TEXT, 2_000, 4_500);
        assert_eq!(
            cut,
            "WEBVTT\n\n00:00:00.000 --> 00:00:00.500 align:start\n<v Ada>Hello & <b>all</b>\nof you\n\n\
             00:00:02.000 --> 00:00:02.500\nnobody's\n"
        );
        assert_eq!(span("no captions at all", 0, 9), "");
        assert_eq!(span("99999999999999999999:00.000 --> 00:01.000\nx", 0, 9), "");
    }

    #[test]
    fn one_person_alone() {
        assert_eq!(only(TEXT, &["Bo & Co".to_owned()]), without(TEXT, &["Ada".to_owned()]));
        assert_eq!(only(TEXT, &["Cy".to_owned()]), "");
    }

    #[test]
    fn what_is_said_is_found_where_all_of_it_is_said() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!((text_of(dir.path()), written_at(dir.path())), (String::new(), None));
        fs::create_dir(dir.path().join(FOLDER)).unwrap();
        fs::write(path_of(dir.path(), "en").unwrap(), TEXT).unwrap();
        let chinese = "WEBVTT\n\n00:07.000 --> 00:09.000\n<v 陈静>今天的预算 <img src=x>\n";
        fs::write(path_of(dir.path(), "zh-Hans").unwrap(), chinese).unwrap();
        assert_eq!(text_of(dir.path()), "Hello & all of you\nBye\nnobody's\n今天的预算 <img src=x>\n");
        assert!(written_at(dir.path()).is_some());
        let check = |query: &str, expected: Option<(u64, &str, &str)>| {
            let said = find(dir.path(), &Terms::of(query).unwrap());
            assert_eq!(
                said.as_ref().map(|said| (said.t_ms, said.who.as_str(), said.language.as_str())),
                expected,
                "{query}"
            );
        };
        check("hello", Some((1_000, "Ada", "en")));
        check("BY", Some((3_600_000, "Bo & Co", "en")));
        check("算", Some((7_000, "陈静", "zh-Hans")));
        check("all 预算", Some((1_000, "Ada", "en")));
        check("nothing", None);
        // The name of who speaks is no word of theirs.
        check("Ada", None);
    }

    #[test]
    fn only_languages_are_names_of_files() {
        for good in ["en", "zh-Hans", "de-AT", "x2-a"] {
            assert!(path_of(Path::new("f"), good).is_some(), "{good}");
        }
        for bad in ["", "e", "../en", "en/x", "en-", "zh_CN", "en.vtt", "toolonglanguage", "en\0"] {
            assert!(path_of(Path::new("f"), bad).is_none(), "{bad:?}");
        }
    }
}

//! Ranges and conditions of RFC 9110, as pure functions over header values. One range is served; several at once are
//! answered by the whole file, which the RFC allows and every client copes with.

use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, header};

/// What a `Range` header asks of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The whole file: no range, one we do not read, or several.
    Whole,
    /// Bytes from the first to before the second number; never empty.
    Part(u64, u64),
    /// A range that lies behind the end.
    Unsatisfiable,
}

/// Reads a `Range` header for a file of `len` bytes (RFC 9110 §14.2: what cannot be read is passed over).
pub fn wanted(range: &str, len: u64) -> Wanted {
    let Some((unit, set)) = range.split_once('=') else { return Wanted::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let mut specs = set.split(',').map(str::trim).filter(|spec| !spec.is_empty());
    let (Some(spec), None) = (specs.next(), specs.next()) else { return Wanted::Whole };
    let Some((first, last)) = spec.split_once('-') else { return Wanted::Whole };
    match (number(first), number(last)) {
        (Number::Missing, Number::Is(suffix)) => match suffix {
            0 => Wanted::Unsatisfiable,
            _ if len == 0 => Wanted::Whole,
            _ => Wanted::Part(len.saturating_sub(suffix), len),
        },
        (Number::Is(first), Number::Missing) if first >= len => Wanted::Unsatisfiable,
        (Number::Is(first), Number::Missing) => Wanted::Part(first, len),
        (Number::Is(first), Number::Is(last)) if last < first => Wanted::Whole,
        (Number::Is(first), Number::Is(_)) if first >= len => Wanted::Unsatisfiable,
        (Number::Is(first), Number::Is(last)) => Wanted::Part(first, last.saturating_add(1).min(len)),
        _ => Wanted::Whole,
    }
}

enum Number {
    Missing,
    Is(u64),
    Bad,
}

fn number(text: &str) -> Number {
    if text.is_empty() {
        return Number::Missing;
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Number::Bad;
    }
    // More digits than fit: a place behind the end of any file.
    Number::Is(text.parse().unwrap_or(u64::MAX))
}

/// What a version of a file is known by; nothing while it grows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    /// A strong ETag, with its quotes.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub modified: Option<SystemTime>,
}

/// What the conditions of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Answer it.
    Go,
    /// The client has this version: 304.
    NotModified,
    /// The client wants another version: 412.
    Failed,
}

impl Validators {
    /// Weighs the conditions of a GET or HEAD, in the order of RFC 9110 §13.2.2.
    pub fn verdict(&self, headers: &HeaderMap) -> Verdict {
        if let Some(wanted) = text(headers, header::IF_MATCH) {
            if !self.matches(wanted, Comparison::Strong) {
                return Verdict::Failed;
            }
        } else if let (Some(limit), Some(modified)) = (date(headers, header::IF_UNMODIFIED_SINCE), self.modified)
            && whole_seconds(modified) > limit
        {
            return Verdict::Failed;
        }
        if let Some(known) = text(headers, header::IF_NONE_MATCH) {
            if self.matches(known, Comparison::Weak) {
                return Verdict::NotModified;
            }
        } else if let (Some(since), Some(modified)) = (date(headers, header::IF_MODIFIED_SINCE), self.modified)
            && whole_seconds(modified) <= since
        {
            return Verdict::NotModified;
        }
        Verdict::Go
    }

    /// Whether a range may be served: true without `If-Range`, or when it names exactly this version (§13.1.5).
    pub fn range_holds(&self, headers: &HeaderMap, now: SystemTime) -> bool {
        let Some(value) = headers.get(header::IF_RANGE) else { return true };
        let Ok(value) = value.to_str() else { return false };
        if value.starts_with('"') {
            return self.etag.as_deref() == Some(value.trim());
        }
        let (Ok(date), Some(modified)) = (httpdate::parse_http_date(value), self.modified) else { return false };
        // Within the second of the change a date cannot tell two versions apart (§8.8.2.2).
        let is_strong = now.duration_since(modified).is_ok_and(|age| age > Duration::from_secs(1));
        is_strong && whole_seconds(modified) == date
    }

    fn matches(&self, list: &str, comparison: Comparison) -> bool {
        if list.trim() == "*" {
            return true;
        }
        let Some(etag) = &self.etag else { return false };
        list.split(',').map(str::trim).any(|entry| match (comparison, entry.strip_prefix("W/")) {
            (Comparison::Weak, Some(opaque)) => opaque == etag,
            (Comparison::Strong, Some(_)) => false,
            (_, None) => entry == etag,
        })
    }
}

#[derive(Clone, Copy)]
enum Comparison {
    Strong,
    Weak,
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn date(headers: &HeaderMap, name: header::HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(text(headers, name)?).ok()
}

fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_by_the_book() {
        let check = |range: &str, expected: Wanted| assert_eq!(wanted(range, 100), expected, "{range:?}");
        check("bytes=0-0", Wanted::Part(0, 1));
        check("bytes=0-", Wanted::Part(0, 100));
        check("bytes=99-", Wanted::Part(99, 100));
        check("bytes=10-19", Wanted::Part(10, 20));
        check("bytes=10-999999999999999999999999", Wanted::Part(10, 100));
        check("bytes=-1", Wanted::Part(99, 100));
        check("bytes=-500", Wanted::Part(0, 100));
        check("Bytes= 0-1 ", Wanted::Part(0, 2));
        check("bytes=,0-1,", Wanted::Part(0, 2));
        check("bytes=100-", Wanted::Unsatisfiable);
        check("bytes=100-200", Wanted::Unsatisfiable);
        check("bytes=99999999999999999999-", Wanted::Unsatisfiable);
        check("bytes=-0", Wanted::Unsatisfiable);
        for whole in
            ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-2", "bytes=1-2,5-9", "lines=1-2", "bytes=+1-2"]
        {
            check(whole, Wanted::Whole);
        }
        assert_eq!(wanted("bytes=0-", 0), Wanted::Unsatisfiable);
        assert_eq!(wanted("bytes=-5", 0), Wanted::Whole);
    }

    fn headers(list: &[(header::HeaderName, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn conditions_are_weighed_in_order() {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_500);
        let now = modified + Duration::from_secs(60);
        let file = Validators { etag: Some("\"a\"".into()), modified: Some(modified) };
        let same = httpdate::fmt_http_date(modified);
        let before = httpdate::fmt_http_date(modified - Duration::from_secs(5));
        let verdict = |list: &[_], expected| assert_eq!(file.verdict(&headers(list)), expected, "{list:?}");
        verdict(&[], Verdict::Go);
        verdict(&[(header::IF_MATCH, "\"b\", \"a\"")], Verdict::Go);
        verdict(&[(header::IF_MATCH, "W/\"a\"")], Verdict::Failed);
        verdict(&[(header::IF_MATCH, "*")], Verdict::Go);
        verdict(&[(header::IF_NONE_MATCH, "W/\"a\"")], Verdict::NotModified);
        verdict(&[(header::IF_NONE_MATCH, "\"b\""), (header::IF_MODIFIED_SINCE, &same)], Verdict::Go);
        verdict(&[(header::IF_MODIFIED_SINCE, &same)], Verdict::NotModified);
        verdict(&[(header::IF_MODIFIED_SINCE, &before)], Verdict::Go);
        verdict(&[(header::IF_UNMODIFIED_SINCE, &before)], Verdict::Failed);
        verdict(&[(header::IF_UNMODIFIED_SINCE, "yesterday")], Verdict::Go);
        let holds = |value: &str, expected| {
            assert_eq!(file.range_holds(&headers(&[(header::IF_RANGE, value)]), now), expected, "{value}");
        };
        holds("\"a\"", true);
        holds("\"b\"", false);
        holds("W/\"a\"", false);
        holds(&same, true);
        holds(&before, false);
        let growing = Validators::default();
        assert!(growing.range_holds(&HeaderMap::new(), now));
        assert!(!growing.range_holds(&headers(&[(header::IF_RANGE, &same)]), now));
        assert_eq!(growing.verdict(&headers(&[(header::IF_MATCH, "\"a\"")])), Verdict::Failed);
    }
}

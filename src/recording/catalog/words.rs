//! Text for the search: how names, titles and chat become words, and how a query becomes an FTS5 expression.
//! SQLite's unicode61 takes a run of Chinese for one word, so each such character becomes a word of its own.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Puts spaces around each character of a script that does not write them.
pub fn split(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 2);
    for c in text.chars().map(|c| if c == '\0' { ' ' } else { c }) {
        if is_wordless(c) {
            out.push(' ');
            out.push(c);
            out.push(' ');
        } else {
            out.push(c);
        }
    }
    out
}

/// The FTS5 expression for what somebody typed: every word must be there, the beginning of a word is enough.
/// `None` when nothing in it can be searched for.
pub fn expression(query: &str) -> Option<String> {
    let phrases: Vec<String> = searched(query).map(phrase).collect();
    if phrases.is_empty() { None } else { Some(phrases.join(" AND ")) }
}

/// What somebody typed, for finding where in a text it is: the same words as in the FTS5 expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms(Vec<Term>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    words: Vec<String>,
    is_prefix: bool,
}

impl Terms {
    /// Takes a query apart; `None` when nothing in it can be searched for.
    pub fn of(query: &str) -> Option<Self> {
        let term = |word: &str| Term { words: folded(word), is_prefix: is_prefix(word) };
        let terms: Vec<Term> = searched(query).map(term).filter(|term| !term.words.is_empty()).collect();
        if terms.is_empty() { None } else { Some(Self(terms)) }
    }

    /// How many there are.
    #[allow(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// How many of them are in a text.
    pub fn hits(&self, text: &str) -> usize {
        let words = folded(text);
        self.0.iter().filter(|term| words.windows(term.words.len()).any(|found| term.is_like(found))).count()
    }
}

impl Term {
    fn is_like(&self, found: &[String]) -> bool {
        let last = self.words.len() - 1;
        found.iter().zip(&self.words).enumerate().all(|(n, (found, wanted))| {
            if self.is_prefix && n == last { found.starts_with(wanted.as_str()) } else { found == wanted }
        })
    }
}

/// The words of a text as unicode61 sees them: small letters without accents.
fn folded(text: &str) -> Vec<String> {
    let plain = |word: &str| {
        if word.is_ascii() {
            word.to_ascii_lowercase()
        } else {
            word.nfd().filter(|c| !is_combining_mark(*c)).collect::<String>().to_lowercase()
        }
    };
    let is_between = |c: char| !c.is_alphanumeric() && !is_combining_mark(c);
    split(text).split(is_between).filter(|word| !word.is_empty()).map(plain).collect()
}

/// The FTS5 expression for a room whose name is exactly this, or nearly: the caller compares the name as well.
pub fn room_expression(room: &str) -> Option<String> {
    let quoted = split(room).replace('"', " ");
    room.chars().any(char::is_alphanumeric).then(|| format!("room : \"{quoted}\""))
}

fn searched(query: &str) -> impl Iterator<Item = &str> {
    query.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric)).take(MAX_WORDS)
}

fn is_prefix(word: &str) -> bool {
    word.chars().next_back().is_some_and(|c| c.is_alphanumeric() && !is_wordless(c))
}

fn phrase(word: &str) -> String {
    let quoted: String = split(word).replace('"', " ").chars().take(MAX_WORD_CHARS).collect();
    if is_prefix(word) { format!("\"{quoted}\"*") } else { format!("\"{quoted}\"") }
}

// Han, kana, Hangul and their compatibility blocks.
fn is_wordless(c: char) -> bool {
    matches!(u32::from(c), 0x2E80..=0x2FDF | 0x3040..=0x30FF | 0x3130..=0x318F | 0x31F0..=0x31FF | 0x3400..=0x4DBF
        | 0x4E00..=0x9FFF | 0xAC00..=0xD7AF | 0xF900..=0xFAFF | 0xFF66..=0xFF9D | 0x20000..=0x323AF)
}

const MAX_WORDS: usize = 12;
const MAX_WORD_CHARS: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, expected: Option<&str>) {
        assert_eq!(expression(query).as_deref(), expected, "{query:?}");
    }

    #[test]
    fn queries_become_phrases_that_cannot_break_out() {
        check("", None);
        check("  !! \" ", None);
        check("Bud", Some("\"Bud\"*"));
        check("a\" OR b", Some("\"a \" AND \"OR\"* AND \"b\"*"));
        check("开会", Some("\" 开  会 \""));
        check("team-1 x*", Some("\"team-1\"* AND \"x*\""));
    }

    #[test]
    fn terms_are_found_where_the_search_finds_them() {
        let hits = |query: &str, text: &str| Terms::of(query).unwrap().hits(text);
        assert_eq!(hits("BUD", "the Budget"), 1);
        assert_eq!(hits("get", "the Budget"), 0);
        assert_eq!(hits("budget! muller", "Zoë Müller, the budget"), 2);
        assert_eq!(hits("开会", "今天开会吗"), 1);
        assert_eq!(hits("会", "今天开会吗"), 1);
        assert_eq!(hits("会开", "今天开会吗"), 0);
        assert_eq!(hits("team-1 x*", "a team-17"), 1);
        assert_eq!(hits("x*", "xy"), 0);
        assert_eq!(Terms::of(" !! "), None);
    }
}

//! Text for the search: how names, titles and chat become words, and how a query becomes an FTS5 expression.
//! SQLite's unicode61 takes a run of Chinese for one word, so each such character becomes a word of its own.

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
    let words = query.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric)).take(MAX_WORDS);
    let phrases: Vec<String> = words.map(phrase).collect();
    if phrases.is_empty() { None } else { Some(phrases.join(" AND ")) }
}

/// The FTS5 expression for a room whose name is exactly this, or nearly: the caller compares the name as well.
pub fn room_expression(room: &str) -> Option<String> {
    let quoted = split(room).replace('"', " ");
    room.chars().any(char::is_alphanumeric).then(|| format!("room : \"{quoted}\""))
}

fn phrase(word: &str) -> String {
    let quoted: String = split(word).replace('"', " ").chars().take(MAX_WORD_CHARS).collect();
    let is_prefix = word.chars().next_back().is_some_and(|c| c.is_alphanumeric() && !is_wordless(c));
    if is_prefix { format!("\"{quoted}\"*") } else { format!("\"{quoted}\"") }
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
}

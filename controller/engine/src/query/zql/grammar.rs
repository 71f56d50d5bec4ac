//! ZQL's grammar, as ZStack's `ZQL.g4` has it: what a client may write, read into statements.
//!
//! `and` binds closer than `or`. Keywords may be of any case.

use winnow::ModalResult;
use winnow::ascii::{Caseless, multispace0};
use winnow::combinator::{alt, cut_err, delimited, eof, not, opt, preceded, repeat, separated, terminated};
use winnow::error::ContextError;
use winnow::prelude::*;
use winnow::token::{take_till, take_while};

use crate::error::Result;
use crate::query::condition::{Condition, DEEPEST, Sign, Sub, Test};
use crate::query::value::invalid;

/// So long may the text be, in bytes.
const LONGEST: usize = 64 << 10;
/// So many statements stand in it.
const MOST: usize = 20;

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub verb: Verb,
    pub entity: String,
    /// None of them means all.
    pub fields: Vec<String>,
    pub distinct: bool,
    pub condition: Option<Condition>,
    pub restrict: Vec<Restriction>,
    pub returns: Vec<String>,
    pub group: Vec<String>,
    /// Each descending or not.
    pub order: Vec<(String, bool)>,
    pub limit: Option<i64>,
    pub offset: Option<i64>,
    pub filters: Vec<String>,
    pub name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    Query,
    Count,
    /// Of each value of this field.
    SumBy(String),
}

/// One condition of `restrict by`: on the entity itself, or on one that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restriction {
    pub entity: Option<String>,
    pub field: String,
    pub test: Test,
}

/// Reads statements separated by `;`.
pub fn read(text: &str) -> Result<Vec<Statement>> {
    if text.len() > LONGEST {
        return Err(invalid(format!("\"zql\" is longer than {LONGEST} bytes")));
    }
    if nesting(text) > DEEPEST {
        return Err(invalid(format!("\"zql\": parentheses nest at most {DEEPEST} deep")));
    }
    let read = statements.parse(text).map_err(|error| {
        let rest: String =
            text.get(error.offset()..).unwrap_or_default().trim_start().chars().take(40).collect();
        let place = if rest.is_empty() { "its end".to_owned() } else { format!("\"{rest}\"") };
        invalid(format!("\"zql\" cannot be understood from {place} on"))
    })?;
    match read.len() > MOST {
        true => Err(invalid(format!("\"zql\" has at most {MOST} statements, not {}", read.len()))),
        false => Ok(read),
    }
}

/// Known before anything is read, for reading goes as deep.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest, mut quote) = (0_usize, 0, None);
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '{') => depth += 1,
            (None, ')' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn statements(input: &mut &str) -> ModalResult<Vec<Statement>> {
    let all = separated(1.., statement, sign(";")).parse_next(input)?;
    (opt(sign(";")), multispace0, eof).void().parse_next(input)?;
    Ok(all)
}

fn statement(input: &mut &str) -> ModalResult<Statement> {
    let word = alt((
        keyword("query").value(Verb::Query),
        keyword("count").value(Verb::Count),
        keyword("sum").value(Verb::SumBy(String::new())),
    ))
    .parse_next(input)?;
    let (entity, fields, distinct) = cut_err(target).parse_next(input)?;
    let verb = match word {
        Verb::SumBy(_) => Verb::SumBy(cut_err(preceded(keyword("by"), name)).parse_next(input)?),
        other => other,
    };
    Ok(Statement {
        verb,
        entity,
        fields,
        distinct,
        condition: opt(preceded(keyword("where"), cut_err(condition))).parse_next(input)?,
        restrict: clause("restrict by", within(restriction)).parse_next(input)?,
        returns: clause("return with", within(block)).parse_next(input)?,
        group: clause("group by", separated(1.., name, sign(","))).parse_next(input)?,
        order: clause("order by", separated(1.., ordering, sign(","))).parse_next(input)?,
        limit: opt(preceded(keyword("limit"), cut_err(number))).parse_next(input)?,
        offset: opt(preceded(keyword("offset"), cut_err(number))).parse_next(input)?,
        filters: clause("filter by", separated(1.., block, sign(","))).parse_next(input)?,
        name: opt(preceded(keyword("named as"), cut_err(quoted))).parse_next(input)?,
    })
}

/// What a keyword begins; nothing without it.
fn clause<'i, O>(
    word: &'static str,
    rest: impl ModalParser<&'i str, Vec<O>, ContextError>,
) -> impl ModalParser<&'i str, Vec<O>, ContextError> {
    opt(preceded(keyword(word), cut_err(rest))).map(Option::unwrap_or_default)
}

fn within<'i, O>(
    one: impl ModalParser<&'i str, O, ContextError>,
) -> impl ModalParser<&'i str, Vec<O>, ContextError> {
    delimited(sign("("), separated(1.., one, sign(",")), sign(")"))
}

/// `vm`, `vm.name,state`, `distinct(vm.state)`
fn target(input: &mut &str) -> ModalResult<(String, Vec<String>, bool)> {
    let distinct = opt(preceded(keyword("distinct"), sign("("))).parse_next(input)?.is_some();
    let entity = name(input)?;
    let fields = opt(preceded(sign("."), separated(1.., name, sign(",")))).parse_next(input)?;
    if distinct {
        sign(")").parse_next(input)?;
    }
    Ok((entity, fields.unwrap_or_default(), distinct))
}

fn condition(input: &mut &str) -> ModalResult<Condition> {
    let parts: Vec<Condition> = separated(1.., conjunction, keyword("or")).parse_next(input)?;
    Ok(one_or(parts, Condition::Any))
}

fn conjunction(input: &mut &str) -> ModalResult<Condition> {
    let parts: Vec<Condition> = separated(1.., term, keyword("and")).parse_next(input)?;
    Ok(one_or(parts, Condition::All))
}

fn one_or(mut parts: Vec<Condition>, many: fn(Vec<Condition>) -> Condition) -> Condition {
    match parts.len() {
        1 => parts.remove(0),
        _ => many(parts),
    }
}

fn term(input: &mut &str) -> ModalResult<Condition> {
    if opt(sign("(")).parse_next(input)?.is_some() {
        return terminated(cut_err(condition), cut_err(sign(")"))).parse_next(input);
    }
    let path: Vec<String> = separated(1.., name, sign(".")).parse_next(input)?;
    let test = cut_err(test).parse_next(input)?;
    Ok(Condition::Field { path: path.join("."), test })
}

fn test(input: &mut &str) -> ModalResult<Test> {
    alt((
        keyword("is null").value(Test::Null),
        keyword("is not null").value(Test::NotNull),
        preceded(keyword("not in"), cut_err(among)).map(negated),
        preceded(keyword("in"), cut_err(among)),
        preceded(keyword("not like"), cut_err(value)).map(Test::NotLike),
        preceded(keyword("like"), cut_err(value)).map(Test::Like),
        preceded(keyword("not has"), cut_err(values)).map(Test::NotHas),
        preceded(keyword("has"), cut_err(values)).map(Test::Has),
        (comparison, cut_err(value)).map(|(sign, value)| Test::Is(sign, value)),
    ))
    .parse_next(input)
}

fn comparison(input: &mut &str) -> ModalResult<Sign> {
    alt((
        sign("!=").value(Sign::NotEqual),
        sign(">=").value(Sign::GreaterEqual),
        sign("<=").value(Sign::LessEqual),
        sign("=").value(Sign::Equal),
        sign(">").value(Sign::Greater),
        sign("<").value(Sign::Less),
    ))
    .parse_next(input)
}

/// A list, or the rows of another question.
fn among(input: &mut &str) -> ModalResult<Test> {
    alt((delimited(sign("("), sub, sign(")")).map(|sub| Test::Among(Box::new(sub))), values.map(Test::In)))
        .parse_next(input)
}

fn negated(test: Test) -> Test {
    match test {
        Test::Among(sub) => Test::NotAmong(sub),
        Test::In(list) => Test::NotIn(list),
        other => other,
    }
}

fn sub(input: &mut &str) -> ModalResult<Sub> {
    let (entity, field) =
        preceded(keyword("query"), cut_err((name, preceded(sign("."), name)))).parse_next(input)?;
    let condition = opt(preceded(keyword("where"), cut_err(condition))).parse_next(input)?;
    Ok(Sub { entity, field, condition: condition.unwrap_or(Condition::All(Vec::new())) })
}

fn restriction(input: &mut &str) -> ModalResult<Restriction> {
    let (first, second) = (name, opt(preceded(sign("."), name))).parse_next(input)?;
    let (entity, field) = match second {
        Some(field) => (Some(first), field),
        None => (None, first),
    };
    Ok(Restriction { entity, field, test: test(input)? })
}

fn ordering(input: &mut &str) -> ModalResult<(String, bool)> {
    let direction = alt((keyword("asc").value(false), keyword("desc").value(true)));
    (name, opt(direction).map(Option::unwrap_or_default)).parse_next(input)
}

/// A word, with whatever stands in braces behind it.
fn block(input: &mut &str) -> ModalResult<String> {
    let word: Vec<String> = separated(1.., name, sign(".")).parse_next(input)?;
    opt(braces).parse_next(input)?;
    Ok(word.join("."))
}

fn braces(input: &mut &str) -> ModalResult<()> {
    let inner = repeat(0.., alt((take_till(1.., ['{', '}']).void(), braces)));
    delimited(sign("{"), inner.map(|(): ()| ()), sign("}")).parse_next(input)
}

fn values(input: &mut &str) -> ModalResult<Vec<String>> {
    alt((within(value), value.map(|one| vec![one]))).parse_next(input)
}

fn value(input: &mut &str) -> ModalResult<String> {
    let bare = take_while(1.., |c: char| c.is_ascii_alphanumeric() || ['-', '.', '_'].contains(&c));
    alt((quoted, preceded(multispace0, bare).map(str::to_owned))).parse_next(input)
}

fn quoted(input: &mut &str) -> ModalResult<String> {
    let double = delimited('"', take_till(0.., '"'), '"');
    let single = delimited('\'', take_till(0.., '\''), '\'');
    preceded(multispace0, alt((double, single))).map(str::to_owned).parse_next(input)
}

fn number(input: &mut &str) -> ModalResult<i64> {
    preceded(multispace0, take_while(1.., ('0'..='9', '-'))).try_map(str::parse::<i64>).parse_next(input)
}

fn name(input: &mut &str) -> ModalResult<String> {
    preceded(multispace0, take_while(1.., is_of_name)).map(str::to_owned).parse_next(input)
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn sign<'i>(text: &'static str) -> impl ModalParser<&'i str, (), ContextError> {
    preceded(multispace0, text).void()
}

/// Words with blanks between them.
fn keyword<'i>(text: &'static str) -> impl ModalParser<&'i str, (), ContextError> {
    move |input: &mut &'i str| {
        for word in text.split(' ') {
            (multispace0, Caseless(word), not(take_while(1, is_of_name))).void().parse_next(input)?;
        }
        Ok(())
    }
}

//! The calls that the API is compatible with, as a table: those that no module has are answered cleanly.

/// One call of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    pub path: &'static str,
    pub method: &'static str,
    pub name: &'static str,
    pub body: Option<&'static str>,
}

/// Reads the table: a line of headings, then path, method, name, kind, who may call, the body's member and the
/// parameters, with tabs between.
pub fn read(table: &'static str) -> Vec<Known> {
    table.lines().skip(1).filter_map(line).collect()
}

fn line(line: &'static str) -> Option<Known> {
    let mut columns = line.split('\t');
    let (path, method, name) = (columns.next()?, columns.next()?, columns.next()?);
    let body = columns.nth(2).filter(|body| !body.is_empty());
    Some(Known { path, method, name, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_is_read() {
        let table = "path\tmethod\n/a/{x}/actions\tPUT\tStartA\tjob\tsession\tstartA\tx*:String\n/b\tGET\tQueryB\tquery\tsession\t\t";
        let start = Known { path: "/a/{x}/actions", method: "PUT", name: "StartA", body: Some("startA") };
        assert_eq!(read(table), [start, Known { path: "/b", method: "GET", name: "QueryB", body: None }]);
    }
}

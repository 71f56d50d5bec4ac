//! What `docs/errors.md` says, as pages. Its text is plain: headings, paragraphs, code and links.

const TEXT: &str = include_str!("../../../docs/errors.md");

/// A code and what is said about it.
struct Section {
    code: &'static str,
    text: &'static str,
}

fn sections() -> impl Iterator<Item = Section> {
    TEXT.split("\n## ").skip(1).filter_map(|part| {
        let (code, text) = part.split_once('\n')?;
        Some(Section { code: code.trim(), text })
    })
}

pub(super) fn all() -> String {
    let preface = TEXT.split("\n## ").next().unwrap_or_default();
    let preface = preface.split_once('\n').map_or("", |(_, rest)| rest);
    let told = sections().map(|section| {
        let Section { code, text } = section;
        format!(
            "<section id=\"{code}\"><h2><a href=\"/docs/errors/{code}\">{code}</a></h2>{}</section>",
            paragraphs(text)
        )
    });
    framed("Errors", &format!("{}{}", paragraphs(preface), told.collect::<String>()))
}

pub(super) fn one(code: &str) -> Option<String> {
    let section = sections().find(|section| section.code.eq_ignore_ascii_case(code))?;
    Some(framed(section.code, &paragraphs(section.text)))
}

/// The code is not repeated: it may be anything.
pub(super) fn unknown() -> String {
    framed("No such error", "<p>There is no error of this code. It may be of another version.</p>")
}

fn framed(title: &str, html: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title} · Cumulet</title>\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <link rel=\"stylesheet\" href=\"/docs/style.css\"><body class=\"text\">\
         <nav><a href=\"/docs\">API</a> · <a href=\"/docs/errors\">Errors</a></nav>\
         <main><h1>{title}</h1>{html}</main></body></html>\n"
    )
}

fn paragraphs(text: &str) -> String {
    let parts = text.split("\n\n").map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| format!("<p>{}</p>", line(part))).collect()
}

/// Code between backquotes is taken as it is.
fn line(text: &str) -> String {
    let parts = text.split('`').enumerate().map(|(at, part)| match at % 2 {
        0 => links(part),
        _ => format!("<code>{}</code>", escaped(part)),
    });
    parts.collect()
}

/// Other documents are not served here: what leads to them is told by its words.
fn links(text: &str) -> String {
    let mut html = String::new();
    let mut rest = text;
    while let Some((before, (words, after))) =
        rest.split_once('[').and_then(|(before, rest)| Some((before, rest.split_once("](")?)))
    {
        html.push_str(&escaped(before));
        html.push_str(&escaped(words));
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    html + &escaped(rest)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_page() {
        let codes = engine::error::codes::ALL.iter().chain(crate::modules::CODES);
        let without: Vec<_> = codes.map(|code| code.0).filter(|code| one(code).is_none()).collect();
        assert!(without.is_empty(), "{without:?}");
        assert!(one("SYS.9999").is_none() && one("<script>").is_none());
        assert!(one("sys.1007").unwrap().contains("<h1>SYS.1007</h1>"));
        assert_eq!(all().matches("<section").count(), sections().count());
    }

    #[test]
    fn text_becomes_html_that_is_only_text() {
        assert_eq!(line("a `b<c>` [see](x.md), & d"), "a <code>b&lt;c&gt;</code> see, &amp; d");
        assert_eq!(line("[`name`] stays"), "[<code>name</code>] stays");
    }
}

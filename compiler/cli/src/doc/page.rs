//! The pages.

use std::collections::BTreeMap;
use std::fmt::Write;

use tdl_syntax::tokens::{self, Class};

use super::markdown;
use super::module::{Entry, Kind, Module};

/// Where names lead to.
pub struct Links {
    /// By module and name, and by name alone.
    targets: BTreeMap<(String, String), String>,
    anywhere: BTreeMap<String, String>,
}

impl Links {
    pub fn new(modules: &[Module]) -> Links {
        let mut links = Links { targets: BTreeMap::new(), anywhere: BTreeMap::new() };
        for m in modules {
            links.anywhere.entry(m.name.clone()).or_insert_with(|| file_of(&m.name));
            for e in m.entries.iter().flat_map(|e| std::iter::once(e).chain(&e.members)) {
                let target = format!("{}#{}", file_of(&m.name), e.name);
                links.targets.insert((m.name.clone(), e.name.clone()), target.clone());
                links.anywhere.insert(format!("{}.{}", m.name, e.name), target.clone());
                links.anywhere.entry(e.name.clone()).or_insert(target);
            }
        }
        links
    }

    /// The address of an item, seen from a module.
    pub fn find(&self, name: &str, module: &str) -> Option<&str> {
        let own = self.targets.get(&(module.to_owned(), name.to_owned()));
        own.or_else(|| self.anywhere.get(name)).map(String::as_str)
    }
}

pub fn file_of(module: &str) -> String {
    // an own name: a module may be called `index`
    format!("module.{module}.html")
}

pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(c),
        }
    }
    out
}

/// Source text with colours and links; `own` are names that mean nothing outside.
pub fn code(text: &str, links: &Links, module: &str, own: &[String]) -> String {
    let mut out = String::new();
    let mut end = 0;
    for (range, class) in tokens::highlight(text) {
        out.push_str(&escape(&text[end..range.start]));
        end = range.end;
        let word = &text[range.clone()];
        let label = text[range.end..].starts_with(':');
        let linked = match class {
            Class::Name | Class::Type if !label && !own.iter().any(|o| o == word) => links.find(word, module),
            _ => None,
        };
        let style = match class {
            Class::Keyword => "k",
            Class::Type => "t",
            Class::Number => "n",
            Class::Text => "s",
            Class::Comment => "c",
            Class::Name | Class::Operator | Class::Bracket | Class::Error => "",
        };
        let word = escape(word);
        let _ = match (linked, style) {
            (Some(target), _) => write!(out, "<a href=\"{target}\">{word}</a>"),
            (None, "") => write!(out, "{word}"),
            (None, style) => write!(out, "<span class=\"{style}\">{word}</span>"),
        };
    }
    out.push_str(&escape(&text[end..]));
    out
}

fn frame(title: &str, nav: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <link rel=\"stylesheet\" href=\"style.css\">\n</head>\n<body>\n<nav>\n{nav}</nav>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )
}

fn nav(modules: &[Module], current: Option<&Module>) -> String {
    let mut out = String::from("<a class=\"home\" href=\"index.html\">tdl</a>\n");
    for m in modules {
        let here = current.is_some_and(|c| c.name == m.name);
        let class = if here { " class=\"here\"" } else { "" };
        let _ = writeln!(out, "<a{class} href=\"{}\">{}</a>", file_of(&m.name), escape(&m.name));
        if !here {
            continue;
        }
        out.push_str("<ul>\n");
        for e in sorted(&m.entries) {
            let _ = writeln!(out, "<li><a href=\"#{0}\">{0}</a></li>", escape(&e.name));
        }
        out.push_str("</ul>\n");
    }
    out
}

/// By kind, in the order of the source within each.
fn sorted(entries: &[Entry]) -> impl Iterator<Item = &Entry> {
    Kind::ALL.into_iter().flat_map(move |k| entries.iter().filter(move |e| e.kind == k))
}

pub fn index(modules: &[Module], links: &Links) -> String {
    let mut body = String::from("<h1>Modules</h1>\n<table>\n");
    for m in modules {
        let summary = markdown::summary(&m.doc, links, &m.name);
        let _ = writeln!(
            body,
            "<tr><td><a href=\"{}\">{}</a></td><td>{summary}</td></tr>",
            file_of(&m.name),
            escape(&m.name)
        );
    }
    body.push_str("</table>\n");
    frame("Modules", &nav(modules, None), &body)
}

pub fn module(m: &Module, modules: &[Module], links: &Links) -> String {
    let mut body = format!("<h1><span class=\"what\">module</span> {}</h1>\n", escape(&m.name));
    body.push_str(&markdown::html(&m.doc, links, &m.name));
    for kind in Kind::ALL {
        let entries: Vec<&Entry> = m.entries.iter().filter(|e| e.kind == kind).collect();
        if entries.is_empty() {
            continue;
        }
        let _ = writeln!(body, "<h2>{}</h2>\n<table>", kind.title());
        for e in &entries {
            let (name, summary) = (escape(&e.name), markdown::summary(&e.doc, links, &m.name));
            let _ = writeln!(body, "<tr><td><a href=\"#{name}\">{name}</a></td><td>{summary}</td></tr>");
        }
        body.push_str("</table>\n");
        for e in entries {
            entry(&mut body, e, m, links);
        }
    }
    frame(&m.name, &nav(modules, Some(m)), &body)
}

fn entry(body: &mut String, e: &Entry, m: &Module, links: &Links) {
    let name = escape(&e.name);
    // a signature does not link to itself
    let own: Vec<String> = e.generics.iter().cloned().chain(e.name.rsplit('.').next().map(str::to_owned)).collect();
    let signature = code(&e.signature, links, &m.name, &own);
    let class = if e.members.is_empty() && e.name.contains('.') { "member" } else { "item" };
    let _ = writeln!(
        body,
        "<section class=\"{class}\" id=\"{name}\">\n<h3><a href=\"#{name}\">{name}</a></h3>\n\
         <pre class=\"signature\"><code>{signature}</code></pre>\n{}",
        markdown::html(&e.doc, links, &m.name)
    );
    for member in &e.members {
        entry(body, member, m, links);
    }
    body.push_str("</section>\n");
}

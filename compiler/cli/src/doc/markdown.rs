//! The Markdown of doc comments: paragraphs, lists, headings, code blocks, `code`, *stress*, **more stress**, links.

use super::page::{Links, code, escape};

/// A comment as HTML.
pub fn html(text: &str, links: &Links, module: &str) -> String {
    let mut out = String::new();
    let mut paragraph: Vec<&str> = Vec::new();
    let mut list = false;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let trimmed = line.trim();
        if let Some(info) = trimmed.strip_prefix("```") {
            flush(&mut out, &mut paragraph, links, module);
            end_list(&mut out, &mut list);
            let mut body: Vec<&str> = Vec::new();
            for line in lines.by_ref() {
                if line.trim_start().starts_with("```") {
                    break;
                }
                body.push(line);
            }
            let body = body.join("\n");
            let is_code = matches!(info.trim(), "" | "tdl");
            let body = if is_code { code(&body, links, module, &[]) } else { escape(&body) };
            out.push_str(&format!("<pre><code>{body}</code></pre>\n"));
        } else if trimmed.is_empty() {
            flush(&mut out, &mut paragraph, links, module);
            end_list(&mut out, &mut list);
        } else if let Some(item) = trimmed.strip_prefix("- ").or_else(|| trimmed.strip_prefix("* ")) {
            flush(&mut out, &mut paragraph, links, module);
            if !list {
                out.push_str("<ul>\n");
                list = true;
            }
            out.push_str(&format!("<li>{}</li>\n", inline(item, links, module)));
        } else if let Some(title) = trimmed.strip_prefix("# ").or_else(|| trimmed.strip_prefix("## ")) {
            flush(&mut out, &mut paragraph, links, module);
            end_list(&mut out, &mut list);
            out.push_str(&format!("<h4>{}</h4>\n", inline(title, links, module)));
        } else {
            end_list(&mut out, &mut list);
            paragraph.push(trimmed);
        }
    }
    flush(&mut out, &mut paragraph, links, module);
    end_list(&mut out, &mut list);
    out
}

/// The first sentence, for an overview.
pub fn summary(text: &str, links: &Links, module: &str) -> String {
    let paragraph: Vec<&str> =
        text.lines().map(str::trim).take_while(|l| !l.is_empty() && !l.starts_with("```")).collect();
    let paragraph = paragraph.join(" ");
    let end = paragraph.find(". ").map_or(paragraph.len(), |i| i + 1);
    inline(paragraph[..end].trim_end_matches(':'), links, module)
}

fn flush(out: &mut String, paragraph: &mut Vec<&str>, links: &Links, module: &str) {
    if !paragraph.is_empty() {
        out.push_str(&format!("<p>{}</p>\n", inline(&paragraph.join(" "), links, module)));
        paragraph.clear();
    }
}

fn end_list(out: &mut String, list: &mut bool) {
    if std::mem::take(list) {
        out.push_str("</ul>\n");
    }
}

/// Text between marks; what has no partner stays as it is.
fn inline(text: &str, links: &Links, module: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['`', '*', '[']) {
        out.push_str(&escape(&rest[..at]));
        rest = &rest[at..];
        let (piece, used) = mark(rest, links, module).unwrap_or_else(|| (escape(&rest[..1]), 1));
        out.push_str(&piece);
        rest = &rest[used..];
    }
    out.push_str(&escape(rest));
    out
}

/// The HTML of the mark that the text begins with, and its length.
fn mark(text: &str, links: &Links, module: &str) -> Option<(String, usize)> {
    if let Some(body) = text.strip_prefix('`') {
        let end = body.find('`')?;
        return Some((format!("<code>{}</code>", code(&body[..end], links, module, &[])), end + 2));
    }
    if let Some(body) = text.strip_prefix("**") {
        let end = body.find("**").filter(|e| *e > 0)?;
        return Some((format!("<strong>{}</strong>", inline(&body[..end], links, module)), end + 4));
    }
    if let Some(body) = text.strip_prefix('*') {
        let end = body.find('*').filter(|e| *e > 0 && !body.starts_with(' ') && !body[..*e].ends_with(' '))?;
        return Some((format!("<em>{}</em>", inline(&body[..end], links, module)), end + 2));
    }
    let body = text.strip_prefix('[')?;
    let end = body.find(']')?;
    let label = &body[..end];
    if let Some(target) = body[end + 1..].strip_prefix('(')
        && let Some(close) = target.find(')')
    {
        let link = format!("<a href=\"{}\">{}</a>", escape(&target[..close]), inline(label, links, module));
        return Some((link, end + close + 4));
    }
    // `[gelu]` names an item
    let name = label.trim_matches('`');
    let target = links.find(name, module)?;
    Some((format!("<a href=\"{target}\"><code>{}</code></a>", escape(name)), end + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        html(text, &Links::new(&[]), "m")
    }

    #[test]
    fn marks_become_elements() {
        assert_eq!(plain("a *b* **c** 2 * 3 * 4 < 5"), "<p>a <em>b</em> <strong>c</strong> 2 * 3 * 4 &lt; 5</p>\n");
        assert_eq!(plain("see [this](https://x.y/z)"), "<p>see <a href=\"https://x.y/z\">this</a></p>\n");
        assert_eq!(plain("- a\n- b\n\nc"), "<ul>\n<li>a</li>\n<li>b</li>\n</ul>\n<p>c</p>\n");
        assert_eq!(plain("[n, d] and `x"), "<p>[n, d] and `x</p>\n");
    }

    #[test]
    fn code_is_coloured_and_escaped() {
        let text = plain("```\nlet x = a < 1.0\n```");
        assert!(text.contains("<span class=\"k\">let</span>") && text.contains("&lt;"), "{text}");
    }

    #[test]
    fn summaries_are_sentences() {
        assert_eq!(summary("One. Two.\n\nThree", &Links::new(&[]), "m"), "One.");
        assert_eq!(summary("One:\n```\nx\n```", &Links::new(&[]), "m"), "One");
    }
}

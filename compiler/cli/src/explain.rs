//! `tdl explain`: the pages of the error codes.

use tdl_source::{CODES, CodeDef};

/// The page of a code (`E0401`, `e401`, `401`), the list of all codes, or a message that there is no such code.
pub fn explain(code: Option<&str>) -> Result<String, String> {
    let Some(code) = code else {
        let rows = CODES.iter().map(|d| format!("{}  {}\n", d.code, d.title));
        return Ok(rows.collect());
    };
    let number = code.trim_start_matches(['E', 'e']).parse::<u16>().ok();
    match CODES.iter().find(|d| Some(d.code.0) == number) {
        Some(def) => Ok(plain(def)),
        None => Err(format!("there is no code `{code}`; `tdl explain` lists them all")),
    }
}

/// The page for a terminal: code blocks indented, without their fences.
fn plain(def: &CodeDef) -> String {
    let mut out = String::new();
    let mut code = false;
    for line in def.page.lines() {
        if let Some(info) = line.strip_prefix("```") {
            code = !code;
            if code && info.contains("wrong") {
                out.push_str("  wrong:\n");
            } else if code {
                out.push_str("  right:\n");
            }
            continue;
        }
        if code && !line.is_empty() {
            out.push_str("    ");
        }
        out.push_str(line.strip_prefix("# ").unwrap_or(line));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_however_they_are_spelt() {
        for spelling in ["E0390", "e0390", "390", "E390"] {
            assert!(explain(Some(spelling)).is_ok(), "{spelling}");
        }
        assert!(explain(Some("E9999")).is_err());
        assert!(explain(Some("x")).is_err());
        assert!(explain(None).is_ok_and(|all| all.contains("E0390")));
    }
}

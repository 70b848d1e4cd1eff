//! Runs the blocks of a page, in order, in one folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Failed;

use super::markdown::{Block, blocks, program};
use crate::support::{output, root, stderr, stdout, tdl};

/// New lines for the lines from `.0` to `.1`.
type Edit = (usize, usize, Vec<String>);

pub fn check(path: &Path) -> Result<(), Failed> {
    let text = std::fs::read_to_string(path)?;
    let dir = tempfile::tempdir()?;
    std::os::unix::fs::symlink(root().join("examples"), dir.path().join("examples"))?;
    let all = blocks(&text)?;
    let (mut wrong, mut edits) = (Vec::new(), Vec::new());
    for (i, block) in all.iter().enumerate() {
        let shown = all.get(i + 1).filter(|next| {
            let between = text.lines().skip(block.close + 1).take(next.open - block.close - 1);
            next.kind() == "text" && between.into_iter().all(|l| l.trim().is_empty())
        });
        let result = match block.kind() {
            "tdl" => example(block, shown, dir.path()),
            "console" => console(block, dir.path()),
            "text" | "python" | "sh" => Ok(None),
            other => Err(format!("`{other}` is no kind of block; see tests/docs.rs")),
        };
        match result {
            Ok(edit) => edits.extend(edit),
            Err(message) => wrong.push(format!("{}:{}: {message}", path.display(), block.open + 1)),
        }
    }
    if updating() && !edits.is_empty() {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for (from, to, new) in edits.drain(..).rev() {
            lines.splice(from..to, new);
        }
        std::fs::write(path, lines.join("\n") + "\n")?;
    }
    for (from, _, new) in edits {
        wrong.push(format!(
            "{}:{}: this is printed (UPDATE=1 writes it):\n{}",
            path.display(),
            from + 1,
            new.join("\n")
        ));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// Is the wording of messages compared too?
pub fn exact() -> bool {
    updating() || std::env::var_os("TDL_DOCS_EXACT").is_some()
}

fn updating() -> bool {
    std::env::var_os("UPDATE").is_some()
}

fn example(block: &Block, shown: Option<&Block>, dir: &Path) -> Result<Option<Edit>, String> {
    if block.has("std") {
        return Ok(None);
    }
    let name = block.value("file").unwrap_or("example.tdl");
    let refused = block.has("wrong");
    let (text, has_main) =
        if refused || block.has("test") { (block.body.join("\n") + "\n", true) } else { program(&block.body) };
    std::fs::write(dir.join(name), text).map_err(|e| e.to_string())?;
    let (code, printed) = if refused {
        match run(&["check", name], dir) {
            (0, _) => run(&["run", name], dir),
            failed => failed,
        }
    } else if block.has("test") {
        run(&["test", name], dir)
    } else if shown.is_some() && has_main {
        run(&["run", name], dir)
    } else {
        run(&["check", name], dir)
    };
    if code != i32::from(refused) {
        return Err(format!("exits with {code}\n{printed}"));
    }
    if refused {
        let mut found: Vec<&str> =
            printed.lines().filter_map(|l| l.strip_prefix("error[")?.split(']').next()).collect();
        found.dedup();
        let announced: Vec<&str> = block.words.iter().skip(2).map(String::as_str).collect();
        if found != announced {
            return Err(format!("announced {announced:?}, found {found:?}\n{printed}"));
        }
    }
    let Some(shown) = shown else { return Ok(None) };
    let (text, printed) = (shown.body.join("\n"), printed.trim_end());
    let agrees = if same(&text, printed, shown.has("approx")) {
        true
    } else if !refused || updating() {
        false
    } else if exact() {
        words(&text) == words(printed)
    } else {
        true
    };
    if agrees {
        return Ok(None);
    }
    Ok(Some((shown.open + 1, shown.close, printed.lines().map(str::to_owned).collect())))
}

fn run(args: &[&str], dir: &Path) -> (i32, String) {
    let out = output(&mut tdl(args, dir));
    (out.status.code().unwrap_or(-1), stdout(&out) + &stderr(&out))
}

fn console(block: &Block, dir: &Path) -> Result<Option<Edit>, String> {
    let mut commands: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in &block.body {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command, Vec::new())),
            (None, Some((_, printed))) => printed.push(line),
            (None, None) => return Err("the first line is no `$ command`".into()),
        }
    }
    let (mut new, mut differs) = (Vec::new(), false);
    for (command, shown) in commands {
        let out = output(&mut shell(command, dir));
        let printed = stdout(&out) + &stderr(&out);
        let printed = printed.trim_end();
        if !out.status.success() && !block.has("fails") {
            return Err(format!("`{command}` fails:\n{printed}"));
        }
        new.push(format!("$ {command}"));
        let lenient = block.has("fails") && !exact();
        if lenient || same(&shown.join("\n"), printed, block.has("approx")) {
            new.extend(shown.into_iter().map(str::to_owned));
        } else {
            differs = true;
            new.extend(printed.lines().map(str::to_owned));
        }
    }
    Ok(differs.then_some((block.open + 1, block.close, new)))
}

/// `sh -c`, with this build of `tdl` on the path, in the setting of [`tdl`].
fn shell(command: &str, dir: &Path) -> Command {
    let ours = tdl(&[], dir);
    let bin: PathBuf = Path::new(ours.get_program()).parent().unwrap_or(Path::new("")).to_owned();
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::env::join_paths(std::iter::once(bin).chain(std::env::split_paths(&rest))).unwrap_or(rest);
    let mut sh = Command::new("sh");
    sh.args(["-c", command]).current_dir(dir).stdin(std::process::Stdio::null());
    for (key, value) in ours.get_envs() {
        if let Some(value) = value {
            sh.env(key, value);
        }
    }
    sh.env("PATH", paths);
    sh
}

fn is_drawing(c: char) -> bool {
    c.is_whitespace() || ('\u{2500}'..='\u{257f}').contains(&c)
}

/// A message without the drawing around it, and without where in the standard library it is: that is the business of
/// `tests/ui`.
fn words(message: &str) -> Vec<&str> {
    let mut words: Vec<&str> = message
        .lines()
        .flat_map(|line| {
            // line numbers stand before the bar
            let text = line.split_once('│').map_or(line, |(_, text)| text);
            text.split(is_drawing)
        })
        .filter(|word| !word.is_empty() && !word.starts_with("[<std>"))
        .collect();
    words.sort_unstable();
    words
}

/// Equal; or with `...` for any lines; or, where that is announced, with numbers that are close.
fn same(shown: &str, printed: &str, approx: bool) -> bool {
    let (shown, printed): (Vec<&str>, Vec<&str>) = (shown.lines().collect(), printed.lines().collect());
    lines(&shown, &printed, approx)
}

fn lines(shown: &[&str], printed: &[&str], approx: bool) -> bool {
    match (shown.split_first(), printed.split_first()) {
        (None, None) => true,
        (Some((&"...", rest)), _) => (0..=printed.len()).any(|n| lines(rest, &printed[n..], approx)),
        (Some((a, shown)), Some((b, printed))) => (a == b || approx && close(a, b)) && lines(shown, printed, approx),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn close(a: &str, b: &str) -> bool {
    let (a, b): (Vec<&str>, Vec<&str>) = (a.split_whitespace().collect(), b.split_whitespace().collect());
    let near = |(x, y): (&&str, &&str)| match (x.contains('.'), x.parse::<f64>(), y.parse::<f64>()) {
        (true, Ok(p), Ok(q)) => (p - q).abs() <= 0.05 * p.abs().max(1.0),
        _ => x == y,
    };
    a.len() == b.len() && a.iter().zip(&b).all(near)
}

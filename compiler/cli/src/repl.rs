//! `tdl repl`: reads an entry (several lines while brackets are open), evaluates it, prints its value.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Instant;

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Context, Editor, Helper};
use tdl_driver::{Failure, Options, ReplSession};
use tdl_source::Style;
use tdl_syntax::tokens;

const HELP: &str = "\
Type an expression, a statement (`let x = …`), or an item (`fn`, `struct`, `impl`, `import`).
An open bracket or a line that ends in an operator goes on with the next line; Ctrl-C drops the input, Ctrl-D leaves.

  :type EXPR    its type, without running it
  :shape EXPR   its shape
  :ir NAME      the tensor IR of a function
  :grad NAME    the tensor IR of a function's gradient
  :time EXPR    evaluate, and say how long compiling and running took
  :load FILE    read the items of a file
  :vars         what is bound
  :help         this text
  :quit         leave
";

const COMMANDS: &[&str] = &[":type ", ":shape ", ":ir ", ":grad ", ":time ", ":load ", ":vars", ":help", ":quit"];

/// Runs until the end of input; returns the exit code.
pub fn repl(options: Options, file: Option<PathBuf>, style: Style) -> i32 {
    let mut session = ReplSession::new(options);
    tdl_driver::catch_interrupts(tdl_driver::Second::Asks);
    if let Some(file) = file
        && let Err(failure) = session.load(&file)
    {
        complain!("{}", failure.text(session.map(), style, false));
        return failure.exit_code();
    }
    let config = Config::builder().auto_add_history(true).max_history_size(10_000).map(|c| c.build());
    let editor = config.and_then(Editor::<Assistant, FileHistory>::with_config);
    let mut editor = match editor {
        Ok(editor) => editor,
        Err(e) => {
            complainln!("error: cannot use the terminal: {e}");
            return 2;
        }
    };
    editor.set_helper(Some(Assistant { color: style.color, names: Vec::new() }));
    let history = history_file();
    if let Some(path) = &history {
        let _ = editor.load_history(path);
    }
    let interactive = std::io::IsTerminal::is_terminal(&std::io::stdin());
    if interactive {
        sayln!("tdl {}   :help for help, Ctrl-D to leave", env!("CARGO_PKG_VERSION"));
    }
    let mut worst = 0;
    loop {
        match editor.readline("tdl> ") {
            Ok(line) => match entry(&mut session, line.trim(), style) {
                Ok(true) => break,
                Ok(false) => {}
                Err(failure) => {
                    complain!("{}", failure.text(session.map(), style, false));
                    worst = failure.exit_code();
                }
            },
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(e) => {
                complainln!("error: cannot read: {e}");
                worst = 2;
                break;
            }
        }
        if let Some(helper) = editor.helper_mut() {
            helper.names = session.names();
        }
    }
    if let Some(path) = &history {
        let _ = path.parent().map(std::fs::create_dir_all);
        let _ = editor.save_history(path);
    }
    // errors are part of a conversation, but not of a script
    if interactive { 0 } else { worst }
}

/// Handles one entry; true to leave.
fn entry(session: &mut ReplSession, text: &str, style: Style) -> Result<bool, Failure> {
    let Some(command) = text.strip_prefix(':') else {
        if !text.is_empty() {
            say!("{}", session.eval(text)?);
        }
        return Ok(false);
    };
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let rest = rest.trim();
    match name {
        "quit" | "q" | "exit" => return Ok(true),
        "help" | "h" | "?" => say!("{HELP}"),
        "vars" => say!("{}", session.vars()),
        "type" | "t" => sayln!("{}", session.type_of(needed(name, rest)?)?),
        "shape" => sayln!("{}", session.shape_of(needed(name, rest)?)?),
        "ir" => say!("{}", session.ir_of(needed(name, rest)?)?),
        "grad" => say!("{}", session.grad_of(needed(name, rest)?)?),
        "load" => say!("{}", session.load(std::path::Path::new(needed(name, rest)?))?),
        "time" => {
            let start = Instant::now();
            let text = session.eval(needed(name, rest)?)?;
            let total = start.elapsed();
            let run = session.last_run();
            say!("{text}");
            sayln!("compile {:.1} ms, run {:.3} ms", (total - run).as_secs_f64() * 1e3, run.as_secs_f64() * 1e3);
        }
        _ => {
            let known = COMMANDS.iter().map(|c| c.trim()).collect::<Vec<_>>().join(" ");
            return Err(Failure::Usage(format!("there is no command `:{name}`; there are {known}")));
        }
    }
    let _ = style;
    Ok(false)
}

fn needed<'a>(command: &str, rest: &'a str) -> Result<&'a str, Failure> {
    if rest.is_empty() { Err(Failure::Usage(format!("`:{command}` needs an argument; see :help"))) } else { Ok(rest) }
}

fn history_file() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("TDL_HISTORY") {
        return Some(PathBuf::from(path));
    }
    directories::ProjectDirs::from("", "", "tdl").map(|d| d.data_dir().join("history"))
}

/// Highlighting, completion and the test for complete input.
struct Assistant {
    color: bool,
    names: Vec<String>,
}

impl Helper for Assistant {}

impl Hinter for Assistant {
    type Hint = String;
}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = context.input();
        let complete = text.starts_with(':') || tokens::is_complete(text);
        Ok(if complete { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let start = line[..pos].rfind(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').map_or(0, |i| i + 1);
        let word = &line[start..pos];
        let commands = COMMANDS.iter().map(|c| c.to_string()).filter(|_| start == 0);
        let all = commands.chain(self.names.iter().cloned());
        let found = all.filter(|n| !word.is_empty() && n.starts_with(word));
        Ok((start, found.map(|n| Pair { display: n.clone(), replacement: n }).collect()))
    }
}

impl Highlighter for Assistant {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if !self.color || line.starts_with(':') {
            return Cow::Borrowed(line);
        }
        let mut out = String::new();
        let mut end = 0;
        for (range, class) in tokens::highlight(line) {
            out.push_str(&line[end..range.start]);
            match ansi(class) {
                Some(code) => out.push_str(&format!("\x1b[{code}m{}\x1b[0m", &line[range.clone()])),
                None => out.push_str(&line[range.clone()]),
            }
            end = range.end;
        }
        out.push_str(&line[end..]);
        Cow::Owned(out)
    }

    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        self.color
    }
}

fn ansi(class: tokens::Class) -> Option<&'static str> {
    match class {
        tokens::Class::Keyword => Some("35"),
        tokens::Class::Number => Some("36"),
        tokens::Class::Text => Some("32"),
        tokens::Class::Comment => Some("90"),
        tokens::Class::Type => Some("33"),
        tokens::Class::Name | tokens::Class::Operator | tokens::Class::Bracket | tokens::Class::Error => None,
    }
}

//! Why a command could not do its work.

use tdl_source::{Diagnostic, InternalError, SourceMap, Style};

/// What stops a command, with the exit code it leads to.
#[derive(Debug)]
pub enum Failure {
    /// Errors in the user's program: exit 1.
    Program(Vec<Diagnostic>),
    /// A file that can't be read or written, a tool that is missing: exit 2.
    Usage(String),
    /// The program failed while it ran; the text is rendered: exit 1.
    Run(String),
    /// Ctrl-C: exit 130.
    Interrupted,
    /// A bug in the compiler: exit 101.
    Internal(InternalError),
}

impl Failure {
    pub fn exit_code(&self) -> i32 {
        match self {
            Failure::Program(_) | Failure::Run(_) => 1,
            Failure::Interrupted => 130,
            Failure::Usage(_) => 2,
            Failure::Internal(_) => 101,
        }
    }

    /// The message for a terminal, or JSON lines.
    pub fn text(&self, map: &SourceMap, style: Style, json: bool) -> String {
        match self {
            Failure::Program(d) if json => tdl_source::to_json(d, map),
            Failure::Program(d) => tdl_source::render(d, map, style),
            Failure::Run(text) => text.clone(),
            Failure::Interrupted => String::new(),
            Failure::Usage(message) if json => tdl_source::usage_json(message),
            Failure::Usage(message) => format!("error: {message}\n"),
            Failure::Internal(e) => format!(
                "{e}\nThis is a bug in tdl, not in your program. Please report it with the program and this text:\n\
                 tdl {} {}-{}\n{}\n",
                env!("CARGO_PKG_VERSION"),
                std::env::consts::ARCH,
                std::env::consts::OS,
                e.ir.as_deref().unwrap_or("")
            ),
        }
    }
}

impl From<InternalError> for Failure {
    fn from(e: InternalError) -> Failure {
        Failure::Internal(e)
    }
}

impl From<Vec<Diagnostic>> for Failure {
    fn from(d: Vec<Diagnostic>) -> Failure {
        Failure::Program(d)
    }
}

impl From<Diagnostic> for Failure {
    fn from(d: Diagnostic) -> Failure {
        Failure::Program(vec![d])
    }
}

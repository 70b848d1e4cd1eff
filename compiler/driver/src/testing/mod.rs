//! `tdl test`: the `test` blocks of a file, its properties, and the examples in its doc comments.

mod examples;
mod property;
mod values;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use tdl_elaborate::Roots;
use tdl_source::Span;
use tdl_types::thir::{Expect, Program};

use crate::call::{Callable, Outcome, Prints};
use crate::{Failure, Session};

/// What to run, and how to report.
#[derive(Clone, Debug)]
pub struct TestOptions {
    /// Only tests whose name contains this.
    pub filter: Option<String>,
    /// Of the values that properties are tried with.
    pub seed: u64,
    /// How many values a property is tried with.
    pub cases: u32,
    /// `inf` and `nan` among the values.
    pub non_finite: bool,
    /// One JSON object a line instead of text.
    pub json: bool,
}

/// How many tests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub passed: usize,
    pub failed: usize,
    /// Ctrl-C ended the run early.
    pub interrupted: bool,
}

impl std::ops::AddAssign for Summary {
    fn add_assign(&mut self, other: Summary) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.interrupted |= other.interrupted;
    }
}

/// How a test ended.
enum Verdict {
    Passed,
    /// The message.
    Failed(String),
    Interrupted,
}

/// A test as JSON.
#[derive(Serialize)]
struct Line<'a> {
    kind: &'a str,
    name: &'a str,
    file: &'a str,
    line: u32,
    ok: bool,
    seconds: f64,
    /// What the test printed.
    #[serde(skip_serializing_if = "str::is_empty")]
    output: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

/// What is reported of a test.
struct Report<'a> {
    kind: &'a str,
    name: &'a str,
    span: Span,
    verdict: &'a Verdict,
    output: &'a str,
    time: Duration,
}

impl Session {
    /// Runs a file's tests and reports them to `out`.
    pub fn test(&mut self, path: &Path, options: &TestOptions, out: &mut dyn Write) -> Result<Summary, Failure> {
        let (own, program) = self.tests_of(path)?;
        let wanted = |name: &str| options.filter.as_ref().is_none_or(|f| name.contains(f));
        let is_own = |module: tdl_types::thir::ModuleId| *program.modules[module.index()].name == *own;
        let tests: Vec<usize> = (0..program.tests.len())
            .filter(|i| is_own(program.tests[*i].module) && wanted(&program.tests[*i].name))
            .collect();
        let props: Vec<usize> = (0..program.props.len())
            .filter(|i| {
                let prop = &program.props[*i];
                is_own(program.fns[prop.func.index()].module) && wanted(&prop.name)
            })
            .collect();
        // everything compiles before anything runs
        let properties = self.compile_properties(&program, &props)?;
        let mut summary = self.blocks(&program, &tests, options, out)?;
        if let (Some(callable), false) = (properties, summary.interrupted) {
            summary += self.properties(&program, &props, &callable, options, out)?;
        }
        Ok(summary)
    }

    fn blocks(
        &mut self,
        program: &Program,
        wanted: &[usize],
        options: &TestOptions,
        out: &mut dyn Write,
    ) -> Result<Summary, Failure> {
        let mut summary = Summary::default();
        let compiles = |i: &usize| !matches!(program.tests[*i].expect, Expect::CompileError { .. });
        let runnable: Vec<usize> =
            wanted.iter().copied().filter(|i| compiles(i) && program.tests[*i].body.is_some()).collect();
        let elaborated = self.elaborate(program, &Roots::Tests(runnable))?;
        let funcs: Vec<_> = elaborated.tests.iter().map(|(_, f)| *f).collect();
        let module = self.optimize(&elaborated.module, &funcs)?;
        let callable = self.callable(module)?;
        for i in wanted {
            let test = &program.tests[*i];
            let start = Instant::now();
            let mut printed = String::new();
            let verdict = match (test.expect, elaborated.tests.iter().position(|(t, _)| t == i)) {
                (Expect::CompileError { found: true, .. }, _) => Verdict::Passed,
                (Expect::CompileError { code, .. }, _) if self.cannot_derive(program, *i, code)? => Verdict::Passed,
                (Expect::CompileError { code, found: false }, _) => {
                    Verdict::Failed(self.not_reported(code, test.span, "the compiler finds nothing wrong"))
                }
                (Expect::Success, Some(k)) => match self.block(&callable, k, &mut printed)? {
                    Outcome::Done(_) => Verdict::Passed,
                    Outcome::Failed { text, .. } => Verdict::Failed(text),
                    Outcome::Interrupted => Verdict::Interrupted,
                },
                (Expect::RuntimeError(code), Some(k)) => match self.block(&callable, k, &mut printed)? {
                    Outcome::Done(_) => Verdict::Failed(self.not_reported(code, test.span, "the test ran to its end")),
                    Outcome::Failed { code: found, text } => {
                        // the first line is the message
                        let message = text.lines().next().unwrap_or_default();
                        let says = test.message.as_ref().is_none_or(|m| message.contains(&**m));
                        if found == code.to_string() && says {
                            Verdict::Passed
                        } else {
                            let what = match (&test.message, says) {
                                (Some(m), false) if found == code.to_string() => {
                                    format!("its message does not say `{m}`")
                                }
                                _ => format!("the test failed with {found} instead"),
                            };
                            Verdict::Failed(self.not_reported(code, test.span, &what) + &text)
                        }
                    }
                    Outcome::Interrupted => Verdict::Interrupted,
                },
                (_, None) => Verdict::Failed("the test has no body\n".into()),
            };
            let kind = if test.name.starts_with("example of ") { "example" } else { "test" };
            let report = Report {
                kind,
                name: &test.name,
                span: test.span,
                verdict: &verdict,
                output: &printed,
                time: start.elapsed(),
            };
            if !self.report_test(&report, options, &mut summary, out) {
                break;
            }
        }
        Ok(summary)
    }

    /// Is this what differentiating a test's body reports?
    fn cannot_derive(&mut self, program: &Program, test: usize, code: tdl_source::Code) -> Result<bool, Failure> {
        if program.tests[test].body.is_none() {
            return Ok(false);
        }
        match self.differentiate_all(program, &Roots::Tests(vec![test])) {
            Err(Failure::Program(found)) => Ok(found.iter().any(|d| d.code == code)),
            Err(other) => Err(other),
            Ok(()) => Ok(false),
        }
    }

    fn block(&self, callable: &Callable, k: usize, printed: &mut String) -> Result<Outcome, Failure> {
        let call = self.call_values(callable, k, Vec::new(), Prints::Kept)?;
        *printed = call.printed;
        Ok(call.outcome)
    }

    /// An expected error that did not come.
    fn not_reported(&self, code: tdl_source::Code, span: Span, what: &str) -> String {
        let d = tdl_source::Diagnostic::error(
            tdl_source::code::E0701,
            format!("the error {code} was expected, but {what}"),
            span,
            format!("expects {code}"),
        );
        tdl_source::render(&[d], &self.sources.map, self.style())
    }

    pub(crate) fn style(&self) -> tdl_source::Style {
        tdl_source::Style { color: self.options.color, ascii: false }
    }

    /// Counts and prints a test; false when nothing more should run.
    fn report_test(
        &self,
        report: &Report<'_>,
        options: &TestOptions,
        summary: &mut Summary,
        out: &mut dyn Write,
    ) -> bool {
        let message = match report.verdict {
            Verdict::Passed => {
                summary.passed += 1;
                None
            }
            Verdict::Failed(text) => {
                summary.failed += 1;
                Some(text.as_str())
            }
            Verdict::Interrupted => {
                summary.interrupted = true;
                return false;
            }
        };
        let Report { kind, name, span, output, time, .. } = *report;
        if options.json {
            let line = Line {
                kind,
                name,
                file: &self.sources.map.file(span.file).name,
                line: self.sources.map.line_col(span.file, span.start).line,
                ok: message.is_none(),
                seconds: time.as_secs_f64(),
                output,
                message,
            };
            let _ = writeln!(out, "{}", serde_json::to_string(&line).unwrap_or_default());
            return true;
        }
        let kind = if kind == "example" { "test" } else { kind };
        match message {
            None => {
                let _ = writeln!(out, "{kind} {name} ... ok");
            }
            Some(text) => {
                let _ = write!(out, "{kind} {name} ... FAILED\n{text}");
                if !output.is_empty() {
                    let lines: String = output.lines().map(|l| format!("  {l}\n")).collect();
                    let _ = write!(out, "it printed:\n{lines}");
                }
            }
        }
        true
    }
}

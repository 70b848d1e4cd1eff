//! `--device interp`: a program in the reference interpreter, with the same flags, output and messages as native code.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Instant;

use tdl_elaborate::{Elaborated, Roots};
use tdl_ir::interp::{Interp, RunError, RunErrorKind, Tensor, Value as IrValue};
use tdl_ir::{AssertKind, FuncId, Module};
use tdl_runtime::abi::{self, Site, Text};
use tdl_runtime::start::{Flag, Flags, Form, Parsed, Value, help, message, unwritten};
use tdl_runtime::{Failure as RunFailure, FailureKind, Output, complain, put};
use tdl_source::{InternalError, SourceMap};

use crate::host::{RealHost, code, show};
use crate::native::{Second, catch_interrupts, watch, watch_nothing};
use crate::{Failure, Session};

impl Session {
    pub(crate) fn interpret(&mut self, path: &Path, args: &[String]) -> Result<i32, Failure> {
        let program = self.typed(path)?;
        let elaborated = self.elaborate(&program, &Roots::Main)?;
        let Some(main) = &elaborated.main else { return Err(no_main(path)) };
        let names: Vec<String> = main.params.iter().map(|p| p.name.clone()).collect();
        let flags: Vec<Flag<'_>> = main
            .params
            .iter()
            .zip(&names)
            .map(|(p, name)| Flag { name, dtype: p.dtype.map_or(abi::TEXT, |d| code(d) as u32) })
            .collect();
        let roots = roots(&elaborated);
        let module = self.optimize(&elaborated.module, &roots)?;
        let mut host = RealHost::new(Output::stdout());
        let mut defaults = Vec::new();
        let mut next = 1;
        for p in &main.params {
            defaults.push(match p.default {
                Some(_) => {
                    let value = self.call(&module, FuncId(next), Vec::new(), &mut host);
                    next += 1;
                    match value {
                        Ok(mut v) => v.pop(),
                        Err(e) => return self.report(e, &mut host),
                    }
                }
                None => None,
            });
        }
        let given = match Flags::parse(&flags, args) {
            Ok(Parsed::Help) => {
                let shown: Vec<Option<String>> = defaults.iter().map(|d| d.as_ref().map(|v| show(v, ""))).collect();
                return Ok(put(&help("", &path.to_string_lossy(), &flags, &shown, false)));
            }
            Ok(Parsed::Flags(flags)) => flags.values,
            Err(e) => return Err(Failure::Usage(format!("{e}\nFor what there is, try '--help'."))),
        };
        let mut values = Vec::new();
        for ((given, default), p) in given.into_iter().zip(defaults).zip(&main.params) {
            values.push(match (given, default) {
                (Some(v), _) => from_flag(&v, p.dtype),
                (None, Some(v)) => v,
                (None, None) => return Err(Failure::Usage(format!("the flag `--{}` is missing", p.name))),
            });
        }
        let start = Instant::now();
        catch_interrupts(Second::Ends);
        watch(&host.interrupt);
        let result = self.call(&module, FuncId(0), values, &mut host);
        watch_nothing();
        self.timings.add("run", start.elapsed());
        match result {
            Ok(_) => match host.output.flush(&host.interrupt) {
                Ok(()) => Ok(0),
                Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(0),
                Err(e) if e.kind() == ErrorKind::Interrupted => Ok(interrupted()),
                Err(e) => {
                    complain(format_args!("{}", unwritten(&e, self.form())));
                    Ok(1)
                }
            },
            Err(e) => self.report(e, &mut host),
        }
    }

    fn call(
        &self,
        module: &Module,
        func: FuncId,
        args: Vec<IrValue>,
        host: &mut RealHost,
    ) -> Result<Vec<IrValue>, RunError> {
        Interp::new(module).run(func, args, host)
    }

    /// Prints a run-time failure as native code would; the exit code.
    pub(crate) fn report(&self, e: RunError, host: &mut RealHost) -> Result<i32, Failure> {
        let _ = host.output.flush(&host.interrupt);
        if host.reader_gone {
            return Ok(0);
        }
        if e.kind == RunErrorKind::Interrupted {
            return Ok(interrupted());
        }
        complain(format_args!("{}", run_error(&e, &self.sources.map, self.form())?));
        Ok(1)
    }
}

fn interrupted() -> i32 {
    complain(format_args!("interrupted\n"));
    130
}

/// `main` and its defaults, in the order of the parameters.
pub(crate) fn roots(elaborated: &Elaborated) -> Vec<FuncId> {
    let main = elaborated.main.iter();
    main.flat_map(|m| std::iter::once(m.func).chain(m.params.iter().filter_map(|p| p.default))).collect()
}

pub(crate) fn no_main(path: &Path) -> Failure {
    Failure::Usage(format!("`{}` has no `fn main`; `tdl check` checks it, `tdl test` runs its tests", path.display()))
}

/// The text of a run-time failure.
pub(crate) fn run_error(e: &RunError, map: &SourceMap, form: Form) -> Result<String, Failure> {
    let Some(kind) = failure_kind(e.kind) else {
        return Err(Failure::Internal(InternalError {
            pass: "interpreter".into(),
            message: e.message.clone(),
            ir: None,
        }));
    };
    let failure = RunFailure::new(kind, e.message.clone()).at(0);
    let place = site_text(map, e.span);
    let site = place.as_ref().map(Place::site);
    // SAFETY: the texts live to the end of this function
    Ok(unsafe { message(&failure, site.as_slice(), form) })
}

/// The runtime's name of a failure; none for a bug of the compiler.
pub(crate) fn failure_kind(kind: RunErrorKind) -> Option<FailureKind> {
    Some(match kind {
        RunErrorKind::Assert(AssertKind::User) => FailureKind::Assert,
        RunErrorKind::Assert(AssertKind::Index) => FailureKind::Index,
        RunErrorKind::Assert(AssertKind::Shape) => FailureKind::Shape,
        RunErrorKind::Assert(AssertKind::Division) => FailureKind::Division,
        RunErrorKind::Assert(AssertKind::Nan) => FailureKind::Nan,
        RunErrorKind::Assert(AssertKind::Memory) => FailureKind::Memory,
        RunErrorKind::Io => FailureKind::Io,
        RunErrorKind::Memory => FailureKind::Memory,
        RunErrorKind::Interrupted => FailureKind::Interrupted,
        RunErrorKind::Internal => return None,
    })
}

/// A place in the source, as programs carry it; the default is none.
#[derive(Default)]
pub struct Place {
    pub file: String,
    pub line: u32,
    pub column: u32,
    pub width: u32,
    pub source: String,
    /// Where in the standard library, if `file` is the program that called it.
    pub inside: String,
}

impl Place {
    /// As the runtime takes it; it borrows this place's texts.
    pub(crate) fn site(&self) -> Site {
        let text = |s: &String| Text { ptr: s.as_ptr(), len: s.len() as u64 };
        Site {
            file: text(&self.file),
            line: self.line,
            column: self.column,
            width: self.width,
            _pad: 0,
            source: text(&self.source),
            inside: text(&self.inside),
        }
    }
}

/// Where a span begins; none for code that no source stands behind.
pub fn site_text(map: &SourceMap, span: tdl_source::Span) -> Option<Place> {
    if span.start == span.end {
        return None;
    }
    let (span, inside) = match map.caller(span) {
        Some(call) => (call, map.location(span)),
        None => (span, String::new()),
    };
    let at = map.line_col(span.file, span.start);
    let text = &map.file(span.file).text;
    let source = text.lines().nth(at.line as usize - 1)?.to_owned();
    let rest = source.chars().count() as u32 + 1 - at.col.min(source.chars().count() as u32 + 1);
    let width = (map.text(span).lines().next().map_or(1, |l| l.chars().count()) as u32).clamp(1, rest.max(1));
    Some(Place { file: map.file(span.file).name.clone(), line: at.line, column: at.col, width, source, inside })
}

fn from_flag(value: &Value, dtype: Option<tdl_ir::Dtype>) -> IrValue {
    match (value, dtype) {
        (Value::Text(t), _) => IrValue::Str(t.as_str().into()),
        (Value::Int(i), Some(d)) => Tensor::from_ints(d, Vec::new(), [*i]).into(),
        (Value::Float(x, _), Some(d)) => Tensor::from_floats(d, Vec::new(), [*x]).into(),
        (Value::Bool(b), _) => Tensor::from_bools(Vec::new(), [*b]).into(),
        (Value::Int(i), None) => IrValue::Str(i.to_string().as_str().into()),
        (Value::Float(x, _), None) => IrValue::Str(x.to_string().as_str().into()),
    }
}

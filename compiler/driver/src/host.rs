//! The world as the reference interpreter sees it: the runtime's own formatting and files, so that both ways of running a
//! program print the same text.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use tdl_ir::interp::{Host, Part, Tensor, Value};
use tdl_ir::{Dtype, HostFn, Scalar};
use tdl_runtime::abi::Dtype as Code;
use tdl_runtime::host::{self, Out};
use tdl_runtime::{Output, files, fmt};

/// A host over the real files and the given output.
pub struct RealHost {
    pub output: Output,
    pub started: Instant,
    /// Not zero: stop at the next safepoint.
    pub interrupt: AtomicU32,
    /// The reader of standard output went away.
    pub reader_gone: bool,
}

impl RealHost {
    pub fn new(output: Output) -> RealHost {
        RealHost { output, started: Instant::now(), interrupt: AtomicU32::new(0), reader_gone: false }
    }
}

/// The runtime's name of a dtype.
pub fn code(dtype: Dtype) -> Code {
    match dtype {
        Dtype::F16 => Code::F16,
        Dtype::Bf16 => Code::Bf16,
        Dtype::F32 => Code::F32,
        Dtype::F64 => Code::F64,
        Dtype::I8 => Code::I8,
        Dtype::I16 => Code::I16,
        Dtype::I32 => Code::I32,
        Dtype::I64 => Code::I64,
        Dtype::U8 => Code::U8,
        Dtype::U32 => Code::U32,
        Dtype::U64 => Code::U64,
        Dtype::Bool => Code::Bool,
    }
}

/// A value as text.
pub fn show(value: &Value, spec: &str) -> String {
    match value {
        Value::Str(s) => fmt::text(s, spec),
        Value::Tensor(t) => fmt::tensor(code(t.dtype), &t.shape, &t.data, spec),
        Value::Stack(s) => format!("stack of {}", s.len()),
    }
}

/// An array of text, whose elements are numbers of texts.
pub fn show_texts(value: &Value) -> String {
    let Value::Tensor(t) = value else { return String::new() };
    let format = 0i64.to_le_bytes();
    let arg = |dtype, shape: &[usize], bytes| host::Value::Tensor { dtype, shape: shape.to_vec(), bytes };
    let args = [arg(Code::I64, &t.shape, &t.data), arg(Code::I64, &[], &format)];
    match host::find("show_texts").map(|f| f(&args)) {
        Some(Ok(out)) => match out.into_iter().next() {
            Some(Out::Text(t)) => t,
            Some(Out::Int(_) | Out::Bool(_) | Out::Tensor { .. }) | None => String::new(),
        },
        Some(Err(_)) | None => String::new(),
    }
}

impl Host for RealHost {
    fn format(&mut self, parts: &[Part<'_>]) -> String {
        parts
            .iter()
            .map(|part| match part {
                Part::Text(t) => (*t).to_owned(),
                Part::Value { value, spec } => show(value, spec),
            })
            .collect()
    }

    fn print(&mut self, text: &str) -> Result<(), String> {
        self.output.write(text, &self.interrupt).map_err(|e| {
            self.reader_gone |= e.kind() == ErrorKind::BrokenPipe;
            format!("cannot write to standard output: {e}")
        })
    }

    fn save(&mut self, path: &str, leaves: &[(&str, &Tensor)]) -> Result<(), String> {
        let all: Vec<files::Named<'_>> = leaves
            .iter()
            .map(|(name, t)| files::Named { name, dtype: code(t.dtype), shape: t.shape.clone(), bytes: &t.data })
            .collect();
        files::save(path, &all)
    }

    fn load(
        &mut self,
        path: &str,
        leaves: &[(&str, Dtype, Vec<usize>)],
        renamed: Option<&Tensor>,
        extra: bool,
    ) -> Result<Vec<Tensor>, String> {
        let wanted: Vec<(&str, Code, Vec<usize>)> = leaves.iter().map(|(n, d, s)| (*n, code(*d), s.clone())).collect();
        let loaded = files::load(path, &wanted, renamed.map(|t| t.data.as_slice()), extra)?;
        Ok(leaves.iter().zip(loaded).map(|((_, d, s), bytes)| Tensor::new(*d, s.clone(), bytes.to_vec())).collect())
    }

    fn call(&mut self, func: HostFn, args: &[Value]) -> Result<Vec<Value>, String> {
        let name = func.def().name;
        let run = host::find(name).ok_or_else(|| format!("the runtime has no `{name}`"))?;
        let mut values = Vec::with_capacity(args.len());
        for a in args {
            values.push(match a {
                Value::Str(s) => host::Value::Text(s),
                Value::Tensor(t) => {
                    host::Value::Tensor { dtype: code(t.dtype), shape: t.shape.clone(), bytes: &t.data }
                }
                Value::Stack(_) => return Err(format!("`{name}` of a stack")),
            });
        }
        let value = |out: Out| match out {
            Out::Text(t) => Value::Str(t.into()),
            Out::Int(i) => Value::int(i),
            Out::Bool(b) => Tensor::scalar(Scalar::Bool(b), Dtype::Bool).into(),
            Out::Tensor { dtype: d, shape, bytes } => {
                let dtype = Dtype::ALL.iter().copied().find(|x| code(*x) == d).unwrap_or(Dtype::U8);
                Tensor::new(dtype, shape, bytes.to_vec()).into()
            }
        };
        Ok(run(&values)?.into_iter().map(value).collect())
    }

    fn exists(&mut self, path: &str) -> bool {
        std::path::Path::new(path).exists()
    }

    fn clock(&mut self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    fn interrupted(&mut self) -> bool {
        self.interrupt.load(Ordering::Relaxed) != 0
    }
}

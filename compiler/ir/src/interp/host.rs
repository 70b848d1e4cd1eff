//! What a program does to the world, as the interpreter sees it.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Tensor, Value};
use crate::{Dtype, HostFn, Scalar};

/// A part of a message.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    Text(&'a str),
    /// `spec` is empty for the default format.
    Value {
        value: &'a Value,
        spec: &'a str,
    },
}

/// Formats, prints, reads and writes. An `Err` is the message of the run-time error.
pub trait Host {
    fn format(&mut self, parts: &[Part<'_>]) -> String;
    fn print(&mut self, text: &str) -> Result<(), String>;
    fn save(&mut self, path: &str, leaves: &[(&str, &Tensor)]) -> Result<(), String>;
    /// One tensor of `(name, dtype, shape)` each; see [`crate::IoOp::Load`].
    fn load(
        &mut self,
        path: &str,
        leaves: &[(&str, Dtype, Vec<usize>)],
        renamed: Option<&Tensor>,
        extra: bool,
    ) -> Result<Vec<Tensor>, String>;
    fn exists(&mut self, path: &str) -> bool;
    /// A function of the runtime.
    fn call(&mut self, func: HostFn, args: &[Value]) -> Result<Vec<Value>, String>;
    /// Seconds of a monotonic clock.
    fn clock(&mut self) -> f64;
    fn progress(&mut self, _done: i64, _total: i64) {}
    /// Should the program stop? Asked once per loop iteration.
    fn interrupted(&mut self) -> bool {
        false
    }
}

/// A host in memory: for tests, and for evaluation at compile time.
#[derive(Clone, Debug, Default)]
pub struct PlainHost {
    /// What the program has printed.
    pub out: String,
    pub texts: HashMap<String, String>,
    /// Files of named tensors.
    pub tensors: HashMap<String, Vec<(String, Tensor)>>,
    /// The texts that have a number.
    pub interned: Vec<Arc<str>>,
}

impl PlainHost {
    fn missing<T>(path: &str) -> Result<T, String> {
        Err(format!("cannot read `{path}`: no such file"))
    }

    /// The text of a number.
    fn text(&self, number: &Tensor) -> Option<Arc<str>> {
        match number.get(0) {
            Scalar::Int(i) => usize::try_from(i).ok().and_then(|i| self.interned.get(i)).cloned(),
            Scalar::Float(_) | Scalar::Bool(_) => None,
        }
    }

    fn table(&self, path: &str, header: usize, dtype: Dtype) -> Result<Tensor, String> {
        let Some(text) = self.texts.get(path) else {
            return PlainHost::missing(path);
        };
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(header)
            .map(|line| line.split(',').map(|x| x.trim().parse::<f64>().map_err(|e| format!("{path}: {e}"))).collect())
            .collect::<Result<_, String>>()?;
        let m = rows.first().map_or(0, Vec::len);
        if rows.iter().any(|r| r.len() != m) {
            return Err(format!("{path}: rows of different lengths"));
        }
        Ok(Tensor::from_floats(dtype, vec![rows.len(), m], rows.into_iter().flatten()))
    }
}

impl Host for PlainHost {
    fn format(&mut self, parts: &[Part<'_>]) -> String {
        parts
            .iter()
            .map(|part| match part {
                Part::Text(s) => (*s).to_string(),
                Part::Value { value, spec } => plain(value, spec),
            })
            .collect()
    }

    fn print(&mut self, text: &str) -> Result<(), String> {
        self.out.push_str(text);
        Ok(())
    }

    fn save(&mut self, path: &str, leaves: &[(&str, &Tensor)]) -> Result<(), String> {
        let entries = leaves.iter().map(|(n, t)| (n.to_string(), (*t).clone())).collect();
        self.tensors.insert(path.into(), entries);
        Ok(())
    }

    fn load(
        &mut self,
        path: &str,
        leaves: &[(&str, Dtype, Vec<usize>)],
        _renamed: Option<&Tensor>,
        _extra: bool,
    ) -> Result<Vec<Tensor>, String> {
        let Some(file) = self.tensors.get(path) else {
            return PlainHost::missing(path);
        };
        let one = |(name, dtype, shape): &(&str, Dtype, Vec<usize>)| match file.iter().find(|(n, _)| n == name) {
            Some((_, t)) if t.dtype == *dtype && t.shape == *shape => Ok(t.clone()),
            Some((_, t)) => Err(format!("`{name}` in `{path}` is {}{:?}, not {dtype}{shape:?}", t.dtype, t.shape)),
            None => Err(format!("`{path}` has no entry `{name}`")),
        };
        leaves.iter().map(one).collect()
    }

    fn exists(&mut self, path: &str) -> bool {
        self.texts.contains_key(path) || self.tensors.contains_key(path)
    }

    /// Constant and interpolated text, tables of numbers; the rest needs the runtime.
    fn call(&mut self, func: HostFn, args: &[Value]) -> Result<Vec<Value>, String> {
        match (func, args) {
            (HostFn::Intern, [Value::Str(s)]) => {
                let at = self.interned.iter().position(|t| t == s).unwrap_or_else(|| {
                    self.interned.push(Arc::clone(s));
                    self.interned.len() - 1
                });
                Ok(vec![Value::int(at as i64)])
            }
            (HostFn::TextOf, [Value::Tensor(t)]) => Ok(vec![Value::Str(self.text(t).unwrap_or_default())]),
            (HostFn::ReadCsv, [Value::Tensor(path), Value::Tensor(header), _, Value::Tensor(like)]) => {
                let path = self.text(path).unwrap_or_default();
                let header = match header.get(0) {
                    Scalar::Int(n) => n as usize,
                    Scalar::Float(_) | Scalar::Bool(_) => 0,
                };
                let t = self.table(&path, header, like.dtype)?;
                Ok(vec![Value::int(t.shape[0] as i64), Value::int(t.shape[1] as i64), t.into()])
            }
            _ => Err(format!("`{}` needs the runtime", func.def().name)),
        }
    }

    fn clock(&mut self) -> f64 {
        0.0
    }
}

/// Nested lists of numbers; a spec `.3` gives the digits after the dot.
fn plain(value: &Value, spec: &str) -> String {
    let digits = spec.strip_prefix('.').and_then(|d| d.trim_end_matches('f').parse::<usize>().ok());
    let scalar = |x: Scalar, dtype: Dtype| match (x, digits) {
        (Scalar::Float(bits), Some(d)) => format!("{:.d$}", f64::from_bits(bits)),
        (Scalar::Float(bits), None) if dtype == Dtype::F64 => f64::from_bits(bits).to_string(),
        (Scalar::Float(bits), None) => (f64::from_bits(bits) as f32).to_string(),
        (Scalar::Int(i), _) if dtype == Dtype::U64 => (i as u64).to_string(),
        (Scalar::Int(i), _) => i.to_string(),
        (Scalar::Bool(b), _) => b.to_string(),
    };
    fn nested(t: &Tensor, axis: usize, at: &mut usize, scalar: &dyn Fn(Scalar, Dtype) -> String) -> String {
        if axis == t.shape.len() {
            *at += 1;
            return scalar(t.get(*at - 1), t.dtype);
        }
        let parts: Vec<String> = (0..t.shape[axis]).map(|_| nested(t, axis + 1, at, scalar)).collect();
        format!("[{}]", parts.join(", "))
    }
    match value {
        Value::Str(s) => s.to_string(),
        Value::Tensor(t) if t.numel() == 0 && !t.shape.is_empty() => "[]".into(),
        Value::Tensor(t) => nested(t, 0, &mut 0, &scalar),
        Value::Stack(s) => format!("stack of {}", s.len()),
    }
}

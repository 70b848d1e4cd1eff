//! The name of an op with its operands and static parameters.

use std::sync::Arc;

use super::number::{escape_into, quote, write_dense, write_scalar};
use super::print::Printer;
use crate::{AssertKind, Dtype, Inst, IoOp, Op, Piece, Update};

/// What stands between `=` and the first region (loops: without their carried values).
pub fn head(p: &Printer<'_>, inst: &Inst) -> String {
    let name = inst.op.name();
    let mut items: Vec<String> = inst.args.iter().map(|a| p.name(*a)).collect();
    let dtype = || inst.results.first().and_then(|r| p.dtype(*r)).unwrap_or(Dtype::F64);
    match &inst.op {
        Op::Const(c) => items.push(write_scalar(*c, dtype())),
        Op::Dense(bytes) => items.push(write_dense(bytes, dtype())),
        Op::Text(s) => items.push(quote(s)),
        Op::Iota
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Compare(_)
        | Op::Select
        | Op::Convert
        | Op::StopGrad
        | Op::Barrier
        | Op::Reshape
        | Op::Nonzero
        | Op::Gather
        | Op::Random { .. }
        | Op::Attention
        | Op::AttentionGrad
        | Op::If
        | Op::StackNew
        | Op::StackPush
        | Op::StackTensor => {}
        Op::Expand { axes } | Op::Flip { axes } | Op::Reduce { op: _, axes } => {
            items.push(format!("axes: {axes:?}"));
        }
        Op::Permute { perm } => items.push(format!("perm: {perm:?}")),
        Op::Slice { steps } => {
            if steps.iter().any(|s| *s != 1) || steps.len() + 1 != inst.args.len() {
                items.push(format!("steps: {steps:?}"));
            }
        }
        Op::UpdateSlice { steps, mode } => {
            if steps.iter().any(|s| *s != 1) || steps.len() + 2 != inst.args.len() {
                items.push(format!("steps: {steps:?}"));
            }
            items.push(update(*mode));
        }
        Op::Concat { axis } | Op::ArgReduce { max: _, axis } => items.push(format!("axis: {axis}")),
        Op::Scan { op: _, axis, reverse } => {
            items.push(format!("axis: {axis}"));
            if *reverse {
                items.push("reverse".into());
            }
        }
        Op::Sort { axis, descending } => {
            items.push(format!("axis: {axis}"));
            if *descending {
                items.push("descending".into());
            }
        }
        Op::Contract { lhs, rhs, out } => {
            if [lhs, rhs, out].iter().all(|l| l.iter().all(u8::is_ascii_alphabetic)) {
                let text = |l: &[u8]| l.iter().map(|b| char::from(*b)).collect::<String>();
                items.push(format!("\"{},{}->{}\"", text(lhs), text(rhs), text(out)));
            } else {
                items.push(format!("lhs: {lhs:?}, rhs: {rhs:?}, out: {out:?}"));
            }
        }
        Op::Window { lhs, rhs, out, windows } => {
            let labels: Vec<u8> = windows.iter().flat_map(|w| w.labels()).collect();
            if [lhs, rhs, out].iter().all(|l| l.iter().all(u8::is_ascii_alphabetic)) {
                let text = |l: &[u8]| l.iter().map(|b| char::from(*b)).collect::<String>();
                let windows: Vec<String> = windows.iter().map(|w| text(&w.labels())).collect();
                let windows = windows.join(" ");
                items.push(format!("\"{},{}->{}; {windows}\"", text(lhs), text(rhs), text(out)));
            } else {
                items.push(format!("lhs: {lhs:?}, rhs: {rhs:?}, out: {out:?}, windows: {labels:?}"));
            }
        }
        Op::Shear { axis, spread } => {
            items.push(format!("axis: {axis}"));
            if *spread {
                items.push("spread".into());
            }
        }
        Op::Scatter { mode } => items.push(update(*mode)),
        Op::For | Op::While => items.clear(),
        Op::Call { func } => return format!("call {}({})", p.func_name(*func), p.list(&inst.args)),
        Op::Vjp { func, wrt } | Op::Jvp { func, wrt } => {
            return format!("{name} {}({}), wrt: {wrt:?}", p.func_name(*func), p.list(&inst.args));
        }
        Op::Checkpoint { every } => items.push(format!("every: [{every}]")),
        Op::Vmap { func, mapped, uniform } => {
            let call = format!("{name} {}({})", p.func_name(*func), p.list(&inst.args));
            return format!("{call}, mapped: {mapped:?}, uniform: [{uniform}]");
        }
        Op::Print { pieces, end } => {
            items.insert(0, message(pieces));
            if **end != *"\n" {
                items.push(format!("end: {}", quote(end)));
            }
        }
        Op::Assert { kind, pieces } => {
            let at = items.len().min(1);
            items.insert(at, assert_kind(*kind).into());
            items.insert(at + 1, message(pieces));
        }
        Op::Format { pieces } => items.insert(0, message(pieces)),
        Op::Debug { func, variable } => {
            items.push(format!("func: {}", quote(func)));
            items.extend(variable.as_ref().map(|v| format!("variable: {}", quote(v))));
        }
        Op::Host(f) => items.insert(0, f.def().name.into()),
        Op::Io(io) => match io {
            IoOp::Save { names } => items.push(format!("names: [{}]", strings(names))),
            IoOp::Load { names, extra } => {
                items.push(format!("names: [{}]", strings(names)));
                if *extra {
                    items.push("extra".into());
                }
            }
            IoOp::Exists | IoOp::Clock | IoOp::Progress => {}
        },
    }
    if items.is_empty() { name.into() } else { format!("{name} {}", items.join(", ")) }
}

fn update(mode: Update) -> String {
    match mode {
        Update::Set => "mode: set".into(),
        Update::Add => "mode: add".into(),
    }
}

pub fn assert_kind(kind: AssertKind) -> &'static str {
    match kind {
        AssertKind::User => "user",
        AssertKind::Index => "index",
        AssertKind::Shape => "shape",
        AssertKind::Division => "division",
        AssertKind::Nan => "nan",
        AssertKind::Memory => "memory",
    }
}

fn strings(names: &[Arc<str>]) -> String {
    names.iter().map(|n| quote(n)).collect::<Vec<_>>().join(", ")
}

fn message(pieces: &[Piece]) -> String {
    let mut out = String::from("\"");
    for piece in pieces {
        match piece {
            Piece::Text(s) => escape_into(&mut out, s, true),
            Piece::Value { spec } => {
                out.push('{');
                escape_into(&mut out, spec, true);
                out.push('}');
            }
        }
    }
    out.push('"');
    out
}

//! Operand lists to ops.

use std::sync::Arc;

use super::items::{Element, Items, Label};
use super::number::{read_scalar, unescape};
use super::parse::{ParseError, Parser, resolve};
use crate::op::Dist;
use crate::{
    AssertKind, BinaryOp, CompareOp, Dtype, HostFn, IoOp, Op, Piece, ReduceOp, ScanOp, UnaryOp, Update, ValueId,
    Window, element,
};

type Parsed<T> = Result<T, ParseError>;

/// The op called `name` with these items. `dtype` is that of the first result.
pub fn op(p: &Parser, name: &str, items: Items, dtype: Option<Dtype>) -> Parsed<(Op, Vec<ValueId>)> {
    let op = table_op(p, name, &items)?;
    let op = match op {
        Some(op) => op,
        None => fixed_op(p, name, &items, dtype)?,
    };
    Ok((op, items.args))
}

fn table_op(p: &Parser, name: &str, items: &Items) -> Parsed<Option<Op>> {
    if let Some(op) = UnaryOp::from_name(name) {
        return Ok(Some(Op::Unary(op)));
    }
    if let Some(op) = BinaryOp::from_name(name) {
        return Ok(Some(Op::Binary(op)));
    }
    if let Some(op) = CompareOp::from_name(name) {
        return Ok(Some(Op::Compare(op)));
    }
    if let Some(op) = ReduceOp::from_name(name) {
        return Ok(Some(Op::Reduce { op, axes: numbers(p, items, "axes")? }));
    }
    if let Some(op) = ScanOp::from_name(name) {
        let (axis, reverse) = (number(p, items, "axis")?, has(items, "reverse"));
        return Ok(Some(Op::Scan { op, axis, reverse }));
    }
    Ok(None)
}

fn fixed_op(p: &Parser, name: &str, items: &Items, dtype: Option<Dtype>) -> Parsed<Op> {
    Ok(match name {
        "const" => {
            let (Some(word), Some(dtype)) = (items.words.first(), dtype) else {
                return p.error("`const` needs a result and a value");
            };
            match read_scalar(word, dtype) {
                Some(c) => Op::Const(c),
                None => return p.error(format!("`{word}` is no {dtype}")),
            }
        }
        "dense" => dense(p, items, dtype)?,
        "text" => Op::Text(text(p, items)?.into()),
        "iota" => Op::Iota,
        "checkpoint" => match numbers(p, items, "every")?.as_slice() {
            [every] => Op::Checkpoint { every: *every },
            _ => return p.error("expected `every: [k]`"),
        },
        "select" => Op::Select,
        "convert" => Op::Convert,
        "stop_grad" => Op::StopGrad,
        "barrier" => Op::Barrier,
        "expand" => Op::Expand { axes: numbers(p, items, "axes")? },
        "reshape" => Op::Reshape,
        "permute" => Op::Permute { perm: numbers(p, items, "perm")? },
        "slice" => Op::Slice { steps: steps(p, items, 1)? },
        "update_slice" => Op::UpdateSlice { steps: steps(p, items, 2)?, mode: mode(p, items)? },
        "flip" => Op::Flip { axes: numbers(p, items, "axes")? },
        "shear" => Op::Shear { axis: number(p, items, "axis")?, spread: has(items, "spread") },
        "concat" => Op::Concat { axis: number(p, items, "axis")? },
        "argmax" => Op::ArgReduce { max: true, axis: number(p, items, "axis")? },
        "argmin" => Op::ArgReduce { max: false, axis: number(p, items, "axis")? },
        "sort" => Op::Sort { axis: number(p, items, "axis")?, descending: has(items, "descending") },
        "nonzero" => Op::Nonzero,
        "contract" => contract(p, items)?,
        "window" => window(p, items)?,
        "attention" => Op::Attention,
        "attention_grad" => Op::AttentionGrad,
        "gather" => Op::Gather,
        "scatter" => Op::Scatter { mode: mode(p, items)? },
        "random_bits" => Op::Random { dist: Dist::Bits },
        "random_uniform" => Op::Random { dist: Dist::Uniform },
        "random_normal" => Op::Random { dist: Dist::Normal },
        "stack_new" => Op::StackNew,
        "stack_push" => Op::StackPush,
        "stack_tensor" => Op::StackTensor,
        "print" => Op::Print {
            pieces: pieces(p, items)?,
            end: match label(items, "end") {
                Some(Label::Text(s)) => s.as_str().into(),
                Some(_) => return p.error("`end` is a text"),
                None => "\n".into(),
            },
        },
        "assert" => {
            let kinds = [
                AssertKind::User,
                AssertKind::Index,
                AssertKind::Shape,
                AssertKind::Division,
                AssertKind::Nan,
                AssertKind::Memory,
            ];
            let Some(kind) = kinds.into_iter().find(|k| has(items, super::print_op::assert_kind(*k))) else {
                return p.error("`assert` needs its kind: user, index, shape, division, nan or memory");
            };
            Op::Assert { kind, pieces: pieces(p, items)? }
        }
        "format" => Op::Format { pieces: pieces(p, items)? },
        "debug" => {
            let text = |name| match label(items, name) {
                Some(Label::Text(s)) => Some(s.as_str().into()),
                Some(_) | None => None,
            };
            let Some(func) = text("func") else { return p.error("`debug` needs `func`, a text") };
            Op::Debug { func, variable: text("variable") }
        }
        "save" => Op::Io(IoOp::Save { names: names(p, items)? }),
        "load" => Op::Io(IoOp::Load { names: names(p, items)?, extra: has(items, "extra") }),
        "exists" => Op::Io(IoOp::Exists),
        "clock" => Op::Io(IoOp::Clock),
        "progress" => Op::Io(IoOp::Progress),
        "host" => match items.words.iter().find_map(|w| HostFn::from_name(w)) {
            Some(f) => Op::Host(f),
            None => return p.error("`host` needs the name of a function of the runtime"),
        },
        _ => return p.error(format!("there is no op `{name}`")),
    })
}

fn label<'a>(items: &'a Items, name: &str) -> Option<&'a Label> {
    items.labels.iter().find(|(l, _)| l == name).map(|(_, v)| v)
}

fn has(items: &Items, word: &str) -> bool {
    items.words.iter().any(|w| w == word)
}

fn number<T: std::str::FromStr>(p: &Parser, items: &Items, name: &str) -> Parsed<T> {
    if let Some(Label::Word(w)) = label(items, name)
        && let Ok(n) = w.parse()
    {
        return Ok(n);
    }
    p.error(format!("expected `{name}: ` with a number"))
}

/// The label's list of numbers.
pub fn numbers<T: std::str::FromStr>(p: &Parser, items: &Items, name: &str) -> Parsed<Vec<T>> {
    if let Some(Label::List(list)) = label(items, name) {
        let all = list.iter().map(|e| match e {
            Element::Plain(w) => w.parse().ok(),
            Element::Text(_) => None,
        });
        if let Some(all) = all.collect() {
            return Ok(all);
        }
    }
    p.error(format!("expected `{name}: ` with a list of numbers"))
}

fn steps(p: &Parser, items: &Items, before: usize) -> Parsed<Vec<i64>> {
    if label(items, "steps").is_some() {
        return numbers(p, items, "steps");
    }
    Ok(vec![1; items.args.len().saturating_sub(before)])
}

fn mode(p: &Parser, items: &Items) -> Parsed<Update> {
    match label(items, "mode") {
        Some(Label::Word(w)) if w == "set" => Ok(Update::Set),
        Some(Label::Word(w)) if w == "add" => Ok(Update::Add),
        Some(_) | None => p.error("expected `mode: set` or `mode: add`"),
    }
}

fn names(p: &Parser, items: &Items) -> Parsed<Vec<Arc<str>>> {
    if let Some(Label::List(list)) = label(items, "names") {
        let all = list.iter().map(|e| match e {
            Element::Text(s) => Some(Arc::from(s.as_str())),
            Element::Plain(_) => None,
        });
        if let Some(all) = all.collect() {
            return Ok(all);
        }
    }
    p.error("expected `names: ` with a list of texts")
}

fn text(p: &Parser, items: &Items) -> Parsed<String> {
    match items.texts.first().map(|raw| resolve(raw)) {
        Some(Some(s)) => Ok(s),
        Some(None) => p.error("bad escape"),
        None => p.error("expected a text"),
    }
}

fn dense(p: &Parser, items: &Items, dtype: Option<Dtype>) -> Parsed<Op> {
    let Some(dtype) = dtype else {
        return p.error("`dense` needs a result");
    };
    let mut bytes = Vec::new();
    if let Some(list) = &items.list {
        for e in list {
            let scalar = match e {
                Element::Plain(w) => read_scalar(w, dtype),
                Element::Text(_) => None,
            };
            match scalar {
                Some(x) => element::write(&mut bytes, x, dtype),
                None => return p.error(format!("an element is no {dtype}")),
            }
        }
    } else {
        let hex = text(p, items)?;
        for pair in hex.as_bytes().chunks(2) {
            let digits = std::str::from_utf8(pair).ok().filter(|s| s.len() == 2);
            match digits.and_then(|s| u8::from_str_radix(s, 16).ok()) {
                Some(b) => bytes.push(b),
                None => return p.error("expected pairs of hexadecimal digits"),
            }
        }
    }
    Ok(Op::Dense(bytes.into()))
}

fn contract(p: &Parser, items: &Items) -> Parsed<Op> {
    if items.texts.is_empty() {
        let (lhs, rhs, out) = (numbers(p, items, "lhs")?, numbers(p, items, "rhs")?, numbers(p, items, "out")?);
        return Ok(Op::Contract { lhs, rhs, out });
    }
    match labels(&text(p, items)?) {
        Some([lhs, rhs, out]) => Ok(Op::Contract { lhs, rhs, out }),
        None => p.error("expected a pattern like \"ij,jk->ik\""),
    }
}

/// The three lists of a pattern like `ij,jk->ik`.
fn labels(pattern: &str) -> Option<[Vec<u8>; 3]> {
    let (operands, out) = pattern.split_once("->")?;
    let (lhs, rhs) = operands.split_once(',')?;
    let lists = [lhs, rhs, out];
    lists.iter().all(|s| s.bytes().all(|b| b.is_ascii_alphabetic())).then(|| lists.map(|s| s.as_bytes().to_vec()))
}

fn window(p: &Parser, items: &Items) -> Parsed<Op> {
    let triples = |list: &[u8]| {
        let of = |w: &[u8]| Window { whole: w[0], place: w[1], tap: w[2] };
        list.len().is_multiple_of(3).then(|| list.chunks_exact(3).map(of).collect::<Vec<_>>())
    };
    if items.texts.is_empty() {
        let (lhs, rhs, out) = (numbers(p, items, "lhs")?, numbers(p, items, "rhs")?, numbers(p, items, "out")?);
        return match triples(&numbers(p, items, "windows")?) {
            Some(windows) => Ok(Op::Window { lhs, rhs, out, windows }),
            None => p.error("a window has three labels"),
        };
    }
    let pattern = text(p, items)?;
    let parts = pattern.split_once(';').and_then(|(product, windows)| {
        let words = windows.split_whitespace().map(|w| triples(w.as_bytes()).filter(|w| w.len() == 1));
        Some((labels(product)?, words.collect::<Option<Vec<_>>>()?.concat()))
    });
    match parts {
        Some(([lhs, rhs, out], windows)) => Ok(Op::Window { lhs, rhs, out, windows }),
        None => p.error("expected a pattern like \"ncw,ock->noy; wyk\""),
    }
}

/// A message: `{spec}` outside escapes is a value.
fn pieces(p: &Parser, items: &Items) -> Parsed<Vec<Piece>> {
    let Some(raw) = items.texts.first() else {
        return p.error("expected a message");
    };
    let mut out = Vec::new();
    let mut run = String::new();
    let mut inside = false;
    let mut chars = raw.chars().peekable();
    while chars.peek().is_some() {
        let Some((c, escaped)) = unescape(&mut chars) else {
            return p.error("bad escape");
        };
        match (c, escaped, inside) {
            ('{', false, false) => {
                if !run.is_empty() {
                    out.push(Piece::Text(std::mem::take(&mut run).into()));
                }
                inside = true;
            }
            ('}', false, true) => {
                out.push(Piece::Value { spec: std::mem::take(&mut run).into() });
                inside = false;
            }
            ('{' | '}', false, _) => return p.error("a lone brace in a message is written `\\{`"),
            (c, _, _) => run.push(c),
        }
    }
    if inside {
        return p.error("a value in the message has no `}`");
    }
    if !run.is_empty() {
        out.push(Piece::Text(run.into()));
    }
    Ok(out)
}

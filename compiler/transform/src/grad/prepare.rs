//! Rewrites ops whose derivative is that of other ops: prefix products, maxima and minima become `for` loops, so that
//! zeros and ties are right; attention becomes products and a softmax, where there is no op for its derivative.

use std::borrow::Cow;

use tdl_ir::{BinaryOp, Builder, Dim, Function, Inst, Op, ScanOp, Update, ValueId, attention};

use super::activity::{self, Values};
use super::linearize::Mode;
use crate::clone::{self, Map};

pub(super) fn prepare<'a>(f: &'a Function, mode: Mode, wrt: &[usize], wanted: &[usize]) -> Cow<'a, Function> {
    let mut found = false;
    f.body.visit_insts(&mut |i| found |= scan_op(&i.op).is_some() || spelt(&i.op, mode));
    if !found {
        return Cow::Borrowed(f);
    }
    let wanted: Vec<ValueId> = wanted.iter().map(|k| f.results()[*k]).collect();
    let active = activity::active(f, wrt, &wanted);
    Cow::Owned(clone::function(f, &mut |b, i, map| inst(b, f, (&active, mode), i, map)))
}

/// Reverse mode through attention is an op, and only that.
fn spelt(op: &Op, mode: Mode) -> bool {
    match op {
        Op::Attention => mode == Mode::Forward,
        Op::AttentionGrad => true,
        _ => false,
    }
}

fn scan_op(op: &Op) -> Option<(BinaryOp, usize, bool)> {
    match op {
        Op::Scan { op: ScanOp::Prod, axis, reverse } => Some((BinaryOp::Mul, *axis, *reverse)),
        Op::Scan { op: ScanOp::Max, axis, reverse } => Some((BinaryOp::Max, *axis, *reverse)),
        Op::Scan { op: ScanOp::Min, axis, reverse } => Some((BinaryOp::Min, *axis, *reverse)),
        _ => None,
    }
}

fn inst(b: &mut Builder, from: &Function, (active, mode): (&Values, Mode), i: &Inst, map: &mut Map) {
    if spelt(&i.op, mode) && i.results.iter().any(|r| active.has(*r)) {
        b.span = i.span;
        let args = map.all(&i.args);
        let results = attention::expand(b, &i.op, &args).expect("an attention op");
        i.results.iter().zip(results).for_each(|(old, new)| map.set(*old, new));
        return;
    }
    let Some((op, axis, reverse)) = scan_op(&i.op).filter(|_| active.has(i.results[0])) else {
        let mut regions = Vec::new();
        for r in &i.regions {
            regions.push(clone::region_with(b, from, r, map, &mut |b, i, map| inst(b, from, (active, mode), i, map)));
        }
        clone::inst_with(b, from, i, regions, map);
        return;
    };
    b.span = i.span;
    let x = map.get(i.args[0]);
    let rank = b.rank(x);
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.remove(axis);
    perm.insert(0, axis);
    let mut back = vec![0; rank];
    for (k, p) in perm.iter().enumerate() {
        back[*p] = k;
    }
    let mut rows = b.permute(x, perm);
    if reverse {
        let ty = b.ty(rows).clone();
        rows = b.inst1(Op::Flip { axes: vec![0] }, vec![rows], ty);
    }
    let dims = b.dims(rows);
    let start = match op {
        BinaryOp::Max => f64::NEG_INFINITY,
        BinaryOp::Min => f64::INFINITY,
        _ => 1.0,
    };
    let dtype = b.dtype(x);
    let init: Vec<Dim> = dims[1..].to_vec();
    let init = b.full(start, dtype, &init);
    let out = b.full_like(0.0, rows);
    let n = b.dim_value(dims[0]);
    let results = b.for_loop(n, vec![init, out], |b, k, carried| {
        let row = b.index0(rows, k);
        let next = b.binary(op, carried[0], row);
        vec![next, b.update0(carried[1], k, next, Update::Set)]
    });
    let mut result = results[1];
    if reverse {
        let ty = b.ty(result).clone();
        result = b.inst1(Op::Flip { axes: vec![0] }, vec![result], ty);
    }
    map.set(i.results[0], b.permute(result, back));
}

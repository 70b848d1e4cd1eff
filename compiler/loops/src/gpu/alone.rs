//! Every thread takes steps of its own: one element, or as many neighbours as are loaded and stored at a time.

use tdl_ir::{BinaryOp, Dtype};

use super::{Regs, THREADS, index, serial, wide};
use crate::ir::*;

/// A kernel whose steps are the iterations of one vector loop.
pub fn elements(k: &mut Kernel, f: For) {
    let mut regs = Regs(&mut k.regs);
    let (range, mut out) = (regs.named("range"), Vec::new());
    let [first, step] = places(&mut regs, &mut out);
    let Some(w) = wide::plan(&f.body, f.var, Operand::i64(0)) else {
        out.push(Stmt::For(serial(f.var, first.into(), range.into(), step.into(), f.body)));
        return finish(k, range, out);
    };
    let width = Operand::i64(w.width);
    let ok = w.check(&mut regs, &mut out);
    let times =
        |regs: &mut Regs<'_>, out: &mut Vec<Stmt>, a: Reg| regs.i64(out, Expr::Index(index(0, &[(a, w.width)])));
    let chunks = regs.i64(&mut out, Expr::IndexDiv { a: range.into(), b: width });
    let whole = times(&mut regs, &mut out, chunks);
    let (a, b) = (whole.into(), Operand::i64(0));
    let main = regs.i64(&mut out, Expr::Select { dtype: Dtype::I64, cond: ok, a, b });
    let (from, by) = (times(&mut regs, &mut out, first), times(&mut regs, &mut out, step));
    let (base, mut body) = (regs.reg(RegTy::Scalar(Dtype::I64)), Vec::new());
    w.unroll(&mut regs, &mut body, &f.body, f.var, base);
    out.push(Stmt::For(serial(base, from.into(), main.into(), by.into(), body)));
    let (a, b) = (main.into(), first.into());
    let rest = regs.i64(&mut out, Expr::Binary { op: BinaryOp::Add, dtype: Dtype::I64, a, b });
    out.push(Stmt::For(serial(f.var, rest.into(), range.into(), step.into(), f.body)));
    finish(k, range, out);
}

/// Any other kernel: a thread does all of a step.
pub fn map(k: &mut Kernel) {
    let mut body = std::mem::take(&mut k.body);
    scalar_loops(&mut body);
    let mut regs = Regs(&mut k.regs);
    let range = regs.named("range");
    let (mut out, rest): (Vec<Stmt>, Vec<Stmt>) = body.into_iter().partition(|s| matches!(s, Stmt::Local { .. }));
    let [first, step] = places(&mut regs, &mut out);
    let mut inner = vec![Stmt::Let { dst: k.hi, value: Expr::Index(index(1, &[(k.lo, 1)])) }];
    inner.extend(rest);
    out.push(Stmt::For(serial(k.lo, first.into(), range.into(), step.into(), inner)));
    finish(k, range, out);
}

/// The first step of a thread, and how far it is to its next.
fn places(regs: &mut Regs<'_>, out: &mut Vec<Stmt>) -> [Reg; 2] {
    let thread = regs.place(out, Place::Thread);
    let block = regs.place(out, Place::Block);
    let blocks = regs.place(out, Place::Blocks);
    let threads = THREADS as i64;
    let first = regs.i64(out, Expr::Index(index(0, &[(thread, 1), (block, threads)])));
    [first, regs.i64(out, Expr::Index(index(0, &[(blocks, threads)])))]
}

fn finish(k: &mut Kernel, range: Reg, body: Vec<Stmt>) {
    k.body = body;
    k.grid = Some(Grid { range, threads: THREADS, per: Per::Thread });
}

fn scalar_loops(body: &mut [Stmt]) {
    for s in body {
        match s {
            Stmt::For(f) => {
                f.kind = LoopKind::Serial;
                scalar_loops(&mut f.body);
            }
            Stmt::If(i) => {
                scalar_loops(&mut i.then);
                scalar_loops(&mut i.els);
            }
            _ => {}
        }
    }
}

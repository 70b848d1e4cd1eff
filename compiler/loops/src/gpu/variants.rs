//! Kernels for short and for long rows: where a row's length is known only to the host, both are made, and the host takes that of
//! warps for rows of up to [`WARP_LOOP`] elements.

use rustc_hash::FxHashMap;
use tdl_ir::{BinaryOp, CompareOp, Dtype};

use super::{Regs, WARP_LOOP, WARPS, shared_bytes, together};
use crate::ir::*;

/// A kernel for short rows, and the arguments that say that they are.
struct Short {
    kernel: KernelId,
    lengths: Vec<usize>,
}

/// Spreads all kernels of a program over a grid.
pub fn map(program: &mut Program) {
    let mut short = FxHashMap::default();
    for id in 0..program.kernels.len() {
        if program.kernels[id].grid.is_some() {
            continue;
        }
        if let Some(lengths) = lengths(&program.kernels[id]) {
            let mut k = program.kernels[id].clone();
            k.name.push_str(".short");
            together::map(&mut k, together::Team { threads: WARP, block: WARPS });
            let kernel = KernelId(program.kernels.len() as u32);
            program.kernels.push(k);
            short.insert(KernelId(id as u32), Short { kernel, lengths });
        }
        super::spread(&mut program.kernels[id]);
    }
    for f in &mut program.funcs {
        let mut regs = Regs(&mut f.regs);
        choose(&mut f.body, &mut regs, &short);
    }
}

/// The parameters that bound the vector loops, if all are so bounded or short, and warps can do without a block's memory.
fn lengths(k: &Kernel) -> Option<Vec<usize>> {
    if super::is_elements(k) || shared_bytes(&k.body) > 0 {
        return None;
    }
    let mut found = Vec::new();
    let mut defs = FxHashMap::default();
    bounds(k, &k.body, &mut defs, &mut found)?;
    found.sort_unstable();
    found.dedup();
    (!found.is_empty()).then_some(found)
}

fn bounds<'k>(k: &Kernel, body: &'k [Stmt], defs: &mut FxHashMap<Reg, &'k Expr>, found: &mut Vec<usize>) -> Option<()> {
    for s in body {
        match s {
            Stmt::Let { dst, value } => _ = defs.insert(*dst, value),
            Stmt::For(f) if f.kind == LoopKind::Vector => found.extend(bound(k, f.hi, defs)?),
            _ => {}
        }
        s.blocks().into_iter().try_for_each(|b| bounds(k, b, defs, found))?;
    }
    Some(())
}

/// The parameter that is no less than `hi`, if a small constant is not.
fn bound(k: &Kernel, hi: Operand, defs: &FxHashMap<Reg, &Expr>) -> Option<Option<usize>> {
    let r = match hi {
        Operand::Reg(r) => r,
        hi => return (hi.as_i64()? <= WARP_LOOP).then_some(None),
    };
    if let Some(i) = k.params.iter().position(|p| p.reg == r) {
        return Some(Some(i));
    }
    match defs.get(&r)? {
        Expr::Binary { op: BinaryOp::Min, a, b, .. } => bound(k, *a, defs).or_else(|| bound(k, *b, defs)),
        _ => None,
    }
}

fn choose(body: &mut Vec<Stmt>, regs: &mut Regs<'_>, short: &FxHashMap<KernelId, Short>) {
    for s in std::mem::take(body) {
        match s {
            Stmt::Launch { kernel, args, range, grain } if short.contains_key(&kernel) => {
                let Short { kernel: small, lengths } = &short[&kernel];
                let cond = is_short(lengths.iter().map(|i| args[*i]), regs, body);
                let warps = Stmt::Launch { kernel: *small, args: args.clone(), range, grain };
                let blocks = Stmt::Launch { kernel, args, range, grain };
                match cond {
                    Operand::Const(tdl_ir::Scalar::Bool(true), _) => body.push(warps),
                    Operand::Const(..) => body.push(blocks),
                    cond => body.push(Stmt::If(If { cond, then: vec![warps], els: vec![blocks], results: vec![] })),
                }
            }
            mut s => {
                match &mut s {
                    Stmt::For(f) => choose(&mut f.body, regs, short),
                    Stmt::If(i) => {
                        choose(&mut i.then, regs, short);
                        choose(&mut i.els, regs, short);
                    }
                    Stmt::While(w) => {
                        choose(&mut w.cond_body, regs, short);
                        choose(&mut w.body, regs, short);
                    }
                    _ => {}
                }
                body.push(s);
            }
        }
    }
}

fn is_short(lengths: impl Iterator<Item = Operand>, regs: &mut Regs<'_>, out: &mut Vec<Stmt>) -> Operand {
    let mut all = Operand::bool(true);
    for a in lengths {
        if let Some(n) = a.as_i64() {
            if n > WARP_LOOP {
                return Operand::bool(false);
            }
            continue;
        }
        let b = Operand::i64(WARP_LOOP);
        let fits = regs.bool(out, Expr::Compare { op: CompareOp::Le, dtype: Dtype::I64, a, b }).into();
        all = match all {
            Operand::Const(..) => fits,
            a => regs.bool(out, Expr::Binary { op: BinaryOp::And, dtype: Dtype::Bool, a, b: fits }).into(),
        };
    }
    all
}

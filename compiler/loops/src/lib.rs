//! Tensor IR → loop IR: which operations share a loop nest, where values live, what runs in parallel.
//!
//! Invariants: `loops` never sees source text or the typed AST; it consumes a verified module without derivative ops and
//! yields a [`Program`] that `llvm` lowers without looking back.
//!
//! The way of one function: `prepare` inlines calls and normalises; then, block by block, `plan` decides what is virtual, stored or fused, and
//! `control`, `fuse`, `cols`, `ops`, `gemm` and `effects` write statements and kernels, with `buffers` placing every tensor.

mod ahead;
mod along;
pub mod bands;
mod buffers;
mod code;
mod cols;
mod control;
mod effects;
mod eval;
mod fuse;
mod gemm;
mod gpu;
mod graph;
pub mod ir;
mod kernel;
mod lower;
mod nest;
mod ops;
mod plan;
mod prepare;
mod print;
mod profile;
mod size;
mod streams;
mod tapes;
mod tiles;
mod values;
mod verify;
mod visit;
mod windows;

use tdl_ir::{FuncId, Function, Module, Op, Type};
use tdl_source::InternalError;

use graph::Graph;
use ir::{Func, Operand, Param, RegTy, ResultTy, Stmt};
pub use ir::{Program, Target};
use lower::{Lower, Shared};
pub use plan::op_cost;
pub use print::{print, print_kernel};
use values::{Role, Values};
pub use verify::verify;

/// What to lower.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Functions that can be called from outside; none: the module's entry, or everything if it has none.
    pub roots: Vec<FuncId>,
    pub target: Target,
    /// Let the program record what its kernels and calls take, each by itself.
    pub profile: bool,
    pub bands: bands::Limits,
}

/// Lowers the roots of a module.
pub fn lower(module: &Module, options: &Options) -> Result<Program, InternalError> {
    let roots = match (options.roots.as_slice(), module.entry) {
        ([], Some(entry)) => vec![entry],
        ([], None) => module.ids().collect(),
        (roots, _) => roots.to_vec(),
    };
    let mut shared = Shared::default();
    shared.program.target = options.target;
    shared.program.tasks = options.profile.then(Vec::new);
    for id in &roots {
        let func = prepare::prepare(module, module.func(*id), options.target);
        refuse_derivatives(&func)?;
        lower_function(&func, &mut shared);
    }
    let mut program = shared.program;
    if options.target == Target::Gpu {
        gpu::map(&mut program);
    } else if !options.profile {
        bands::group(&mut program, options.bands);
    }
    program.entry = module.entry.and_then(|e| roots.iter().position(|r| *r == e));
    Ok(program)
}

fn refuse_derivatives(func: &Function) -> Result<(), InternalError> {
    let mut found = None;
    func.body.visit_insts(&mut |inst| {
        if matches!(inst.op, Op::Vjp { .. } | Op::Jvp { .. } | Op::Vmap { .. } | Op::Checkpoint { .. }) {
            found = Some(&inst.op);
        }
    });
    match found {
        None => Ok(()),
        Some(op) => Err(InternalError {
            pass: "loops".into(),
            message: format!("`{op:?}` in `{}` should have been replaced by `grad`", func.name),
            ir: None,
        }),
    }
}

fn result_ty(ty: &Type) -> ResultTy {
    match ty {
        Type::Tensor { dtype, dims } if dims.is_empty() => ResultTy::Scalar(*dtype),
        Type::Tensor { dtype, dims } => ResultTy::Tensor { dtype: *dtype, rank: dims.len() },
        Type::Str | Type::Stack { .. } => ResultTy::Str,
    }
}

fn lower_function(func: &Function, shared: &mut Shared) {
    let graph = Graph::new(func);
    let roles = vec![Role::Dead; func.values.len()];
    let mut l = Lower::new(Values { graph, roles }, shared);
    let plan = plan::plan(&mut l.values, &func.body);
    l.open_scope(false);
    let mut params = Vec::new();
    for v in func.params() {
        let data = func.value(*v);
        let ty = result_ty(&data.ty);
        let first = l.host.named(l.reg_ty(*v), data.name.clone());
        let mut slots = vec![first];
        match ty {
            ResultTy::Tensor { rank, .. } => {
                slots.extend((0..rank).map(|_| l.host.reg(RegTy::Scalar(tdl_ir::Dtype::I64))));
                let bytes = l.bytes(*v);
                l.borrowed(first, bytes, *v);
            }
            ResultTy::Scalar(_) | ResultTy::Str => _ = l.scalars.insert(*v, first.into()),
        }
        params.push(Param { name: data.name.clone(), ty, slots });
    }
    let dests = vec![None; func.results().len()];
    l.body(&func.body, plan, &dests, []);
    let mut slots: Vec<Operand> = Vec::new();
    for v in func.results() {
        if !l.is_tensor(*v) {
            slots.push(l.scalar(*v));
            continue;
        }
        let buf = l.dense(*v);
        let ptr = l.buf(buf).ptr;
        if l.give_away(buf) {
            slots.push(ptr.into());
        } else {
            let bytes = l.bytes(*v);
            let copy = l.alloc_unowned(&bytes);
            l.copy_bytes(copy, ptr, &bytes);
            slots.push(copy.into());
        }
        slots.extend(l.dims(*v));
    }
    l.host.push(Stmt::Return { slots });
    l.close_scope();
    let body = l.host.blocks.pop().expect("the body is open");
    let results = func.results().iter().map(|v| result_ty(func.ty(*v))).collect();
    let regs = std::mem::take(&mut l.host.regs);
    let func = Func { name: func.name.clone(), span: func.span, regs, params, results, body };
    shared.program.funcs.push(func);
}

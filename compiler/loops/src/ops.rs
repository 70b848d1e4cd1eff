//! Operations with a kernel or runtime call of their own.

use tdl_ir::{BinaryOp, Dtype, Inst, Op, ReduceOp, Update, ValueId};

use crate::buffers::BufId;
use crate::code::Idx;
use crate::eval::BufStore;
use crate::gpu::scatter::Scatter;
use crate::ir::*;
use crate::kernel::MEMORY_COST;
use crate::lower::Lower;
use crate::nest::{collapse, identity as fold_identity};
use crate::plan::tree_cost;
use crate::size::{Size, dense_strides};
use crate::tapes::Write;
use crate::tiles::crossing;
use crate::values::{Ax, Leaf, Role, identity, region_ax};

/// Parts of a concatenation that one kernel writes, at most.
const TOGETHER: usize = 8;
/// So many rows are scattered by one team of threads.
const FEW_ROWS: i64 = 4;

/// Virtual tensors that one operation has in memory, with what they were before.
#[derive(Default)]
pub struct Aside(Vec<(ValueId, Role, Option<BufId>)>);

impl<'l> Lower<'l> {
    /// The dense memory of a tensor: its own, or a copy made now.
    pub fn dense(&mut self, v: ValueId) -> BufId {
        if let Some(s) = self.values.storage(v)
            && let Some(b) = self.home.get(&s)
        {
            return *b;
        }
        let bytes = self.bytes(v);
        let buf = self.alloc(&bytes, None);
        self.fill(v, buf);
        self.temporaries().push(buf);
        buf
    }

    /// Writes all of a tensor to memory.
    pub fn fill(&mut self, v: ValueId, buf: BufId) {
        let dims = self.sizes_of(v);
        let to = Region { id: buf, dims: dims.clone(), ax: identity(dims.len()), starts: vec![Idx::ZERO; dims.len()] };
        self.write_region("copy", v, &to, &vec![1; dims.len()], Write::Set);
    }

    /// Computes `u` and writes it to, or adds it to, a region of a dense tensor.
    fn write_region(&mut self, kind: &str, u: ValueId, to: &Region, steps: &[i64], mode: Write) {
        self.write_regions(kind, &[(u, to)], steps, mode);
    }

    /// The same for several of one shape, element by element.
    fn write_regions(&mut self, kind: &str, parts: &[(ValueId, &Region)], steps: &[i64], mode: Write) {
        let dims = self.sizes_of(parts[0].0);
        let mut leaves = Vec::new();
        let mut cost = 0;
        for (u, to) in parts {
            self.values.trace(*u, identity(dims.len()), &mut leaves);
            leaves.push(Leaf { storage: None, dims: to.dims.clone(), ax: to.ax.clone() });
            cost += i64::from(tree_cost(&self.values, *u)) + 2 * MEMORY_COST;
        }
        let runs = collapse(&(0..dims.len()).collect::<Vec<_>>(), &dims, &leaves);
        let dtype = self.dtype(parts[0].0);
        let mut body = |l: &mut Self, idx: &[Idx]| {
            let values: Vec<Operand> = parts.iter().map(|(u, _)| l.eval(*u, idx)).collect();
            for ((_, to), mut value) in parts.iter().zip(values) {
                let at: Vec<Idx> = (0..idx.len())
                    .map(|i| {
                        let start = l.outer_idx(&to.starts[i]);
                        start.add(&idx[i].scale(&Size::constant(steps[i])))
                    })
                    .collect();
                let old = match mode {
                    Write::Set => None,
                    Write::Add => Some(l.load_at(to.id, dtype, &to.dims, &at)),
                    Write::AddToZero => Some(fold_identity(ReduceOp::Sum, dtype)),
                };
                if let Some(old) = old {
                    value = l.code().binary(BinaryOp::Add, dtype, old, value);
                }
                l.store(BufStore { id: to.id, dtype, dims: &to.dims }, &at, value);
            }
        };
        let values: Vec<ValueId> = parts.iter().map(|(u, _)| *u).collect();
        self.tally_region(&values, &leaves, mode != Write::Set);
        match crossing(&runs, &leaves).filter(|_| !self.on_gpu()) {
            Some(across) => self.tiled(&runs, across, dims.len(), cost, &mut body),
            None => self.over(kind, &runs, dims.len(), cost, &mut body),
        }
    }

    /// A host index where elements are computed now.
    fn outer_idx(&mut self, idx: &Idx) -> Idx {
        let mut out = Idx::ZERO;
        for (r, s) in &idx.terms {
            let term = match r {
                None => Idx::size(s.clone()),
                Some(r) => {
                    let o = self.outer((*r).into());
                    Idx::operand(o).scale(s)
                }
            };
            out = out.add(&term);
        }
        out
    }

    pub fn load_at(&mut self, buf: BufId, dtype: Dtype, dims: &[Size], idx: &[Idx]) -> Operand {
        let strides = dense_strides(dims);
        let mut at = Idx::ZERO;
        for (i, s) in idx.iter().zip(&strides) {
            at = at.add(&i.scale(s));
        }
        let ptr = self.pointer(buf, Access::Read);
        let index = self.index(&at);
        self.code().scalar(dtype, Expr::Load { ptr, dtype, index })
    }

    pub fn concat(&mut self, inst: &Inst, axis: usize, n: usize) {
        let r = inst.results[0];
        let buf = self.place(r, n);
        let dims = self.sizes_of(r);
        let rank = dims.len();
        let mut offset = Idx::ZERO;
        let mut parts = Vec::new();
        for x in &inst.args {
            let mut starts = vec![Idx::ZERO; rank];
            starts[axis] = offset.clone();
            parts.push((*x, Region { id: buf, dims: dims.clone(), ax: identity(rank), starts }));
            offset = offset.add(&Idx::size(self.sizes_of(*x)[axis].clone()));
        }
        let parts: Vec<(ValueId, &Region)> = parts.iter().map(|(x, to)| (*x, to)).collect();
        // what parts of one shape are computed from is often the same
        let first = self.sizes_of(inst.args[0]);
        let together = parts.len() <= TOGETHER && inst.args.iter().all(|x| self.sizes_of(*x) == first);
        for some in parts.chunks(if together { TOGETHER } else { 1 }) {
            self.write_regions("concat", some, &vec![1; rank], Write::Set);
        }
    }

    /// The buffer of an updated tensor: the old one's if that is dead, else a copy. Of `operands`, those that read the old one
    /// elsewhere than in the `region` that is written are computed before, since their elements would be gone.
    pub fn updated(
        &mut self,
        x: ValueId,
        r: ValueId,
        n: usize,
        operands: &[ValueId],
        region: Option<&[Ax]>,
    ) -> (BufId, Aside) {
        let old = self.values.storage(x);
        if let Some(s) = old
            && self.dies_at(s, n)
        {
            let home = self.home[&s];
            let mut aside = Aside::default();
            for v in operands {
                let mut leaves = Vec::new();
                self.values.trace(*v, identity(self.ty(*v).rank()), &mut leaves);
                let in_step = |l: &Leaf| region.is_some_and(|r| l.ax == r && l.dims == self.sizes_of(x));
                if !leaves.iter().filter(|l| l.storage == Some(s)).all(in_step) {
                    self.set_aside(*v, &mut aside);
                }
            }
            return (self.settle(r, home), aside);
        }
        let buf = self.place(r, n);
        match old.and_then(|s| self.home.get(&s).copied()) {
            Some(from) => {
                let (dst, src) = (self.buf(buf).ptr, self.buf(from).ptr);
                let bytes = self.bytes(r);
                self.copy_bytes(dst, src, &bytes);
            }
            None => self.fill(x, buf),
        }
        (buf, Aside::default())
    }

    /// Computes a tensor now, for the operation that is being lowered.
    fn set_aside(&mut self, v: ValueId, aside: &mut Aside) {
        let bytes = self.bytes(v);
        let copy = self.alloc(&bytes, None);
        self.fill(v, copy);
        self.temporaries().push(copy);
        aside.0.push((v, self.values.role(v), self.home.insert(v, copy)));
        self.values.set(v, Role::Stored);
    }

    /// After the operation.
    pub fn put_back(&mut self, aside: Aside) {
        for (v, role, home) in aside.0 {
            self.values.set(v, role);
            match home {
                Some(home) => _ = self.home.insert(v, home),
                None => _ = self.home.remove(&v),
            }
        }
    }

    pub fn update_slice(&mut self, inst: &Inst, steps: &[i64], n: usize) {
        let mode = self.write_mode(inst);
        let (x, u, r) = (inst.args[0], inst.args[1], inst.results[0]);
        let (dims, region) = (self.sizes_of(r), self.sizes_of(u));
        let ax = region_ax(&self.values, steps, &inst.args[2..], &region, &dims);
        // a single element is computed before it is written
        let operands = if region.iter().all(|e| e.is(1)) { &[][..] } else { &[u] };
        let (buf, aside) = self.updated(x, r, n, operands, Some(&ax));
        if mode != Write::Add && self.in_slot(u, buf) {
            return;
        }
        let starts = inst.args[2..].iter().map(|s| Idx::operand(self.scalar(*s))).collect();
        let to = Region { id: buf, dims, ax, starts };
        self.write_region("update", u, &to, steps, mode);
        self.put_back(aside);
    }

    /// Rows in order: repeats accumulate, or the last wins. On one thread, or one team of a GPU's if they are few.
    pub fn scatter(&mut self, inst: &Inst, mode: Update, n: usize) {
        let (x, ids, u, r) = (inst.args[0], inst.args[1], inst.args[2], inst.results[0]);
        let dims = self.sizes_of(r);
        let (ids_dims, u_dims) = (self.sizes_of(ids), self.sizes_of(u));
        let (buf, aside) = self.updated(x, r, n, &[ids, u], None);
        let mut leaves = Vec::new();
        self.values.trace(ids, identity(ids_dims.len()), &mut leaves);
        self.values.trace(u, identity(u_dims.len()), &mut leaves);
        let rank = ids_dims.len();
        let dtype = self.dtype(r);
        let target = Leaf {
            storage: None,
            ax: (0..dims.len())
                .map(|i| if i == 0 { Ax::Mixed((1 << rank) - 1) } else { Ax::Axis(rank + i - 1) })
                .collect(),
            dims: dims.clone(),
        };
        leaves.push(target);
        let runs = collapse(&(rank..u_dims.len()).collect::<Vec<_>>(), &u_dims, &leaves);
        let all = Size::product(&ids_dims);
        if self.on_gpu() && all.as_const().is_none_or(|n| n > FEW_ROWS) {
            let s = Scatter { ids, rows: u, to: buf, dims: &dims, dtype, mode, runs: &runs };
            self.scatter_of_threads(&s, |l| l.tally_region(&[u], &leaves, mode == Update::Add));
            return self.put_back(aside);
        }
        let count = self.size(&all);
        self.tally_region(&[u], &leaves, mode == Update::Add);
        self.launch_over("scatter", Operand::i64(1), Operand::i64(1), |l, _, _| {
            let count = l.outer(count);
            let head = l.code().begin_loop(Operand::i64(0), count, LoopKind::Serial);
            let at = l.decompose(head.var.into(), &ids_dims);
            let row = l.eval(ids, &at);
            l.nest(&crate::nest::extents(&runs), &[], &mut |l, inner| {
                let mut idx = at.clone();
                idx.resize(u_dims.len(), Idx::ZERO);
                crate::nest::place_runs(&mut idx, &runs, inner);
                let mut value = l.eval(u, &idx);
                let mut to = vec![Idx::operand(row)];
                to.extend_from_slice(&idx[rank..]);
                if mode == Update::Add {
                    let old = l.load_at(buf, dtype, &dims, &to);
                    value = l.code().binary(BinaryOp::Add, dtype, old, value);
                }
                l.store(BufStore { id: buf, dtype, dims: &dims }, &to, value);
                vec![]
            });
            l.code().end_loop(head, vec![], vec![]);
        });
        self.put_back(aside);
    }

    /// Reads a scalar result from memory into its register.
    pub fn load_scalar(&mut self, v: ValueId, buf: BufId, dtype: Dtype) {
        let ptr = self.buf(buf).ptr;
        let dst = self.host.named(RegTy::Scalar(dtype), self.values.graph.func.value(v).name.clone());
        self.host.push(Stmt::Let { dst, value: Expr::Load { ptr, dtype, index: Index::default() } });
        self.scalars.insert(v, dst.into());
    }

    pub fn runtime(&mut self, call: RuntimeCall) {
        let site = self.site();
        self.perform(Stmt::Runtime { call, site });
    }

    pub fn random(&mut self, inst: &Inst, dist: tdl_ir::Dist, n: usize) {
        let r = inst.results[0];
        let dtype = self.dtype(r);
        let scalar = self.is_scalar(r);
        let buf = if scalar { self.alloc(&Size::constant(8), None) } else { self.place(r, n) };
        let (key, counter) = (self.scalar(inst.args[0]), self.scalar(inst.args[1]));
        let len = self.size(&Size::product(&self.sizes_of(r)));
        let dst = self.buf(buf).ptr;
        if self.on_gpu() {
            self.draw(buf, dist, dtype, key, counter, len);
        } else {
            self.runtime(RuntimeCall::Random { dst, dist, dtype, key, counter, len });
        }
        if scalar {
            self.load_scalar(r, buf, dtype);
            self.release(buf);
        }
    }

    /// A scalar computed from elements of tensors.
    pub fn point(&mut self, inst: &Inst) {
        let r = inst.results[0];
        self.host.begin_memo();
        let o = self.eval_op(r, &[]);
        self.host.end_memo();
        self.scalars.insert(r, o);
    }

    pub fn constant_tensor(&mut self, inst: &Inst, bytes: &std::sync::Arc<[u8]>) {
        let r = inst.results[0];
        let data = self.shared.data(bytes);
        let dst = self.host.named(RegTy::Ptr, self.values.graph.func.value(r).name.clone());
        self.host.blocks[0].push(Stmt::Let { dst, value: Expr::Data(data) });
        let size = self.bytes(r);
        if self.is_scalar(r) {
            let dtype = self.dtype(r);
            let buf = self.borrowed(dst, size, r);
            self.load_scalar(r, buf, dtype);
        } else {
            self.borrowed(dst, size, r);
        }
    }

    pub fn stack_op(&mut self, inst: &Inst, n: usize) {
        match &inst.op {
            Op::StackNew => {
                let dst = self.host.named(RegTy::Stack, None);
                self.runtime(RuntimeCall::StackNew { dst });
                self.scopes.last_mut().expect("a scope").stacks.push(dst);
                self.scalars.insert(inst.results[0], dst.into());
            }
            Op::StackPush => {
                let handle = self.scalar(inst.args[0]);
                let Operand::Reg(stack) = handle else { unreachable!("stacks are registers") };
                let x = inst.args[1];
                let bytes = self.bytes(x);
                let dst = self.host.reg(RegTy::Ptr);
                if self.is_tensor(x) {
                    let src = self.dense(x);
                    let src = self.buf(src).ptr;
                    let size = self.size(&bytes);
                    self.runtime(RuntimeCall::StackGrow { dst, stack, bytes: size });
                    self.copy_bytes(dst, src, &bytes);
                } else {
                    let value = self.scalar(x);
                    let size = self.size(&bytes);
                    self.runtime(RuntimeCall::StackGrow { dst, stack, bytes: size });
                    let dtype = self.dtype(x);
                    self.host.push(Stmt::Store { ptr: dst, dtype, index: Index::default(), value });
                }
                self.scalars.insert(inst.results[0], handle);
            }
            _ => {
                let handle = self.scalar(inst.args[0]);
                let Operand::Reg(stack) = handle else { unreachable!("stacks are registers") };
                let (ptr, bytes) = (self.host.reg(RegTy::Ptr), self.host.i64());
                self.runtime(RuntimeCall::StackContents { ptr, bytes, stack });
                let (count, tensor) = (inst.results[0], inst.results[1]);
                let each = Size::product(&self.sizes_of(inst.args[0])).scale(self.dtype(tensor).size() as i64);
                let each = self.size(&each);
                let each = self.host.max(each, Operand::i64(1));
                let k = self.host.div(bytes.into(), each);
                self.scalars.insert(count, k);
                // The stack may grow again while the tensor is in use: it gets memory of its own.
                if self.values.role(tensor) != crate::values::Role::Dead {
                    let buf = self.place(tensor, n);
                    let dst = self.buf(buf).ptr;
                    self.perform(Stmt::CopyBytes { dst, src: ptr, bytes: bytes.into() });
                }
            }
        }
    }
}

/// Part of a dense tensor, as a target. `starts` are host indices.
struct Region {
    id: BufId,
    dims: Vec<Size>,
    ax: Vec<Ax>,
    starts: Vec<Idx>,
}

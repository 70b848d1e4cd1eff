//! The state of lowering one function: scalars and sizes in host registers, the kernel that is being written.

use std::cell::RefCell;

use rustc_hash::{FxHashMap, FxHashSet};
use tdl_ir::{Dtype, Op, Type, ValueId};
use tdl_source::Span;

use crate::ahead::Ahead;
use crate::buffers::{Block, Buf, BufId, Scope};
use crate::code::{Code, Idx};
use crate::ir::*;
use crate::kernel::KernelCode;
use crate::profile::Tally;
use crate::size::Size;
use crate::streams::{RowScratch, Stream};
use crate::tiles::Tile;
use crate::values::{Role, Values};

/// What the functions of one program share.
#[derive(Default)]
pub struct Shared {
    pub program: Program,
    /// Kernels by their text, to find equal ones.
    pub kernels: FxHashMap<String, KernelId>,
    pub data: FxHashMap<std::sync::Arc<[u8]>, DataId>,
    pub sites: FxHashMap<Span, SiteId>,
}

impl Shared {
    pub fn site(&mut self, span: Span) -> SiteId {
        let sites = &mut self.program.sites;
        *self.sites.entry(span).or_insert_with(|| {
            sites.push(Site { span });
            SiteId(sites.len() as u32 - 1)
        })
    }

    pub fn data(&mut self, bytes: &std::sync::Arc<[u8]>) -> DataId {
        let data = &mut self.program.data;
        *self.data.entry(bytes.clone()).or_insert_with(|| {
            data.push(bytes.clone());
            DataId(data.len() as u32 - 1)
        })
    }
}

pub struct Lower<'a> {
    pub values: Values<'a>,
    pub shared: &'a mut Shared,
    pub host: Code,
    /// Where tensor elements are computed now: a kernel, or the host if there is none.
    pub kernel: Option<KernelCode>,
    /// Registers of scalars, texts and stacks.
    pub scalars: FxHashMap<ValueId, Operand>,
    sizes: FxHashMap<Size, Operand>,
    rooms: FxHashMap<Size, Operand>,
    pub bufs: Vec<Buf>,
    /// Where stored values live.
    pub home: FxHashMap<ValueId, BufId>,
    /// Parallel to the host's blocks, as far as those are blocks of the tensor IR.
    pub scopes: Vec<Scope>,
    pub blocks: Vec<Block>,
    /// Values per row that the kernel has in registers.
    pub row_regs: FxHashMap<ValueId, Operand>,
    /// Buffers that are slots of another.
    pub slots: FxHashMap<BufId, BufId>,
    /// Those of them whose elements are added to zero.
    pub added: FxHashSet<BufId>,
    /// Updates that add to zeros.
    pub written_once: FxHashSet<ValueId>,
    /// What the kernel that is written next, or now, writes past the caches, and its rows of scratch.
    pub streams: Vec<Stream>,
    pub rows: Vec<RowScratch>,
    /// What the open pass over memory reads ahead.
    pub ahead: Vec<Ahead>,
    /// Elements of its blocks.
    pub step: i64,
    /// The tile whose loops are open.
    pub tile: Option<Tile>,
    pub span: Span,
    /// What the launch that comes next does, for a profile.
    pub tally: Option<Tally>,
    temps: Vec<BufId>,
    depths: RefCell<FxHashMap<ValueId, usize>>,
}

impl<'a> Lower<'a> {
    pub fn new(values: Values<'a>, shared: &'a mut Shared) -> Lower<'a> {
        let span = values.graph.func.span;
        Lower {
            values,
            shared,
            host: Code::new(),
            kernel: None,
            scalars: FxHashMap::default(),
            sizes: FxHashMap::default(),
            rooms: FxHashMap::default(),
            bufs: Vec::new(),
            home: FxHashMap::default(),
            scopes: Vec::new(),
            blocks: Vec::new(),
            row_regs: FxHashMap::default(),
            slots: FxHashMap::default(),
            added: FxHashSet::default(),
            written_once: FxHashSet::default(),
            streams: Vec::new(),
            rows: Vec::new(),
            ahead: Vec::new(),
            step: 0,
            tile: None,
            span,
            tally: None,
            temps: Vec::new(),
            depths: RefCell::default(),
        }
    }

    /// Are tensors in a GPU's memory, out of the host code's reach?
    pub fn on_gpu(&self) -> bool {
        self.shared.program.target == Target::Gpu
    }

    /// Buffers that the current node needs for itself alone.
    pub fn temporaries(&mut self) -> &mut Vec<BufId> {
        &mut self.temps
    }

    pub fn site(&mut self) -> SiteId {
        let span = self.span;
        self.shared.site(span)
    }

    /// Where tensor elements are computed now.
    pub fn code(&mut self) -> &mut Code {
        match &mut self.kernel {
            Some(k) => &mut k.code,
            None => &mut self.host,
        }
    }

    pub fn ty(&self, v: ValueId) -> &'a Type {
        self.values.graph.func.ty(v)
    }

    pub fn dtype(&self, v: ValueId) -> Dtype {
        self.values.graph.dtype(v)
    }

    pub fn is_scalar(&self, v: ValueId) -> bool {
        self.values.graph.is_scalar(v)
    }

    /// A tensor with at least one axis.
    pub fn is_tensor(&self, v: ValueId) -> bool {
        matches!(self.ty(v), Type::Tensor { dims, .. } if !dims.is_empty())
    }

    pub fn reg_ty(&self, v: ValueId) -> RegTy {
        match self.ty(v) {
            Type::Tensor { dtype, dims } if dims.is_empty() => RegTy::Scalar(*dtype),
            Type::Tensor { .. } => RegTy::Ptr,
            Type::Str => RegTy::Str,
            Type::Stack { .. } => RegTy::Stack,
        }
    }

    // --- scalars

    /// How deep the blocks must be nested for a value to be available: arithmetic floats up to its operands.
    pub fn depth(&self, v: ValueId) -> usize {
        if self.values.role(v) != Role::Lazy {
            return self.values.graph.depth(v);
        }
        if let Some(d) = self.depths.borrow().get(&v) {
            return *d;
        }
        let Some((inst, _)) = self.values.graph.inst(v) else { return 0 };
        let depth = inst.args.iter().map(|a| self.depth(*a)).max().unwrap_or(0);
        self.depths.borrow_mut().insert(v, depth);
        depth
    }

    /// The host register of a scalar, text or stack.
    pub fn scalar(&mut self, v: ValueId) -> Operand {
        if let Some(o) = self.scalars.get(&v) {
            return *o;
        }
        let dtype = self.dtype(v);
        let (inst, _) = self.values.graph.inst(v).expect("parameters have registers");
        if let Op::Const(c) = &inst.op {
            let o = Operand::Const(*c, dtype);
            self.scalars.insert(v, o);
            return o;
        }
        if matches!(inst.op, Op::Reshape | Op::StopGrad | Op::Barrier) {
            let o = self.scalar(inst.args[0]);
            self.scalars.insert(v, o);
            return o;
        }
        let args: Vec<Operand> = inst.args.iter().map(|a| self.scalar(*a)).collect();
        let dtypes: Vec<Dtype> = inst.args.iter().map(|a| self.dtype(*a)).collect();
        let expr = match &inst.op {
            Op::Text(t) => Expr::Text(t.clone()),
            op => elementwise(op, dtype, &dtypes, &args),
        };
        let depth = self.depth(v);
        let dst = self.host.named(self.reg_ty(v), self.values.graph.func.value(v).name.clone());
        self.host.blocks[depth].push(Stmt::Let { dst, value: expr });
        self.scalars.insert(v, dst.into());
        dst.into()
    }

    pub fn size_depth(&self, s: &Size) -> usize {
        s.atoms.iter().map(|a| self.depth(*a)).max().unwrap_or(0)
    }

    /// The value of a size in a host register.
    pub fn size(&mut self, s: &Size) -> Operand {
        if let Some(c) = s.as_const() {
            return Operand::i64(c);
        }
        if let Some(o) = self.sizes.get(s) {
            return *o;
        }
        let mut parts: Vec<Operand> = s.atoms.iter().map(|a| self.scalar(*a)).collect();
        if s.coef != 1 {
            parts.push(Operand::i64(s.coef));
        }
        let depth = self.size_depth(s);
        let mul = |a, b| Expr::Binary { op: tdl_ir::BinaryOp::Mul, dtype: Dtype::I64, a, b };
        let product = self.size_product(&parts, depth, mul);
        self.sizes.insert(s.clone(), product);
        product
    }

    /// The bytes to ask for, in a host register: `i64::MAX`, which nobody has, where the number does not fit.
    pub fn room(&mut self, bytes: &Size) -> Operand {
        if let Some(c) = bytes.as_const() {
            return Operand::i64(c);
        }
        if let Some(o) = self.rooms.get(bytes) {
            return *o;
        }
        let mut parts: Vec<Operand> = bytes.atoms.iter().map(|a| self.scalar(*a)).collect();
        if bytes.coef != 1 {
            parts.push(Operand::i64(bytes.coef));
        }
        let depth = self.size_depth(bytes);
        let room = self.size_product(&parts, depth, |a, b| Expr::SizeMul { a, b });
        self.rooms.insert(bytes.clone(), room);
        room
    }

    fn size_product(&mut self, parts: &[Operand], depth: usize, mul: impl Fn(Operand, Operand) -> Expr) -> Operand {
        let mut acc = parts[0];
        for p in &parts[1..] {
            let dst = self.host.i64();
            self.host.blocks[depth].push(Stmt::Let { dst, value: mul(acc, *p) });
            acc = dst.into();
        }
        acc
    }

    pub fn dims(&mut self, v: ValueId) -> Vec<Operand> {
        self.values.sizes(v).iter().map(|s| self.size(s)).collect()
    }

    pub fn sizes_of(&self, v: ValueId) -> Vec<Size> {
        self.values.sizes(v)
    }

    /// Bytes of a dense tensor.
    pub fn bytes(&self, v: ValueId) -> Size {
        Size::product(&self.values.sizes(v)).scale(self.dtype(v).size() as i64)
    }

    // --- indices

    /// A host operand where elements are computed now.
    pub fn outer(&mut self, o: Operand) -> Operand {
        match &mut self.kernel {
            Some(k) => k.capture(o, &self.host),
            None => o,
        }
    }

    pub fn outer_size(&mut self, s: &Size) -> Operand {
        let o = self.size(s);
        self.outer(o)
    }

    pub fn index(&mut self, idx: &Idx) -> Index {
        let mut index = Index::default();
        for (r, s) in &idx.terms {
            match (r, s.as_const()) {
                (None, Some(c)) => index.offset += c,
                (None, None) => match self.outer_size(s) {
                    Operand::Reg(reg) => index.terms.push(Term { reg, stride: Operand::i64(1) }),
                    o @ Operand::Const(..) => index.offset += o.as_i64().unwrap_or(0),
                },
                (Some(reg), _) => {
                    let stride = self.outer_size(s);
                    index.terms.push(Term { reg: *reg, stride });
                }
            }
        }
        index
    }

    /// An index as an `i64` operand.
    pub fn position(&mut self, idx: &Idx) -> Operand {
        let index = self.index(idx);
        match index.terms.as_slice() {
            [] => Operand::i64(index.offset),
            [t] if index.offset == 0 && t.stride.as_i64() == Some(1) => t.reg.into(),
            _ => self.code().scalar(Dtype::I64, Expr::Index(index)),
        }
    }
}

/// The expression of an elementwise operation on operands in registers.
pub fn elementwise(op: &Op, result: Dtype, dtypes: &[Dtype], args: &[Operand]) -> Expr {
    match op {
        Op::Unary(op) => Expr::Unary { op: *op, dtype: dtypes[0], x: args[0] },
        Op::Binary(op) => Expr::Binary { op: *op, dtype: dtypes[0], a: args[0], b: args[1] },
        Op::Compare(op) => Expr::Compare { op: *op, dtype: dtypes[0], a: args[0], b: args[1] },
        Op::Select => Expr::Select { dtype: result, cond: args[0], a: args[1], b: args[2] },
        Op::Convert => Expr::Convert { from: dtypes[0], to: result, x: args[0] },
        other => unreachable!("{other:?} is not elementwise"),
    }
}

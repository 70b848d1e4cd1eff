//! The elaborator's state, and how values and types meet.

use rustc_hash::{FxHashMap, FxHashSet};
use tdl_ir::{
    AssertKind, Attrs, BinaryOp, Block, Builder, CompareOp, Dim, Dtype, FuncId, Function, HostFn, Module, Op, Piece,
    ReduceOp, Scalar, Type, ValueId,
};
use tdl_source::Span;
use tdl_types::thir::{Body, ConstId, Expr, ExprKind, Program, SizeExpr, SizeVar};

use crate::env::Env;
use crate::rty::{Leaf, RDim, RTy, known_all};
use crate::val::Val;
use crate::{R, internal};

pub struct Elab<'p> {
    pub program: &'p Program,
    /// Stands where an environment has no code of its own.
    pub no_body: &'p Body,
    pub module: Module,
    /// The function under construction.
    pub b: Builder,
    /// Functions by what they are instances of.
    pub instances: FxHashMap<String, FuncId>,
    names: FxHashSet<String>,
    next_slot: u32,
    scope: Scope,
    /// Whether the code is `main`'s own, outside loops: where long loops show their progress.
    pub at_top_of_main: bool,
    /// Whether places and variables are marked for a debugger.
    pub debug: bool,
    /// The outermost call with a function among its arguments that is being elaborated in place.
    pub passed_at: Option<Span>,
    /// Calls that were elaborated in place, each with the number (from 1) of the one around it, or 0. What [`Span::via`] of the
    /// instructions made there counts.
    pub calls: Vec<(Span, u32)>,
}

/// What has been computed already and dominates the present place.
#[derive(Default)]
struct Scope {
    sizes: Vec<(SizeExpr, Vec<(SizeVar, RDim)>, Dim)>,
    /// What has been compared with zero.
    guarded: Vec<(ValueId, CompareOp)>,
    /// Texts by their numbers, where the number has been made from the text.
    texts: FxHashMap<ValueId, ValueId>,
    marks: Vec<(usize, usize)>,
}

impl<'p> Elab<'p> {
    pub fn new(program: &'p Program, no_body: &'p Body) -> Elab<'p> {
        Elab {
            program,
            no_body,
            module: Module::default(),
            b: Builder::new("", crate::nowhere()),
            instances: FxHashMap::default(),
            names: FxHashSet::default(),
            next_slot: 1 << 31,
            calls: Vec::new(),
            scope: Scope::default(),
            at_top_of_main: false,
            debug: false,
            passed_at: None,
        }
    }

    /// What an error about the derivative of `func`, asked for here, points at, if that is not here: the call that passed the
    /// function, or that led from the user's file to another's.
    pub fn passed(&self, func: &Expr) -> Option<Span> {
        self.passed_at.filter(|at| matches!(func.kind, ExprKind::Local(_)) || at.file != self.b.span.file)
    }

    pub fn fresh_slot(&mut self) -> u32 {
        self.next_slot += 1;
        self.next_slot
    }

    /// A name that no function of the module has.
    pub fn unique_name(&mut self, want: &str) -> String {
        let mut name = want.to_string();
        let mut k = 1;
        while !self.names.insert(name.clone()) {
            k += 1;
            name = format!("{want}.{k}");
        }
        name
    }

    /// Builds another function while this one waits; `build` returns its results.
    pub fn function(
        &mut self,
        name: &str,
        span: Span,
        attrs: Attrs,
        build: impl FnOnce(&mut Self) -> R<Vec<ValueId>>,
    ) -> R<FuncId> {
        let name = self.unique_name(name);
        let outer = std::mem::replace(&mut self.b, Builder::new(name, span));
        let scope = std::mem::take(&mut self.scope);
        let top = std::mem::replace(&mut self.at_top_of_main, false);
        *self.b.attrs() = attrs;
        let results = build(self);
        self.scope = scope;
        self.at_top_of_main = top;
        let inner = std::mem::replace(&mut self.b, outer);
        let mut func = inner.finish(results?);
        func.attrs.effects = self.has_effects(&func.body);
        Ok(self.module.add(func))
    }

    fn has_effects(&self, block: &Block) -> bool {
        let mut found = false;
        block.visit_insts(&mut |i| {
            let callee: Option<&Function> = match &i.op {
                Op::Call { func } | Op::Vjp { func, .. } | Op::Jvp { func, .. } | Op::Vmap { func, .. } => {
                    Some(self.module.func(*func))
                }
                _ => None,
            };
            found |= i.op.has_effect() || callee.is_some_and(|f| f.attrs.effects);
        });
        found
    }

    // --- regions

    pub fn open_region(&mut self) {
        self.scope.marks.push((self.scope.sizes.len(), self.scope.guarded.len()));
        self.b.begin_region();
    }

    pub fn close_region(&mut self, results: Vec<ValueId>) -> Block {
        if let Some((sizes, guarded)) = self.scope.marks.pop() {
            self.scope.sizes.truncate(sizes);
            self.scope.guarded.truncate(guarded);
        }
        self.b.end_region(results)
    }

    pub fn known_size(&self, expr: &SizeExpr, vars: &[(SizeVar, RDim)]) -> Option<Dim> {
        self.scope.sizes.iter().find(|(e, v, _)| e == expr && v == vars).map(|(_, _, d)| *d)
    }

    /// The number of a text.
    pub fn intern(&mut self, text: ValueId) -> ValueId {
        let number = self.b.inst1(Op::Host(HostFn::Intern), vec![text], Type::scalar(Dtype::I64));
        self.scope.texts.insert(number, text);
        number
    }

    /// The text of a number.
    pub fn text_of(&mut self, number: ValueId) -> ValueId {
        match self.scope.texts.get(&number) {
            Some(text) => *text,
            None => self.b.inst1(Op::Host(HostFn::TextOf), vec![number], Type::Str),
        }
    }

    pub fn remember_size(&mut self, expr: &SizeExpr, vars: &[(SizeVar, RDim)], d: Dim) {
        self.scope.sizes.push((expr.clone(), vars.to_vec(), d));
    }

    // --- leaves

    /// Types of leaves; `ids` gives the value of the k-th leaf, for extents that are witnesses.
    pub fn types(&self, leaves: &[Leaf], ids: impl Fn(usize) -> ValueId) -> R<Vec<Type>> {
        (0..leaves.len()).map(|i| self.leaf_type(i, leaves, &ids)).collect()
    }

    /// A slot is the nearest witness before the leaf: two values of one type have slots of one number.
    fn leaf_type(&self, i: usize, leaves: &[Leaf], ids: &impl Fn(usize) -> ValueId) -> R<Type> {
        let leaf = &leaves[i];
        let dim = |d: &RDim| match d {
            RDim::Known(d) => Ok(*d),
            RDim::Slot(k) => match leaves[..i].iter().rposition(|l| l.slot == Some(*k)) {
                Some(w) => Ok(Dim::Val(ids(w))),
                None => Err(internal("a size has no witness")),
            },
            RDim::Expr(_) => Err(internal("a size depends on an unknown one")),
        };
        Ok(Type::tensor(leaf.dtype, leaf.dims.iter().map(dim).collect::<R<Vec<Dim>>>()?))
    }

    /// A tree of this type from its leaves.
    pub fn unflatten(&mut self, ty: &RTy<'p>, leaves: &mut impl Iterator<Item = ValueId>) -> R<Val<'p>> {
        let mut next = || leaves.next().ok_or_else(|| internal("too few leaves"));
        Ok(match ty {
            RTy::Never => Val::Never,
            RTy::Tensor(..) | RTy::Str => Val::Leaf(next()?),
            RTy::Rng => Val::Tree(vec![Val::Leaf(next()?), Val::Leaf(next()?)]),
            RTy::Tuple(items) => Val::Tree(items.iter().map(|t| self.unflatten(t, leaves)).collect::<R<_>>()?),
            RTy::Struct(id, args) => {
                let fields = self.fields(*id, args)?;
                Val::Tree(fields.iter().map(|t| self.unflatten(t, leaves)).collect::<R<_>>()?)
            }
            RTy::Stack(_, elem) => self.unflatten(elem, leaves)?,
            RTy::Exists(slots, body) => {
                let n = self.witness_count(slots, body)?;
                let mut witnesses = Vec::with_capacity(n);
                for _ in 0..n {
                    witnesses.push(leaves.next().ok_or_else(|| internal("too few leaves"))?);
                }
                Val::Pack(witnesses, Box::new(self.unflatten(body, leaves)?))
            }
            RTy::Fn => return Err(internal("a function value would be chosen at run time")),
        })
    }

    /// New parameters of the innermost block for a value of this type.
    pub fn params(&mut self, ty: &RTy<'p>) -> R<Val<'p>> {
        let leaves = self.leaves(ty)?;
        let mut ids = Vec::with_capacity(leaves.len());
        for i in 0..leaves.len() {
            let t = self.leaf_type(i, &leaves, &|k| ids[k])?;
            ids.push(self.b.param(t));
        }
        self.unflatten(ty, &mut ids.into_iter())
    }

    /// Parameters with the names of their places: `line.slope`.
    pub fn named_params(&mut self, name: &str, ty: &RTy<'p>) -> R<Val<'p>> {
        let val = self.params(ty)?;
        for (v, leaf) in val.leaves().into_iter().zip(self.leaves(ty)?) {
            if leaf.slot.is_none() {
                let path: String = leaf.path.iter().filter(|p| &***p != "*").map(|p| format!(".{p}")).collect();
                self.b.name_value(v, &format!("{name}{path}"));
            }
        }
        Ok(val)
    }

    /// As [`Self::named_params`], for a function that nobody calls: nothing says what `n` is where a parameter has the extent
    /// `n + 1`, so such an extent is a parameter of its own, before the tensor's, and is checked.
    pub fn standing_params(&mut self, name: &str, ty: &RTy<'p>) -> R<Val<'p>> {
        let leaves = self.leaves(ty)?;
        let mut ids: Vec<ValueId> = Vec::with_capacity(leaves.len());
        for (i, leaf) in leaves.iter().enumerate() {
            let want = self.leaf_type(i, &leaves, &|k| ids[k])?;
            let path: String = leaf.path.iter().filter(|p| &***p != "*").map(|p| format!(".{p}")).collect();
            let mut given = Vec::with_capacity(want.rank());
            for d in want.dims() {
                given.push(match d {
                    Dim::Val(v) if !self.b.params().contains(v) => {
                        let extent = self.b.param(Type::scalar(Dtype::I64));
                        let equal = self.compare_sizes(CompareOp::Eq, extent, *v);
                        let message = format!("`{name}{path}` needs the extent {{}}, got {{}}");
                        self.assert(equal, AssertKind::Shape, &message, &[*v, extent]);
                        Dim::Val(extent)
                    }
                    Dim::Const(_) | Dim::Val(_) => *d,
                });
            }
            if given == want.dims() {
                ids.push(self.b.param(want));
            } else {
                let tensor = self.b.param(Type::tensor(leaf.dtype, given));
                ids.push(self.b.reshape(tensor, want.dims()));
                self.b.name_value(tensor, &format!("{name}{path}"));
            }
            if leaf.slot.is_none() {
                self.b.name_value(ids[i], &format!("{name}{path}"));
            }
        }
        self.unflatten(ty, &mut ids.into_iter())
    }

    /// What a value of this type is before it has one: zeros, no rows.
    pub fn placeholder(&mut self, ty: &RTy<'p>) -> R<Val<'p>> {
        let leaves = self.leaves(ty)?;
        let zero = |d: &RDim| match d {
            RDim::Known(d) => *d,
            RDim::Slot(_) | RDim::Expr(_) => Dim::Const(0),
        };
        let mut ids = Vec::with_capacity(leaves.len());
        for leaf in &leaves {
            let dims: Vec<Dim> = leaf.dims.iter().map(zero).collect();
            ids.push(self.b.full(0.0, leaf.dtype, &dims));
        }
        self.unflatten(ty, &mut ids.into_iter())
    }

    /// Every leaf filled with `x` in its dtype.
    pub fn filled(&mut self, ty: &RTy<'p>, x: f64) -> R<Val<'p>> {
        let leaves = self.leaves(ty)?;
        let mut ids = Vec::with_capacity(leaves.len());
        for leaf in &leaves {
            let dims = known_all(&leaf.dims)?;
            ids.push(self.b.full(if leaf.text { 0.0 } else { x }, leaf.dtype, &dims));
        }
        self.unflatten(ty, &mut ids.into_iter())
    }

    /// `val` seen through the extents of `ty`: a constant one replaces a computed one, for the passes to come.
    pub fn retyped(&mut self, val: Val<'p>, ty: &RTy<'p>) -> R<Val<'p>> {
        if matches!(ty, RTy::Never) || val.has_function() || matches!(val, Val::Never) {
            return Ok(val);
        }
        let leaves = self.leaves(ty)?;
        let mut k = 0;
        val.map(&mut |v| {
            while leaves.get(k).is_some_and(|l| l.slot.is_some()) {
                k += 1;
            }
            let leaf = leaves.get(k);
            k += 1;
            let Some(Leaf { dims, .. }) = leaf else { return Ok(v) };
            match known_all(dims) {
                Ok(dims) if dims.len() == self.b.rank(v) => Ok(self.b.reshape(v, &dims)),
                Ok(_) | Err(_) => Ok(v),
            }
        })
    }

    // --- constants and checks

    pub fn constant(&mut self, id: ConstId) -> R<Val<'p>> {
        let def = &self.program.consts[id.index()];
        let Some(body) = &def.value else { return Err(internal(format!("constant `{}` has no value", def.name))) };
        let mut env = Env::empty(body);
        self.expr(&mut env, &body.value)
    }

    pub fn constant_bool(&self, v: ValueId) -> Option<bool> {
        match self.b.as_const(v) {
            Some(Scalar::Bool(x)) => Some(x),
            Some(Scalar::Int(_) | Scalar::Float(_)) | None => None,
        }
    }

    /// Stops the program with a message unless `ok`. A `{}` in the message is the next value.
    pub fn assert(&mut self, ok: ValueId, kind: AssertKind, message: &str, values: &[ValueId]) {
        if self.constant_bool(ok) == Some(true) {
            return;
        }
        let mut pieces = Vec::new();
        for (i, part) in message.split("{}").enumerate() {
            if i > 0 {
                pieces.push(Piece::Value { spec: "".into() });
            }
            if !part.is_empty() {
                pieces.push(Piece::Text(part.into()));
            }
        }
        let mut args = vec![ok];
        args.extend(values);
        self.b.inst(Op::Assert { kind, pieces }, args, Vec::new(), Vec::new());
    }

    /// Checks that a shape has no more elements than an `i64` counts: those of a view take no memory, so nothing else would
    /// notice, and its axes may become one.
    pub fn check_elements(&mut self, dims: &[Dim]) {
        let limit = self.b.const_i64(i64::MAX);
        let one = self.b.const_i64(1);
        let mut ok = self.b.const_bool(true);
        let mut count = one;
        for d in dims {
            let n = self.b.dim_value(*d);
            let divisor = self.b.size_binary(BinaryOp::Max, n, one);
            let most = self.b.size_binary(BinaryOp::FloorDiv, limit, divisor);
            let fits = self.compare_sizes(CompareOp::Le, count, most);
            ok = self.both(ok, fits);
            count = self.b.size_binary(BinaryOp::Mul, count, n);
        }
        let message = "out of memory: a tensor of more than 2^63 - 1 elements was asked for";
        self.assert(ok, AssertKind::Memory, message, &[]);
    }

    /// Compares `i64` scalars; folds constants.
    pub fn compare_sizes(&mut self, op: CompareOp, a: ValueId, b: ValueId) -> ValueId {
        if let (Some(x), Some(y)) = (self.b.as_i64(a), self.b.as_i64(b)) {
            let holds = match op {
                CompareOp::Eq => x == y,
                CompareOp::Ne => x != y,
                CompareOp::Lt => x < y,
                CompareOp::Le => x <= y,
                CompareOp::Gt => x > y,
                CompareOp::Ge => x >= y,
            };
            return self.b.const_bool(holds);
        }
        if a == b {
            return self.b.const_bool(matches!(op, CompareOp::Eq | CompareOp::Le | CompareOp::Ge));
        }
        self.b.compare(op, a, b)
    }

    /// Both; folds constants.
    pub fn both(&mut self, a: ValueId, b: ValueId) -> ValueId {
        match (self.constant_bool(a), self.constant_bool(b)) {
            (Some(true), _) => b,
            (_, Some(true)) => a,
            (Some(false), _) => a,
            (None, Some(false)) => b,
            (None, None) => self.b.binary(BinaryOp::And, a, b),
        }
    }

    /// Either; folds constants.
    pub fn either(&mut self, a: ValueId, b: ValueId) -> ValueId {
        match (self.constant_bool(a), self.constant_bool(b)) {
            (Some(false), _) => b,
            (_, Some(false)) => a,
            (Some(true), _) => a,
            (None, Some(true)) => b,
            (None, None) => self.b.binary(BinaryOp::Or, a, b),
        }
    }

    /// Fails where an integer divisor is zero.
    pub fn guard_division(&mut self, divisor: ValueId) -> R<()> {
        self.guard(divisor, CompareOp::Ne, "division by zero")
    }

    /// Fails where an integer has a negative exponent: the power is no integer.
    pub fn guard_power(&mut self, exponent: ValueId) -> R<()> {
        self.guard(exponent, CompareOp::Ge, "an integer to a negative power; of floats it is `f64(x) ^ f64(y)`")
    }

    /// Fails unless all of an integer operand compares so with zero.
    fn guard(&mut self, x: ValueId, op: CompareOp, text: &str) -> R<()> {
        let dtype = self.b.dtype(x);
        let known = match self.b.as_const(x) {
            Some(c @ Scalar::Int(_)) => op.eval(c, Scalar::Int(0), dtype) == Some(true),
            Some(Scalar::Float(_) | Scalar::Bool(_)) | None => false,
        };
        let always = dtype.class() == tdl_ir::DtypeClass::Unsigned && op == CompareOp::Ge;
        if known || always || self.scope.guarded.contains(&(x, op)) {
            return Ok(());
        }
        let zero = self.b.full_like(0.0, x);
        let ok = self.b.compare(op, x, zero);
        let axes = (0..self.b.rank(ok)).collect();
        let ok = self.b.reduce(ReduceOp::All, ok, axes);
        self.assert(ok, AssertKind::Division, text, &[]);
        self.scope.guarded.push((x, op));
        Ok(())
    }

    pub fn scalar_ty(dtype: Dtype) -> RTy<'p> {
        RTy::Tensor(dtype, Vec::new())
    }
}

//! Types with everything substituted: dtypes are concrete, type parameters gone, extents are IR values.

use std::rc::Rc;

use tdl_ir::{BinaryOp, Dim, Dtype, ValueId};
use tdl_source::{Diagnostic, code};
use tdl_types::thir::{
    self, Builtin, Elem, FnArg, FnParam, FnTy, GenericArg, GenericId, SizeExpr, SizeVar, Spread, StructId, Ty,
};

use crate::elab::Elab;
use crate::env::Env;
use crate::val::{Closure, Val};
use crate::{Failure, R, internal};

/// An extent.
#[derive(Clone, Debug, PartialEq)]
pub enum RDim {
    Known(Dim),
    /// Bound by the enclosing [`RTy::Exists`].
    Slot(u32),
    /// Depends on a slot.
    Expr(Rc<RExpr>),
}

/// A size whose bound variables are not known yet.
#[derive(Debug, PartialEq)]
pub struct RExpr {
    pub expr: SizeExpr,
    pub vars: Vec<(SizeVar, RDim)>,
}

#[derive(Clone, Debug)]
pub enum RTy<'p> {
    Never,
    Tensor(Dtype, Vec<RDim>),
    Tuple(Vec<RTy<'p>>),
    Struct(StructId, Vec<RArg<'p>>),
    /// Of a struct, a tuple, text or a generator; never of a tensor or a stack.
    Stack(Vec<RDim>, Box<RTy<'p>>),
    Str,
    Rng,
    /// Known at compile time; has no leaves.
    Fn,
    Exists(Vec<u32>, Box<RTy<'p>>),
}

/// What a parameter in brackets stands for.
#[derive(Clone, Debug)]
pub enum RArg<'p> {
    Size(RDim),
    Shape(Vec<RDim>),
    Dtype(Dtype),
    Ty(RTy<'p>),
    Fn(Rc<Closure<'p>>),
}

/// One leaf of a type: a value of the IR.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// That of text is `i64`: its number.
    pub dtype: Dtype,
    pub text: bool,
    pub dims: Vec<RDim>,
    /// This leaf is the witness of that slot.
    pub slot: Option<u32>,
    /// What a witness that is no variable of its existential is made of.
    pub expr: Option<Rc<RExpr>>,
    /// A float that is not state: takes part in tree arithmetic and has a gradient.
    pub active: bool,
    /// Field names and tuple positions on the way to it; `*` for an axis of a stack.
    pub path: Vec<Rc<str>>,
}

/// Tensors in a value, at most.
const MAX_LEAVES: usize = 10_000;

impl<'p> Elab<'p> {
    pub fn ty(&mut self, env: &Env<'p>, ty: &Ty) -> R<RTy<'p>> {
        Ok(match ty {
            Ty::Never => RTy::Never,
            Ty::Tensor(elem, shape) => RTy::Tensor(self.elem(env, *elem)?, self.shape(env, shape)?),
            Ty::Tuple(items) => RTy::Tuple(items.iter().map(|t| self.ty(env, t)).collect::<R<_>>()?),
            Ty::Struct(id, args) => RTy::Struct(*id, self.generic_args(env, args)?),
            Ty::Stack(shape, elem) => {
                let dims = self.shape(env, shape)?;
                let elem = self.ty(env, elem)?;
                stack(dims, elem)
            }
            Ty::Param(id) => match env.generics.get(id) {
                Some(RArg::Ty(t)) => t.clone(),
                Some(RArg::Size(_) | RArg::Shape(_) | RArg::Dtype(_) | RArg::Fn(_)) | None => {
                    return Err(internal(format!("type parameter {id:?} has no type")));
                }
            },
            Ty::Fn(_) => RTy::Fn,
            Ty::Str => RTy::Str,
            Ty::Rng => RTy::Rng,
            Ty::Exists(vars, body) => {
                let slots = vars.iter().map(|v| bound(*v)).collect::<R<Vec<u32>>>()?;
                RTy::Exists(slots, Box::new(self.ty(env, body)?))
            }
            Ty::Error | Ty::Infer(_) => return Err(internal("an unfinished type")),
        })
    }

    pub fn elem(&mut self, env: &Env<'p>, elem: Elem) -> R<Dtype> {
        match elem {
            Elem::Dtype(d) => Ok(d),
            Elem::Param(id) => match env.generics.get(&id) {
                Some(RArg::Dtype(d)) => Ok(*d),
                Some(RArg::Size(_) | RArg::Shape(_) | RArg::Ty(_) | RArg::Fn(_)) | None => {
                    Err(internal(format!("dtype parameter {id:?} has no dtype")))
                }
            },
            Elem::Infer(_) => Err(internal("an unfinished dtype")),
        }
    }

    pub fn shape(&mut self, env: &Env<'p>, shape: &[thir::Dim]) -> R<Vec<RDim>> {
        let mut out = Vec::with_capacity(shape.len());
        for d in shape {
            match d {
                thir::Dim::Size(s) => out.push(self.size(env, s)?),
                thir::Dim::Spread(Spread::Param(id)) => match env.generics.get(id) {
                    Some(RArg::Shape(dims)) => out.extend(dims.iter().cloned()),
                    Some(RArg::Size(_) | RArg::Dtype(_) | RArg::Ty(_) | RArg::Fn(_)) | None => {
                        return Err(internal(format!("shape parameter {id:?} has no shape")));
                    }
                },
                thir::Dim::Spread(Spread::Infer(_)) => return Err(internal("an unfinished shape")),
            }
        }
        Ok(out)
    }

    pub fn generic_args(&mut self, env: &Env<'p>, args: &[GenericArg]) -> R<Vec<RArg<'p>>> {
        let one = |this: &mut Self, arg: &GenericArg| {
            Ok(match arg {
                GenericArg::Size(s) => RArg::Size(this.size(env, s)?),
                GenericArg::Shape(s) => RArg::Shape(this.shape(env, s)?),
                GenericArg::Dtype(e) => RArg::Dtype(this.elem(env, *e)?),
                GenericArg::Ty(t) => RArg::Ty(this.ty(env, t)?),
                GenericArg::Fn(f) => RArg::Fn(this.fn_arg(env, f)?),
            })
        };
        args.iter().map(|a| one(self, a)).collect()
    }

    fn fn_arg(&mut self, env: &Env<'p>, arg: &FnArg) -> R<Rc<Closure<'p>>> {
        match arg {
            FnArg::Param(id) => match env.generics.get(id) {
                Some(RArg::Fn(f)) => Ok(Rc::clone(f)),
                Some(RArg::Size(_) | RArg::Shape(_) | RArg::Dtype(_) | RArg::Ty(_)) | None => {
                    Err(internal(format!("function parameter {id:?} has no function")))
                }
            },
            FnArg::Item(func) => {
                // its own generics, bound by the arguments of each call
                let def = &self.program.fns[func.index()];
                let generics = def.generics.iter().map(|g| self.as_arg(*g)).collect();
                let param = |p: &thir::Param| FnParam { name: None, ty: p.ty.clone(), mutable: p.mutable };
                let sig = FnTy {
                    generics: def.generics.clone(),
                    params: def.params.iter().map(param).collect(),
                    result: def.result.clone(),
                    io: def.io,
                };
                let env = Rc::new(Env::empty(self.no_body));
                Ok(Rc::new(Closure::Fn { func: *func, generics, env, sig: Some(Rc::new(sig)) }))
            }
            FnArg::Elementwise(op) => {
                let sig = FnTy { generics: Vec::new(), params: Vec::new(), result: Ty::unit(), io: false };
                let env = Rc::new(Env::empty(self.no_body));
                Ok(Rc::new(Closure::Builtin { op: Rc::new(Builtin::Elementwise1(*op)), env, sig: Rc::new(sig) }))
            }
            FnArg::Infer(_) => Err(internal("an unfinished function")),
        }
    }

    /// A parameter in brackets as an argument for itself.
    fn as_arg(&self, g: GenericId) -> GenericArg {
        match self.program.generics[g.index()].kind {
            thir::Kind::Size => GenericArg::Size(SizeExpr::var(SizeVar::Param(g))),
            thir::Kind::Shape => GenericArg::Shape(vec![thir::Dim::Spread(Spread::Param(g))]),
            thir::Kind::Dtype(_) => GenericArg::Dtype(Elem::Param(g)),
            thir::Kind::Tree(_) | thir::Kind::Interface(..) => GenericArg::Ty(Ty::Param(g)),
            thir::Kind::Fn(_) => GenericArg::Fn(Rc::new(FnArg::Param(g))),
        }
    }

    /// A size in `env`.
    pub fn size(&mut self, env: &Env<'p>, expr: &SizeExpr) -> R<RDim> {
        if let Some(c) = expr.as_const() {
            return Ok(RDim::Known(Dim::Const(c)));
        }
        if let Some(v) = expr.as_var() {
            return self.size_var(env, v);
        }
        let mut vars: Vec<(SizeVar, RDim)> = Vec::new();
        let mut names = Vec::new();
        expr.visit_vars(&mut |v| names.push(v));
        for v in names {
            if !vars.iter().any(|(w, _)| *w == v) {
                vars.push((v, self.size_var(env, v)?));
            }
        }
        if vars.iter().all(|(_, d)| matches!(d, RDim::Known(_))) {
            return Ok(RDim::Known(self.compute(expr, &vars)?));
        }
        Ok(RDim::Expr(Rc::new(RExpr { expr: expr.clone(), vars })))
    }

    fn size_var(&mut self, env: &Env<'p>, var: SizeVar) -> R<RDim> {
        match var {
            SizeVar::Param(id) => match env.generics.get(&id) {
                Some(RArg::Size(d)) => Ok(d.clone()),
                Some(RArg::Shape(_) | RArg::Dtype(_) | RArg::Ty(_) | RArg::Fn(_)) | None => {
                    let name = &self.program.generics[id.index()].name;
                    Err(internal(format!("size parameter `{name}` has no value")))
                }
            },
            SizeVar::Local(id) => match env.local(id) {
                Some(Val::Leaf(v)) => Ok(RDim::Known(self.b.dim(*v))),
                Some(Val::Tree(_) | Val::Pack(..) | Val::Fn(_) | Val::Never) | None => {
                    let name = &env.body.locals[id.index()].name;
                    Err(internal(format!("the size `{name}` has no value here")))
                }
            },
            SizeVar::Const(id) => match self.constant(id)? {
                Val::Leaf(v) => Ok(RDim::Known(self.b.dim(v))),
                Val::Tree(_) | Val::Pack(..) | Val::Fn(_) | Val::Never => Err(internal("a size constant is no number")),
            },
            SizeVar::Open(id) => match env.opens.get(&id) {
                Some(d) => Ok(RDim::Known(*d)),
                None => {
                    let name = env.body.opens.get(id.index()).map_or("?", |o| &*o.name);
                    Err(internal(format!("{name} is not known here")))
                }
            },
            SizeVar::Bound(k) => Ok(RDim::Slot(k)),
            SizeVar::Infer(_) | SizeVar::Quotient(_) => Err(internal("an unfinished size")),
        }
    }

    /// Emits the arithmetic of a size whose variables are known.
    pub fn compute(&mut self, expr: &SizeExpr, vars: &[(SizeVar, RDim)]) -> R<Dim> {
        if let Some(d) = self.known_size(expr, vars) {
            return Ok(d);
        }
        let v = self.compute_value(expr, vars)?;
        let d = self.b.dim(v);
        self.remember_size(expr, vars, d);
        Ok(d)
    }

    pub fn compute_value(&mut self, expr: &SizeExpr, vars: &[(SizeVar, RDim)]) -> R<ValueId> {
        let mut total: Option<ValueId> = None;
        for (monomial, coefficient) in expr.terms() {
            let mut product: Option<ValueId> = None;
            for (atom, power) in &monomial.0 {
                let factor = match atom {
                    tdl_types::size::Atom::Var(v) => match vars.iter().find(|(w, _)| w == v) {
                        Some((_, RDim::Known(d))) => self.b.dim_value(*d),
                        Some((_, RDim::Slot(_) | RDim::Expr(_))) | None => {
                            return Err(internal("a size is not known here"));
                        }
                    },
                    tdl_types::size::Atom::Div(a, b) => {
                        let (a, b) = (self.compute_value(a, vars)?, self.compute_value(b, vars)?);
                        self.guard_division(b)?;
                        self.b.size_binary(BinaryOp::FloorDiv, a, b)
                    }
                };
                for _ in 0..*power {
                    product = Some(match product {
                        None => factor,
                        Some(p) => self.b.size_binary(BinaryOp::Mul, p, factor),
                    });
                }
            }
            // n - m rather than n + -1 * m
            let (op, c) = match total {
                Some(_) if *coefficient < 0 => (BinaryOp::Sub, coefficient.wrapping_neg()),
                Some(_) | None => (BinaryOp::Add, *coefficient),
            };
            let term = match product {
                None => self.b.const_i64(c),
                Some(p) => {
                    let c = self.b.const_i64(c);
                    self.b.size_binary(BinaryOp::Mul, c, p)
                }
            };
            total = Some(match total {
                None => term,
                Some(t) => self.b.size_binary(op, t, term),
            });
        }
        Ok(match total {
            Some(t) => t,
            None => self.b.const_i64(0),
        })
    }

    /// A size as an `i64` value.
    pub fn size_value(&mut self, env: &Env<'p>, expr: &SizeExpr) -> R<ValueId> {
        let d = self.known(env, expr)?;
        Ok(self.b.dim_value(d))
    }

    /// A size as an extent.
    pub fn known(&mut self, env: &Env<'p>, expr: &SizeExpr) -> R<Dim> {
        known(&self.size(env, expr)?)
    }

    /// The types of a struct's fields.
    pub fn fields(&mut self, id: StructId, args: &[RArg<'p>]) -> R<Vec<RTy<'p>>> {
        let def = &self.program.structs[id.index()];
        let mut env = Env::empty(self.no_body);
        env.generics.extend(def.generics.iter().copied().zip(args.iter().cloned()));
        def.fields.iter().map(|f| self.ty(&env, &f.ty)).collect()
    }

    /// Leaves in order, depth first. The witnesses of an existential come before its body: its variables, then every
    /// other size in the body that depends on them.
    pub fn leaves(&mut self, ty: &RTy<'p>) -> R<Vec<Leaf>> {
        let mut out = Vec::new();
        self.collect(ty, &mut Vec::new(), &[], false, &mut out)?;
        Ok(out)
    }

    fn collect(
        &mut self,
        ty: &RTy<'p>,
        path: &mut Vec<Rc<str>>,
        front: &[RDim],
        state: bool,
        out: &mut Vec<Leaf>,
    ) -> R<()> {
        let leaf = |dtype: Dtype, dims: &[RDim], path: &[Rc<str>]| Leaf {
            dtype,
            text: false,
            dims: front.iter().chain(dims).cloned().collect(),
            slot: None,
            expr: None,
            active: !state && dtype.is_float(),
            path: path.to_vec(),
        };
        if out.len() > MAX_LEAVES {
            let message = format!("a value of more than {MAX_LEAVES} tensors");
            let d = Diagnostic::error(code::E0603, message, self.b.span, "here");
            return Err(Failure::Program(Box::new(d.help("put what is alike into one array"))));
        }
        match ty {
            RTy::Never | RTy::Fn => {}
            RTy::Tensor(d, dims) => out.push(leaf(*d, dims, path)),
            RTy::Str => out.push(Leaf { text: true, ..leaf(Dtype::I64, &[], path) }),
            RTy::Rng => {
                for name in ["key", "counter"] {
                    path.push(name.into());
                    out.push(leaf(Dtype::I64, &[], path));
                    path.pop();
                }
            }
            RTy::Tuple(items) => {
                for (i, t) in items.iter().enumerate() {
                    path.push(i.to_string().into());
                    self.collect(t, path, front, state, out)?;
                    path.pop();
                }
            }
            RTy::Struct(id, args) => {
                let fields = self.fields(*id, args)?;
                let def = &self.program.structs[id.index()];
                for (f, t) in def.fields.iter().zip(&fields) {
                    path.push(Rc::clone(&f.name));
                    self.collect(t, path, front, state || f.state, out)?;
                    path.pop();
                }
            }
            RTy::Stack(dims, elem) => {
                let front: Vec<RDim> = front.iter().chain(dims).cloned().collect();
                let depth = path.len();
                path.extend(dims.iter().map(|_| Rc::from("*")));
                self.collect(elem, path, &front, state, out)?;
                path.truncate(depth);
            }
            RTy::Exists(slots, body) => {
                let mut inner = Vec::new();
                self.collect(body, path, front, state, &mut inner)?;
                let mut hidden: Vec<(Rc<RExpr>, u32)> = Vec::new();
                for d in inner.iter_mut().flat_map(|l| &mut l.dims) {
                    if let RDim::Expr(e) = d {
                        let known = hidden.iter().find(|(h, _)| h == e).map(|(_, slot)| *slot);
                        let slot = match known {
                            Some(slot) => slot,
                            None => {
                                let slot = self.fresh_slot();
                                hidden.push((Rc::clone(e), slot));
                                slot
                            }
                        };
                        *d = RDim::Slot(slot);
                    }
                }
                let witness = |slot: u32, expr: Option<Rc<RExpr>>| Leaf {
                    dtype: Dtype::I64,
                    text: false,
                    dims: Vec::new(),
                    slot: Some(slot),
                    expr,
                    active: false,
                    path: path.clone(),
                };
                out.extend(slots.iter().map(|slot| witness(*slot, None)));
                out.extend(hidden.iter().map(|(expr, slot)| witness(*slot, Some(Rc::clone(expr)))));
                out.extend(inner);
            }
        }
        Ok(())
    }

    /// The values of the sizes in an existential's body that are no plain variables, in the order of [`Elab::leaves`].
    pub fn hidden_sizes(&mut self, slots: &[u32], body: &RTy<'p>, witnesses: &[ValueId]) -> R<Vec<ValueId>> {
        let exprs = self.hidden_exprs(body)?;
        let mut out = Vec::new();
        for e in exprs {
            let mut vars = Vec::new();
            for (var, d) in &e.vars {
                let d = match d {
                    RDim::Slot(k) => match slots.iter().position(|s| s == k) {
                        Some(i) => RDim::Known(self.b.dim(witnesses[i])),
                        None => d.clone(),
                    },
                    RDim::Known(_) | RDim::Expr(_) => d.clone(),
                };
                vars.push((*var, d));
            }
            out.push(self.compute_value(&e.expr, &vars)?);
        }
        Ok(out)
    }

    fn hidden_exprs(&mut self, body: &RTy<'p>) -> R<Vec<Rc<RExpr>>> {
        let mut inner = Vec::new();
        self.collect(body, &mut Vec::new(), &[], false, &mut inner)?;
        let mut hidden: Vec<Rc<RExpr>> = Vec::new();
        for d in inner.iter().flat_map(|l| &l.dims) {
            if let RDim::Expr(e) = d
                && !hidden.contains(e)
            {
                hidden.push(Rc::clone(e));
            }
        }
        Ok(hidden)
    }

    /// How many witnesses an existential has, hidden ones included.
    pub fn witness_count(&mut self, slots: &[u32], body: &RTy<'p>) -> R<usize> {
        Ok(slots.len() + self.hidden_exprs(body)?.len())
    }
}

fn bound(v: SizeVar) -> R<u32> {
    match v {
        SizeVar::Bound(k) => Ok(k),
        SizeVar::Param(_)
        | SizeVar::Local(_)
        | SizeVar::Const(_)
        | SizeVar::Open(_)
        | SizeVar::Infer(_)
        | SizeVar::Quotient(_) => Err(internal("an existential binds something else than its own variable")),
    }
}

/// `elem` with axes in front.
pub fn stack<'p>(mut dims: Vec<RDim>, elem: RTy<'p>) -> RTy<'p> {
    if dims.is_empty() {
        return elem;
    }
    match elem {
        RTy::Tensor(d, inner) => {
            dims.extend(inner);
            RTy::Tensor(d, dims)
        }
        RTy::Stack(inner, elem) => {
            dims.extend(inner);
            RTy::Stack(dims, elem)
        }
        RTy::Exists(slots, body) => RTy::Exists(slots, Box::new(stack(dims, *body))),
        elem @ (RTy::Never | RTy::Tuple(_) | RTy::Struct(..) | RTy::Str | RTy::Rng | RTy::Fn) => {
            RTy::Stack(dims, Box::new(elem))
        }
    }
}

pub fn known(d: &RDim) -> R<Dim> {
    match d {
        RDim::Known(d) => Ok(*d),
        RDim::Slot(_) | RDim::Expr(_) => Err(internal("a size of an unopened existential")),
    }
}

pub fn known_all(dims: &[RDim]) -> R<Vec<Dim>> {
    dims.iter().map(known).collect()
}

impl RTy<'_> {
    /// Number of axes that indexing works on: those of a tensor or of a stack.
    pub fn axes(&self) -> usize {
        match self {
            RTy::Tensor(_, dims) | RTy::Stack(dims, _) => dims.len(),
            RTy::Exists(_, body) => body.axes(),
            RTy::Never | RTy::Tuple(_) | RTy::Struct(..) | RTy::Str | RTy::Rng | RTy::Fn => 0,
        }
    }
}

//! Function values as functions of the IR, for derivatives: what they capture becomes parameters.

use std::rc::Rc;

use rustc_hash::FxHashMap;
use tdl_ir::{Attrs, Dim, Dtype, FuncId, Op, Type, ValueId};
use tdl_source::Span;

use crate::elab::Elab;
use crate::val::{Argument, Closure, Val, dim_values};
use crate::{R, internal, remap};

/// A function value that has become a function.
pub struct Lifted<'p> {
    pub func: FuncId,
    /// Values for its parameters.
    pub operands: Vec<ValueId>,
    /// Where the leaves of each argument stand among the parameters.
    pub positions: Vec<Vec<usize>>,
    /// The result and the final values of `mut` parameters, in terms of the function's values.
    result: Val<'p>,
    muts: Vec<(usize, Val<'p>)>,
    /// Values that functions in the result have captured; the last results.
    kept: Vec<ValueId>,
    params: Vec<ValueId>,
    /// Sizes the function computes and its result types mention; its first results.
    computed: Vec<ValueId>,
    /// Types of all results, in terms of the function's values.
    types: Vec<Type>,
}

/// The results of a lifted function, here.
pub struct Results<'p> {
    pub result: Val<'p>,
    pub muts: Vec<(usize, Val<'p>)>,
    /// What comes after the function's own results.
    pub extra: Vec<ValueId>,
}

impl<'p> Elab<'p> {
    pub fn lift(&mut self, func: &Rc<Closure<'p>>, args: &[Argument<'p>]) -> R<Lifted<'p>> {
        let types = args.iter().flat_map(|a| a.val.leaves()).map(|v| self.b.ty(v).clone()).collect();
        self.lift_as(func, args, types)
    }

    /// As a function of arguments whose leaves have these types.
    pub fn lift_as(&mut self, func: &Rc<Closure<'p>>, args: &[Argument<'p>], types: Vec<Type>) -> R<Lifted<'p>> {
        let arg_leaves: Vec<ValueId> = args.iter().flat_map(|a| a.val.leaves()).collect();
        // what the closure needs from here: sizes first, then values
        let mut captured = Vec::new();
        let mut constants = FxHashMap::default();
        {
            let mut note = |v: ValueId| {
                if !captured.contains(&v) {
                    captured.push(v);
                }
                if let (Some(c), 0) = (self.b.as_const(v), self.b.ty(v).rank()) {
                    constants.insert(v, (c, self.b.ty(v).clone()));
                }
                v
            };
            remap::closure(func, &mut note);
            // functions among the arguments are constants of the lifted function
            for a in args {
                remap::functions(&a.val, &mut note);
            }
        }
        captured.retain(|v| self.b.as_const(*v).is_none() || self.b.ty(*v).rank() > 0);
        let mut sizes = Vec::new();
        for d in types.iter().flat_map(Type::dims) {
            if let Dim::Val(v) = d
                && !sizes.contains(v)
            {
                sizes.push(*v);
            }
        }
        let is_size = |this: &Self, v: ValueId| *this.b.ty(v) == Type::scalar(Dtype::I64);
        for v in
            dim_values(&self.b, &captured).into_iter().chain(captured.iter().copied().filter(|v| is_size(self, *v)))
        {
            if !sizes.contains(&v) {
                sizes.push(v);
            }
        }
        captured.retain(|v| !sizes.contains(v));
        let describe = |this: &Self, v: &ValueId| (*v, this.b.value(*v).clone());
        let size_data: Vec<_> = sizes.iter().map(|v| describe(self, v)).collect();
        let arg_data: Vec<_> = arg_leaves
            .iter()
            .zip(types)
            .map(|(v, ty)| (*v, tdl_ir::ValueData { ty, ..self.b.value(*v).clone() }))
            .collect();
        let own = self.parameters(func);
        let mut spans = Vec::with_capacity(arg_data.len());
        for (k, a) in args.iter().enumerate() {
            let data = own.get(k).filter(|_| own.len() == args.len()).cloned();
            spans.resize(spans.len() + a.val.leaves().len(), data);
        }
        let captured_data: Vec<_> = captured.iter().map(|v| describe(self, v)).collect();
        let mut operands = sizes;
        let first = operands.len();
        operands.extend(&arg_leaves);
        operands.extend(&captured);
        let mut positions = Vec::with_capacity(args.len());
        let mut at = first;
        for a in args {
            let n = a.val.leaves().len();
            positions.push((at..at + n).collect());
            at += n;
        }
        let name = self.closure_name(func);
        let mut lifted = Lifted {
            func: FuncId(0),
            operands,
            positions,
            result: Val::Never,
            muts: Vec::new(),
            kept: Vec::new(),
            params: Vec::new(),
            computed: Vec::new(),
            types: Vec::new(),
        };
        let span = self.b.span;
        let id = self.function(&name, span, Attrs::default(), |this| {
            let mut map: FxHashMap<ValueId, ValueId> = FxHashMap::default();
            let mut param = |this: &mut Self, map: &FxHashMap<ValueId, ValueId>, data: &tdl_ir::ValueData| {
                let ty = remap::ty(&data.ty, &mut |v| map.get(&v).copied().unwrap_or(v));
                let p = this.b.param(ty);
                this.b.copy_name(data, p);
                lifted.params.push(p);
                p
            };
            for (v, data) in &size_data {
                let p = param(this, &map, data);
                map.insert(*v, p);
            }
            let mut arg_params = Vec::with_capacity(arg_data.len());
            for ((_, data), own) in arg_data.iter().zip(&spans) {
                let at = this.b.span;
                if let Some((_, span)) = own {
                    this.b.span = *span;
                }
                let p = param(this, &map, data);
                if let Some((name, _)) = own {
                    this.b.name_value(p, name);
                }
                this.b.span = at;
                arg_params.push(p);
            }
            for (v, data) in &captured_data {
                let p = param(this, &map, data);
                map.insert(*v, p);
            }
            let mut keys: Vec<_> = constants.iter().collect();
            keys.sort_by_key(|(v, _)| **v);
            for (v, (c, ty)) in keys {
                let k = this.b.constant(*c, ty.dtype().unwrap_or(Dtype::I64));
                map.insert(*v, k);
            }
            let mut lost = false;
            let mut here = |v: ValueId| match map.get(&v) {
                Some(w) => *w,
                None => {
                    lost = true;
                    v
                }
            };
            let func = Rc::new(remap::closure(func, &mut here));
            let mut arg_params = arg_params.into_iter();
            let mut inner = Vec::with_capacity(args.len());
            for a in args {
                let val = remap::functions(&a.val.rebuild(&mut arg_params)?, &mut here);
                inner.push(Argument { val, active: Rc::clone(&a.active) });
            }
            if lost {
                return Err(internal("a captured value is lost"));
            }
            let (result, muts) = this.apply(&func, inner)?;
            let mut results = result.leaves();
            results.extend(muts.iter().flat_map(|(_, v)| v.leaves()));
            // what functions among the results have captured comes out too
            remap::functions(&result, &mut |v| {
                if !lifted.params.contains(&v) && !lifted.kept.contains(&v) {
                    lifted.kept.push(v);
                }
                v
            });
            results.extend(&lifted.kept);
            let computed: Vec<ValueId> =
                dim_values(&this.b, &results).into_iter().filter(|v| !lifted.params.contains(v)).collect();
            let mut all = computed.clone();
            all.extend(results);
            lifted.types = all.iter().map(|v| this.b.ty(*v).clone()).collect();
            lifted.computed = computed;
            lifted.result = result;
            lifted.muts = muts;
            Ok(all)
        })?;
        lifted.func = id;
        Ok(lifted)
    }

    /// Names of a function's parameters and where they stand in the source.
    fn parameters(&self, c: &Closure<'p>) -> Vec<(Rc<str>, Span)> {
        let of =
            |f: &tdl_types::thir::FnId| self.program.fns[f.index()].params.iter().map(|p| (Rc::clone(&p.name), p.span));
        match c {
            Closure::Lambda { lambda, env } => {
                let locals = lambda.params.iter().map(|l| &env.body.locals[l.index()]);
                locals.map(|l| (Rc::clone(&l.name), l.span)).collect()
            }
            Closure::Fn { func, .. } => of(func).collect(),
            Closure::Bound { func, .. } => of(func).skip(1).collect(),
            Closure::Derivative { func, .. } | Closure::Vmap { func, .. } => self.parameters(func),
            Closure::Builtin { .. } | Closure::Pull(_) => Vec::new(),
        }
    }

    fn closure_name(&self, c: &Closure<'p>) -> String {
        let of = |f: &tdl_types::thir::FnId| self.program.fns[f.index()].name.to_string();
        match c {
            Closure::Lambda { .. } => "lambda".into(),
            Closure::Fn { func, .. } | Closure::Bound { func, .. } => format!("{}.value", of(func)),
            Closure::Builtin { .. } => "builtin".into(),
            Closure::Derivative { func, .. } => format!("{}.grad", self.closure_name(func).trim_end_matches(".value")),
            Closure::Vmap { func, .. } => format!("{}.lanes", self.closure_name(func).trim_end_matches(".value")),
            Closure::Pull(_) => "pull".into(),
        }
    }

    /// Types of the function's results here; `ids` gives the k-th result, for sizes that the function computes.
    pub fn result_types(&self, f: &Lifted<'p>, ids: impl Fn(usize) -> ValueId) -> Vec<Type> {
        let dim = |d: Dim| match d {
            Dim::Const(c) => Dim::Const(c),
            Dim::Val(v) => match f.computed.iter().position(|c| *c == v) {
                Some(k) => Dim::Val(ids(k)),
                None => match f.params.iter().position(|p| *p == v) {
                    Some(k) => self.b.dim(f.operands[k]),
                    None => Dim::Val(v),
                },
            },
        };
        f.types.iter().map(|t| t.map_dims(dim)).collect()
    }

    /// Applies `op`, which gives the function's results and then values of the types `extra`.
    pub fn emit(
        &mut self,
        op: Op,
        f: &Lifted<'p>,
        more: Vec<ValueId>,
        extra: impl FnOnce(&[Type]) -> Vec<Type>,
    ) -> R<Results<'p>> {
        let first = self.b.next_value(0);
        let mut types = self.result_types(f, |k| ValueId(first.0 + k as u32));
        let own = types.len();
        let extra = extra(&types);
        types.extend(extra);
        let mut operands = f.operands.clone();
        operands.extend(more);
        let results = self.b.inst(op, operands, types, Vec::new());
        let mut leaves = results[f.computed.len()..own].iter().copied();
        let result = f.result.rebuild(&mut leaves)?;
        let mut muts = Vec::with_capacity(f.muts.len());
        for (i, v) in &f.muts {
            muts.push((*i, v.rebuild(&mut leaves)?));
        }
        let mut names: FxHashMap<ValueId, ValueId> = f.params.iter().copied().zip(f.operands.iter().copied()).collect();
        names.extend(f.kept.iter().copied().zip(leaves));
        let result = remap::functions(&result, &mut |v| names.get(&v).copied().unwrap_or(v));
        Ok(Results { result, muts, extra: results[own..].to_vec() })
    }

    /// Applies a `vmap` of the function on `n` lanes: its results have the lanes in front.
    pub fn emit_lanes(&mut self, op: Op, f: &Lifted<'p>, n: ValueId, lanes: Dim) -> R<Val<'p>> {
        let first = self.b.next_value(0);
        let types = self.result_types(f, |k| ValueId(first.0 + k as u32)).into_iter().enumerate();
        let types = types.map(|(k, ty)| match ty {
            Type::Tensor { dtype, dims } if k >= f.computed.len() => {
                Type::Tensor { dtype, dims: std::iter::once(lanes).chain(dims).collect() }
            }
            ty @ (Type::Tensor { .. } | Type::Str | Type::Stack { .. }) => ty,
        });
        let types = types.collect();
        let mut operands = vec![n];
        operands.extend(&f.operands);
        let results = self.b.inst(op, operands, types, Vec::new());
        f.result.rebuild(&mut results[f.computed.len()..].iter().copied())
    }

    /// Just calls it; also gives the types of all results in terms of values here.
    pub fn emit_call(&mut self, f: &Lifted<'p>) -> R<(Results<'p>, Vec<Type>)> {
        let first = self.b.next_value(0);
        let ids = move |k: usize| ValueId(first.0 + k as u32);
        let types = self.result_types(f, ids);
        let results = self.emit(Op::Call { func: f.func }, f, Vec::new(), |_| Vec::new())?;
        Ok((results, types))
    }

    /// The types of all results, computed by a call if some sizes are known only inside.
    pub fn known_types(&mut self, f: &Lifted<'p>) -> R<Vec<Type>> {
        if f.computed.is_empty() {
            return Ok(self.result_types(f, |_| ValueId(0)));
        }
        Ok(self.emit_call(f)?.1)
    }
}

impl<'p> Lifted<'p> {
    /// How many of the first results are sizes that the types of the others mention.
    pub fn computed_sizes(&self) -> usize {
        self.computed.len()
    }

    /// Indices among the parameters of the active leaves of these arguments.
    pub fn active_params(&self, args: &[Argument<'p>], wrt: &[usize]) -> Vec<usize> {
        let leaves = |w: &usize| {
            let active = args.get(*w).map_or(&[][..], |a| &a.active);
            let positions = self.positions.get(*w).map_or(&[][..], |p| p);
            positions.iter().zip(active).filter(|(_, a)| **a).map(|(p, _)| *p).collect::<Vec<_>>()
        };
        wrt.iter().flat_map(leaves).collect()
    }
}

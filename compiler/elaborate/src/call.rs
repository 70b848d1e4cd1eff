//! Calls: of functions, which become functions of the IR, and of function values, which are elaborated in place.

use std::rc::Rc;

use tdl_ir::{Dim, Inst, ValueId};
use tdl_source::Span;
use tdl_types::thir::{
    Arg, Callee, Dim as TDim, Elem, Expr, FnId, FnTy, GenericArg, GenericId, Method, SizeVar, Spread, Ty,
};

use crate::elab::Elab;
use crate::env::Env;
use crate::expr::{closure, has_function};
use crate::mentions::Mentions;
use crate::rty::{RArg, RDim, RTy};
use crate::subscript::Resolved;
use crate::val::{Argument, Closure, Val};
use crate::{R, internal, remap};

/// The result of a call and the final values of `mut` parameters, by position.
pub type Outcome<'p> = (Val<'p>, Vec<(usize, Val<'p>)>);

impl<'p> Elab<'p> {
    /// A call of a function item. Arguments first: they may open sizes that the generics mention.
    pub fn call(
        &mut self,
        env: &mut Env<'p>,
        callee: &'p Callee,
        generics: &[GenericArg],
        args: &'p [Arg],
    ) -> R<Val<'p>> {
        let mut given: Vec<Option<Val<'p>>> = vec![None; args.len()];
        let mut places: Vec<(usize, Resolved)> = Vec::new();
        let start = |a: &Arg| match a {
            Arg::Value(e) => Some(e.span),
            Arg::Place(p) => Some(p.span),
            Arg::Default => None,
        };
        for i in written(args.iter().map(start)) {
            match &args[i] {
                Arg::Value(e) => given[i] = Some(self.expr(env, e)?),
                Arg::Place(p) => places.push((i, self.resolve(env, p)?)),
                Arg::Default => {}
            }
        }
        for v in given.iter_mut().flatten() {
            if let Val::Fn(f) = v {
                *f = seen_at(f, env);
            }
        }
        // another argument may change a place, as in `m.step(m.step(x))`
        for (i, at) in &places {
            given[*i] = Some(self.read_place(env, at)?);
        }
        let (id, mut all) = match callee {
            Callee::Fn(id) => (*id, Vec::new()),
            Callee::Method(m) => self.method(env, m)?,
        };
        let def = &self.program.fns[id.index()];
        let own = def.generics.get(all.len()..).unwrap_or_default();
        if generics.len() < own.len() {
            let mut types = Vec::with_capacity(args.len());
            for arg in args {
                types.push(match arg {
                    Arg::Value(e) => Some(self.ty(env, &e.ty)?),
                    Arg::Place(p) => Some(self.ty(env, &p.ty)?),
                    Arg::Default => None,
                });
            }
            all.extend(self.inferred_generics(id, all.len(), &types)?);
        } else {
            all.extend(self.generic_args(env, generics)?);
        }
        given.resize(def.params.len().max(given.len()), None);
        let mut values = Vec::with_capacity(given.len());
        for (i, v) in given.into_iter().enumerate() {
            values.push(match v {
                Some(v) => v,
                None => self.default(id, i, &all)?,
            });
        }
        let (result, muts) = self.invoke(id, all, values)?;
        self.write_back(env, places, muts)?;
        Ok(result)
    }

    fn write_back(&mut self, env: &mut Env<'p>, places: Vec<(usize, Resolved)>, muts: Vec<(usize, Val<'p>)>) -> R<()> {
        for (i, at) in places {
            if let Some((_, v)) = muts.iter().find(|(k, _)| *k == i) {
                self.write_place(env, &at, v.clone(), tdl_ir::Update::Set)?;
            }
        }
        Ok(())
    }

    /// The default of a parameter, in terms of the call's generics.
    fn default(&mut self, id: FnId, i: usize, generics: &[RArg<'p>]) -> R<Val<'p>> {
        let def = &self.program.fns[id.index()];
        let Some(body) = def.params.get(i).and_then(|p| p.default.as_deref()) else {
            return Err(internal(format!("`{}` has no default for argument {}", def.name, i + 1)));
        };
        let mut env = Env::empty(body);
        env.generics.extend(def.generics.iter().copied().zip(generics.iter().cloned()));
        self.expr(&mut env, &body.value)
    }

    /// Finds the method of the struct that a type parameter stands for, and the impl's generics.
    pub fn method(&mut self, env: &Env<'p>, m: &Method) -> R<(FnId, Vec<RArg<'p>>)> {
        let name = &self.program.interfaces[m.interface.index()].methods[m.index].name;
        match self.ty(env, &m.receiver)? {
            RTy::Struct(id, args) => {
                let def = &self.program.structs[id.index()];
                match def.methods.iter().find(|(n, _)| n == name) {
                    Some((_, f)) => Ok((*f, args)),
                    None => Err(internal(format!("`{}` has no method `{name}`", def.name))),
                }
            }
            RTy::Never
            | RTy::Tensor(..)
            | RTy::Tuple(_)
            | RTy::Stack(..)
            | RTy::Str
            | RTy::Rng
            | RTy::Fn
            | RTy::Exists(..) => Err(internal(format!("`{name}` is asked of what is no struct"))),
        }
    }

    pub fn bound(
        &mut self,
        env: &mut Env<'p>,
        e: &'p Expr,
        method: &'p Method,
        own: &[GenericArg],
        receiver: &'p Expr,
    ) -> R<Val<'p>> {
        let (func, generics) = self.method(env, method)?;
        let r = self.argument(env, receiver)?;
        let Ty::Fn(sig) = &e.ty else { return Err(internal("a method as a value has no function type")) };
        Ok(closure(Closure::Bound {
            func,
            generics,
            own: own.to_vec(),
            env: Rc::new(Mentions::of_generics(env.body, own, Some(sig)).part_of(env)),
            sig: Rc::clone(sig),
            receiver: r.val,
            receiver_active: r.active,
        }))
    }

    /// Calls a function with all its arguments.
    pub fn invoke(&mut self, id: FnId, generics: Vec<RArg<'p>>, args: Vec<Val<'p>>) -> R<Outcome<'p>> {
        let program = self.program;
        let def = &program.fns[id.index()];
        let Some(body) = &def.body else { return Err(internal(format!("`{}` has no body", def.name))) };
        if generics.len() != def.generics.len() || args.len() != def.params.len() {
            return Err(internal(format!("`{}` is called with a wrong number of arguments", def.name)));
        }
        let mut env = Env::empty(body);
        env.generics.extend(def.generics.iter().copied().zip(generics.iter().cloned()));
        for (p, v) in def.params.iter().zip(&args) {
            env.set(p.local, v.clone());
        }
        let inline = has_function(&generics)
            || args.iter().any(Val::has_function)
            || contains_function(&def.result)
            || def.params.iter().any(|p| contains_function(&p.ty));
        if inline {
            let ty = if contains_function(&def.result) { RTy::Never } else { self.ty(&env, &def.result)? };
            let top = std::mem::replace(&mut self.at_top_of_main, false);
            let passed_at = self.passed_at;
            self.passed_at = passed_at.or(Some(self.b.span));
            let (call, start) = (self.b.span, self.b.position());
            let result = self.body(&mut env, &body.value, &ty)?;
            self.passed_at = passed_at;
            self.at_top_of_main = top;
            let muts = self.muts(&env, id)?;
            if call.file != def.span.file {
                self.calls.push((call, 0));
                let via = self.calls.len() as u32;
                self.b.since(start).iter_mut().for_each(|i| seen_from(i, call, via, &mut self.calls));
            }
            return Ok((result, muts));
        }
        let func = self.instance(id, &generics)?;
        let mut sizes = Vec::new();
        for g in &generics {
            match g {
                RArg::Size(d) => sizes.push(crate::rty::known(d)?),
                RArg::Shape(dims) => sizes.extend(crate::rty::known_all(dims)?),
                RArg::Dtype(_) | RArg::Ty(_) | RArg::Fn(_) => {
                    remap::rarg(g, &mut |v| {
                        sizes.push(Dim::Val(v));
                        v
                    });
                }
            }
        }
        let mut operands: Vec<ValueId> = sizes.into_iter().map(|d| self.b.dim_value(d)).collect();
        operands.extend(crate::parameter_order(def).into_iter().flat_map(|i| args[i].leaves()));
        // result types in terms of the values here
        let result_ty = self.ty(&env, &def.result)?;
        let mut leaves = self.leaves(&result_ty)?;
        let mut mut_tys = Vec::new();
        for (i, p) in def.params.iter().enumerate().filter(|(_, p)| p.mutable) {
            let t = self.ty(&env, &p.ty)?;
            leaves.extend(self.leaves(&t)?);
            mut_tys.push((i, t));
        }
        let first = self.b.next_value(0);
        let types = self.types(&leaves, |k| ValueId(first.0 + k as u32))?;
        let mut results = self.b.call(func, operands, types).into_iter();
        let result = self.unflatten(&result_ty, &mut results)?;
        let mut muts = Vec::new();
        for (i, t) in mut_tys {
            muts.push((i, self.unflatten(&t, &mut results)?));
        }
        Ok((result, muts))
    }

    pub fn muts(&mut self, env: &Env<'p>, id: FnId) -> R<Vec<(usize, Val<'p>)>> {
        let def = &self.program.fns[id.index()];
        let mut out = Vec::new();
        for (i, p) in def.params.iter().enumerate().filter(|(_, p)| p.mutable) {
            let v = env.local(p.local).cloned().ok_or_else(|| internal("a `mut` parameter is gone"))?;
            out.push((i, v));
        }
        Ok(out)
    }

    // --- function values

    pub fn call_value(&mut self, env: &mut Env<'p>, callee: &'p Expr, args: &'p [Arg]) -> R<Val<'p>> {
        let func = self.expr(env, callee)?.function()?;
        let mut values = Vec::with_capacity(args.len());
        let mut places = Vec::new();
        for (i, arg) in args.iter().enumerate() {
            match arg {
                Arg::Value(e) => values.push(self.argument(env, e)?),
                Arg::Place(p) => {
                    let at = self.resolve(env, p)?;
                    let val = self.read_place(env, &at)?;
                    let active = self.active(env, &p.ty)?;
                    places.push((i, at));
                    values.push(Argument { val, active });
                }
                Arg::Default => return Err(internal("a function value has no defaults")),
            }
        }
        // as they are now: another argument may have changed them
        for (i, at) in &places {
            values[*i].val = self.read_place(env, at)?;
        }
        let (result, muts) = self.apply(&seen_at(&func, env), values)?;
        self.write_back(env, places, muts)?;
        Ok(result)
    }

    /// Applies a function value.
    pub fn apply(&mut self, func: &Rc<Closure<'p>>, args: Vec<Argument<'p>>) -> R<Outcome<'p>> {
        match &**func {
            Closure::Lambda { lambda, env } => {
                let mut inner = (**env).clone();
                let params: Vec<&Ty> = lambda.params.iter().map(|l| &env.body.locals[l.index()].ty).collect();
                self.bind_generics(&mut inner, &lambda.generics, &params, &args)?;
                if lambda.params.len() != args.len() {
                    return Err(internal("a lambda is called with a wrong number of arguments"));
                }
                for (l, a) in lambda.params.iter().zip(args) {
                    self.name_local(&inner, *l, &a.val);
                    inner.set(*l, a.val);
                }
                let ty =
                    if contains_function(&lambda.body.ty) { RTy::Never } else { self.ty(&inner, &lambda.body.ty)? };
                let top = std::mem::replace(&mut self.at_top_of_main, false);
                let result = self.body(&mut inner, &lambda.body, &ty)?;
                self.at_top_of_main = top;
                let mut muts = Vec::new();
                for (i, l) in lambda.params.iter().enumerate().filter(|(i, _)| lambda.param_mutable[*i]) {
                    if let Some(v) = inner.local(*l) {
                        muts.push((i, v.clone()));
                    }
                }
                Ok((result, muts))
            }
            Closure::Fn { func, generics, env, sig } => {
                let mut inner = (**env).clone();
                if let Some(sig) = sig {
                    self.bind_sig(&mut inner, sig, &args)?;
                }
                let generics = self.generic_args(&inner, generics)?;
                self.invoke_padded(*func, generics, args.into_iter().map(|a| a.val).collect())
            }
            Closure::Builtin { op, env, sig } => {
                let mut inner = (**env).clone();
                self.bind_sig(&mut inner, sig, &args)?;
                let tys: Vec<&Ty> = sig.params.iter().map(|p| &p.ty).collect();
                let result = self.builtin(&inner, op, args, &tys, &sig.result)?;
                Ok((result, Vec::new()))
            }
            Closure::Bound { func, generics, own, env, sig, receiver, .. } => {
                let mut inner = (**env).clone();
                self.bind_sig(&mut inner, sig, &args)?;
                let mut all = generics.clone();
                all.extend(self.generic_args(&inner, own)?);
                let mut values = vec![receiver.clone()];
                values.extend(args.into_iter().map(|a| a.val));
                let (result, muts) = self.invoke_padded(*func, all, values)?;
                // positions count without the receiver
                Ok((result, muts.into_iter().filter_map(|(i, v)| Some((i.checked_sub(1)?, v))).collect()))
            }
            Closure::Derivative { kind, func, wrt, wrt_tuple, aux, at } => {
                let here = at.unwrap_or(self.b.span);
                let outer = std::mem::replace(&mut self.b.span, here);
                let result = self.derivative(*kind, func, wrt, *wrt_tuple, *aux, args);
                self.b.span = outer;
                result
            }
            Closure::Vmap { func, axes, out } => Ok((self.vmap(func, axes, *out, args)?, Vec::new())),
            Closure::Pull(pull) => Ok((self.pull(pull, args)?, Vec::new())),
        }
    }

    fn invoke_padded(&mut self, func: FnId, generics: Vec<RArg<'p>>, mut args: Vec<Val<'p>>) -> R<Outcome<'p>> {
        for i in args.len()..self.program.fns[func.index()].params.len() {
            args.push(self.default(func, i, &generics)?);
        }
        self.invoke(func, generics, args)
    }

    // --- generics of polymorphic function values, from the arguments

    fn bind_sig(&mut self, env: &mut Env<'p>, sig: &FnTy, args: &[Argument<'p>]) -> R<()> {
        let params: Vec<&Ty> = sig.params.iter().map(|p| &p.ty).collect();
        self.bind_generics(env, &sig.generics, &params, args)
    }

    pub fn bind_generics(
        &mut self,
        env: &mut Env<'p>,
        generics: &[GenericId],
        params: &[&Ty],
        args: &[Argument<'p>],
    ) -> R<()> {
        if generics.is_empty() {
            return Ok(());
        }
        for g in generics {
            env.generics.remove(g);
        }
        for (ty, arg) in params.iter().zip(args) {
            self.match_ty(env, generics, ty, &arg.val, 0)?;
        }
        Ok(())
    }

    /// Binds what `ty` mentions of `generics` by what `val` is; `front` axes of its leaves belong to a stack.
    fn match_ty(&mut self, env: &mut Env<'p>, generics: &[GenericId], ty: &Ty, val: &Val<'p>, front: usize) -> R<()> {
        let mut bind = |g: GenericId, a: RArg<'p>| {
            if generics.contains(&g) {
                env.generics.entry(g).or_insert(a);
            }
        };
        match (ty, val) {
            (Ty::Tensor(elem, shape), Val::Leaf(v)) => {
                if let (Elem::Param(g), Some(d)) = (elem, self.b.ty(*v).dtype()) {
                    bind(*g, RArg::Dtype(d));
                }
                let dims = self.b.dims(*v);
                match_shape(shape, dims.get(front..).unwrap_or_default(), &mut bind);
            }
            (Ty::Tuple(tys), Val::Tree(vals)) => {
                for (t, v) in tys.iter().zip(vals) {
                    self.match_ty(env, generics, t, v, front)?;
                }
            }
            (Ty::Stack(shape, elem), val) => {
                let Some(first) = val.leaves().first().copied() else { return Ok(()) };
                let dims = self.b.dims(first);
                let own = dims.len().min(front + shape.len());
                match_shape(shape, &dims[front..own], &mut bind);
                self.match_ty(env, generics, elem, val, own)?;
            }
            (Ty::Struct(id, args), Val::Tree(vals)) => {
                // the struct's own parameters from the fields, then what they are given here
                let program = self.program;
                let def = &program.structs[id.index()];
                let mut inner = Env::empty(self.no_body);
                for (f, v) in def.fields.iter().zip(vals) {
                    self.match_ty(&mut inner, &def.generics, &f.ty, v, front)?;
                }
                for (g, a) in def.generics.iter().zip(args) {
                    let Some(found) = inner.generics.remove(g) else { continue };
                    match a {
                        GenericArg::Size(s) => {
                            if let Some(SizeVar::Param(g)) = s.as_var() {
                                bind(g, found);
                            }
                        }
                        GenericArg::Dtype(Elem::Param(g)) | GenericArg::Ty(Ty::Param(g)) => bind(*g, found),
                        GenericArg::Shape(s) => {
                            if let ([TDim::Spread(Spread::Param(g))], RArg::Shape(_)) = (s.as_slice(), &found) {
                                bind(*g, found);
                            }
                        }
                        GenericArg::Dtype(Elem::Dtype(_) | Elem::Infer(_)) | GenericArg::Ty(_) | GenericArg::Fn(_) => {}
                    }
                }
            }
            (Ty::Exists(_, t), Val::Pack(_, v)) => self.match_ty(env, generics, t, v, front)?,
            (Ty::Param(g), Val::Leaf(v)) => {
                if let Some(d) = self.b.ty(*v).dtype() {
                    let dims = self.b.dims(*v).into_iter().skip(front).map(RDim::Known).collect();
                    bind(*g, RArg::Ty(RTy::Tensor(d, dims)));
                }
            }
            (
                Ty::Error
                | Ty::Never
                | Ty::Tensor(..)
                | Ty::Tuple(_)
                | Ty::Struct(..)
                | Ty::Param(_)
                | Ty::Fn(_)
                | Ty::Str
                | Ty::Rng
                | Ty::Exists(..)
                | Ty::Infer(_),
                _,
            ) => {}
        }
        Ok(())
    }
}

fn match_shape<'p>(shape: &[TDim], dims: &[Dim], bind: &mut impl FnMut(GenericId, RArg<'p>)) {
    let fixed = shape.iter().filter(|d| matches!(d, TDim::Size(_))).count();
    let mut dims = dims.iter().copied();
    for d in shape {
        match d {
            TDim::Size(s) => {
                if let (Some(SizeVar::Param(g)), Some(d)) = (s.as_var(), dims.next()) {
                    bind(g, RArg::Size(RDim::Known(d)));
                }
            }
            TDim::Spread(Spread::Param(g)) => {
                let n = dims.len().saturating_sub(fixed);
                bind(*g, RArg::Shape(dims.by_ref().take(n).map(RDim::Known).collect()));
            }
            TDim::Spread(Spread::Infer(_)) => {}
        }
    }
}

/// Whether values of the type hold functions.
pub fn contains_function(ty: &Ty) -> bool {
    match ty {
        Ty::Fn(_) => true,
        Ty::Tuple(items) => items.iter().any(contains_function),
        Ty::Struct(_, args) => args.iter().any(|a| match a {
            GenericArg::Fn(_) => true,
            GenericArg::Ty(t) => contains_function(t),
            GenericArg::Size(_) | GenericArg::Shape(_) | GenericArg::Dtype(_) => false,
        }),
        Ty::Stack(_, t) | Ty::Exists(_, t) => contains_function(t),
        Ty::Error | Ty::Never | Ty::Tensor(..) | Ty::Param(_) | Ty::Str | Ty::Rng | Ty::Infer(_) => false,
    }
}

/// The function value where its arguments are known: the types of a lambda's parameters may mention sizes that were opened, or
/// numbers that were bound, after it was made, as in `evens(x) |> |y| len(y)`.
pub fn seen_at<'p>(func: &Rc<Closure<'p>>, env: &Env<'p>) -> Rc<Closure<'p>> {
    match &**func {
        Closure::Lambda { lambda, env: own } if std::ptr::eq(own.body, env.body) => {
            let mut found = Vec::new();
            for l in &lambda.params {
                own.body.locals[l.index()].ty.visit_sizes(&mut |v| found.push(v));
            }
            let mut grown: Option<Env<'p>> = None;
            for v in found {
                match v {
                    SizeVar::Open(id) if !own.opens.contains_key(&id) => {
                        if let Some(d) = env.opens.get(&id) {
                            grown.get_or_insert_with(|| (**own).clone()).opens.insert(id, *d);
                        }
                    }
                    SizeVar::Local(id) if own.local(id).is_none() => {
                        if let Some(v) = env.local(id) {
                            grown.get_or_insert_with(|| (**own).clone()).set(id, v.clone());
                        }
                    }
                    SizeVar::Open(_)
                    | SizeVar::Local(_)
                    | SizeVar::Param(_)
                    | SizeVar::Const(_)
                    | SizeVar::Bound(_)
                    | SizeVar::Infer(_)
                    | SizeVar::Quotient(_) => {}
                }
            }
            match grown {
                Some(env) => Rc::new(Closure::Lambda { lambda, env: Rc::new(env) }),
                None => Rc::clone(func),
            }
        }
        Closure::Derivative { kind, func: inner, wrt, wrt_tuple, aux, at } => Rc::new(Closure::Derivative {
            kind: *kind,
            func: seen_at(inner, env),
            wrt: wrt.clone(),
            wrt_tuple: *wrt_tuple,
            aux: *aux,
            at: *at,
        }),
        Closure::Vmap { func: inner, axes, out } => {
            Rc::new(Closure::Vmap { func: seen_at(inner, env), axes: axes.clone(), out: *out })
        }
        Closure::Lambda { .. }
        | Closure::Fn { .. }
        | Closure::Builtin { .. }
        | Closure::Bound { .. }
        | Closure::Pull(_) => Rc::clone(func),
    }
}

/// The numbers of what has these places, in the order in which it is written; what has none comes first.
pub fn written(spans: impl Iterator<Item = Option<Span>>) -> Vec<usize> {
    let spans: Vec<Option<Span>> = spans.collect();
    let mut order: Vec<usize> = (0..spans.len()).collect();
    let mut files = spans.iter().flatten().map(|s| s.file);
    if files.next().is_some_and(|first| files.all(|f| f == first)) {
        order.sort_by_key(|i| spans[*i].map(|s| s.start));
    }
    order
}

/// Says of what was made for a call in place, that this is the call; or of the calls in it, that this one is around them.
fn seen_from(i: &mut Inst, call: Span, via: u32, calls: &mut [(Span, u32)]) {
    if i.span.via == 0 {
        if i.span.file != call.file {
            i.span.via = via;
        }
    } else {
        let mut outermost = i.span.via;
        while let Some((_, around)) = calls.get(outermost as usize - 1).filter(|(_, around)| *around != 0) {
            outermost = *around;
        }
        if outermost != via {
            calls[outermost as usize - 1].1 = via;
        }
    }
    i.regions.iter_mut().flat_map(|r| &mut r.insts).for_each(|i| seen_from(i, call, via, calls));
}

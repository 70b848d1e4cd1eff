//! Values, types and closures carried over into another function, or to other extents.

use std::rc::Rc;

use tdl_ir::{Dim, Type, ValueId};

use crate::env::Env;
use crate::rty::{RArg, RDim, RExpr, RTy};
use crate::val::{Argument, Closure, Pull, Val};

/// What each value becomes.
pub type Map<'a> = &'a mut dyn FnMut(ValueId) -> ValueId;

pub fn dim(d: Dim, f: Map<'_>) -> Dim {
    match d {
        Dim::Const(c) => Dim::Const(c),
        Dim::Val(v) => Dim::Val(f(v)),
    }
}

fn rdim(d: &RDim, f: Map<'_>) -> RDim {
    match d {
        RDim::Known(d) => RDim::Known(dim(*d, f)),
        RDim::Slot(k) => RDim::Slot(*k),
        RDim::Expr(e) => {
            let vars = e.vars.iter().map(|(v, d)| (*v, rdim(d, f))).collect();
            RDim::Expr(Rc::new(RExpr { expr: e.expr.clone(), vars }))
        }
    }
}

fn rdims(dims: &[RDim], f: Map<'_>) -> Vec<RDim> {
    dims.iter().map(|d| rdim(d, f)).collect()
}

pub fn rty<'p>(t: &RTy<'p>, f: Map<'_>) -> RTy<'p> {
    match t {
        RTy::Never => RTy::Never,
        RTy::Tensor(d, dims) => RTy::Tensor(*d, rdims(dims, f)),
        RTy::Tuple(items) => RTy::Tuple(items.iter().map(|t| rty(t, f)).collect()),
        RTy::Struct(id, args) => RTy::Struct(*id, args.iter().map(|a| rarg(a, f)).collect()),
        RTy::Stack(dims, elem) => {
            let dims = rdims(dims, f);
            RTy::Stack(dims, Box::new(rty(elem, f)))
        }
        RTy::Str => RTy::Str,
        RTy::Rng => RTy::Rng,
        RTy::Fn => RTy::Fn,
        RTy::Exists(slots, body) => RTy::Exists(slots.clone(), Box::new(rty(body, f))),
    }
}

pub fn rarg<'p>(a: &RArg<'p>, f: Map<'_>) -> RArg<'p> {
    match a {
        RArg::Size(d) => RArg::Size(rdim(d, f)),
        RArg::Shape(dims) => RArg::Shape(rdims(dims, f)),
        RArg::Dtype(d) => RArg::Dtype(*d),
        RArg::Ty(t) => RArg::Ty(rty(t, f)),
        RArg::Fn(c) => RArg::Fn(Rc::new(closure(c, f))),
    }
}

pub fn val<'p>(v: &Val<'p>, f: Map<'_>) -> Val<'p> {
    match v {
        Val::Leaf(v) => Val::Leaf(f(*v)),
        Val::Tree(items) => Val::Tree(items.iter().map(|v| val(v, f)).collect()),
        Val::Pack(slots, body) => {
            let slots = slots.iter().map(|v| f(*v)).collect();
            Val::Pack(slots, Box::new(val(body, f)))
        }
        Val::Fn(c) => Val::Fn(Rc::new(closure(c, f))),
        Val::Never => Val::Never,
    }
}

/// The functions in a value carried over, its leaves as they are.
pub fn functions<'p>(v: &Val<'p>, f: Map<'_>) -> Val<'p> {
    match v {
        Val::Fn(c) => Val::Fn(Rc::new(closure(c, f))),
        Val::Tree(items) => Val::Tree(items.iter().map(|v| functions(v, f)).collect()),
        Val::Pack(slots, body) => Val::Pack(slots.clone(), Box::new(functions(body, f))),
        Val::Leaf(_) | Val::Never => v.clone(),
    }
}

pub fn env<'p>(e: &Env<'p>, f: Map<'_>) -> Env<'p> {
    let mut out = Env::empty(e.body);
    // in a fixed order: parameters of lifted functions follow it
    let mut slots: Vec<_> = e.vars.iter().collect();
    slots.sort_by_key(|(s, _)| **s);
    for (slot, v) in slots {
        out.vars.insert(*slot, val(v, f));
    }
    let mut opens: Vec<_> = e.opens.iter().collect();
    opens.sort_by_key(|(o, _)| **o);
    for (open, d) in opens {
        out.opens.insert(*open, dim(*d, f));
    }
    let mut generics: Vec<_> = e.generics.iter().collect();
    generics.sort_by_key(|(g, _)| **g);
    for (g, a) in generics {
        out.generics.insert(*g, rarg(a, f));
    }
    out.depth = e.depth;
    out
}

pub fn closure<'p>(c: &Closure<'p>, f: Map<'_>) -> Closure<'p> {
    match c {
        Closure::Lambda { lambda, env: e } => Closure::Lambda { lambda, env: Rc::new(env(e, f)) },
        Closure::Fn { func, generics, env: e, sig } => {
            Closure::Fn { func: *func, generics: generics.clone(), env: Rc::new(env(e, f)), sig: sig.clone() }
        }
        Closure::Builtin { op, env: e, sig } => {
            Closure::Builtin { op: Rc::clone(op), env: Rc::new(env(e, f)), sig: Rc::clone(sig) }
        }
        Closure::Bound { func, generics, own, env: e, sig, receiver, receiver_active } => Closure::Bound {
            func: *func,
            generics: generics.iter().map(|a| rarg(a, f)).collect(),
            own: own.clone(),
            env: Rc::new(env(e, f)),
            sig: Rc::clone(sig),
            receiver: val(receiver, f),
            receiver_active: Rc::clone(receiver_active),
        },
        Closure::Derivative { kind, func, wrt, wrt_tuple, aux, at } => Closure::Derivative {
            kind: *kind,
            func: Rc::new(closure(func, f)),
            wrt: wrt.clone(),
            wrt_tuple: *wrt_tuple,
            aux: *aux,
            at: *at,
        },
        Closure::Vmap { func, axes, out } => {
            Closure::Vmap { func: Rc::new(closure(func, f)), axes: axes.clone(), out: *out }
        }
        Closure::Pull(p) => Closure::Pull(Pull {
            func: p.func,
            args: p.args.iter().map(|v| f(*v)).collect(),
            wrt: p.wrt.iter().map(|a| Argument { val: val(&a.val, f), active: Rc::clone(&a.active) }).collect(),
            params: p.params.clone(),
            types: p.types.iter().map(|t| ty(t, f)).collect(),
            float_results: p.float_results,
        }),
    }
}

pub fn ty(t: &Type, f: Map<'_>) -> Type {
    t.map_dims(|d| dim(d, f))
}

/// The structure of a type argument; constant extents belong to it, others do not.
pub fn key(a: &RArg<'_>) -> String {
    let dims = |dims: &[RDim]| dims.iter().map(dim_key).collect::<Vec<_>>().join(",");
    match a {
        RArg::Size(_) => "_".into(),
        RArg::Shape(s) => format!("..{}", s.len()),
        RArg::Dtype(d) => d.name().into(),
        RArg::Ty(t) => ty_key(t, &dims),
        RArg::Fn(_) => "fn".into(),
    }
}

fn dim_key(d: &RDim) -> String {
    match d {
        RDim::Known(Dim::Const(c)) => c.to_string(),
        RDim::Known(Dim::Val(_)) => "_".into(),
        RDim::Slot(k) => format!("?{k}"),
        RDim::Expr(e) => format!("{:?}", e.expr),
    }
}

fn ty_key(t: &RTy<'_>, dims: &impl Fn(&[RDim]) -> String) -> String {
    match t {
        RTy::Never => "!".into(),
        RTy::Tensor(d, s) => format!("{d}[{}]", dims(s)),
        RTy::Tuple(items) => format!("({})", items.iter().map(|t| ty_key(t, dims)).collect::<Vec<_>>().join(",")),
        RTy::Struct(id, args) => {
            let arg = |a: &RArg<'_>| match a {
                RArg::Size(d) => dim_key(d),
                RArg::Shape(s) => format!("..[{}]", dims(s)),
                RArg::Dtype(_) | RArg::Ty(_) | RArg::Fn(_) => key(a),
            };
            format!("s{}[{}]", id.0, args.iter().map(arg).collect::<Vec<_>>().join(","))
        }
        RTy::Stack(s, t) => format!("{}[{}]", ty_key(t, dims), dims(s)),
        RTy::Str => "str".into(),
        RTy::Rng => "rng".into(),
        RTy::Fn => "fn".into(),
        RTy::Exists(slots, t) => format!("some {slots:?}.{}", ty_key(t, dims)),
    }
}

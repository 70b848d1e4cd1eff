//! Values of the elaborator: trees of IR values, and functions, which exist only at compile time.

use std::rc::Rc;

use tdl_ir::{Builder, Dim, FuncId, Type, ValueId};
use tdl_source::Span;
use tdl_types::thir::{Axis, Builtin, DerivativeKind, FnId, FnTy, GenericArg, Lambda};

use crate::env::Env;
use crate::rty::RArg;
use crate::{R, internal};

/// What an expression stands for.
#[derive(Clone, Debug)]
pub enum Val<'p> {
    Leaf(ValueId),
    /// A tuple, a struct, a generator (key, counter), or a stack of one of these (leaves with the stack's axes in front).
    Tree(Vec<Val<'p>>),
    /// Of existential type: the witnesses and what they are for.
    Pack(Vec<ValueId>, Box<Val<'p>>),
    Fn(Rc<Closure<'p>>),
    /// Of a block that never ends.
    Never,
}

/// A function value.
#[derive(Debug)]
pub enum Closure<'p> {
    Lambda {
        lambda: &'p Lambda,
        env: Rc<Env<'p>>,
    },
    /// `sig` says what the generics of a polymorphic function type are bound by.
    Fn {
        func: FnId,
        generics: Vec<GenericArg>,
        env: Rc<Env<'p>>,
        sig: Option<Rc<FnTy>>,
    },
    Builtin {
        op: Rc<Builtin>,
        env: Rc<Env<'p>>,
        sig: Rc<FnTy>,
    },
    /// A method with its receiver.
    Bound {
        func: FnId,
        /// The impl's.
        generics: Vec<RArg<'p>>,
        /// The method's own.
        own: Vec<GenericArg>,
        env: Rc<Env<'p>>,
        sig: Rc<FnTy>,
        receiver: Val<'p>,
        receiver_active: Rc<[bool]>,
    },
    Derivative {
        kind: DerivativeKind,
        func: Rc<Closure<'p>>,
        wrt: Vec<usize>,
        wrt_tuple: bool,
        aux: bool,
        /// Where the function was passed, if it is a parameter: what errors point at.
        at: Option<Span>,
    },
    /// A function on each of many lanes; see [`tdl_types::thir::Vmap`].
    Vmap {
        func: Rc<Closure<'p>>,
        axes: Vec<Option<Axis>>,
        out: Axis,
    },
    /// What `vjp` gives: cotangents of the result to cotangents of the arguments.
    Pull(Pull<'p>),
}

#[derive(Debug)]
pub struct Pull<'p> {
    pub func: FuncId,
    /// All arguments of `func`.
    pub args: Vec<ValueId>,
    /// The arguments differentiated by, as the user gave them.
    pub wrt: Vec<Argument<'p>>,
    /// Indices of their active leaves among the parameters of `func`.
    pub params: Vec<usize>,
    /// Types of all results of `func`, in terms of values here.
    pub types: Vec<Type>,
    /// Which leaves of the cotangent belong to float results.
    pub float_results: usize,
}

/// An argument of a function value.
#[derive(Clone, Debug)]
pub struct Argument<'p> {
    pub val: Val<'p>,
    /// Per leaf: a float that is not state.
    pub active: Rc<[bool]>,
}

impl<'p> Val<'p> {
    pub fn unit() -> Val<'p> {
        Val::Tree(Vec::new())
    }

    pub fn leaf(&self) -> R<ValueId> {
        match self {
            Val::Leaf(v) => Ok(*v),
            Val::Tree(_) | Val::Pack(..) | Val::Fn(_) | Val::Never => {
                Err(internal(format!("{} is no tensor", self.what())))
            }
        }
    }

    pub fn tree(&self) -> R<&[Val<'p>]> {
        match self {
            Val::Tree(items) => Ok(items),
            Val::Leaf(_) | Val::Pack(..) | Val::Fn(_) | Val::Never => {
                Err(internal(format!("{} is no struct or tuple", self.what())))
            }
        }
    }

    pub fn function(&self) -> R<Rc<Closure<'p>>> {
        match self {
            Val::Fn(f) => Ok(Rc::clone(f)),
            Val::Leaf(_) | Val::Tree(_) | Val::Pack(..) | Val::Never => {
                Err(internal(format!("{} is no function", self.what())))
            }
        }
    }

    fn what(&self) -> &'static str {
        match self {
            Val::Leaf(_) => "a tensor",
            Val::Tree(_) => "a tree",
            Val::Pack(..) => "an existential",
            Val::Fn(_) => "a function",
            Val::Never => "nothing",
        }
    }

    /// The value without its witnesses.
    pub fn unpacked(self) -> Val<'p> {
        match self {
            Val::Pack(_, body) => *body,
            other @ (Val::Leaf(_) | Val::Tree(_) | Val::Fn(_) | Val::Never) => other,
        }
    }

    /// Leaves in order; witnesses before what they are for. Functions have none.
    pub fn leaves(&self) -> Vec<ValueId> {
        let mut out = Vec::new();
        self.visit(&mut |v| out.push(v));
        out
    }

    pub fn visit(&self, f: &mut impl FnMut(ValueId)) {
        match self {
            Val::Leaf(v) => f(*v),
            Val::Tree(items) => items.iter().for_each(|v| v.visit(f)),
            Val::Pack(slots, body) => {
                slots.iter().for_each(|v| f(*v));
                body.visit(f);
            }
            Val::Fn(_) | Val::Never => {}
        }
    }

    /// The same tree with other leaves, given in order.
    pub fn rebuild(&self, leaves: &mut impl Iterator<Item = ValueId>) -> R<Val<'p>> {
        let mut next = || leaves.next().ok_or_else(|| internal("a tree has too few leaves"));
        Ok(match self {
            Val::Leaf(_) => Val::Leaf(next()?),
            Val::Tree(items) => Val::Tree(items.iter().map(|v| v.rebuild(leaves)).collect::<R<_>>()?),
            Val::Pack(slots, body) => {
                let slots = slots.iter().map(|_| next()).collect::<R<Vec<_>>>()?;
                Val::Pack(slots, Box::new(body.rebuild(leaves)?))
            }
            Val::Fn(f) => Val::Fn(Rc::clone(f)),
            Val::Never => Val::Never,
        })
    }

    /// Each leaf replaced by `f` of it, witnesses untouched.
    pub fn map(&self, f: &mut impl FnMut(ValueId) -> R<ValueId>) -> R<Val<'p>> {
        Ok(match self {
            Val::Leaf(v) => Val::Leaf(f(*v)?),
            Val::Tree(items) => Val::Tree(items.iter().map(|v| v.map(f)).collect::<R<_>>()?),
            Val::Pack(slots, body) => Val::Pack(slots.clone(), Box::new(body.map(f)?)),
            Val::Fn(g) => Val::Fn(Rc::clone(g)),
            Val::Never => Val::Never,
        })
    }

    /// Several trees of one shape, leaf by leaf.
    pub fn zip(trees: &[&Val<'p>], f: &mut impl FnMut(&[ValueId]) -> R<ValueId>) -> R<Val<'p>> {
        let Some(first) = trees.first() else { return Ok(Val::unit()) };
        Ok(match first {
            Val::Leaf(_) => Val::Leaf(f(&trees.iter().map(|t| t.leaf()).collect::<R<Vec<_>>>()?)?),
            Val::Tree(items) => {
                let children = trees.iter().map(|t| t.tree()).collect::<R<Vec<_>>>()?;
                if children.iter().any(|c| c.len() != items.len()) {
                    return Err(internal("trees of different shapes"));
                }
                let child = |i: usize| children.iter().map(|c| &c[i]).collect::<Vec<_>>();
                Val::Tree((0..items.len()).map(|i| Val::zip(&child(i), f)).collect::<R<_>>()?)
            }
            Val::Pack(slots, _) => {
                let bodies: Vec<&Val<'p>> = trees
                    .iter()
                    .map(|t| match t {
                        Val::Pack(_, body) => &**body,
                        Val::Leaf(_) | Val::Tree(_) | Val::Fn(_) | Val::Never => t,
                    })
                    .collect();
                Val::Pack(slots.clone(), Box::new(Val::zip(&bodies, f)?))
            }
            Val::Fn(g) => Val::Fn(Rc::clone(g)),
            Val::Never => Val::Never,
        })
    }

    pub fn has_function(&self) -> bool {
        match self {
            Val::Fn(_) => true,
            Val::Tree(items) => items.iter().any(Val::has_function),
            Val::Pack(_, body) => body.has_function(),
            Val::Leaf(_) | Val::Never => false,
        }
    }
}

/// The extents that are values, in order, each once.
pub fn dim_values(b: &Builder, leaves: &[ValueId]) -> Vec<ValueId> {
    let mut out = Vec::new();
    for d in leaves.iter().flat_map(|v| b.ty(*v).dims()) {
        if let Dim::Val(v) = d
            && !out.contains(v)
        {
            out.push(*v);
        }
    }
    out
}

//! Types.
//!
//! Normal form, which [`Ty`]'s constructors keep:
//! - a scalar is a tensor without dims;
//! - a [`Ty::Stack`] has at least one dim and its element is a struct, a tuple, a type parameter, text or a generator: a
//!   stack of tensors is a tensor, a stack of stacks is one stack;
//! - [`Ty::Exists`] stands outermost: a tuple of existentials is an existential tuple (variables in order, depth first).
//!   It may occur inside struct fields, results of function types and types of mutable variables.

use std::rc::Rc;

pub use tdl_ir::Dtype;

use crate::ids::{GenericId, StructId};
use crate::size::{SizeExpr, SizeVar};

/// Element type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Elem {
    Dtype(Dtype),
    /// A dtype parameter such as `E: float`.
    Param(GenericId),
    /// An unknown of inference; none is left in a checked program.
    Infer(u32),
}

/// One entry of a shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    Size(SizeExpr),
    /// `..s`: any number of axes. At most one in a shape.
    Spread(Spread),
}

/// What `..s` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spread {
    Param(GenericId),
    /// An unknown of inference; none is left in a checked program.
    Infer(u32),
}

/// Extents, outermost first.
pub type Shape = Vec<Dim>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ty {
    /// The type of what already has an error: fits everywhere, silently. Absent from programs without errors.
    Error,
    /// Of blocks that never end: `return`, `break`, `continue`.
    Never,
    Tensor(Elem, Shape),
    /// The empty tuple is `()`.
    Tuple(Vec<Ty>),
    Struct(StructId, Vec<GenericArg>),
    /// `T[n]` for a struct, tuple, parameter…: stored as the leaves with `dims` in front.
    Stack(Shape, Rc<Ty>),
    /// A type parameter: `T: tree` or of an interface.
    Param(GenericId),
    Fn(Rc<FnTy>),
    Str,
    Rng,
    /// `some a, b. T`; the variables are [`SizeVar::Bound`].
    Exists(Vec<SizeVar>, Rc<Ty>),
    /// An unknown of inference; none is left in a checked program.
    Infer(u32),
}

/// What a parameter in brackets is given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum GenericArg {
    Size(SizeExpr),
    Shape(Shape),
    Dtype(Elem),
    Ty(Ty),
    /// For parameters that are functions (`struct Dense[i, o, act: fn…]`).
    Fn(Rc<FnArg>),
}

/// A function known at compile time that a generic argument names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FnArg {
    /// Its own generics follow from the arguments of each call.
    Item(crate::ids::FnId),
    /// A row of the table, such as `tanh`.
    Elementwise(tdl_ir::op::UnaryOp),
    Param(GenericId),
    /// An unknown of inference; none is left in a checked program.
    Infer(u32),
}

/// `fn[b](m: M, x: X[b]) -> f32`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FnTy {
    /// Parameters of a polymorphic function type; empty for most.
    pub generics: Vec<GenericId>,
    pub params: Vec<FnParam>,
    pub result: Ty,
    pub io: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FnParam {
    /// Serves `wrt` and labels.
    pub name: Option<Rc<str>>,
    pub ty: Ty,
    /// `mut`: the argument is a place that is written back.
    pub mutable: bool,
}

/// What may stand for a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `n`
    Size,
    /// `..s`
    Shape,
    /// `E: float`, `num`, `int`, `dtype` (any).
    Dtype(DtypeBound),
    /// `T: tree`; `T: tree[F]` says that all float leaves are `F`.
    Tree(Option<Elem>),
    /// `O: Optimizer[M]`.
    Interface(crate::ids::InterfaceId, Vec<GenericArg>),
    /// `act: fn…`.
    Fn(Rc<FnTy>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DtypeBound {
    Float,
    Int,
    Num,
    Any,
}

impl DtypeBound {
    pub fn accepts(self, dtype: Dtype) -> bool {
        match self {
            DtypeBound::Float => dtype.is_float(),
            DtypeBound::Int => dtype.is_int(),
            DtypeBound::Num => dtype.is_num(),
            DtypeBound::Any => true,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            DtypeBound::Float => "float",
            DtypeBound::Int => "int",
            DtypeBound::Num => "num",
            DtypeBound::Any => "dtype",
        }
    }
}

impl Ty {
    pub const BOOL: Ty = Ty::Tensor(Elem::Dtype(Dtype::Bool), Vec::new());
    pub const I64: Ty = Ty::Tensor(Elem::Dtype(Dtype::I64), Vec::new());
    pub const F64: Ty = Ty::Tensor(Elem::Dtype(Dtype::F64), Vec::new());

    pub fn unit() -> Ty {
        Ty::Tuple(Vec::new())
    }

    pub fn is_unit(&self) -> bool {
        matches!(self, Ty::Tuple(items) if items.is_empty())
    }

    pub fn scalar(elem: Elem) -> Ty {
        Ty::Tensor(elem, Vec::new())
    }

    pub fn tensor(elem: Elem, sizes: impl IntoIterator<Item = SizeExpr>) -> Ty {
        Ty::Tensor(elem, sizes.into_iter().map(Dim::Size).collect())
    }

    /// `elem` with axes in front.
    pub fn stack(mut dims: Shape, elem: Ty) -> Ty {
        if dims.is_empty() {
            return elem;
        }
        match elem {
            Ty::Tensor(e, shape) => {
                dims.extend(shape);
                Ty::Tensor(e, dims)
            }
            Ty::Stack(inner, e) => {
                dims.extend(inner);
                Ty::Stack(dims, e)
            }
            Ty::Error => Ty::Error,
            elem @ (Ty::Never
            | Ty::Tuple(_)
            | Ty::Struct(..)
            | Ty::Param(_)
            | Ty::Fn(_)
            | Ty::Str
            | Ty::Rng
            | Ty::Exists(..)
            | Ty::Infer(_)) => Ty::Stack(dims, Rc::new(elem)),
        }
    }

    /// Whether a tuple nests more than `limit` parts.
    pub fn is_larger(&self, limit: usize) -> bool {
        fn count(ty: &Ty, left: usize) -> Option<usize> {
            match ty {
                Ty::Tuple(items) => items.iter().try_fold(left, |left, t| count(t, left)),
                _ => left.checked_sub(1),
            }
        }
        count(self, limit).is_none()
    }

    /// A tuple; existentials of the parts move outside.
    pub fn tuple(items: Vec<Ty>) -> Ty {
        let mut vars = Vec::new();
        let strip = |t: Ty| match t {
            Ty::Exists(v, inner) => {
                vars.extend(v);
                (*inner).clone()
            }
            other => other,
        };
        let items = items.into_iter().map(strip).collect();
        Ty::exists(vars, Ty::Tuple(items))
    }

    pub fn exists(mut vars: Vec<SizeVar>, inner: Ty) -> Ty {
        match inner {
            Ty::Exists(more, inner) => {
                vars.extend(more);
                Ty::Exists(vars, inner)
            }
            inner if vars.is_empty() => inner,
            inner => Ty::Exists(vars, Rc::new(inner)),
        }
    }

    /// Element type and extents of a tensor.
    pub fn as_tensor(&self) -> Option<(Elem, &[Dim])> {
        match self {
            Ty::Tensor(e, shape) => Some((*e, shape)),
            _ => None,
        }
    }

    /// Element type of a scalar.
    pub fn as_scalar(&self) -> Option<Elem> {
        match self {
            Ty::Tensor(e, shape) if shape.is_empty() => Some(*e),
            _ => None,
        }
    }

    /// The concrete dtype of a tensor.
    pub fn dtype(&self) -> Option<Dtype> {
        match self {
            Ty::Tensor(Elem::Dtype(d), _) => Some(*d),
            _ => None,
        }
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Ty::Error)
    }
}

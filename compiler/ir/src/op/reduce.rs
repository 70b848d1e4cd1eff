//! Associative combinations along axes.

use super::def::{DtypeRule, int_range};
use super::{BinaryOp, CompareOp, Scalar};
use crate::{Builder, Dim, Dtype, Type, ValueId};

/// Reductions. NaN propagates through `Max`, `Min`, `Sum`, `Prod`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReduceOp {
    Sum,
    Prod,
    Max,
    Min,
    /// Bool only.
    Any,
    /// Bool only.
    All,
}

/// Prefix combinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScanOp {
    Sum,
    Prod,
    Max,
    Min,
}

/// How the tangent of a reduction follows from its operand's.
#[derive(Clone, Copy, Debug)]
pub enum ReduceDerivative {
    /// `dy = sum(dx, axes)`.
    Linear,
    /// `dy = sum(c * dx, axes)`; `(b, x, y, axes)` builds `c` with the type of `x`.
    Coefficient(fn(&mut Builder, ValueId, ValueId, &[usize]) -> ValueId),
    Zero,
}

/// How the tangent of a scan follows from its operand's.
#[derive(Clone, Copy, Debug)]
pub enum ScanDerivative {
    /// `dy = scan(dx)` with the same axis and direction.
    Linear,
    NotDifferentiable(&'static str),
}

/// A row of the table of reductions.
#[derive(Clone, Copy, Debug)]
pub struct ReduceDef {
    pub name: &'static str,
    pub doc: &'static str,
    pub dtype: DtypeRule,
    /// The value over no elements, by dtype.
    pub identity: fn(Dtype) -> Scalar,
    pub combine: BinaryOp,
    pub derivative: ReduceDerivative,
}

/// A row of the table of scans.
#[derive(Clone, Copy, Debug)]
pub struct ScanDef {
    pub name: &'static str,
    pub doc: &'static str,
    pub dtype: DtypeRule,
    pub identity: fn(Dtype) -> Scalar,
    pub combine: BinaryOp,
    pub derivative: ScanDerivative,
}

impl ReduceOp {
    pub const ALL: &[ReduceOp] =
        &[ReduceOp::Sum, ReduceOp::Prod, ReduceOp::Max, ReduceOp::Min, ReduceOp::Any, ReduceOp::All];

    pub fn from_name(name: &str) -> Option<ReduceOp> {
        ReduceOp::ALL.iter().copied().find(|op| op.def().name == name)
    }

    pub fn def(self) -> &'static ReduceDef {
        match self {
            ReduceOp::Sum => &ReduceDef {
                name: "sum",
                doc: "Sum along axes; 0 over nothing. Long sums are accurate (pairwise).",
                dtype: DtypeRule::Num,
                identity: zero,
                combine: BinaryOp::Add,
                derivative: ReduceDerivative::Linear,
            },
            ReduceOp::Prod => &ReduceDef {
                name: "prod",
                doc: "Product along axes; 1 over nothing.",
                dtype: DtypeRule::Num,
                identity: one,
                combine: BinaryOp::Mul,
                derivative: ReduceDerivative::Coefficient(product_of_others),
            },
            ReduceOp::Max => &ReduceDef {
                name: "max",
                doc: "Largest element along axes; NaN if there is one. In a derivative ties share equally.",
                dtype: DtypeRule::Num,
                identity: lowest,
                combine: BinaryOp::Max,
                derivative: ReduceDerivative::Coefficient(share_of_equals),
            },
            ReduceOp::Min => &ReduceDef {
                name: "min",
                doc: "Smallest element along axes; NaN if there is one. In a derivative ties share equally.",
                dtype: DtypeRule::Num,
                identity: highest,
                combine: BinaryOp::Min,
                derivative: ReduceDerivative::Coefficient(share_of_equals),
            },
            ReduceOp::Any => &ReduceDef {
                name: "any",
                doc: "Is some element true? False over nothing.",
                dtype: DtypeRule::Bool,
                identity: |_| Scalar::Bool(false),
                combine: BinaryOp::Or,
                derivative: ReduceDerivative::Zero,
            },
            ReduceOp::All => &ReduceDef {
                name: "all",
                doc: "Is every element true? True over nothing.",
                dtype: DtypeRule::Bool,
                identity: |_| Scalar::Bool(true),
                combine: BinaryOp::And,
                derivative: ReduceDerivative::Zero,
            },
        }
    }
}

impl ScanOp {
    pub const ALL: &[ScanOp] = &[ScanOp::Sum, ScanOp::Prod, ScanOp::Max, ScanOp::Min];

    pub fn from_name(name: &str) -> Option<ScanOp> {
        ScanOp::ALL.iter().copied().find(|op| op.def().name == name)
    }

    pub fn def(self) -> &'static ScanDef {
        match self {
            ScanOp::Sum => &ScanDef {
                name: "cumsum",
                doc: "Sum of the elements up to each along an axis.",
                dtype: DtypeRule::Num,
                identity: zero,
                combine: BinaryOp::Add,
                derivative: ScanDerivative::Linear,
            },
            ScanOp::Prod => &ScanDef {
                name: "cumprod",
                doc: "Product of the elements up to each along an axis.",
                dtype: DtypeRule::Num,
                identity: one,
                combine: BinaryOp::Mul,
                derivative: ScanDerivative::NotDifferentiable(
                    "`cumprod` has no derivative rule; write the product as a loop",
                ),
            },
            ScanOp::Max => &ScanDef {
                name: "cummax",
                doc: "Largest of the elements up to each along an axis; NaN after one.",
                dtype: DtypeRule::Num,
                identity: lowest,
                combine: BinaryOp::Max,
                derivative: ScanDerivative::NotDifferentiable(
                    "`cummax` has no derivative rule; write it as a loop with `maximum`",
                ),
            },
            ScanOp::Min => &ScanDef {
                name: "cummin",
                doc: "Smallest of the elements up to each along an axis; NaN after one.",
                dtype: DtypeRule::Num,
                identity: highest,
                combine: BinaryOp::Min,
                derivative: ScanDerivative::NotDifferentiable(
                    "`cummin` has no derivative rule; write it as a loop with `minimum`",
                ),
            },
        }
    }
}

// --- identities

fn number(x: f64, dtype: Dtype) -> Scalar {
    if dtype.is_float() {
        Scalar::float(x)
    } else if dtype == Dtype::Bool {
        Scalar::Bool(x != 0.0)
    } else {
        Scalar::Int(x as i64)
    }
}

fn zero(dtype: Dtype) -> Scalar {
    number(0.0, dtype)
}

fn one(dtype: Dtype) -> Scalar {
    number(1.0, dtype)
}

/// -inf, or the smallest integer.
fn lowest(dtype: Dtype) -> Scalar {
    match int_range(dtype) {
        Some((lo, _)) => Scalar::Int(lo),
        None => number(f64::NEG_INFINITY, dtype),
    }
}

/// inf, or the largest integer.
fn highest(dtype: Dtype) -> Scalar {
    match int_range(dtype) {
        Some((_, hi)) => Scalar::Int(hi),
        None => number(f64::INFINITY, dtype),
    }
}

// --- derivatives

fn restore(b: &mut Builder, reduced: ValueId, dims: &[Dim], axes: &[usize]) -> ValueId {
    b.expand(reduced, axes.to_vec(), dims)
}

/// 1 over the number of extreme elements at each of them, 0 elsewhere.
fn share_of_equals(b: &mut Builder, x: ValueId, y: ValueId, axes: &[usize]) -> ValueId {
    let dims = b.dims(x);
    let extreme = restore(b, y, &dims, axes);
    let hit = b.compare(CompareOp::Eq, x, extreme);
    // (a conversion would have no derivative)
    let (zeros, ones) = (b.full_like(0.0, x), b.full_like(1.0, x));
    let hit = b.select(hit, ones, zeros);
    let count = b.sum(hit, axes.to_vec());
    // Without a hit (NaN) the share is 0 / 1.
    let none = b.full_like(0.0, count);
    let one = b.full_like(1.0, count);
    let alone = b.compare(CompareOp::Eq, count, none);
    let count = b.select(alone, one, count);
    let count = restore(b, count, &dims, axes);
    b.div(hit, count)
}

/// The product of all other elements, right with zeros too and to every order: the products of what stands before times
/// those of what stands behind.
fn product_of_others(b: &mut Builder, x: ValueId, _: ValueId, axes: &[usize]) -> ValueId {
    let dims = b.dims(x);
    let dtype = b.dtype(x);
    let kept: Vec<usize> = (0..dims.len()).filter(|k| !axes.contains(k)).collect();
    let perm: Vec<usize> = kept.iter().chain(axes).copied().collect();
    let mut back = vec![0; perm.len()];
    for (k, p) in perm.iter().enumerate() {
        back[*p] = k;
    }
    let axis = kept.len();
    let moved = b.permute(x, perm);
    let moved_dims = b.dims(moved);
    let n = b.numel(&moved_dims[axis..]);
    let one = b.const_i64(1);
    let longer = b.size_binary(BinaryOp::Add, n, one);
    let mut flat: Vec<Dim> = moved_dims[..axis].to_vec();
    flat.push(b.dim(n));
    let (mut single, mut long) = (flat.clone(), flat.clone());
    (single[axis], long[axis]) = (Dim::Const(1), b.dim(longer));
    let row = b.reshape(moved, &flat);
    let ones = b.full(1.0, dtype, &single);
    let zero = b.const_i64(0);
    let exclusive = [false, true].map(|reverse| {
        let scan = super::Op::Scan { op: ScanOp::Prod, axis, reverse };
        let scan = b.inst1(scan, vec![row], Type::tensor(dtype, flat.clone()));
        let parts = if reverse { vec![scan, ones] } else { vec![ones, scan] };
        let joined = b.inst1(super::Op::Concat { axis }, parts, Type::tensor(dtype, long.clone()));
        let mut starts = vec![zero; flat.len()];
        if reverse {
            starts[axis] = one;
        }
        b.slice(joined, starts, &flat)
    });
    let product = b.mul(exclusive[0], exclusive[1]);
    let wide = b.reshape(product, &moved_dims);
    b.permute(wide, back)
}

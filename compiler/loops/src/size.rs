//! Extents, strides and sizes as monomials over the `i64` scalars of a function.
//!
//! A product of extents keeps its factors, so that `n * (h * w)` and `(n * h) * w` are equal and buffers and strides
//! can be compared without knowing `n`.

use tdl_ir::{BinaryOp, Dim, Op, Scalar, ValueId};

use crate::graph::Graph;

/// `coef * atoms[0] * atoms[1] …`; atoms are sorted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    pub coef: i64,
    pub atoms: Vec<ValueId>,
}

impl Size {
    pub const ONE: Size = Size::constant(1);

    pub const fn constant(coef: i64) -> Size {
        Size { coef, atoms: Vec::new() }
    }

    pub fn as_const(&self) -> Option<i64> {
        if self.atoms.is_empty() || self.coef == 0 { Some(self.coef) } else { None }
    }

    pub fn is(&self, c: i64) -> bool {
        self.as_const() == Some(c)
    }

    pub fn mul(&self, other: &Size) -> Size {
        let coef = self.coef.saturating_mul(other.coef);
        if coef == 0 {
            return Size::constant(0);
        }
        let mut atoms = self.atoms.clone();
        atoms.extend_from_slice(&other.atoms);
        atoms.sort_unstable();
        Size { coef, atoms }
    }

    pub fn scale(&self, c: i64) -> Size {
        self.mul(&Size::constant(c))
    }

    pub fn product<'a>(sizes: impl IntoIterator<Item = &'a Size>) -> Size {
        sizes.into_iter().fold(Size::ONE, |a, b| a.mul(b))
    }
}

impl Graph<'_> {
    /// The monomial of an extent.
    pub fn size(&self, d: Dim) -> Size {
        match d {
            Dim::Const(c) => Size::constant(c),
            Dim::Val(v) => self.value_size(v),
        }
    }

    /// The monomial of an `i64` scalar: constants and products are taken apart, the rest is an atom.
    pub fn value_size(&self, v: ValueId) -> Size {
        if let Some((inst, _)) = self.inst(v) {
            match &inst.op {
                Op::Const(Scalar::Int(c)) => return Size::constant(*c),
                Op::Binary(BinaryOp::Mul) => {
                    return self.value_size(inst.args[0]).mul(&self.value_size(inst.args[1]));
                }
                _ => {}
            }
        }
        Size { coef: 1, atoms: vec![v] }
    }

    pub fn sizes(&self, v: ValueId) -> Vec<Size> {
        self.func.ty(v).dims().iter().map(|d| self.size(*d)).collect()
    }
}

/// Row-major strides of a dense tensor.
pub fn dense_strides(dims: &[Size]) -> Vec<Size> {
    let mut strides = vec![Size::ONE; dims.len()];
    for i in (0..dims.len().saturating_sub(1)).rev() {
        strides[i] = strides[i + 1].mul(&dims[i + 1]);
    }
    strides
}

/// How the axes of two shapes with equal element counts correspond: runs of axes with equal products, in order. Axes of extent 1 may
/// stand alone on either side. The last run takes whatever can't be told apart.
pub fn reshape_runs(from: &[Size], to: &[Size]) -> Vec<(std::ops::Range<usize>, std::ops::Range<usize>)> {
    let mut runs = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < from.len() || j < to.len() {
        if i < from.len() && from[i].is(1) && !(j < to.len() && to[j].is(1)) {
            runs.push((i..i + 1, j..j));
            i += 1;
            continue;
        }
        if j < to.len() && to[j].is(1) && !(i < from.len() && from[i].is(1)) {
            runs.push((i..i, j..j + 1));
            j += 1;
            continue;
        }
        if i == from.len() || j == to.len() {
            runs.push((i..from.len(), j..to.len()));
            break;
        }
        match next_run(&from[i..], &to[j..]) {
            Some((a, b)) => {
                runs.push((i..i + a, j..j + b));
                i += a;
                j += b;
            }
            None => {
                runs.push((i..from.len(), j..to.len()));
                break;
            }
        }
    }
    runs
}

/// Lengths of the shortest non-empty prefixes with equal products.
fn next_run(from: &[Size], to: &[Size]) -> Option<(usize, usize)> {
    let mut best: Option<(usize, usize)> = None;
    let mut left = Size::ONE;
    for (a, d) in from.iter().enumerate() {
        left = left.mul(d);
        let mut right = Size::ONE;
        for (b, e) in to.iter().enumerate() {
            right = right.mul(e);
            if left == right && best.is_none_or(|(x, y)| a + b + 2 < x + y) {
                best = Some((a + 1, b + 1));
            }
        }
    }
    best
}

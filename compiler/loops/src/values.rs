//! What becomes of each value, and which memory a virtual value reads.

use rustc_hash::FxHashSet;
use tdl_ir::{Op, Scalar, ValueId};

use crate::graph::Graph;
use crate::size::{Size, reshape_runs};

/// How a value is represented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nobody needs it.
    Dead,
    /// A scalar that is computed in a register when somebody first asks for it.
    Lazy,
    /// A tensor that is recomputed, element by element, where it is used.
    Virtual,
    /// A tensor in memory, dense.
    Stored,
    /// The result of a row reduction that lives in a register of its kernel.
    RowReg,
    /// A scalar, text or stack that a node or parameter defines.
    Given,
}

/// Definitions with their roles.
pub struct Values<'a> {
    pub graph: Graph<'a>,
    pub roles: Vec<Role>,
}

/// What an access reads along one axis, in terms of the axes of the iteration space.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ax {
    /// Always 0.
    Zero,
    /// The iteration's index on that axis.
    Axis(usize),
    /// `start + step * index` (no index: an axis of extent 1).
    Shift { axis: Option<usize>, start: Start, step: i64 },
    /// Something else that depends on these axes.
    Mixed(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Start {
    Const(i64),
    Value(ValueId),
}

/// One read of a tensor in memory. `dims` are the extents under which it is read (a reshape may stand in between).
#[derive(Clone, Debug)]
pub struct Leaf {
    /// `None`: no memory, but the position itself (`iota`).
    pub storage: Option<ValueId>,
    pub dims: Vec<Size>,
    pub ax: Vec<Ax>,
}

impl Leaf {
    /// Reads element `(0, 1, … n-1)` of the iteration space, each where it is.
    pub fn is_identity(&self, rank: usize) -> bool {
        self.ax.len() == rank && self.ax.iter().enumerate().all(|(i, a)| *a == Ax::Axis(i))
    }
}

pub fn identity(rank: usize) -> Vec<Ax> {
    (0..rank).map(Ax::Axis).collect()
}

/// The axes of the iteration space on which it depends.
pub fn mask(ax: &Ax) -> u64 {
    match ax {
        Ax::Zero => 0,
        Ax::Axis(i) => 1 << i,
        Ax::Shift { axis, .. } => axis.map_or(0, |i| 1 << i),
        Ax::Mixed(m) => *m,
    }
}

impl<'a> Values<'a> {
    pub fn role(&self, v: ValueId) -> Role {
        self.roles[v.0 as usize]
    }

    pub fn set(&mut self, v: ValueId, role: Role) {
        self.roles[v.0 as usize] = role;
    }

    pub fn sizes(&self, v: ValueId) -> Vec<Size> {
        self.graph.sizes(v)
    }

    /// The tensor in memory whose elements `v` has in the same order, if there is one.
    pub fn storage(&self, v: ValueId) -> Option<ValueId> {
        if self.role(v) == Role::Stored {
            return Some(v);
        }
        match self.graph.inst(v) {
            Some((inst, _)) if inst.op == Op::Reshape && !self.graph.is_scalar(v) => self.storage(inst.args[0]),
            _ => None,
        }
    }

    pub fn start(&self, v: ValueId) -> Start {
        match self.graph.op(v) {
            Some(Op::Const(Scalar::Int(c))) => Start::Const(*c),
            _ => Start::Value(v),
        }
    }

    /// Collects what computing `v` at `ax` reads.
    pub fn trace(&self, v: ValueId, ax: Vec<Ax>, out: &mut Vec<Leaf>) {
        Tracer { values: self, seen: FxHashSet::default(), out }.value(v, ax);
    }

    /// Like [`Values::trace`] for the operands of the instruction that computes `v`.
    pub fn trace_op(&self, v: ValueId, ax: Vec<Ax>, out: &mut Vec<Leaf>) {
        Tracer { values: self, seen: FxHashSet::default(), out }.operands(v, ax);
    }
}

/// Values share operands: each is followed once per way of reading it.
struct Tracer<'t, 'a> {
    values: &'t Values<'a>,
    seen: FxHashSet<(ValueId, Vec<Ax>)>,
    out: &'t mut Vec<Leaf>,
}

impl Tracer<'_, '_> {
    fn value(&mut self, v: ValueId, ax: Vec<Ax>) {
        if self.values.graph.is_scalar(v) && self.values.role(v) != Role::Virtual {
            return;
        }
        match self.values.role(v) {
            Role::Stored => {
                self.out.push(Leaf { storage: Some(v), dims: self.values.sizes(v), ax });
                return;
            }
            Role::RowReg | Role::Given | Role::Lazy | Role::Dead => return,
            Role::Virtual => {}
        }
        if self.seen.insert((v, ax.clone())) {
            self.operands(v, ax);
        };
    }

    fn operands(&mut self, v: ValueId, ax: Vec<Ax>) {
        let Some((inst, _)) = self.values.graph.inst(v) else { return };
        let x = |i: usize| inst.args[i];
        match &inst.op {
            Op::Iota => self.out.push(Leaf { storage: None, dims: self.values.sizes(v), ax }),
            Op::Expand { axes } => {
                let ax = ax.into_iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, a)| a).collect();
                self.value(x(0), ax);
            }
            Op::Permute { perm } => {
                let mut inner = vec![Ax::Zero; ax.len()];
                for (i, p) in perm.iter().enumerate() {
                    inner[*p] = ax[i].clone();
                }
                self.value(x(0), inner);
            }
            Op::Slice { steps } => {
                let dims = self.values.sizes(v);
                let from = self.values.sizes(x(0));
                let ax = (0..ax.len())
                    .map(|i| {
                        let start = self.values.start(x(1 + i));
                        shift(&ax[i], start, steps[i], &dims[i], &from[i])
                    })
                    .collect();
                self.value(x(0), ax);
            }
            Op::Shear { axis, .. } => {
                let mut inner = ax.clone();
                inner[*axis] = Ax::Mixed(mask(&ax[*axis]) | mask(&ax[*axis + 1]));
                // what is outside depends on the position
                let sizes = self.values.sizes(v);
                for k in [*axis, axis + 1] {
                    self.out.push(Leaf { storage: None, dims: vec![sizes[k].clone()], ax: vec![ax[k].clone()] });
                }
                self.value(x(0), inner);
            }
            Op::Flip { axes } => {
                let ax = ax.iter().enumerate();
                let ax = ax.map(|(i, a)| if axes.contains(&i) { Ax::Mixed(mask(a)) } else { a.clone() }).collect();
                self.value(x(0), ax);
            }
            Op::Reshape => {
                let (from, to) = (self.values.sizes(x(0)), self.values.sizes(v));
                match simple_reshape(&from, &to) {
                    Some(map) => {
                        let ax = map.iter().map(|j| j.map_or(Ax::Zero, |j| ax[j].clone())).collect();
                        self.value(x(0), ax);
                    }
                    None => match self.values.storage(x(0)) {
                        Some(s) => self.out.push(Leaf { storage: Some(s), dims: to, ax }),
                        None => {
                            let all = ax.iter().map(mask).fold(0, |a, b| a | b);
                            self.value(x(0), vec![Ax::Mixed(all); from.len()]);
                        }
                    },
                }
            }
            Op::Gather => {
                let ids_rank = self.values.graph.func.ty(x(1)).rank();
                let ids_ax: Vec<Ax> = ax[..ids_rank].to_vec();
                let all = ids_ax.iter().map(mask).fold(0, |a, b| a | b);
                self.value(x(1), ids_ax);
                let mut inner = vec![Ax::Mixed(all)];
                inner.extend_from_slice(&ax[ids_rank..]);
                self.value(x(0), inner);
            }
            _ => {
                for a in &inst.args {
                    self.value(*a, ax.clone());
                }
            }
        }
    }
}

fn shift(ax: &Ax, start: Start, step: i64, extent: &Size, from: &Size) -> Ax {
    if start == Start::Const(0) && step == 1 {
        return if extent.is(1) && !from.is(1) { Ax::Shift { axis: None, start, step: 1 } } else { ax.clone() };
    }
    match ax {
        _ if extent.is(1) => Ax::Shift { axis: None, start, step: 1 },
        Ax::Axis(i) => Ax::Shift { axis: Some(*i), start, step },
        Ax::Zero => Ax::Shift { axis: None, start, step: 1 },
        Ax::Shift { .. } | Ax::Mixed(_) => Ax::Mixed(mask(ax)),
    }
}

/// Where each operand axis of a reshape finds its index, if only axes of extent 1 come and go.
pub fn simple_reshape(from: &[Size], to: &[Size]) -> Option<Vec<Option<usize>>> {
    let mut map = vec![None; from.len()];
    for (f, t) in reshape_runs(from, to) {
        match (f.len(), t.len()) {
            (1, 1) => map[f.start] = Some(t.start),
            (1, 0) => map[f.start] = None,
            (0, _) => {}
            _ => return None,
        }
    }
    Some(map)
}

/// What an update of a region writes along each axis of its target.
pub fn region_ax(values: &Values<'_>, steps: &[i64], starts: &[ValueId], region: &[Size], target: &[Size]) -> Vec<Ax> {
    (0..steps.len())
        .map(|i| {
            let ax = if region[i].is(1) { Ax::Zero } else { Ax::Axis(i) };
            shift(&ax, values.start(starts[i]), steps[i], &region[i], &target[i])
        })
        .collect()
}

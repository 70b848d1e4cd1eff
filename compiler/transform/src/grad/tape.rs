//! The linear program that linearisation records: tangents and the linear steps between them.
//!
//! A step's coefficients are primal values. A tape belongs to a block: inside a branch or loop its coefficients first are
//! values of that region; whoever leaves the region renames them to what carries them out ([`Tape::rename`]).

use rustc_hash::FxHashMap;
use tdl_ir::{Dim, FuncId, Type, Update, ValueId, Window};
use tdl_source::Span;

/// A tangent variable: an index into [`Tape::types`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tan(pub usize);

#[derive(Clone, Debug, Default)]
pub struct Tape {
    /// A tangent's type is that of its primal value.
    pub types: Vec<Type>,
    pub steps: Vec<Step>,
    /// Tangents that come from outside: the block's parameters and what it captures.
    pub inputs: Vec<Tan>,
    /// What the block yields; `None` where the derivative is zero.
    pub outputs: Vec<Option<Tan>>,
}

/// `out = f(in…)`, linear in every tangent operand together (an absent operand is zero).
#[derive(Clone, Debug)]
pub struct Step {
    pub kind: Kind,
    pub ins: Vec<Option<Tan>>,
    pub outs: Vec<Option<Tan>>,
    /// The expression that it is the derivative of.
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Add,
    Sub,
    Neg,
    /// `in * coef`, elementwise.
    Scale(ValueId),
    /// `cond ? a : b`.
    Select(ValueId),
    /// To the out's dtype.
    Convert,
    Expand(Vec<usize>),
    Reshape,
    Permute(Vec<usize>),
    Flip(Vec<usize>),
    Slice {
        steps: Vec<i64>,
        starts: Vec<ValueId>,
    },
    /// `(x, u)`.
    UpdateSlice {
        steps: Vec<i64>,
        starts: Vec<ValueId>,
        mode: Update,
        update: Type,
    },
    /// With the operands' types, since an operand may have no tangent.
    Concat(usize, Vec<Type>),
    /// Sum over axes.
    Sum(Vec<usize>),
    /// Prefix sum.
    CumSum {
        axis: usize,
        reverse: bool,
    },
    /// See `Op::Shear`; `steps` are its scalars.
    Shear {
        axis: usize,
        spread: bool,
        steps: Vec<ValueId>,
    },
    /// A product over windows with a primal operand; `lhs` are the tangent's labels, `steps` the scalars of `Op::Window`.
    Window {
        other: ValueId,
        lhs: Vec<u8>,
        rhs: Vec<u8>,
        out: Vec<u8>,
        windows: Vec<Window>,
        steps: Vec<ValueId>,
    },
    /// Einsum with a primal operand; `lhs` are the tangent's labels.
    Contract {
        other: ValueId,
        lhs: Vec<u8>,
        rhs: Vec<u8>,
        out: Vec<u8>,
    },
    Gather(ValueId),
    /// `(x, u)` at ids; for `Set`, ids whose rows survive are told by `winners: bool[s]`.
    Scatter {
        ids: ValueId,
        mode: Update,
        winners: Option<ValueId>,
    },
    /// A tangent stack is a `[total, …]` tensor: writes row `at`, or with `rows` as many as the operand has.
    Push {
        at: ValueId,
        rows: bool,
    },
    /// `(q, k, v) -> (y, sums)` of `Op::Attention`: `args` and `results` are primal.
    Attention {
        args: Vec<ValueId>,
        results: Vec<ValueId>,
    },
    If {
        cond: ValueId,
        then: Box<Branch>,
        els: Box<Branch>,
    },
    For(Box<Loop>),
    /// A function with a rule of its own, or one that is recomputed: `args` and `results` are primal.
    Custom {
        rule: FuncId,
        lanes: Option<Lanes>,
        args: Vec<ValueId>,
        results: Vec<ValueId>,
    },
    Remat {
        func: FuncId,
        wrt: Vec<usize>,
        args: Vec<ValueId>,
        results: Vec<ValueId>,
    },
}

/// The lanes of a mapped call: how many, and which arguments have them in front.
#[derive(Clone, Debug)]
pub struct Lanes {
    pub n: ValueId,
    pub mapped: Vec<usize>,
}

/// A linear loop: `ins` are the initial carried tangents, then the captured ones; `outs` the final carried ones.
#[derive(Clone, Debug)]
pub struct Loop {
    pub trips: ValueId,
    /// What the body's tape calls the iteration number.
    pub index: ValueId,
    /// Number of carried tangents; the body's first inputs and all its outputs.
    pub carried: usize,
    pub body: Tape,
    pub replay: Vec<Replay>,
}

/// A side of an `if`.
#[derive(Clone, Debug, Default)]
pub struct Branch {
    pub tape: Tape,
    pub replay: Vec<Replay>,
}

/// How a region's value becomes available to its linear part, in order.
#[derive(Clone, Debug)]
pub enum Replay {
    /// A pure instruction is computed again; with what it reads, by the names in it and the names now.
    Again { inst: Box<tdl_ir::Inst>, free: Vec<(ValueId, ValueId)> },
    /// Row `i` of a `[trips, …]` tensor.
    Row { name: ValueId, tensor: ValueId },
    /// The rows of `flat` from `base` on, as many as the first `lead` extents of `ty` make, reshaped.
    Ragged { name: ValueId, flat: ValueId, base: ValueId, lead: usize, ty: Type },
}

impl Tape {
    pub fn tangent(&mut self, ty: Type) -> Tan {
        self.types.push(ty);
        Tan(self.types.len() - 1)
    }

    pub fn input(&mut self, ty: Type) -> Tan {
        let t = self.tangent(ty);
        self.inputs.push(t);
        t
    }

    /// Records a step with one result of the given type.
    pub fn step(&mut self, kind: Kind, ins: Vec<Option<Tan>>, ty: Type) -> Tan {
        let out = self.tangent(ty);
        self.steps.push(Step { kind, ins, outs: vec![Some(out)], span: Span::default() });
        out
    }

    /// Calls `f` on every primal value the tape mentions, to read or rename it.
    pub fn visit(&mut self, f: &mut dyn FnMut(&mut ValueId)) {
        for ty in &mut self.types {
            visit_type(ty, f);
        }
        for step in &mut self.steps {
            step.kind.visit(f);
        }
    }

    /// What the steps read primal values for, in a word each.
    pub fn purposes(&mut self, out: &mut FxHashMap<ValueId, &'static str>) {
        for step in &mut self.steps {
            let word = step.kind.word();
            match &mut step.kind {
                Kind::If { cond, then, els } => {
                    out.entry(*cond).or_insert(word);
                    for side in [then, els] {
                        side.tape.purposes(out);
                        side.replay
                            .iter_mut()
                            .for_each(|r| r.visit(&mut |v| _ = out.entry(*v).or_insert("recomputing")));
                    }
                }
                Kind::For(l) => {
                    out.entry(l.trips).or_insert(word);
                    l.body.purposes(out);
                    l.replay.iter_mut().for_each(|r| r.visit(&mut |v| _ = out.entry(*v).or_insert("recomputing")));
                }
                kind => kind.visit(&mut |v| _ = out.entry(*v).or_insert(word)),
            }
        }
        for ty in &mut self.types {
            visit_type(ty, &mut |v| _ = out.entry(*v).or_insert("shape"));
        }
    }

    /// Drops steps that reach no output.
    pub fn prune(&mut self) {
        let mut live = vec![false; self.types.len()];
        for out in self.outputs.iter().flatten() {
            live[out.0] = true;
        }
        let mut kept = Vec::new();
        for step in std::mem::take(&mut self.steps).into_iter().rev() {
            if step.outs.iter().flatten().any(|t| live[t.0]) {
                for t in step.ins.iter().flatten() {
                    live[t.0] = true;
                }
                kept.push(step);
            }
        }
        kept.reverse();
        self.steps = kept;
    }
}

fn visit_type(ty: &mut Type, f: &mut dyn FnMut(&mut ValueId)) {
    *ty = ty.map_dims(|d| match d {
        Dim::Const(_) => d,
        Dim::Val(mut v) => {
            f(&mut v);
            Dim::Val(v)
        }
    });
}

impl Kind {
    /// The derivative's part that reads primal values here.
    fn word(&self) -> &'static str {
        match self {
            Kind::Add | Kind::Sub | Kind::Neg | Kind::Convert | Kind::Flip(_) | Kind::Permute(_) => "sum",
            Kind::Expand(_) | Kind::Reshape | Kind::Sum(_) | Kind::CumSum { .. } | Kind::Concat(..) => "shape",
            Kind::Scale(_) => "factor",
            Kind::Select(_) => "choice",
            Kind::Slice { .. } | Kind::UpdateSlice { .. } | Kind::Push { .. } => "position",
            Kind::Gather(_) | Kind::Scatter { .. } => "index",
            Kind::Shear { .. } => "window",
            Kind::Contract { .. } | Kind::Window { .. } | Kind::Attention { .. } => "product",
            Kind::If { .. } => "branch",
            Kind::For(_) => "trips",
            Kind::Custom { .. } => "rule",
            Kind::Remat { .. } => "recomputing",
        }
    }

    fn visit(&mut self, f: &mut dyn FnMut(&mut ValueId)) {
        match self {
            Kind::Add
            | Kind::Sub
            | Kind::Neg
            | Kind::Convert
            | Kind::Expand(_)
            | Kind::Reshape
            | Kind::Permute(_)
            | Kind::Flip(_)
            | Kind::Sum(_)
            | Kind::CumSum { .. } => {}
            Kind::Scale(v) | Kind::Select(v) | Kind::Gather(v) | Kind::Push { at: v, .. } => f(v),
            Kind::Concat(_, types) => types.iter_mut().for_each(|t| visit_type(t, f)),
            Kind::Slice { starts, .. } => starts.iter_mut().for_each(f),
            Kind::UpdateSlice { starts, update, .. } => {
                starts.iter_mut().for_each(&mut *f);
                visit_type(update, f);
            }
            Kind::Contract { other, .. } => f(other),
            Kind::Shear { steps, .. } => steps.iter_mut().for_each(f),
            Kind::Window { other, steps, .. } => {
                f(other);
                steps.iter_mut().for_each(f);
            }
            Kind::Scatter { ids, winners, .. } => {
                f(ids);
                if let Some(w) = winners {
                    f(w);
                }
            }
            Kind::If { cond, then, els } => {
                f(cond);
                for side in [then, els] {
                    side.tape.visit(f);
                    side.replay.iter_mut().for_each(|r| r.visit(f));
                }
            }
            Kind::For(l) => {
                f(&mut l.trips);
                l.body.visit(f);
                l.replay.iter_mut().for_each(|r| r.visit(f));
            }
            Kind::Custom { lanes, args, results, .. } => {
                if let Some(lanes) = lanes {
                    f(&mut lanes.n);
                }
                args.iter_mut().chain(results).for_each(f);
            }
            Kind::Remat { args, results, .. } | Kind::Attention { args, results } => {
                args.iter_mut().chain(results).for_each(f)
            }
        }
    }
}

impl Replay {
    /// Calls `f` on what is read; the value that is defined keeps its name.
    pub(super) fn visit(&mut self, f: &mut dyn FnMut(&mut ValueId)) {
        match self {
            Replay::Again { free, .. } => free.iter_mut().for_each(|(_, now)| f(now)),
            Replay::Row { tensor, .. } => f(tensor),
            Replay::Ragged { flat, base, ty, .. } => {
                f(flat);
                f(base);
                visit_type(ty, f);
            }
        }
    }
}

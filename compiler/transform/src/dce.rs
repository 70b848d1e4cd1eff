//! Removes pure values nobody uses, with the carried values and results of loops and branches that only feed themselves.
//!
//! before: %1 = exp %0   %2 = add %0 %0   return %2
//! after:                %2 = add %0 %0   return %2
//!
//! A `while` stays, for a program that does not end does not end, unless it counts up or down to a limit.
//!
//! Marks from the results and the effects backwards over a table of definitions, then sweeps: linear in the size of the
//! function, however deep its loops are nested.

use tdl_ir::{BinaryOp, Block, CompareOp, Dim, Function, Inst, Op, Scalar, ValueId};

pub fn function(f: &mut Function) {
    let marks = mark(f);
    let mut node = 0;
    sweep(&mut f.body, &marks, &mut node);
}

/// What is needed: values, and instructions in the order of a walk (outer before inner).
struct Marks {
    values: Vec<bool>,
    insts: Vec<bool>,
}

/// Where a value comes from.
#[derive(Clone, Copy)]
enum Def {
    /// A parameter of the function.
    Param,
    Result {
        node: usize,
        k: usize,
    },
    /// The number of the iteration.
    Counter {
        node: usize,
    },
    /// A parameter of a loop's region.
    Carried {
        node: usize,
        k: usize,
    },
}

struct Node<'a> {
    inst: &'a Inst,
    parent: Option<usize>,
}

struct Marker<'a> {
    f: &'a Function,
    defs: Vec<Def>,
    nodes: Vec<Node<'a>>,
    marks: Marks,
    todo: Vec<ValueId>,
}

fn mark(f: &Function) -> Marks {
    let marks = Marks { values: vec![false; f.values.len()], insts: Vec::new() };
    let mut m = Marker { f, defs: vec![Def::Param; f.values.len()], nodes: Vec::new(), marks, todo: Vec::new() };
    m.index(&f.body, None);
    m.marks.insts = vec![false; m.nodes.len()];
    for node in 0..m.nodes.len() {
        let inst = m.nodes[node].inst;
        if own_effect(inst) || inst.op == Op::While && !m.ends(node) {
            m.inst(node);
        }
    }
    m.need_all(f.params());
    m.need_all(f.results());
    while let Some(v) = m.todo.pop() {
        m.value(v);
    }
    m.marks
}

impl<'a> Marker<'a> {
    fn index(&mut self, block: &'a Block, parent: Option<usize>) {
        for inst in &block.insts {
            let node = self.nodes.len();
            self.nodes.push(Node { inst, parent });
            for (k, r) in inst.results.iter().enumerate() {
                self.defs[r.0 as usize] = Def::Result { node, k };
            }
            for region in &inst.regions {
                let skip = usize::from(matches!(inst.op, Op::For));
                for (k, p) in region.params.iter().enumerate() {
                    self.defs[p.0 as usize] =
                        if k < skip { Def::Counter { node } } else { Def::Carried { node, k: k - skip } };
                }
                self.index(region, Some(node));
            }
        }
    }

    fn need(&mut self, v: ValueId) {
        if !std::mem::replace(&mut self.marks.values[v.0 as usize], true) {
            self.todo.push(v);
        }
    }

    fn need_all(&mut self, vs: &[ValueId]) {
        vs.iter().for_each(|v| self.need(*v));
    }

    fn need_dims(&mut self, v: ValueId) {
        let f = self.f;
        for d in f.ty(v).dims() {
            if let Dim::Val(d) = d {
                self.need(*d);
            }
        }
    }

    fn value(&mut self, v: ValueId) {
        self.need_dims(v);
        match self.defs[v.0 as usize] {
            Def::Param => {}
            Def::Counter { node } => self.inst(node),
            Def::Result { node, k } => {
                self.inst(node);
                self.slot(node, k);
            }
            Def::Carried { node, k } => {
                self.inst(node);
                self.slot(node, k);
            }
        }
    }

    /// The `k`-th result of control flow is needed.
    fn slot(&mut self, node: usize, k: usize) {
        let inst = self.nodes[node].inst;
        match inst.op {
            Op::If => inst.regions.iter().for_each(|r| self.need(r.results[k])),
            Op::For => {
                self.need(inst.results[k]);
                self.need(inst.args[1 + k]);
                self.need(inst.regions[0].params[1 + k]);
                self.need(inst.regions[0].results[k]);
            }
            Op::While => {
                self.need(inst.results[k]);
                self.need(inst.args[k]);
                inst.regions.iter().for_each(|r| self.need(r.params[k]));
                self.need(inst.regions[1].results[k]);
            }
            _ => {}
        }
    }

    /// The condition fails after a number of iterations: it holds only below a limit to which the loop counts up by 1,
    /// or above one to which it counts down. (In larger steps it may leap over the limit, and wrap.)
    fn ends(&self, node: usize) -> bool {
        let inst = self.nodes[node].inst;
        self.bounded(node, inst.regions[0].results[0])
    }

    fn bounded(&self, node: usize, cond: ValueId) -> bool {
        let Some((at, c)) = self.inner(node, cond) else { return false };
        match &c.op {
            Op::Binary(BinaryOp::And) => c.args.iter().any(|a| self.bounded(node, *a)),
            Op::If => {
                let k = c.results.iter().position(|r| *r == cond).unwrap_or(0);
                let no = self.constant(c.regions[1].results[k]) == Some(Scalar::Bool(false));
                no && (self.bounded(node, c.args[0]) || self.bounded(node, c.regions[0].results[k]))
            }
            Op::Compare(op) if at > node => match op {
                CompareOp::Lt => {
                    self.counts(node, c.args[0], c.args[1], 1) || self.counts(node, c.args[1], c.args[0], -1)
                }
                CompareOp::Gt => {
                    self.counts(node, c.args[0], c.args[1], -1) || self.counts(node, c.args[1], c.args[0], 1)
                }
                CompareOp::Eq | CompareOp::Ne | CompareOp::Le | CompareOp::Ge => false,
            },
            _ => false,
        }
    }

    /// `x` is carried and grows by `step`, and `limit` is the same in every iteration.
    fn counts(&self, node: usize, x: ValueId, limit: ValueId, step: i64) -> bool {
        let Def::Carried { node: of, k } = self.defs[x.0 as usize] else { return false };
        if of != node || self.inside(node, limit) && self.constant(limit).is_none() {
            return false;
        }
        let body = &self.nodes[node].inst.regions[1];
        let Some((_, next)) = self.inner(node, body.results[k]) else { return false };
        let is = |a: ValueId, c: i64| self.constant(a) == Some(Scalar::Int(c));
        match next.op {
            Op::Binary(BinaryOp::Add) => {
                let [a, b] = next.args[..] else { return false };
                a == body.params[k] && is(b, step) || b == body.params[k] && is(a, step)
            }
            Op::Binary(BinaryOp::Sub) => next.args[0] == body.params[k] && is(next.args[1], -step),
            _ => false,
        }
    }

    fn constant(&self, v: ValueId) -> Option<Scalar> {
        let Def::Result { node, .. } = self.defs[v.0 as usize] else { return None };
        if let Op::Const(c) = self.nodes[node].inst.op { Some(c) } else { None }
    }

    /// The instruction in the loop `node` that makes `v`.
    fn inner(&self, node: usize, v: ValueId) -> Option<(usize, &'a Inst)> {
        let Def::Result { node: at, .. } = self.defs[v.0 as usize] else { return None };
        self.inside(node, v).then(|| (at, self.nodes[at].inst))
    }

    fn inside(&self, node: usize, v: ValueId) -> bool {
        let (mut at, first) = match self.defs[v.0 as usize] {
            Def::Param => return false,
            Def::Result { node, .. } => (self.nodes[node].parent, node),
            Def::Counter { node } | Def::Carried { node, .. } => (Some(node), node),
        };
        if first < node {
            return false;
        }
        while let Some(n) = at {
            if n == node {
                return true;
            }
            at = self.nodes[n].parent;
        }
        false
    }

    fn inst(&mut self, node: usize) {
        if std::mem::replace(&mut self.marks.insts[node], true) {
            return;
        }
        if let Some(parent) = self.nodes[node].parent {
            self.inst(parent);
        }
        let inst = self.nodes[node].inst;
        match inst.op {
            Op::If | Op::For => self.need(inst.args[0]),
            Op::While => self.need(inst.regions[0].results[0]),
            _ => {
                self.need_all(&inst.args);
                inst.results.iter().for_each(|r| self.need_dims(*r));
            }
        }
    }
}

fn sweep(block: &mut Block, marks: &Marks, node: &mut usize) {
    let live = |v: &ValueId| marks.values[v.0 as usize];
    block.insts.retain_mut(|i| {
        let keep = marks.insts[*node];
        *node += 1;
        if !keep {
            i.regions.iter().for_each(|r| *node += count(r));
            return false;
        }
        i.regions.iter_mut().for_each(|r| sweep(r, marks, node));
        let slots: Vec<bool> = i.results.iter().map(live).collect();
        let (args, regions) = (&mut i.args, &mut i.regions);
        match i.op {
            Op::If => {
                regions.iter_mut().for_each(|r| retain(&mut r.results, 0, &slots));
                retain(&mut i.results, 0, &slots);
            }
            Op::For => {
                retain(args, 1, &slots);
                retain(&mut regions[0].params, 1, &slots);
                retain(&mut regions[0].results, 0, &slots);
                retain(&mut i.results, 0, &slots);
            }
            Op::While => {
                retain(args, 0, &slots);
                regions.iter_mut().for_each(|r| retain(&mut r.params, 0, &slots));
                retain(&mut regions[1].results, 0, &slots);
                retain(&mut i.results, 0, &slots);
            }
            _ => {}
        }
        true
    });
}

fn count(block: &Block) -> usize {
    block.insts.iter().map(|i| 1 + i.regions.iter().map(count).sum::<usize>()).sum()
}

/// Keeps the first `skip`, and of the others those that are told.
fn retain(list: &mut Vec<ValueId>, skip: usize, keep: &[bool]) {
    let mut k = 0;
    list.retain(|_| {
        k += 1;
        k <= skip || keep[k - 1 - skip]
    });
}

/// Must happen by itself.
fn own_effect(i: &Inst) -> bool {
    i.op.has_effect()
        || matches!(i.op, Op::Call { .. } | Op::Vjp { .. } | Op::Jvp { .. } | Op::Vmap { .. } | Op::Checkpoint { .. })
}

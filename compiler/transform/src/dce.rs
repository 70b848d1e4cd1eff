//! Removes pure values nobody uses, with the carried values and results of loops and branches that only feed themselves.
//!
//! before: %1 = exp %0   %2 = add %0 %0   return %2
//! after:                %2 = add %0 %0   return %2
//!
//! Marks from the results and the effects backwards over a table of definitions, then sweeps: linear in the size of the
//! function, however deep its loops are nested.

use tdl_ir::{Block, Dim, Function, Inst, Op, ValueId};

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
        if own_effect(m.nodes[node].inst) {
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

/// Must happen by itself. A `while` may also not end, but that is no effect.
fn own_effect(i: &Inst) -> bool {
    i.op.has_effect()
        || matches!(i.op, Op::Call { .. } | Op::Vjp { .. } | Op::Jvp { .. } | Op::Vmap { .. } | Op::Checkpoint { .. })
}

//! Definitions and uses of a prepared function, by value.

use tdl_ir::{Block, Function, Inst, Op, ValueId};

/// Where values are defined. Blocks are numbered; block 0 is the body.
pub struct Graph<'a> {
    pub func: &'a Function,
    defs: Vec<Def<'a>>,
    uses: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Def<'a> {
    inst: Option<(&'a Inst, usize)>,
    /// Nesting depth of the block that defines it; 0 is the body.
    depth: usize,
}

impl<'a> Graph<'a> {
    pub fn new(func: &'a Function) -> Graph<'a> {
        let none = Def { inst: None, depth: 0 };
        let mut graph = Graph { func, defs: vec![none; func.values.len()], uses: vec![0; func.values.len()] };
        graph.block(&func.body, 0);
        graph
    }

    fn block(&mut self, block: &'a Block, depth: usize) {
        for p in &block.params {
            self.defs[p.0 as usize] = Def { inst: None, depth };
        }
        for v in block.insts.iter().flat_map(|i| &i.args).chain(&block.results) {
            self.uses[v.0 as usize] += 1;
        }
        for inst in &block.insts {
            for region in &inst.regions {
                self.block(region, depth + 1);
            }
            for (k, r) in inst.results.iter().enumerate() {
                self.defs[r.0 as usize] = Def { inst: Some((inst, k)), depth };
            }
        }
    }

    /// The instruction that defines `v` and which of its results `v` is; `None` for parameters.
    pub fn inst(&self, v: ValueId) -> Option<(&'a Inst, usize)> {
        self.defs[v.0 as usize].inst
    }

    pub fn op(&self, v: ValueId) -> Option<&'a Op> {
        self.inst(v).map(|(i, _)| &i.op)
    }

    pub fn depth(&self, v: ValueId) -> usize {
        self.defs[v.0 as usize].depth
    }

    /// How often `v` is an operand or handed out by a block.
    pub fn uses(&self, v: ValueId) -> u32 {
        self.uses[v.0 as usize]
    }

    /// The tensor whose elements `v` has in the same order, by the operations alone.
    pub fn base(&self, mut v: ValueId) -> ValueId {
        while let Some((Inst { op: Op::Reshape | Op::StopGrad | Op::Barrier, args, .. }, _)) = self.inst(v) {
            v = args[0];
        }
        v
    }

    /// The tensor of which `v` is an update, where an operation or a loop makes it.
    pub fn updates(&self, v: ValueId) -> Option<ValueId> {
        let (inst, k) = self.inst(v)?;
        match &inst.op {
            Op::UpdateSlice { .. } | Op::Scatter { .. } => Some(inst.args[0]),
            Op::For => Some(inst.args[k + 1]),
            Op::While => Some(inst.args[k]),
            _ => None,
        }
    }

    /// The values from outside of the blocks at `depth` whose memory `v` may be, since they are handed on or updated.
    pub fn roots(&self, v: ValueId, depth: usize, out: &mut Vec<ValueId>) {
        let mut v = self.base(v);
        while self.depth(v) >= depth {
            match (self.updates(v), self.inst(v)) {
                (Some(before), _) => v = self.base(before),
                (None, Some((inst, k))) if inst.op == Op::If => {
                    return inst.regions.iter().for_each(|region| self.roots(region.results[k], depth, out));
                }
                _ => return,
            }
        }
        out.push(v);
    }

    pub fn is_scalar(&self, v: ValueId) -> bool {
        self.func.ty(v).is_scalar()
    }

    pub fn dtype(&self, v: ValueId) -> tdl_ir::Dtype {
        self.func.ty(v).dtype().unwrap_or(tdl_ir::Dtype::I64)
    }
}

/// Values from outside that a block uses, extents in types included, each once.
pub fn captures(func: &Function, block: &Block) -> Vec<ValueId> {
    let mut inside = rustc_hash::FxHashSet::default();
    let mut seen = indexmap::IndexSet::new();
    collect(func, block, &mut inside, &mut seen);
    seen.into_iter().filter(|v| !inside.contains(v)).collect()
}

fn collect(
    func: &Function,
    block: &Block,
    inside: &mut rustc_hash::FxHashSet<ValueId>,
    seen: &mut indexmap::IndexSet<ValueId>,
) {
    let mut define = |v: ValueId, seen: &mut indexmap::IndexSet<ValueId>| {
        inside.insert(v);
        for d in func.ty(v).dims() {
            if let tdl_ir::Dim::Val(d) = d {
                seen.insert(*d);
            }
        }
    };
    for p in &block.params {
        define(*p, seen);
    }
    for inst in &block.insts {
        seen.extend(inst.args.iter().copied());
        for r in &inst.results {
            define(*r, seen);
        }
    }
    for inst in &block.insts {
        for region in &inst.regions {
            collect(func, region, inside, seen);
        }
    }
    seen.extend(block.results.iter().copied());
}

//! Where a value is read for the last time, so that its buffer may be reused there.

use crate::{Block, Function, Inst, ValueId};

/// Mirrors a block.
pub struct Plan {
    pub insts: Vec<InstPlan>,
    /// Per result: the block owns the value and yields it once.
    pub take: Vec<bool>,
}

pub struct InstPlan {
    /// Per operand: the block owns the value, and nothing after this instruction (or inside its regions) reads it.
    pub take: Vec<bool>,
    pub regions: Vec<Plan>,
}

impl Plan {
    pub fn new(func: &Function) -> Plan {
        block(func, &func.body)
    }
}

fn block(func: &Function, b: &Block) -> Plan {
    const NEVER: usize = usize::MAX;
    // The index of the last instruction that reads a value; `insts.len()` for the block's results. Sizes are never taken:
    // types mention them.
    let mut last = std::collections::HashMap::new();
    for v in b.params.iter().chain(b.insts.iter().flat_map(|i| &i.results)) {
        if func.ty(*v).rank() > 0 || matches!(func.ty(*v), crate::Type::Stack { .. }) {
            last.insert(*v, NEVER);
        }
    }
    for (i, inst) in b.insts.iter().enumerate() {
        inst.visit_uses(&mut |v| {
            if let Some(at) = last.get_mut(&v) {
                *at = i;
            }
        });
    }
    for r in &b.results {
        if let Some(at) = last.get_mut(r) {
            *at = b.insts.len();
        }
    }
    let once = |values: &[ValueId], v: ValueId| values.iter().filter(|x| **x == v).count() == 1;
    let plan_inst = |(i, inst): (usize, &Inst)| {
        let mut inner = std::collections::HashSet::new();
        for r in &inst.regions {
            r.visit_uses(&mut |v| {
                inner.insert(v);
            });
        }
        let take = |v: &ValueId| last.get(v) == Some(&i) && once(&inst.args, *v) && !inner.contains(v);
        InstPlan {
            take: inst.args.iter().map(take).collect(),
            regions: inst.regions.iter().map(|r| block(func, r)).collect(),
        }
    };
    Plan {
        insts: b.insts.iter().enumerate().map(plan_inst).collect(),
        take: b.results.iter().map(|v| last.contains_key(v) && once(&b.results, *v)).collect(),
    }
}

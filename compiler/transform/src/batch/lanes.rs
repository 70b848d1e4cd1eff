//! Which values of a function differ from lane to lane, and which have another size in each lane.

use tdl_ir::{Block, Dim, Function, Inst, Op, Type, ValueId};

/// The values of one function.
pub struct Lanes<'a> {
    f: &'a Function,
    /// Whether lanes may compute what is then thrown away.
    masks: bool,
    differs: Vec<bool>,
    changed: bool,
}

impl<'a> Lanes<'a> {
    pub fn new(f: &'a Function, mapped: &[usize], masks: bool) -> Lanes<'a> {
        let mut lanes = Lanes { f, masks, differs: vec![false; f.values.len()], changed: true };
        for p in mapped {
            lanes.differs[f.params()[*p].0 as usize] = true;
        }
        while std::mem::take(&mut lanes.changed) {
            lanes.block(&f.body);
        }
        lanes
    }

    /// Has a value for each lane.
    pub fn differs(&self, v: ValueId) -> bool {
        self.differs[v.0 as usize]
    }

    /// Cannot be one tensor for all lanes: its size differs from lane to lane, or it is a stack or a text.
    pub fn ragged(&self, v: ValueId) -> bool {
        match self.f.ty(v) {
            Type::Tensor { dims, .. } => dims.iter().any(|d| matches!(d, Dim::Val(v) if self.differs(*v))),
            Type::Stack { .. } => true,
            Type::Str => self.differs(v),
        }
    }

    /// Reads, or computes inside, what differs from lane to lane.
    pub fn touches(&self, i: &Inst) -> bool {
        let mut found = i.results.iter().any(|r| self.differs(*r));
        i.visit_uses(&mut |v| found |= self.differs(v));
        found
    }

    /// Takes another way in each lane.
    pub fn parts(&self, i: &Inst) -> bool {
        match i.op {
            Op::If | Op::For => self.differs(i.args[0]),
            Op::While => self.differs(i.regions[0].results[0]),
            _ => false,
        }
    }

    /// Has to be done lane by lane: effects in the order of the lanes, values of another size.
    pub fn by_lane(&self, i: &Inst) -> bool {
        match &i.op {
            Op::If | Op::For | Op::While if self.parts(i) && !(self.masks && silent(i)) => return true,
            Op::Shear { .. } if i.args[1..].iter().any(|s| self.differs(*s)) => return true,
            Op::Window { .. } if i.args[2..].iter().any(|s| self.differs(*s)) => return true,
            Op::Attention | Op::AttentionGrad if i.args.last().is_some_and(|s| self.differs(*s)) => return true,
            Op::Nonzero | Op::Random { .. } | Op::Print { .. } if self.touches(i) => return true,
            Op::Assert { .. } if i.args.iter().any(|a| *self.f.ty(*a) == Type::Str) => return self.touches(i),
            Op::Io(_) | Op::Host(_) | Op::Format { .. } | Op::Vmap { .. } if self.touches(i) => return true,
            _ => {}
        }
        let mut ragged = i.results.iter().any(|r| self.ragged(*r));
        i.args.iter().for_each(|v| ragged |= self.ragged(*v));
        ragged
    }

    fn mark(&mut self, v: ValueId, differs: bool) {
        let at = &mut self.differs[v.0 as usize];
        self.changed |= differs && !*at;
        *at |= differs;
    }

    fn flow(&mut self, from: ValueId, to: ValueId) {
        self.mark(to, self.differs(from));
    }

    fn block(&mut self, block: &Block) {
        for i in &block.insts {
            self.inst(i);
        }
    }

    fn inst(&mut self, i: &Inst) {
        match &i.op {
            Op::If => {
                i.regions.iter().for_each(|r| self.block(r));
                let parts = self.parts(i);
                for (k, r) in i.results.iter().enumerate() {
                    i.regions.iter().for_each(|region| self.flow(region.results[k], *r));
                    self.mark(*r, parts);
                }
            }
            // while a lane goes on, it has done as many iterations as the others that do: what they carry may be the same
            Op::For | Op::While if self.parts(i) => {
                let body = &i.regions[i.regions.len() - 1];
                for (k, r) in i.results.iter().enumerate() {
                    let init = i.args[i.args.len() - i.results.len() + k];
                    for region in &i.regions {
                        let p = region.params[region.params.len() - i.results.len() + k];
                        self.flow(init, p);
                        self.flow(body.results[k], p);
                    }
                    let p = body.params[body.params.len() - i.results.len() + k];
                    self.mark(*r, self.differs(p) || body.results[k] != p);
                }
                i.regions.iter().for_each(|r| self.block(r));
            }
            Op::For | Op::While => {
                let skip = usize::from(matches!(i.op, Op::For));
                let body = &i.regions[i.regions.len() - 1];
                for (k, r) in i.results.iter().enumerate() {
                    self.flow(i.args[skip + k], *r);
                    self.flow(body.results[k], *r);
                    for region in &i.regions {
                        self.flow(*r, region.params[region.params.len() - i.results.len() + k]);
                    }
                }
                i.regions.iter().for_each(|r| self.block(r));
            }
            _ => {
                let differs = i.args.iter().any(|a| self.differs(*a));
                i.results.iter().for_each(|r| self.mark(*r, differs));
            }
        }
        if self.by_lane(i) || i.results.iter().any(|r| self.ragged(*r)) {
            i.results.iter().for_each(|r| self.mark(*r, true));
        }
    }
}

/// Does nothing that the world sees in the order of the lanes. (What is differentiated may not end in lanes that do not get there.)
fn silent(i: &Inst) -> bool {
    let mut silent = true;
    for region in &i.regions {
        region.visit_insts(&mut |i| {
            silent &= match i.op {
                Op::Assert { .. } | Op::Debug { .. } => true,
                Op::Vjp { .. } => false,
                _ => !i.op.has_effect(),
            };
        });
    }
    silent
}

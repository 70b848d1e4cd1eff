//! What has to be differentiated: floats that depend on the parameters (`varied`) and that a wanted result depends on
//! (`useful`). Integers and bools carry no derivative, but a float converted from one that depends on a parameter is an
//! error; so it counts as varied. A float whose derivative is zero (`round`) still depends on the parameter in this sense.

use tdl_ir::op::Derivative;
use tdl_ir::{Block, Function, Inst, Op, Type, ValueId};

/// The values of one function that need a tangent.
pub(super) struct Values {
    active: Vec<bool>,
    /// Through what a value depends on the parameters.
    cause: Vec<Option<ValueId>>,
}

impl Values {
    pub fn has(&self, v: ValueId) -> bool {
        self.active[v.0 as usize]
    }

    /// A way from a parameter to the operands of an instruction.
    pub fn path(&self, f: &Function, i: &Inst) -> Vec<ValueId> {
        let mut out = Vec::new();
        let depends = |v: &ValueId| self.cause[v.0 as usize].is_some();
        let mut at = i.args.iter().copied().find(depends);
        while let Some(v) = at {
            out.push(v);
            at = self.cause[v.0 as usize].filter(|c| out.len() < f.values.len() && !out.contains(c));
        }
        out.reverse();
        out
    }
}

/// The values of `f` that need a tangent.
pub(super) fn active(f: &Function, wrt: &[usize], wanted: &[ValueId]) -> Values {
    let n = f.values.len();
    let mut a = Analysis {
        f,
        varied: vec![false; n],
        tainted: vec![false; n],
        useful: vec![false; n],
        cause: vec![None; n],
        changed: false,
    };
    for p in wrt {
        a.varied[f.params()[*p].0 as usize] = true;
    }
    a.fixed_point(|a| a.forward(&f.body));
    for v in wanted {
        a.useful[v.0 as usize] = true;
    }
    a.fixed_point(|a| a.backward(&f.body));
    Values { active: a.varied.iter().zip(&a.useful).map(|(v, u)| *v && *u).collect(), cause: a.cause }
}

/// Has a tangent of its own: a float tensor, or a stack of them.
pub(super) fn is_float(ty: &Type) -> bool {
    match ty {
        Type::Tensor { dtype, .. } | Type::Stack { dtype, .. } => dtype.is_float(),
        Type::Str => false,
    }
}

/// The operands through which a derivative passes.
fn passes(i: &Inst, k: usize) -> bool {
    match &i.op {
        Op::Unary(op) => !matches!(op.def().derivative, Derivative::Zero),
        Op::Binary(op) => !matches!(op.def().derivative[k], Derivative::Zero),
        Op::StopGrad => false,
        _ => true,
    }
}

struct Analysis<'a> {
    f: &'a Function,
    varied: Vec<bool>,
    tainted: Vec<bool>,
    useful: Vec<bool>,
    cause: Vec<Option<ValueId>>,
    changed: bool,
}

impl Analysis<'_> {
    fn fixed_point(&mut self, mut walk: impl FnMut(&mut Self)) {
        loop {
            self.changed = false;
            walk(self);
            if !self.changed {
                return;
            }
        }
    }

    fn depends(&self, v: ValueId) -> (bool, bool) {
        (self.varied[v.0 as usize], self.tainted[v.0 as usize])
    }

    /// `to` depends on what `from` does.
    fn flow(&mut self, from: ValueId, to: ValueId) {
        let (varied, tainted) = self.depends(from);
        self.vary(to, varied, tainted, from);
    }

    fn vary(&mut self, v: ValueId, varied: bool, tainted: bool, cause: ValueId) {
        let at = v.0 as usize;
        if varied || tainted {
            self.cause[at].get_or_insert(cause);
        }
        self.changed |= varied && !self.varied[at] || tainted && !self.tainted[at];
        self.varied[at] |= varied;
        self.tainted[at] |= tainted;
    }

    fn forward(&mut self, block: &Block) {
        for i in &block.insts {
            match &i.op {
                Op::If => {
                    i.regions.iter().for_each(|r| self.forward(r));
                    for (k, r) in i.results.iter().enumerate() {
                        i.regions.iter().for_each(|region| self.flow(region.results[k], *r));
                    }
                }
                Op::For | Op::While => {
                    let skip = usize::from(matches!(i.op, Op::For));
                    for (k, r) in i.results.iter().enumerate() {
                        let (init, body) = (i.args[skip + k], &i.regions[i.regions.len() - 1]);
                        self.flow(init, *r);
                        self.flow(body.results[k], *r);
                        i.regions.iter().for_each(|region| {
                            let at = region.params.len() - i.results.len() + k;
                            self.flow(*r, region.params[at]);
                        });
                    }
                    i.regions.iter().for_each(|r| self.forward(r));
                    for (k, r) in i.results.iter().enumerate() {
                        self.flow(i.regions[i.regions.len() - 1].results[k], *r);
                    }
                }
                Op::StopGrad => {}
                _ => self.forward_plain(i),
            }
        }
    }

    fn forward_plain(&mut self, i: &Inst) {
        let (mut varied, mut tainted, mut touched) = (false, false, false);
        // by its floats alone, a float depends: an index or a condition carries nothing
        let mut by_floats = false;
        let mut cause = None;
        for (k, a) in i.args.iter().enumerate() {
            let (v, t) = self.depends(*a);
            if v || t {
                cause.get_or_insert(*a);
            }
            varied |= v && passes(i, k);
            touched |= v;
            tainted |= t;
            by_floats |= (v || t) && is_float(self.f.ty(*a));
        }
        let Some(cause) = cause else { return };
        let converted = matches!(i.op, Op::Convert) && tainted && !is_float(self.f.ty(i.args[0]));
        for r in &i.results {
            if is_float(self.f.ty(*r)) {
                let varied = varied || converted;
                self.vary(*r, varied, by_floats && !varied, cause);
            } else {
                self.vary(*r, false, touched || tainted, cause);
            }
        }
    }

    fn want(&mut self, v: ValueId) {
        let at = v.0 as usize;
        if !self.useful[at] && is_float(self.f.ty(v)) {
            self.useful[at] = true;
            self.changed = true;
        }
    }

    fn backward(&mut self, block: &Block) {
        for i in block.insts.iter().rev() {
            let useful = |a: &Self, v: ValueId| a.useful[v.0 as usize];
            match &i.op {
                Op::If => {
                    for (k, r) in i.results.iter().enumerate() {
                        if useful(self, *r) {
                            i.regions.iter().for_each(|region| self.want(region.results[k]));
                        }
                    }
                    i.regions.iter().for_each(|r| self.backward(r));
                }
                Op::For | Op::While => {
                    let skip = usize::from(matches!(i.op, Op::For));
                    let body = &i.regions[i.regions.len() - 1];
                    for (k, r) in i.results.iter().enumerate() {
                        if useful(self, *r) || useful(self, body.params[skip + k]) {
                            self.want(*r);
                            self.want(body.params[skip + k]);
                            self.want(body.results[k]);
                            self.want(i.args[skip + k]);
                        }
                    }
                    self.backward(body);
                }
                _ => {
                    if i.results.iter().any(|r| useful(self, *r)) {
                        for (k, a) in i.args.iter().enumerate() {
                            if passes(i, k) {
                                self.want(*a);
                            }
                        }
                    }
                }
            }
        }
    }
}

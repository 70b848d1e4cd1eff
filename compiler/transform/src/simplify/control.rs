//! Branches whose condition is known, loops that run once or never, and carried values that never change.

use tdl_ir::{Block, Builder, Function, Inst, Op, Scalar, ValueId};

use super::{Simplifier, name_after};
use crate::clone::{self, Map};

impl Simplifier {
    pub(super) fn branch(&mut self, b: &mut Builder, from: &Function, i: &Inst, map: &mut Map) {
        let cond = map.get(i.args[0]);
        if let Some(Scalar::Bool(c)) = b.as_const(cond) {
            let side = &i.regions[usize::from(!c)];
            return self.splice(b, from, side, &i.results, map);
        }
        // nothing to do on either side: a choice between scalars
        let idle = |r: &Block| r.insts.iter().all(|i| matches!(i.op, Op::Const(_)));
        if i.regions.iter().all(idle) && i.results.iter().all(|r| from.ty(*r).is_scalar()) {
            for region in &i.regions {
                self.splice(b, from, region, &[], map);
            }
            for (k, r) in i.results.iter().enumerate() {
                let (x, y) = (map.get(i.regions[0].results[k]), map.get(i.regions[1].results[k]));
                let ty = map.ty(b, from.ty(*r));
                b.span = i.span;
                let v = self.emit(b, Op::Select, vec![cond, x, y], ty);
                name_after(b, from, *r, v);
                map.set(*r, v);
            }
            return;
        }
        let regions: Vec<Block> = i.regions.iter().map(|r| self.region(b, from, r, map)).collect();
        let yields = [regions[0].results.clone(), regions[1].results.clone()];
        clone::inst_with(b, from, i, regions, map);
        // what both sides yield alike comes from outside
        for (k, old) in i.results.iter().enumerate() {
            if yields[0][k] == yields[1][k] {
                map.set(*old, yields[0][k]);
            }
        }
    }

    /// Puts a block's instructions here; `results` are what it yields.
    fn splice(&mut self, b: &mut Builder, from: &Function, block: &Block, results: &[ValueId], map: &mut Map) {
        for inst in &block.insts {
            self.inst(b, from, inst, map);
        }
        for (r, y) in results.iter().zip(&block.results) {
            let v = map.get(*y);
            map.set(*r, v);
        }
    }

    pub(super) fn counted(&mut self, b: &mut Builder, from: &Function, i: &Inst, map: &mut Map) {
        match b.as_i64(map.get(i.args[0])) {
            Some(n) if n <= 0 => {
                for (r, a) in i.results.iter().zip(&i.args[1..]) {
                    let v = map.get(*a);
                    map.set(*r, v);
                }
            }
            Some(1) => {
                let zero = b.const_i64(0);
                map.set(i.regions[0].params[0], zero);
                for (p, a) in i.regions[0].params[1..].iter().zip(&i.args[1..]) {
                    let v = map.get(*a);
                    map.set(*p, v);
                }
                self.splice(b, from, &i.regions[0], &i.results, map);
            }
            Some(_) | None => self.repeat(b, from, i, map),
        }
    }

    /// A loop; carried values that each iteration hands on unchanged become what they were before.
    pub(super) fn repeat(&mut self, b: &mut Builder, from: &Function, i: &Inst, map: &mut Map) {
        let skip = usize::from(matches!(i.op, Op::For));
        let body = &i.regions[i.regions.len() - 1];
        let stays = |k: usize| {
            let p = body.params[skip + k];
            let y = body.results[k];
            y == p || y == i.args[skip + k]
        };
        let fixed: Vec<bool> = (0..i.results.len()).map(stays).collect();
        if !fixed.contains(&true) {
            let regions = i.regions.iter().map(|r| self.region(b, from, r, map)).collect();
            clone::inst_with(b, from, i, regions, map);
            return;
        }
        let mut args: Vec<ValueId> = i.args[..skip].to_vec();
        for (k, fixed) in fixed.iter().enumerate() {
            let init = i.args[skip + k];
            if *fixed {
                let v = map.get(init);
                map.set(i.results[k], v);
                i.regions.iter().for_each(|r| map.set(r.params[r.params.len() - i.results.len() + k], v));
            } else {
                args.push(init);
            }
        }
        let kept = |list: &[ValueId], skip: usize| -> Vec<ValueId> {
            list.iter().enumerate().filter(|(k, _)| *k < skip || !fixed[k - skip]).map(|(_, v)| *v).collect()
        };
        let last = i.regions.len() - 1;
        let mut regions = Vec::new();
        for (n, r) in i.regions.iter().enumerate() {
            let at = r.params.len() - i.results.len();
            let results = if n == last { kept(&r.results, 0) } else { r.results.clone() };
            let params = kept(&r.params, at);
            b.begin_region();
            for p in params {
                let ty = map.ty(b, from.ty(p));
                let new = b.param(ty);
                b.copy_name(from.value(p), new);
                map.set(p, new);
            }
            for inst in &r.insts {
                self.inst(b, from, inst, map);
            }
            let results = map.all(&results);
            regions.push(b.end_region(results));
        }
        let narrow = Inst { op: i.op.clone(), args, results: kept(&i.results, 0), regions: Vec::new(), span: i.span };
        clone::inst_with(b, from, &narrow, regions, map);
    }
}

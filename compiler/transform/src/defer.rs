//! Takes sums over a loop's iterations out of the loop, where what is summed is there for all iterations afterwards anyway.
//!
//! before: %s, %t = for %i < %n, %a = %0, %b = %z {
//!           …   %1 = contract %g, %h[%i]   %2 = add %a, %1   %3 = update_slice %b, %g, %i   yield %2, %3 }
//! after:  %s', %t = for … { … }   %4 = contract %t, %h, over the iterations too   %s = add %s', %4
//!
//! So the gradient of what each step multiplies by is one product. [`super::dce`] drops what is left of the others.

use rustc_hash::{FxHashMap, FxHashSet};
use tdl_ir::{BinaryOp, Block, Dim, Function, Inst, Op, ReduceOp, Scalar, Type, Update, ValueId};

pub fn function(f: &mut Function) {
    let mut body = std::mem::take(&mut f.body);
    Deferrer { f, known: FxHashMap::default() }.block(&mut body);
    f.body = body;
}

struct Deferrer<'a> {
    f: &'a mut Function,
    /// Instructions with one result, by that.
    known: FxHashMap<ValueId, (Op, Vec<ValueId>)>,
}

/// In which order positions along an axis go by.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    Up,
    Down,
}

/// A loop and what is known of its body.
struct Loop<'i> {
    body: &'i Block,
    trip: ValueId,
    /// Everything that its body defines, itself and in regions.
    inside: FxHashSet<ValueId>,
    /// Its body's instructions, by their results.
    defs: FxHashMap<ValueId, &'i Inst>,
    uses: FxHashMap<ValueId, usize>,
    /// Values of which the loop's results hold those of all iterations, without reshapes, with the result.
    kept: FxHashMap<ValueId, (ValueId, Order)>,
}

/// A sum that moves: its instruction, and its operands in all iterations.
struct Moved {
    inst: Inst,
    from: Vec<ValueId>,
}

impl Deferrer<'_> {
    fn block(&mut self, block: &mut Block) {
        let mut out = Vec::with_capacity(block.insts.len());
        for mut i in std::mem::take(&mut block.insts) {
            i.regions.iter_mut().for_each(|r| self.block(r));
            if let [r] = i.results[..] {
                self.known.insert(r, (i.op.clone(), i.args.clone()));
            }
            let after = if i.op == Op::For { self.defer(&mut i) } else { Vec::new() };
            out.push(i);
            out.extend(after);
        }
        block.insts = out;
    }

    /// Changes a loop; gives what comes behind it.
    fn defer(&mut self, i: &mut Inst) -> Vec<Inst> {
        let info = self.look(i);
        let mut plans = Vec::new();
        for k in 0..i.results.len() {
            plans.extend(self.plan(&info, k).map(|(moved, rest)| (k, moved, rest)));
        }
        let mut after = Vec::new();
        for (k, moved, rest) in plans {
            let (r, region) = (i.results[k], &mut i.regions[0]);
            let ty = self.f.ty(r).clone();
            let mut sum = region.params[k + 1];
            for leaf in rest {
                let next = self.f.new_value(ty.clone(), i.span);
                let (op, args) = (Op::Binary(BinaryOp::Add), vec![sum, leaf]);
                region.insts.push(Inst { op, args, results: vec![next], regions: Vec::new(), span: i.span });
                sum = next;
            }
            region.results[k] = sum;
            let mut total = self.f.new_value(ty.clone(), i.span);
            i.results[k] = total;
            let count = moved.len();
            for (n, m) in moved.into_iter().enumerate() {
                let part = self.all_at_once(m, &ty, &mut after);
                let next = if n + 1 == count { r } else { self.f.new_value(ty.clone(), i.span) };
                let (op, args) = (Op::Binary(BinaryOp::Add), vec![total, part]);
                after.push(Inst { op, args, results: vec![next], regions: Vec::new(), span: i.span });
                total = next;
            }
        }
        after
    }

    fn look<'i>(&self, i: &'i Inst) -> Loop<'i> {
        let body = &i.regions[0];
        let mut inside: FxHashSet<ValueId> = body.params.iter().copied().collect();
        body.visit_insts(&mut |i| {
            inside.extend(&i.results);
            inside.extend(i.regions.iter().flat_map(|r| &r.params));
        });
        let mut uses = FxHashMap::default();
        body.visit_uses(&mut |v| *uses.entry(v).or_insert(0) += 1);
        let defs = body.insts.iter().flat_map(|i| i.results.iter().map(move |r| (*r, i))).collect();
        let mut info = Loop { body, trip: i.args[0], inside, defs, uses, kept: FxHashMap::default() };
        for (k, result) in i.results.iter().enumerate() {
            if let Some((value, order)) = self.keeps(&info, k, i.args[k + 1]) {
                info.kept.insert(value, (*result, order));
            }
        }
        info
    }

    /// The value of which carried tensor `k` gets that of every iteration, from `init` on.
    fn keeps(&self, l: &Loop<'_>, k: usize, init: ValueId) -> Option<(ValueId, Order)> {
        let (param, next) = (l.body.params[k + 1], l.body.results[k]);
        let inst = l.defs.get(&next).filter(|_| l.once(param))?;
        let Op::UpdateSlice { steps, mode } = &inst.op else { return None };
        let fresh = *mode == Update::Set || self.is_zeros(init);
        let (u, starts) = (inst.args[1], &inst.args[2..]);
        if inst.args[0] != param || !fresh || !self.is_place(l, steps, starts, self.f.ty(u), self.f.ty(param)) {
            return None;
        }
        Some((l.base(u), self.order(l, starts[0])?))
    }

    /// Is it one whole position along the first axis of a tensor that has as many as there are iterations?
    fn is_place(&self, l: &Loop<'_>, steps: &[i64], starts: &[ValueId], part: &Type, whole: &Type) -> bool {
        let (part, whole) = (part.dims(), whole.dims());
        let Some((first, rest)) = whole.split_first() else { return false };
        let zero = |v: &ValueId| self.constant(*v) == Some(0);
        let trip = match first {
            Dim::Const(c) => self.constant(l.trip) == Some(*c),
            Dim::Val(v) => *v == l.trip,
        };
        trip && part[0] == Dim::Const(1)
            && part[1..] == *rest
            && steps.iter().all(|s| *s == 1)
            && starts[1..].iter().all(zero)
    }

    fn order(&self, l: &Loop<'_>, at: ValueId) -> Option<Order> {
        let counter = l.body.params[0];
        if at == counter {
            return Some(Order::Up);
        }
        let (Op::Binary(BinaryOp::Sub), args) = self.known.get(&at)? else { return None };
        let last = match (self.constant(args[0]), self.constant(l.trip)) {
            (Some(last), Some(trip)) => last == trip - 1,
            _ => {
                matches!(self.known.get(&args[0]), Some((Op::Binary(BinaryOp::Sub), x)) if x[0] == l.trip && self.constant(x[1]) == Some(1))
            }
        };
        (args[1] == counter && last).then_some(Order::Down)
    }

    fn constant(&self, v: ValueId) -> Option<i64> {
        match self.known.get(&v) {
            Some((Op::Const(Scalar::Int(c)), _)) => Some(*c),
            _ => None,
        }
    }

    fn is_zeros(&self, v: ValueId) -> bool {
        match self.known.get(&v) {
            Some((Op::Expand { .. }, args)) => self.is_zeros(args[0]),
            Some((Op::Const(c), _)) => matches!(c, Scalar::Float(0) | Scalar::Int(0)),
            _ => false,
        }
    }

    /// What of the sum in carried value `k` moves, and what else is added in the loop.
    fn plan(&self, l: &Loop<'_>, k: usize) -> Option<(Vec<Moved>, Vec<ValueId>)> {
        let (param, next) = (l.body.params[k + 1], l.body.results[k]);
        let mut leaves = Vec::new();
        let mut todo = vec![next];
        while let Some(v) = todo.pop() {
            match l.defs.get(&v) {
                Some(i) if i.op == Op::Binary(BinaryOp::Add) && l.once(v) => todo.extend(&i.args),
                _ => leaves.push(v),
            }
        }
        if !l.once(param) || leaves.iter().filter(|v| **v == param).count() != 1 {
            return None;
        }
        let (mut moved, mut rest) = (Vec::new(), Vec::new());
        for v in leaves.into_iter().rev().filter(|v| *v != param) {
            match l.defs.get(&v).filter(|_| l.once(v)).and_then(|i| self.movable(l, i)) {
                Some(m) => moved.push(m),
                None => rest.push(v),
            }
        }
        (!moved.is_empty()).then_some((moved, rest))
    }

    fn movable(&self, l: &Loop<'_>, i: &Inst) -> Option<Moved> {
        if !matches!(i.op, Op::Contract { .. } | Op::Reduce { op: ReduceOp::Sum, .. }) {
            return None;
        }
        let found: Option<Vec<(ValueId, Order)>> = i.args.iter().map(|a| self.of_all(l, *a)).collect();
        let found = found.filter(|f| f.iter().all(|(_, order)| *order == f[0].1))?;
        Some(Moved { inst: i.clone(), from: found.into_iter().map(|(v, _)| v).collect() })
    }

    /// The tensor that has the operand `v` of every iteration, and in which order.
    fn of_all(&self, l: &Loop<'_>, v: ValueId) -> Option<(ValueId, Order)> {
        let outside = |d: &Dim| !matches!(d, Dim::Val(v) if l.inside.contains(v));
        if !self.f.ty(v).dims().iter().all(outside) {
            return None;
        }
        let base = l.base(v);
        if let Some(kept) = l.kept.get(&base) {
            return Some(*kept);
        }
        let i = l.defs.get(&base)?;
        let Op::Slice { steps } = &i.op else { return None };
        let (whole, starts) = (i.args[0], &i.args[1..]);
        let all = !l.inside.contains(&whole) && self.is_place(l, steps, starts, self.f.ty(base), self.f.ty(whole));
        all.then_some((whole, self.order(l, starts[0])?))
    }

    /// The sum over all iterations.
    fn all_at_once(&mut self, m: Moved, ty: &Type, out: &mut Vec<Inst>) -> ValueId {
        let span = m.inst.span;
        let mut emit = |s: &mut Self, op: Op, args: Vec<ValueId>, ty: Type| {
            let r = s.f.new_value(ty, span);
            out.push(Inst { op, args, results: vec![r], regions: Vec::new(), span });
            r
        };
        let mut args = Vec::new();
        for (one, all) in m.inst.args.iter().zip(m.from) {
            let (one, old) = (self.f.ty(*one).clone(), self.f.ty(all).clone());
            let dims: Vec<Dim> = old.dims()[..1].iter().chain(one.dims()).copied().collect();
            let same = dims == old.dims();
            let ty = Type::tensor(one.dtype().expect("a tensor"), dims);
            args.push(if same { all } else { emit(self, Op::Reshape, vec![all], ty) });
        }
        let op = match m.inst.op {
            Op::Contract { lhs, rhs, out } => {
                let label = (0..=u8::MAX).find(|l| !lhs.contains(l) && !rhs.contains(l)).expect("a label is free");
                let with = |labels: &[u8]| [&[label], labels].concat();
                Op::Contract { lhs: with(&lhs), rhs: with(&rhs), out }
            }
            Op::Reduce { op, axes } => {
                Op::Reduce { op, axes: std::iter::once(0).chain(axes.iter().map(|a| a + 1)).collect() }
            }
            op => unreachable!("{op:?} is no sum"),
        };
        emit(self, op, args, ty.clone())
    }
}

impl Loop<'_> {
    /// Is it used once in the body?
    fn once(&self, v: ValueId) -> bool {
        self.uses.get(&v) == Some(&1)
    }

    /// The value of which `v` is a reshape.
    fn base(&self, v: ValueId) -> ValueId {
        match self.defs.get(&v) {
            Some(i) if i.op == Op::Reshape => self.base(i.args[0]),
            _ => v,
        }
    }
}

//! Functions of the runtime, and what is looked up in order: `unique`, `searchsorted`, arrays of text by their ranks.

use tdl_ir::{BinaryOp, CompareOp, Dim, Dtype, HostFn, Op, Type, UnaryOp, ValueId};
use tdl_types::thir::Ty;

use crate::R;
use crate::elab::Elab;
use crate::env::Env;
use crate::tensor::{index, reduce};
use crate::val::Val;

impl<'p> Elab<'p> {
    /// A function of the runtime; results in the order of the type's leaves, sizes first.
    pub fn host_call(&mut self, env: &Env<'p>, func: HostFn, args: Vec<ValueId>, ty: &Ty) -> R<Val<'p>> {
        let ty = self.ty(env, ty)?;
        let leaves = self.leaves(&ty)?;
        let first = self.b.next_value(0);
        let types = self.types(&leaves, |k| ValueId(first.0 + k as u32))?;
        let values = self.b.inst(Op::Host(func), args, types, Vec::new());
        self.unflatten(&ty, &mut values.into_iter())
    }

    /// The place of each text among the distinct ones in order, and those.
    pub fn text_ranks(&mut self, x: ValueId) -> (ValueId, ValueId) {
        let ranks = self.b.ty(x).clone();
        let k = self.b.next_value(1);
        let types = vec![ranks, Type::scalar(Dtype::I64), Type::tensor(Dtype::I64, [Dim::Val(k)])];
        let r = self.b.inst(Op::Host(HostFn::TextRanks), vec![x], types, Vec::new());
        (r[0], r[2])
    }

    pub fn unique(&mut self, env: &Env<'p>, x: ValueId, text: bool, ty: &Ty) -> R<Val<'p>> {
        if text {
            let (_, table) = self.text_ranks(x);
            let Dim::Val(k) = self.b.dims(table)[0] else { return Ok(Val::Leaf(table)) };
            return self.pack(env, Val::Leaf(table), vec![k], ty);
        }
        // sorted, an element is new where it differs from the one before
        let sorted = reduce::sort(&mut self.b, x, 0, false).0;
        let dims = self.b.dims(x);
        let i = self.b.inst1(Op::Iota, Vec::new(), Type::tensor(Dtype::I64, dims));
        let one = self.b.full_like(1.0, i);
        let zero = self.b.full_like(0.0, i);
        let before = self.b.sub(i, one);
        let before = self.b.binary(BinaryOp::Max, before, zero);
        let same = self.b.ty(sorted).clone();
        let before = self.b.inst1(Op::Gather, vec![sorted, before], same);
        let differs = self.b.compare(CompareOp::Ne, sorted, before);
        let first = self.b.compare(CompareOp::Eq, i, zero);
        let new = self.b.binary(BinaryOp::Or, first, differs);
        let (k, at) = index::nonzero(&mut self.b, new);
        let out = Type::tensor(self.b.dtype(x), [Dim::Val(k)]);
        let out = self.b.inst1(Op::Gather, vec![sorted, at], out);
        self.pack(env, Val::Leaf(out), vec![k], ty)
    }

    /// For each of `x` how many of the sorted vector are less (or equal, with `right`): all bisected together.
    pub fn search_sorted(&mut self, sorted: ValueId, x: ValueId, right: bool, text: bool) -> R<ValueId> {
        let (sorted, x) = if text { self.ranked(sorted, x) } else { (sorted, x) };
        let n = self.b.dims(sorted)[0];
        let n = self.b.dim_value(n);
        let (zero, one) = (self.b.const_i64(0), self.b.const_i64(1));
        // log2(n) + 1 halvings, one more against rounding; none for an empty vector
        let some = self.b.binary(BinaryOp::Max, n, one);
        let wide = self.b.convert(some, Dtype::F64);
        let log = self.b.unary(UnaryOp::Log2, wide);
        let log = self.b.convert(log, Dtype::I64);
        let two = self.b.const_i64(2);
        let steps = self.b.add(log, two);
        let empty = self.b.compare(CompareOp::Eq, n, zero);
        let steps = self.b.select(empty, zero, steps);
        let dims = self.b.dims(x);
        let low = self.b.full(0.0, Dtype::I64, &dims);
        let high = self.b.splat(n, &dims);
        let probes = Type::tensor(self.b.dtype(x), dims.clone());
        let ends = self.b.for_loop(steps, vec![low, high], |b, _, carried| {
            let (low, high) = (carried[0], carried[1]);
            let total = b.add(low, high);
            let two = b.full_like(2.0, total);
            let middle = b.binary(BinaryOp::FloorDiv, total, two);
            let one = b.full_like(1.0, total);
            let last = b.splat(n, &b.dims(total));
            let last = b.sub(last, one);
            let at = b.binary(BinaryOp::Min, middle, last);
            let probe = b.inst1(Op::Gather, vec![sorted, at], probes.clone());
            let less = b.compare(if right { CompareOp::Le } else { CompareOp::Lt }, probe, x);
            let open = b.compare(CompareOp::Lt, low, high);
            let up = b.binary(BinaryOp::And, open, less);
            let next = b.add(middle, one);
            let low = b.select(up, next, low);
            let not_less = b.unary(UnaryOp::Not, less);
            let down = b.binary(BinaryOp::And, open, not_less);
            let high = b.select(down, middle, high);
            vec![low, high]
        });
        Ok(ends[0])
    }

    /// Texts as numbers in their order: those of a vector and of other values.
    fn ranked(&mut self, vector: ValueId, x: ValueId) -> (ValueId, ValueId) {
        let n = self.b.dims(vector)[0];
        let dims = self.b.dims(x);
        let flat = reduce::flatten(&mut self.b, x);
        let m = self.b.dims(flat)[0];
        let (a, b) = (self.b.dim_value(n), self.b.dim_value(m));
        let total = self.b.size_binary(BinaryOp::Add, a, b);
        let total = self.b.dim(total);
        let both = self.concat(&[vector, flat], 0, &[total]);
        let (ranks, _) = self.text_ranks(both);
        let zero = self.b.const_i64(0);
        let first = self.b.slice(ranks, vec![zero], &[n]);
        let start = self.b.dim_value(n);
        let rest = self.b.slice(ranks, vec![start], &[m]);
        (first, self.b.reshape(rest, &dims))
    }
}

//! The cotangents, from weights that are computed again.

use super::*;

/// `sums` and `delta` of a query, which is the last one where there is none of that number.
fn of_query(t: &mut Block<'_>, query: Operand) -> [Operand; 2] {
    let last = t.f.c.add(t.x.n, Operand::i64(-1));
    let query = t.f.c.min(query, last);
    [4, 5].map(|k| {
        let v = t.views[k];
        let load = Expr::Load { ptr: v.ptr, dtype: Dtype::F32, index: at(&v, query, Operand::i64(0)) };
        t.f.c.scalar(Dtype::F32, load)
    })
}

/// What a pair's scores become: the weight, and the score's cotangent with the factor.
struct Pair {
    score: Operand,
    /// The weight's cotangent.
    dw: Operand,
    sums: Operand,
    delta: Operand,
    /// The query sees the key; it sees none.
    seen: Operand,
    alone: Operand,
}

impl Pair {
    fn weight(&self, c: &mut Code, scale: Operand) -> Operand {
        let s = op(c, BinaryOp::Mul, self.score, scale);
        let s = select(c, Dtype::F32, self.alone, float(0.0), s);
        let less = op(c, BinaryOp::Sub, s, self.sums);
        let p = exp(c, less);
        let counts = c.binary(BinaryOp::Or, Dtype::Bool, self.seen, self.alone);
        select(c, Dtype::F32, counts, p, float(0.0))
    }

    fn cotangent(&self, c: &mut Code, scale: Operand, weight: Operand) -> Operand {
        let less = op(c, BinaryOp::Sub, self.dw, self.delta);
        let ds = op(c, BinaryOp::Mul, weight, less);
        let ds = op(c, BinaryOp::Mul, ds, scale);
        select(c, Dtype::F32, self.seen, ds, float(0.0))
    }
}

/// The cotangent of some queries.
pub fn queries(t: &mut Block<'_>) {
    let [q, k, v, dy, _, _, dq] = t.views[..] else { unreachable!("operands and results of attention_grad") };
    let Extents { n, m, d, e, .. } = t.x;
    let (row0, col0) = (t.row0, t.col0);
    let scale = t.scale();
    let (rows, row_of) = t.lines(|(row, _)| *row);
    let mut known = Vec::new();
    for row in &rows {
        let query = t.f.c.add(row0, *row);
        let seen = t.seen(query);
        known.push((seen, of_query(t, query)));
    }
    // who sees no key has no part in the scores
    let last = t.f.c.add(row0, Operand::i64(TILE - 1));
    let hi = t.seen(last);
    let init = t.none();
    let sums = t.tiles((Operand::i64(0), hi, m), &init, |t, from, to, now| {
        let none = t.none();
        let zero = Operand::i64(0);
        let (left, right) = (Side { view: q, at: row0, end: n }, Side { view: transposed(k), at: from, end: m });
        let scores = t.product(Some(left), right, (zero, d), &none);
        let (left, right) = (Side { view: dy, at: row0, end: n }, Side { view: transposed(v), at: from, end: m });
        let dws = t.product(Some(left), right, (zero, e), &none);
        let mut held = Vec::with_capacity(none.len());
        for (i, (score, dw)) in scores.into_iter().zip(dws).enumerate() {
            let c = &mut *t.f.c;
            let (limit, [sums, delta]) = known[row_of[i]];
            let key = c.add(from, t.elements[i].1);
            let seen = compare(c, CompareOp::Lt, key, limit);
            let pair = Pair { score, dw, sums, delta, seen, alone: Operand::bool(false) };
            let weight = pair.weight(c, scale);
            held.push(pair.cotangent(c, scale, weight));
        }
        t.hold(&held);
        t.product(None, Side { view: k, at: col0, end: d }, (from, to), now)
    });
    t.finish(dq, [n, d], &sums);
}

/// The cotangents of some keys and of their values.
pub fn keys(t: &mut Block<'_>) {
    let [q, k, v, dy, _, _, dk, dv] = t.views[..] else { unreachable!("operands and results of attention_grad") };
    let Extents { n, m, d, e, reach } = t.x;
    let (row0, col0) = (t.row0, t.col0);
    let scale = t.scale();
    let (cols, col_of) = t.lines(|(_, col)| *col);
    // the first query that sees the first of the keys, unless some see none and weigh all
    let c = &mut *t.f.c;
    let first = c.binary(BinaryOp::Sub, Dtype::I64, row0, reach);
    let first = c.max(first, Operand::i64(0));
    let tile = c.div(first, Operand::i64(TILE));
    let first = c.mul(tile, Operand::i64(TILE));
    let some_alone = compare(c, CompareOp::Lt, reach, Operand::i64(0));
    let lo = select(c, Dtype::I64, some_alone, Operand::i64(0), first);

    let count = t.elements.len();
    let init: Vec<Operand> = t.none().into_iter().chain(t.none()).collect();
    let sums = t.tiles((lo, n, n), &init, |t, from, to, now| {
        let none = t.none();
        let zero = Operand::i64(0);
        let mut known = Vec::new();
        for col in &cols {
            let query = t.f.c.add(from, *col);
            let [sums, delta] = of_query(t, query);
            let seen = t.seen(query);
            let c = &mut *t.f.c;
            let inside = compare(c, CompareOp::Lt, query, n);
            let alone = compare(c, CompareOp::Lt, seen, ONE);
            let alone = and(c, alone, inside);
            // no key is seen by queries that are not there
            let seen = select(c, Dtype::I64, inside, seen, zero);
            known.push((seen, alone, sums, delta));
        }
        let (left, right) = (Side { view: k, at: row0, end: m }, Side { view: transposed(q), at: from, end: n });
        let scores = t.product(Some(left), right, (zero, d), &none);
        let (left, right) = (Side { view: v, at: row0, end: m }, Side { view: transposed(dy), at: from, end: n });
        let dws = t.product(Some(left), right, (zero, e), &none);
        let (mut weights, mut cotangents) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (i, (score, dw)) in scores.into_iter().zip(dws).enumerate() {
            let c = &mut *t.f.c;
            let (limit, alone, sums, delta) = known[col_of[i]];
            let key = c.add(row0, t.elements[i].0);
            let seen = compare(c, CompareOp::Lt, key, limit);
            let pair = Pair { score, dw, sums, delta, seen, alone };
            let weight = pair.weight(c, scale);
            cotangents.push(pair.cotangent(c, scale, weight));
            weights.push(weight);
        }
        let (dk, dv) = now.split_at(count);
        t.hold(&weights);
        let dv = t.product(None, Side { view: dy, at: col0, end: e }, (from, to), dv);
        t.hold(&cotangents);
        let mut next = t.product(None, Side { view: q, at: col0, end: d }, (from, to), dk);
        next.extend(dv);
        next
    });
    let (of_keys, of_values) = sums.split_at(count);
    t.finish(dk, [m, d], of_keys);
    t.finish(dv, [m, e], of_values);
}

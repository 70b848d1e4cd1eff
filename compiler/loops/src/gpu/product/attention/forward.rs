//! The result, and the logarithms of the softmax's sums.

use super::*;

pub fn tile(t: &mut Block<'_>) {
    let [q, k, v, y, sums] = t.views[..] else { unreachable!("operands and results of attention") };
    let Extents { n, m, d, e, reach } = t.x;
    let (row0, col0) = (t.row0, t.col0);
    let scale = t.scale();
    let (rows, row_of) = t.lines(|(row, _)| *row);
    let count = t.elements.len();

    // who sees no key weighs all of them alike
    let mut limits = Vec::new();
    for row in &rows {
        let c = &mut *t.f.c;
        let query = c.add(row0, *row);
        let seen = t.seen(query);
        let c = &mut *t.f.c;
        let alone = compare(c, CompareOp::Lt, seen, ONE);
        limits.push((alone, select(c, Dtype::I64, alone, m, seen)));
    }
    let c = &mut *t.f.c;
    let last = c.add(row0, Operand::i64(TILE - 1));
    let end = t.seen(last);
    let c = &mut *t.f.c;
    let first = c.add(row0, reach);
    let alone = compare(c, CompareOp::Lt, first, Operand::i64(0));
    let hi = select(c, Dtype::I64, alone, m, end);

    let mut init = t.none();
    init.extend(rows.iter().map(|_| float(LOWEST)));
    init.extend(rows.iter().map(|_| float(0.0)));
    let done = t.tiles((Operand::i64(0), hi, m), &init, |t, at, to, now| {
        let (old, rest) = now.split_at(count);
        let (most, total) = rest.split_at(rows.len());
        let none = t.none();
        let queries = Side { view: q, at: row0, end: n };
        let keys = Side { view: transposed(k), at, end: m };
        let scores = t.product(Some(queries), keys, (Operand::i64(0), d), &none);

        let mut masked = Vec::with_capacity(count);
        let mut highest = most.to_vec();
        for (i, s) in scores.into_iter().enumerate() {
            let (c, row) = (&mut *t.f.c, row_of[i]);
            let (alone, limit) = limits[row];
            let s = op(c, BinaryOp::Mul, s, scale);
            let s = select(c, Dtype::F32, alone, float(0.0), s);
            let key = c.add(at, t.elements[i].1);
            let counts = compare(c, CompareOp::Lt, key, limit);
            let s = select(c, Dtype::F32, counts, s, float(f64::NEG_INFINITY));
            highest[row] = op(c, BinaryOp::Max, highest[row], s);
            masked.push(s);
        }
        let highest: Vec<Operand> = highest.into_iter().map(|x| t.along_row(BinaryOp::Max, x)).collect();
        let c = &mut *t.f.c;
        let mut fades = Vec::with_capacity(rows.len());
        for (old, new) in most.iter().zip(&highest) {
            let less = op(c, BinaryOp::Sub, *old, *new);
            fades.push(exp(c, less));
        }
        let mut totals: Vec<Operand> =
            total.iter().zip(&fades).map(|(x, fade)| op(c, BinaryOp::Mul, *x, *fade)).collect();
        let mut weights = Vec::with_capacity(count);
        for (i, s) in masked.into_iter().enumerate() {
            let less = op(c, BinaryOp::Sub, s, highest[row_of[i]]);
            let p = exp(c, less);
            totals[row_of[i]] = op(c, BinaryOp::Add, totals[row_of[i]], p);
            weights.push(p);
        }
        let faded: Vec<Operand> =
            old.iter().enumerate().map(|(i, x)| op(c, BinaryOp::Mul, *x, fades[row_of[i]])).collect();
        t.hold(&weights);
        let values = Side { view: v, at: col0, end: e };
        let mut next = t.product(None, values, (at, to), &faded);
        next.extend(highest);
        next.extend(totals);
        next
    });

    let (made, rest) = done.split_at(count);
    let (most, total) = rest.split_at(rows.len());
    // of no keys, the result is zero
    let c = &mut *t.f.c;
    let empty = compare(c, CompareOp::Eq, m, Operand::i64(0));
    let mut totals = Vec::with_capacity(rows.len());
    for x in total {
        let x = t.along_row(BinaryOp::Add, *x);
        totals.push(select(t.f.c, Dtype::F32, empty, float(1.0), x));
    }
    let c = &mut *t.f.c;
    let made: Vec<Operand> =
        made.iter().enumerate().map(|(i, x)| op(c, BinaryOp::Div, *x, totals[row_of[i]])).collect();
    t.finish(y, [n, e], &made);

    // the first block of the rows writes their sums, by the threads that have the first column
    let c = &mut *t.f.c;
    let (first_block, first_thread) =
        (compare(c, CompareOp::Eq, col0, Operand::i64(0)), compare(c, CompareOp::Eq, t.elements[0].1, Operand::i64(0)));
    let writes = and(c, first_block, first_thread);
    for ((row, most), total) in rows.iter().zip(most).zip(totals) {
        let row = c.add(row0, *row);
        let inside = compare(c, CompareOp::Lt, row, n);
        let cond = and(c, writes, inside);
        c.begin();
        let log = c.scalar(Dtype::F32, Expr::Unary { op: UnaryOp::Log, dtype: Dtype::F32, x: total });
        let value = op(c, BinaryOp::Add, *most, log);
        let index = at(&sums, row, Operand::i64(0));
        c.push(Stmt::Store { ptr: sums.ptr, dtype: Dtype::F32, index, value });
        let then = c.end();
        c.push(Stmt::If(If { cond, then, els: vec![], results: vec![] }));
    }
}

//! `einsum` as contractions of two operands, from left to right.

use tdl_ir::{Builder, Dtype, Op, Type, ValueId};

use super::index::{self, Item};

/// Labels of all operands and of the result. A label that stands twice in one operand takes the diagonal.
pub fn einsum(b: &mut Builder, operands: &[(ValueId, Vec<u8>)], result: &[u8]) -> Option<ValueId> {
    let operands: Vec<(ValueId, Vec<u8>)> =
        operands.iter().map(|(x, labels)| diagonals(b, *x, labels.clone())).collect();
    let later = |k: usize, l: &u8| result.contains(l) || operands[k..].iter().any(|(_, labels)| labels.contains(l));
    let mut acc: Option<(ValueId, Vec<u8>)> = None;
    for (k, (x, labels)) in operands.iter().enumerate() {
        // what stands in this operand alone is summed first
        let others = |l: &u8| acc.as_ref().is_some_and(|(_, a)| a.contains(l)) || later(k + 1, l);
        let gone: Vec<usize> = (0..labels.len()).filter(|i| !others(&labels[*i])).collect();
        let own: Vec<u8> = labels.iter().copied().filter(|l| others(l)).collect();
        let x = b.sum(*x, gone);
        acc = Some(match acc {
            None => (x, own),
            Some((y, mine)) => {
                // the last product gives the result's order
                let both: Vec<u8> = mine.iter().chain(own.iter().filter(|l| !mine.contains(l))).copied().collect();
                let out: Vec<u8> = if k + 1 == operands.len() {
                    result.to_vec()
                } else {
                    both.into_iter().filter(|l| later(k + 1, l)).collect()
                };
                (b.contract(y, x, &mine, &own, &out), out)
            }
        });
    }
    let (x, labels) = acc?;
    let perm = result.iter().map(|l| labels.iter().position(|k| k == l)).collect::<Option<Vec<usize>>>()?;
    Some(b.permute(x, perm))
}

/// Axes with one label become one axis.
fn diagonals(b: &mut Builder, mut x: ValueId, mut labels: Vec<u8>) -> (ValueId, Vec<u8>) {
    let again =
        |labels: &[u8]| (0..labels.len()).find_map(|q| Some((labels[..q].iter().position(|l| *l == labels[q])?, q)));
    while let Some((p, q)) = again(&labels) {
        // both in front, where the pairs of equal positions are gathered
        let perm: Vec<usize> = [p, q].into_iter().chain((0..labels.len()).filter(|k| *k != p && *k != q)).collect();
        let front = b.permute(x, perm.clone());
        let ids = b.inst1(Op::Iota, Vec::new(), Type::tensor(Dtype::I64, [b.dims(front)[0]]));
        let items = index::complete(b, &[Item::Gather(ids), Item::Gather(ids)], labels.len());
        x = index::read(b, front, &items);
        labels = perm.iter().enumerate().filter(|(i, _)| *i != 1).map(|(_, k)| labels[*k]).collect();
    }
    (x, labels)
}

//! `window`: products over windows are one op, views of them one for each window.

use tdl_ir::{Builder, Dim, Op, Type, ValueId, Window};

/// A product of two operands over windows; of one operand, the windows themselves or the sum of what they hold at each place of the
/// axis that they move over. `steps` are stride, dilation and padding of each window. `None` if the labels do not fit.
pub fn window(
    b: &mut Builder,
    operands: &[ValueId],
    labels: &[Vec<u8>],
    result: &[u8],
    windows: &[Window],
    steps: &[ValueId],
    ty: &Type,
) -> Option<ValueId> {
    let extent = |label: u8| Some(ty.dims()[result.iter().position(|l| *l == label)?]);
    let [x] = operands else {
        let [lhs, rhs] = labels else { return None };
        let args = operands.iter().chain(steps).copied().collect();
        let op = Op::Window { lhs: lhs.clone(), rhs: rhs.clone(), out: result.to_vec(), windows: windows.to_vec() };
        return Some(b.inst1(op, args, ty.clone()));
    };
    let (mut x, mut have) = (*x, labels.first()?.clone());
    for (w, steps) in windows.iter().zip(steps.chunks_exact(3)) {
        let at = |have: &[u8], label: u8| have.iter().position(|l| *l == label);
        let spread = result.contains(&w.whole);
        let axis = if spread {
            // the taps come after the places
            let (place, tap) = (at(&have, w.place)?, at(&have, w.tap)?);
            let mut order: Vec<usize> = (0..have.len()).filter(|k| *k != tap).collect();
            let axis = order.iter().position(|k| *k == place)?;
            order.insert(axis + 1, tap);
            have = order.iter().map(|k| have[*k]).collect();
            x = b.permute(x, order);
            axis
        } else {
            let axis = at(&have, w.whole)?;
            let mut dims = b.dims(x);
            dims.insert(axis + 1, extent(w.tap)?);
            have.insert(axis + 1, w.tap);
            x = b.expand(x, vec![axis + 1], &dims);
            axis
        };
        let to = if spread { w.whole } else { w.place };
        let mut dims: Vec<Dim> = b.dims(x);
        dims[axis] = extent(to)?;
        have[axis] = to;
        let view = Type::tensor(b.dtype(x), dims);
        let args = [x].into_iter().chain(steps.iter().copied()).collect();
        x = b.inst1(Op::Shear { axis, spread }, args, view);
        if spread {
            have.remove(axis + 1);
            x = b.sum(x, vec![axis + 1]);
        }
    }
    let perm = result.iter().map(|l| have.iter().position(|k| k == l)).collect::<Option<Vec<usize>>>()?;
    Some(b.permute(x, perm))
}

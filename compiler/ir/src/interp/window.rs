//! Windows: the view of them, and products over them. Every place and tap is visited, and what is outside counts as zero.

use super::tensor::bytes_of;
use super::{Eval, Tensor, internal};
use crate::Dtype;
use crate::op::Window;

/// Stride, dilation and padding of a window.
pub type Steps = [i64; 3];

fn at([stride, dilation, padding]: Steps, place: usize, tap: usize) -> i64 {
    stride.wrapping_mul(place as i64).wrapping_add(dilation.wrapping_mul(tap as i64)).wrapping_sub(padding)
}

/// See [`crate::Op::Shear`].
pub fn shear(x: &Tensor, axis: usize, spread: bool, steps: Steps, shape: Vec<usize>) -> Eval<Tensor> {
    if x.shape.len() != shape.len() || axis + 1 >= shape.len() || x.shape[axis + 1] != shape[axis + 1] {
        return internal(format!("shear {:?} to {shape:?} along {axis}", x.shape));
    }
    let size = x.dtype.size();
    let mut data = vec![0; bytes_of(x.dtype, &shape)?];
    let (outer, inner): (usize, usize) = (shape[..axis].iter().product(), shape[axis + 2..].iter().product());
    let (from, to, taps) = (x.shape[axis], shape[axis], shape[axis + 1]);
    let (places, whole) = if spread { (from, to) } else { (to, from) };
    for o in 0..outer {
        for p in 0..places {
            for t in 0..taps {
                let w = at(steps, p, t);
                if !(0..whole as i64).contains(&w) {
                    continue;
                }
                let (a, b) = if spread { (p, w as usize) } else { (w as usize, p) };
                let (src, dst) = (((o * from + a) * taps + t) * inner * size, ((o * to + b) * taps + t) * inner * size);
                data[dst..dst + inner * size].copy_from_slice(&x.data[src..src + inner * size]);
            }
        }
    }
    Ok(Tensor::new(x.dtype, shape, data))
}

/// One loop of a product: how many times, and how far each of the three tensors moves.
struct Loop {
    count: usize,
    strides: [usize; 3],
}

/// See [`crate::Op::Window`].
pub fn product(
    a: &Tensor,
    b: &Tensor,
    labels: [&[u8]; 3],
    windows: &[Window],
    steps: &[Steps],
    shape: Vec<usize>,
) -> Eval<Tensor> {
    let Some([wholes, places, taps]) = Window::roles(windows, labels) else {
        return internal("a window is not in three tensors");
    };
    let total = bytes_of(a.dtype, &shape)? / a.dtype.size();
    let shapes = [&a.shape, &b.shape, &shape];
    // extent and step of a label in a tensor
    let find = |k: usize, label: u8| {
        labels[k].iter().position(|l| *l == label).map(|i| (shapes[k][i], shapes[k][i + 1..].iter().product::<usize>()))
    };
    let mut plain: Vec<u8> = labels.concat();
    plain.sort_unstable();
    plain.dedup();
    plain.retain(|l| !Window::any(windows, *l));
    let loops: Vec<Loop> = plain
        .iter()
        .map(|l| {
            let found = [0, 1, 2].map(|k| find(k, *l));
            Loop {
                count: found.iter().flatten().next().map_or(1, |(n, _)| *n),
                strides: found.map(|f| f.map_or(0, |(_, s)| s)),
            }
        })
        .collect();
    // offsets of the three tensors for all places and taps of all windows that are inside
    let mut inside = vec![[0_usize; 3]];
    for (w, steps) in windows.iter().zip(steps) {
        let (Some((whole, sw)), Some((n_places, sp)), Some((n_taps, st))) =
            (find(wholes, w.whole), find(places, w.place), find(taps, w.tap))
        else {
            return internal("a label of a window is missing");
        };
        let mut next = Vec::new();
        for offsets in &inside {
            for p in 0..n_places {
                for t in 0..n_taps {
                    let i = at(*steps, p, t);
                    if (0..whole as i64).contains(&i) {
                        let mut o = *offsets;
                        o[wholes] += i as usize * sw;
                        o[places] += p * sp;
                        o[taps] += t * st;
                        next.push(o);
                    }
                }
            }
        }
        inside = next;
    }
    if a.dtype.is_float() {
        let mut data = vec![0.0; total];
        let (x, y) = (a.floats(), b.floats());
        walk(&loops, [0; 3], &mut |base| {
            for o in &inside {
                data[base[2] + o[2]] += x[base[0] + o[0]] * y[base[1] + o[1]];
            }
        });
        return Ok(Tensor::from_floats(a.dtype, shape, data));
    }
    if a.dtype == Dtype::Bool {
        return internal("a product of bools");
    }
    let mut data = vec![0_i64; total];
    let (x, y) = (a.ints(), b.ints());
    walk(&loops, [0; 3], &mut |base| {
        for o in &inside {
            let sum = &mut data[base[2] + o[2]];
            *sum = sum.wrapping_add(x[base[0] + o[0]].wrapping_mul(y[base[1] + o[1]]));
        }
    });
    Ok(Tensor::from_ints(a.dtype, shape, data))
}

fn walk(loops: &[Loop], base: [usize; 3], f: &mut impl FnMut([usize; 3])) {
    let Some((first, rest)) = loops.split_first() else { return f(base) };
    for i in 0..first.count {
        let mut at = base;
        at.iter_mut().zip(first.strides).for_each(|(b, s)| *b += i * s);
        walk(rest, at, f);
    }
}

//! The runtime's calls.

use tdl_ir::interp::{Host, Tensor, Value};
use tdl_ir::{Dist, Dtype, Scalar, element, random};
use tdl_loops::ir::*;

use super::{Frame, Machine, Run, V};

fn float(s: Scalar) -> f64 {
    match s {
        Scalar::Float(x) => f64::from_bits(x),
        Scalar::Int(x) => x as f64,
        Scalar::Bool(x) => f64::from(u8::from(x)),
    }
}

/// NaN last, in either direction.
fn order(a: Scalar, b: Scalar, dtype: Dtype, descending: bool) -> std::cmp::Ordering {
    let direction = |o: std::cmp::Ordering| if descending { o.reverse() } else { o };
    match (a, b) {
        (Scalar::Float(_), Scalar::Float(_)) => {
            let (x, y) = (float(a), float(b));
            match (x.is_nan(), y.is_nan()) {
                (false, false) => direction(x.partial_cmp(&y).expect("numbers")),
                (x, y) => x.cmp(&y),
            }
        }
        (Scalar::Int(x), Scalar::Int(y)) if dtype == Dtype::U64 => direction((x as u64).cmp(&(y as u64))),
        (Scalar::Int(x), Scalar::Int(y)) => direction(x.cmp(&y)),
        (a, b) => direction(float(a).partial_cmp(&float(b)).expect("numbers")),
    }
}

impl Machine<'_> {
    fn path(&self, f: &Frame<'_>, r: Reg) -> String {
        match self.get(f, r.into()) {
            V::Str(s) => s.to_string(),
            other => panic!("{other:?} is no path"),
        }
    }

    fn stack(&self, f: &Frame<'_>, r: Reg) -> usize {
        match self.get(f, r.into()) {
            V::Stack(s) => s,
            other => panic!("{other:?} is no stack"),
        }
    }

    /// Every place and every tap of a convolution, for these images.
    pub(super) fn windows(&mut self, f: &Frame<'_>, w: &Windows, images: std::ops::Range<i64>) -> Run<()> {
        let [n, g, c, o] = w.counts.map(|k| self.int(f, k));
        let steps = w.steps.map(|s| s.all().map(|k| self.int(f, k)));
        let tensors = [w.x, w.w, w.y].map(|r| self.ptr(f, r));
        let axis = |k: usize| steps.map(|s| s[k]);
        let all =
            |e: [i64; 3]| (0..e[0]).flat_map(move |i| (0..e[1]).flat_map(move |j| (0..e[2]).map(move |k| [i, j, k])));
        let flat = |e: [i64; 3], i: [i64; 3]| (i[0] * e[1] + i[1]) * e[2] + i[2];
        let size = |e: [i64; 3]| e.iter().product::<i64>();
        let (whole, place, tap) = (axis(0), axis(1), axis(2));
        let to = match w.result {
            Role::X => (0, n * size(whole) * g * c),
            Role::W => (1, g * size(tap) * c * o),
            Role::Y => (2, n * size(place) * g * o),
        };
        let mut sums = vec![0.0; to.1 as usize];
        for (p, t) in all(place).flat_map(|p| all(tap).map(move |t| (p, t))) {
            let at = [0, 1, 2].map(|k| steps[k][3] * p[k] + steps[k][4] * t[k] - steps[k][5]);
            if (0..3).any(|k| !(0..whole[k]).contains(&at[k])) {
                continue;
            }
            let (fx, ft, fp) = (flat(whole, at), flat(tap, t), flat(place, p));
            for (i, k) in images.clone().flat_map(|i| (0..g).map(move |k| (i, k))) {
                for (a, b) in (0..c).flat_map(|a| (0..o).map(move |b| (a, b))) {
                    let index = [
                        ((i * size(whole) + fx) * g + k) * c + a,
                        ((k * size(tap) + ft) * c + a) * o + b,
                        ((i * size(place) + fp) * g + k) * o + b,
                    ];
                    let mut product = 1.0;
                    for k in (0..3).filter(|k| *k != to.0) {
                        product *= float(self.mem.load(tensors[k], index[k], w.dtype)?);
                    }
                    sums[index[to.0] as usize] += product;
                }
            }
        }
        let each = to.1 / n.max(1);
        for (i, sum) in sums.into_iter().enumerate() {
            if w.result != Role::W && !images.contains(&(i as i64 / each.max(1))) {
                continue;
            }
            self.mem.store(tensors[to.0], i as i64, w.dtype, element::canonical(Scalar::float(sum), w.dtype))?;
        }
        Ok(())
    }

    /// A stack's bytes are in one block, so that addresses stay valid.
    pub(super) fn runtime(&mut self, f: &mut Frame<'_>, call: &RuntimeCall) -> Run<()> {
        match call {
            RuntimeCall::Sort { src, values, indices, dtype, rows, len, descending } => {
                let (rows, len) = (self.int(f, *rows), self.int(f, *len));
                let (src, values, indices) = (self.ptr(f, *src), self.ptr(f, *values), self.ptr(f, *indices));
                for r in 0..rows {
                    let mut row = Vec::new();
                    for i in 0..len {
                        row.push((self.mem.load(src, r * len + i, *dtype)?, i));
                    }
                    row.sort_by(|a, b| order(a.0, b.0, *dtype, *descending));
                    for (i, (x, at)) in row.into_iter().enumerate() {
                        self.mem.store(values, r * len + i as i64, *dtype, x)?;
                        self.mem.store(indices, r * len + i as i64, Dtype::I64, Scalar::Int(at))?;
                    }
                }
            }
            RuntimeCall::CountTrue { dst, mask, len } => {
                let bytes = self.mem.bytes(self.ptr(f, *mask), self.int(f, *len) as usize)?;
                let count = bytes.iter().filter(|b| **b != 0).count();
                f.set(*dst, V::Scalar(Scalar::Int(count as i64)));
            }
            RuntimeCall::Positions { dst, mask, len } => {
                let bytes = self.mem.bytes(self.ptr(f, *mask), self.int(f, *len) as usize)?.to_vec();
                let dst = self.ptr(f, *dst);
                for (k, (i, _)) in bytes.iter().enumerate().filter(|(_, b)| **b != 0).enumerate() {
                    self.mem.store(dst, k as i64, Dtype::I64, Scalar::Int(i as i64))?;
                }
            }
            RuntimeCall::Random { dst, dist, dtype, key, counter, len } => {
                let (key, counter, len) = (self.int(f, *key), self.int(f, *counter), self.int(f, *len));
                let dst = self.ptr(f, *dst);
                for i in 0..len {
                    let j = counter.wrapping_add(i);
                    let x = match (dist, dtype) {
                        (Dist::Bits, Dtype::U32) => Scalar::Int(i64::from(random::word32(key, j))),
                        (Dist::Bits, _) => Scalar::Int(random::word64(key, j) as i64),
                        (Dist::Uniform, Dtype::F32) => {
                            Scalar::float(f64::from(random::uniform_f32(random::word32(key, j))))
                        }
                        (Dist::Uniform, _) => Scalar::float(random::uniform_f64(random::word64(key, j))),
                        (Dist::Normal, Dtype::F32) => {
                            Scalar::float(f64::from(random::normal_f32(random::word32(key, j))))
                        }
                        (Dist::Normal, _) => Scalar::float(random::normal_f64(random::word64(key, j))),
                    };
                    self.mem.store(dst, i, *dtype, x)?;
                }
            }
            RuntimeCall::Windows(w) => self.windows(f, w, 0..self.int(f, w.counts[0]))?,
            RuntimeCall::StackNew { dst } => {
                self.stacks.push(Vec::new());
                f.set(*dst, V::Stack(self.stacks.len() - 1));
            }
            RuntimeCall::StackGrow { dst, stack, bytes } => {
                // The pushed bytes live in a block of their own until the stack is read.
                let s = self.stack(f, *stack);
                let p = self.mem.alloc(self.int(f, *bytes) as usize);
                self.stacks[s].extend((p.block as u64).to_le_bytes());
                f.set(*dst, V::Ptr(p));
            }
            RuntimeCall::StackContents { ptr, bytes, stack } => {
                let s = self.stack(f, *stack);
                let mut all = Vec::new();
                for p in self.pushed(s) {
                    let len = self.mem.len(p);
                    all.extend_from_slice(self.mem.bytes(p, len)?);
                }
                f.set(*bytes, V::Scalar(Scalar::Int(all.len() as i64)));
                let p = self.mem.alloc_with(all, true);
                self.stacks[s].extend((p.block as u64 | 1 << 63).to_le_bytes());
                f.set(*ptr, V::Ptr(p));
            }
            RuntimeCall::StackFree { stack } => {
                let s = self.stack(f, *stack);
                for word in std::mem::take(&mut self.stacks[s]).chunks(8) {
                    let block = u64::from_le_bytes(word.try_into().expect("a word")) & !(1 << 63);
                    self.mem.free_unchecked(super::memory::Pointer { block: block as usize, offset: 0 });
                }
            }
            RuntimeCall::Save { path, entries } => {
                let path = self.path(f, *path);
                let tensors: Vec<Tensor> = entries
                    .iter()
                    .map(|e| match self.value(f, &e.value)? {
                        Value::Tensor(t) => Ok(t),
                        other => panic!("{other:?} is saved"),
                    })
                    .collect::<Run<_>>()?;
                let leaves: Vec<(&str, &Tensor)> = entries.iter().map(|e| &*e.name).zip(&tensors).collect();
                self.host.save(&path, &leaves)?;
            }
            RuntimeCall::Load { path, entries, renamed, extra } => {
                let path = self.path(f, *path);
                let renamed = match renamed {
                    Some(a) => Some(self.value(f, a)?),
                    None => None,
                };
                let wanted: Vec<(&str, Dtype, Vec<usize>)> = entries
                    .iter()
                    .map(|e| (&*e.name, e.dtype, e.dims.iter().map(|d| self.int(f, *d) as usize).collect()))
                    .collect();
                let renamed = renamed.as_ref().and_then(Value::tensor);
                let tensors = self.host.load(&path, &wanted, renamed, *extra)?;
                for (e, t) in entries.iter().zip(tensors) {
                    self.mem.bytes_mut(self.ptr(f, e.dst), t.data.len())?.copy_from_slice(&t.data);
                }
            }
            RuntimeCall::Exists { dst, path } => {
                let found = self.host.exists(&self.path(f, *path));
                f.set(*dst, V::Scalar(Scalar::Bool(found)));
            }
            RuntimeCall::Host { func, args, results } => {
                let args = args.iter().map(|a| self.value(f, a)).collect::<Run<Vec<_>>>()?;
                for (r, v) in results.iter().zip(self.host.call(*func, &args)?) {
                    let v = match v {
                        Value::Str(s) => V::Str(s),
                        Value::Tensor(t) if t.shape.is_empty() => V::Scalar(t.get(0)),
                        Value::Tensor(t) => V::Ptr(self.mem.alloc_with(t.data.to_vec(), false)),
                        Value::Stack(_) => panic!("a stack is given"),
                    };
                    f.set(*r, v);
                }
            }
            RuntimeCall::Clock { dst } => {
                f.set(*dst, V::Scalar(element::canonical(Scalar::float(self.host.clock()), Dtype::F64)));
            }
            RuntimeCall::Progress { i, n } => self.host.progress(self.int(f, *i), self.int(f, *n)),
            RuntimeCall::Segment { .. } => {}
        }
        Ok(())
    }

    fn pushed(&self, s: usize) -> Vec<super::memory::Pointer> {
        self.stacks[s]
            .chunks(8)
            .map(|w| u64::from_le_bytes(w.try_into().expect("a word")))
            .filter(|w| w >> 63 == 0)
            .map(|w| super::memory::Pointer { block: w as usize, offset: 0 })
            .collect()
    }
}

//! Windows: products over them in the runtime's form, and views of them element by element.

use tdl_ir::{BinaryOp, Builder, CompareOp, Dim, Dtype, Inst, Op, Scalar, Type, ValueId, Window};

use crate::code::Idx;
use crate::ir::*;
use crate::lower::Lower;
use crate::prepare::Preparer;

/// The runtime's labels.
const WINDOWS: [Window; 3] = [
    Window { whole: b'u', place: b'p', tap: b'i' },
    Window { whole: b'v', place: b'q', tap: b'j' },
    Window { whole: b'w', place: b'r', tap: b'k' },
];

/// The runtime's form: images, groups, channels of `x` and of `y` are one axis each.
fn runtime_labels(role: Role, count: usize) -> Vec<u8> {
    let own = |k: usize| WINDOWS[..count].iter().map(move |w| w.labels()[k]);
    match role {
        Role::X => [b'n'].into_iter().chain(own(0)).chain([b'g', b'c']).collect(),
        Role::W => [b'g'].into_iter().chain(own(2)).chain([b'c', b'o']).collect(),
        Role::Y => [b'n'].into_iter().chain(own(1)).chain([b'g', b'o']).collect(),
    }
}

/// Which of the three tensors (operands, result) is which, by [`Window::roles`].
fn roles(windows: &[Window], tensors: [&[u8]; 3]) -> [Role; 3] {
    let [wholes, places, _] = Window::roles(windows, tensors).expect("verified");
    [0, 1, 2].map(|k| match k {
        _ if k == wholes => Role::X,
        _ if k == places => Role::Y,
        _ => Role::W,
    })
}

impl Preparer<'_> {
    /// A product with windows in the runtime's form: axes in its order, joined to the four that it knows; f16 and bf16 computed in
    /// f32. Integers, and everything on a GPU, are spelt as views and sums.
    pub fn window(&mut self, tensors: [&[u8]; 3], windows: &[Window], args: &[ValueId], ty: &Type) -> ValueId {
        let roles = roles(windows, tensors);
        let orders = Window::orders(windows, tensors).expect("verified");
        let dtype = ty.dtype().expect("a tensor");
        let computed = if matches!(dtype, Dtype::F16 | Dtype::Bf16) { Dtype::F32 } else { dtype };
        let b = &mut self.b;
        let mut operands = Vec::new();
        for k in 0..2 {
            let x = b.convert(args[k], computed);
            let x = b.permute(x, positions(&orders[k].concat(), tensors[k]));
            operands.push(joined(b, x, &orders[k]));
        }
        let order = &orders[2];
        let perm = positions(&order.concat(), tensors[2]);
        let dims: Vec<Dim> = perm.iter().map(|p| ty.dims()[*p]).collect();
        let count = windows.len();
        let result = Type::tensor(computed, joined_dims(b, &dims, order));
        let labels = roles.map(|r| runtime_labels(r, count));
        let y = if computed.is_float() && self.target == Target::Cpu {
            let [lhs, rhs, out] = labels;
            let op = Op::Window { lhs, rhs, out, windows: WINDOWS[..count].to_vec() };
            let all = operands.iter().chain(&args[2..]).copied().collect();
            b.inst1(op, all, result)
        } else {
            self.spelt(roles, &labels, &operands, &args[2..], &result)
        };
        let b = &mut self.b;
        let y = b.reshape(y, &dims);
        let mut back = vec![0; perm.len()];
        for (i, p) in perm.iter().enumerate() {
            back[*p] = i;
        }
        let y = b.permute(y, back);
        b.convert(y, dtype)
    }

    /// The product through views of the windows.
    fn spelt(
        &mut self,
        roles: [Role; 3],
        labels: &[Vec<u8>; 3],
        operands: &[ValueId],
        steps: &[ValueId],
        ty: &Type,
    ) -> ValueId {
        let count = steps.len() / 3;
        // `x` with an axis of taps after each of places
        let mut wide = runtime_labels(Role::X, count);
        for (k, w) in WINDOWS[..count].iter().enumerate() {
            wide[1 + 2 * k] = w.place;
            wide.insert(2 + 2 * k, w.tap);
        }
        let args = |x: ValueId, k: usize| [x].into_iter().chain(steps[3 * k..3 * k + 3].iter().copied()).collect();
        let extent = |p: &Self, role: Role, label: u8| {
            let k = roles.iter().position(|r| *r == role).expect("each role is there");
            let dims = if k == 2 { ty.dims().to_vec() } else { p.b.dims(operands[k]) };
            dims[labels[k].iter().position(|l| *l == label).expect("a label of the runtime")]
        };
        let Some(x) = (0..2).find(|k| roles[*k] == Role::X) else {
            let product = self.product(operands[0], operands[1], &labels[0], &labels[1], &wide);
            let mut sum = product;
            for (k, w) in WINDOWS[..count].iter().enumerate() {
                let mut dims = self.b.dims(sum);
                dims[1 + 2 * k] = extent(self, Role::X, w.whole);
                let view = Type::tensor(self.b.dtype(sum), dims);
                let all = args(sum, k);
                sum = self.b.inst1(Op::Shear { axis: 1 + 2 * k, spread: true }, all, view);
            }
            return self.b.sum(sum, (0..count).map(|k| 2 + 2 * k).collect());
        };
        let mut view = operands[x];
        for (k, w) in WINDOWS[..count].iter().enumerate() {
            let axis = 1 + 2 * k;
            let mut dims = self.b.dims(view);
            dims.insert(axis + 1, extent(self, Role::W, w.tap));
            let stretched = self.b.expand(view, vec![axis + 1], &dims);
            dims[axis] = extent(self, Role::Y, w.place);
            let ty = Type::tensor(self.b.dtype(view), dims);
            let all = args(stretched, k);
            view = self.b.inst1(Op::Shear { axis, spread: false }, all, ty);
        }
        self.product(view, operands[1 - x], &wide, &labels[1 - x], &labels[2])
    }

    fn product(&mut self, a: ValueId, b: ValueId, lhs: &[u8], rhs: &[u8], out: &[u8]) -> ValueId {
        match self.contract(a, b, lhs, rhs, out) {
            Some(v) => v,
            None => self.b.contract(a, b, lhs, rhs, out),
        }
    }
}

/// Where each label stands in a list.
fn positions(labels: &[u8], list: &[u8]) -> Vec<usize> {
    labels.iter().filter_map(|l| list.iter().position(|x| x == l)).collect()
}

/// The extents of axes that are joined as `order` says.
fn joined_dims(b: &mut Builder, dims: &[Dim], order: &[Vec<u8>]) -> Vec<Dim> {
    let mut rest = dims;
    let mut out = Vec::with_capacity(order.len());
    for axes in order {
        let (own, after) = rest.split_at(axes.len());
        rest = after;
        out.push(match own {
            [one] => *one,
            _ => {
                let n = b.numel(own);
                b.dim(n)
            }
        });
    }
    out
}

fn joined(b: &mut Builder, x: ValueId, order: &[Vec<u8>]) -> ValueId {
    let dims = b.dims(x);
    let to = joined_dims(b, &dims, order);
    b.reshape(x, &to)
}

impl Lower<'_> {
    /// A product with windows in the runtime's form.
    pub fn window(&mut self, inst: &Inst, tensors: [&[u8]; 3], windows: &[Window], n: usize) {
        let roles = roles(windows, tensors);
        let values = [inst.args[0], inst.args[1], inst.results[0]];
        let of = |role: Role| values[roles.iter().position(|r| *r == role).expect("each role is there")];
        let (x, w, y) = (of(Role::X), of(Role::W), of(Role::Y));
        let [dx, dw, dy] = [x, w, y].map(|v| self.sizes_of(v));
        let buf = self.place(inst.results[0], n);
        let ptr = |l: &mut Self, v: ValueId| {
            let b = if v == inst.results[0] { buf } else { l.dense(v) };
            l.buf(b).ptr
        };
        let (x, w, y) = (ptr(self, x), ptr(self, w), ptr(self, y));
        let last = dx.len() - 1;
        let counts = [&dx[0], &dx[last - 1], &dx[last], &dw[last]].map(|s| self.size(s));
        let one = Operand::i64(1);
        let unused =
            WindowSteps { whole: one, place: one, tap: one, stride: one, dilation: one, padding: Operand::i64(0) };
        let mut steps = [unused; 3];
        let skip = 3 - windows.len();
        for k in 0..windows.len() {
            let [stride, dilation, padding] = [0, 1, 2].map(|i| self.scalar(inst.args[2 + 3 * k + i]));
            let [whole, tap, place] = [&dx, &dw, &dy].map(|d| self.size(&d[1 + k]));
            steps[skip + k] = WindowSteps { whole, place, tap, stride, dilation, padding };
        }
        let dtype = self.dtype(inst.results[0]);
        let call = Windows { dtype, result: roles[2], x, w, y, counts, steps };
        self.runtime(RuntimeCall::Windows(Box::new(call)));
    }

    /// One element of a view of windows, or of its transpose: what is outside is zero.
    pub fn shear(&mut self, v: ValueId, axis: usize, spread: bool, idx: &[Idx]) -> Operand {
        let (inst, _) = self.values.graph.inst(v).expect("an instruction");
        let (x, steps) = (inst.args[0], [inst.args[1], inst.args[2], inst.args[3]]);
        let [stride, dilation, padding] = steps.map(|s| self.values.graph.value_size(s));
        let extent = self.sizes_of(x)[axis].clone();
        let mut inner = idx.to_vec();
        let minus = |s: &crate::size::Size| s.scale(-1);
        if spread {
            // place * stride = whole + padding - dilation * tap
            let at = idx[axis].add(&Idx::size(padding)).add(&idx[axis + 1].scale(&minus(&dilation)));
            let at = self.position(&at);
            let s = self.outer_size(&stride);
            let zero = Operand::i64(0);
            let code = self.code();
            let from = code.max(at, zero);
            let place = code.div(from, s);
            let rest = code.rem(from, s);
            let whole = code.scalar(Dtype::Bool, compare(CompareOp::Eq, rest, zero));
            let started = code.scalar(Dtype::Bool, compare(CompareOp::Ge, at, zero));
            let ok = code.binary(BinaryOp::And, Dtype::Bool, whole, started);
            return self.guarded(x, &mut inner, axis, place, ok, &extent, true);
        }
        let at = idx[axis].scale(&stride).add(&idx[axis + 1].scale(&dilation)).add(&Idx::size(minus(&padding)));
        let (places, taps) = (self.sizes_of(v)[axis].clone(), self.sizes_of(v)[axis + 1].clone());
        let consts = [&stride, &dilation, &padding, &places, &taps, &extent].map(|s| s.as_const());
        if let [Some(s), Some(d), Some(p), Some(n), Some(t), Some(w)] = consts
            && p <= 0
            && s * (n - 1) + d * (t - 1) - p < w
        {
            // all windows are inside
            inner[axis] = at;
            return self.eval(x, &inner);
        }
        let at = self.position(&at);
        let ok = self.code().scalar(Dtype::Bool, compare(CompareOp::Ge, at, Operand::i64(0)));
        self.guarded(x, &mut inner, axis, at, ok, &extent, false)
    }

    /// Element `at` along `axis` if `ok` and it is not past the end, else zero.
    fn guarded(
        &mut self,
        x: ValueId,
        inner: &mut [Idx],
        axis: usize,
        at: Operand,
        ok: Operand,
        extent: &crate::size::Size,
        positive: bool,
    ) -> Operand {
        let n = self.outer_size(extent);
        let code = self.code();
        let before_end = code.scalar(Dtype::Bool, compare(CompareOp::Lt, at, n));
        let ok = code.binary(BinaryOp::And, Dtype::Bool, ok, before_end);
        // what is read where nothing counts has to be in memory
        let last = code.binary(BinaryOp::Sub, Dtype::I64, n, Operand::i64(1));
        let mut near = code.min(at, last);
        if !positive || extent.as_const().is_none_or(|n| n < 1) {
            near = code.max(near, Operand::i64(0));
        }
        inner[axis] = Idx::operand(near);
        let dtype = self.dtype(x);
        let value = self.eval(x, inner);
        let zero = if dtype.is_float() { Scalar::float(0.0) } else { Scalar::Int(0) };
        let zero = Operand::Const(zero, dtype);
        self.code().scalar(dtype, Expr::Select { dtype, cond: ok, a: value, b: zero })
    }
}

fn compare(op: CompareOp, a: Operand, b: Operand) -> Expr {
    Expr::Compare { op, dtype: Dtype::I64, a, b }
}

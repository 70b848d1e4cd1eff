//! Each op with one axis more.

use tdl_ir::{AssertKind, BinaryOp, Inst, Op, Piece, ReduceOp, Type, UnaryOp, ValueId};

use super::Batcher;

impl Batcher<'_> {
    pub(super) fn op(&mut self, i: &Inst) {
        let args = &i.args;
        let op = match &i.op {
            Op::Unary(_)
            | Op::Binary(_)
            | Op::Compare(_)
            | Op::Select
            | Op::Convert
            | Op::StopGrad
            | Op::Barrier
            | Op::Reshape => i.op.clone(),
            Op::Expand { axes } => Op::Expand { axes: axes.iter().map(|a| a + 1).collect() },
            Op::Permute { perm } => {
                Op::Permute { perm: std::iter::once(0).chain(perm.iter().map(|p| p + 1)).collect() }
            }
            Op::Flip { axes } => Op::Flip { axes: axes.iter().map(|a| a + 1).collect() },
            Op::Shear { axis, spread } => {
                let mut all = vec![self.laned(args[0])];
                all.extend(self.map.all(&args[1..]));
                return self.emit(i, Op::Shear { axis: axis + 1, spread: *spread }, all);
            }
            Op::Concat { axis } => Op::Concat { axis: axis + 1 },
            Op::Reduce { op, axes } => Op::Reduce { op: *op, axes: axes.iter().map(|a| a + 1).collect() },
            Op::ArgReduce { max, axis } => Op::ArgReduce { max: *max, axis: axis + 1 },
            Op::Scan { op, axis, reverse } => Op::Scan { op: *op, axis: axis + 1, reverse: *reverse },
            Op::Sort { axis, descending } => Op::Sort { axis: axis + 1, descending: *descending },
            Op::Contract { lhs, rhs, out } => {
                return self.product(i, [lhs, rhs, out], |[lhs, rhs, out]| Op::Contract { lhs, rhs, out });
            }
            Op::Window { lhs, rhs, out, windows } => {
                let windows = windows.clone();
                return self.product(i, [lhs, rhs, out], |[lhs, rhs, out]| Op::Window { lhs, rhs, out, windows });
            }
            Op::Slice { steps } => return self.slice(i, steps),
            Op::UpdateSlice { steps, mode } => return self.update_slice(i, steps, *mode),
            Op::Gather => return self.gather(i),
            Op::Scatter { mode } => return self.scatter(i, *mode),
            Op::Assert { kind, pieces } => return self.assert(i, *kind, pieces),
            Op::Call { func } => return self.call(i, *func),
            // a debugger has no place for all lanes of a variable
            Op::Debug { .. } => return,
            Op::Const(_)
            | Op::Dense(_)
            | Op::Text(_)
            | Op::Iota
            | Op::Nonzero
            | Op::Random { .. }
            | Op::If
            | Op::For
            | Op::While
            | Op::Vjp { .. }
            | Op::Jvp { .. }
            | Op::Vmap { .. }
            | Op::Checkpoint { .. }
            | Op::StackNew
            | Op::StackPush
            | Op::StackTensor
            | Op::Print { .. }
            | Op::Format { .. }
            | Op::Io(_)
            | Op::Host(_) => unreachable!("`{}` has no lanes or goes lane by lane", i.op.name()),
        };
        let args = args.iter().map(|a| self.laned(*a)).collect();
        self.emit(i, op, args);
    }

    /// An instruction whose results all differ.
    pub(super) fn emit(&mut self, i: &Inst, op: Op, args: Vec<ValueId>) {
        let types: Vec<Type> = i.results.iter().map(|r| self.ty(*r)).collect();
        let results = self.b.inst(op, args, types, Vec::new());
        for (old, new) in i.results.iter().zip(results) {
            self.b.copy_name(self.f.value(*old), new);
            self.map.set(*old, new);
        }
    }

    /// The lanes are one more label.
    fn product(&mut self, i: &Inst, [lhs, rhs, out]: [&[u8]; 3], op: impl FnOnce([Vec<u8>; 3]) -> Op) {
        let taken = |l: &u8| lhs.contains(l) || rhs.contains(l) || out.contains(l);
        let label = (b'a'..=b'z').chain(0..=255).find(|l| !taken(l)).unwrap_or_default();
        let with = |labels: &[u8], lane: bool| {
            let front = lane.then_some(label);
            front.into_iter().chain(labels.iter().copied()).collect::<Vec<u8>>()
        };
        let (a, b) = (self.lanes.differs(i.args[0]), self.lanes.differs(i.args[1]));
        let op = op([with(lhs, a), with(rhs, b), with(out, true)]);
        let mut args = self.map.all(&i.args);
        for (k, x) in i.args[..2].iter().enumerate() {
            if self.lanes.differs(*x) {
                // the derivative by one operand adds up the other over the lanes, where zero times infinity would count
                args[k] = self.harmless_where_dead(args[k]);
            }
        }
        self.emit(i, op, args);
    }

    /// One check for all lanes that get here; the lane that fails says so itself.
    fn assert(&mut self, i: &Inst, kind: AssertKind, pieces: &[Piece]) {
        let mut args: Vec<ValueId> = i.args.iter().map(|a| self.laned(*a)).collect();
        if let Some(live) = self.live {
            let dead = self.b.unary(UnaryOp::Not, live);
            args[0] = self.b.binary(BinaryOp::Or, args[0], dead);
        }
        let all = self.b.reduce(ReduceOp::All, args[0], vec![0]);
        let n = self.n;
        let pieces = pieces.to_vec();
        self.b.if_else(
            all,
            Vec::new(),
            |_| Vec::new(),
            |b| {
                b.for_loop(n, Vec::new(), |b, lane, _| {
                    let row = args.iter().map(|a| b.index0(*a, lane)).collect();
                    b.inst(Op::Assert { kind, pieces }, row, Vec::new(), Vec::new());
                    Vec::new()
                })
            },
        );
    }

    /// A function with a derivative rule keeps it.
    fn call(&mut self, i: &Inst, func: tdl_ir::FuncId) {
        let mapped = (0..i.args.len()).filter(|k| self.lanes.differs(i.args[*k])).collect();
        let mut args = vec![self.n];
        for a in &i.args {
            let x = self.map.get(*a);
            args.push(if self.lanes.differs(*a) { self.as_live(x) } else { x });
        }
        self.emit(i, Op::Vmap { func, mapped, uniform: 0 }, args);
    }
}

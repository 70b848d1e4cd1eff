//! Each op with one axis more.

use tdl_ir::{AssertKind, BinaryOp, Inst, Op, Piece, ReduceOp, Type, UnaryOp, ValueId};

use super::Batcher;
use super::rules::{with_axis, with_label};

impl Batcher<'_> {
    pub(super) fn op(&mut self, i: &Inst) {
        let args = &i.args;
        let op = match &i.op {
            Op::Shear { .. } => {
                let Some(op) = with_axis(&i.op) else { return };
                let mut all = vec![self.laned(args[0])];
                all.extend(self.map.all(&args[1..]));
                return self.emit(i, op, all);
            }
            Op::Attention | Op::AttentionGrad => {
                let Some((reach, tensors)) = args.split_last() else { return };
                let mut all: Vec<ValueId> = tensors.iter().map(|x| self.laned(*x)).collect();
                all.push(self.map.get(*reach));
                return self.emit(i, i.op.clone(), all);
            }
            Op::Contract { .. } | Op::Window { .. } => return self.product(i),
            Op::Slice { steps } => return self.slice(i, steps),
            Op::UpdateSlice { steps, mode } => return self.update_slice(i, steps, *mode),
            Op::Gather => return self.gather(i),
            Op::Scatter { mode } => return self.scatter(i, *mode),
            Op::Assert { kind, pieces } => return self.assert(i, *kind, pieces),
            Op::Call { func } => return self.call(i, *func),
            Op::Vjp { func, wrt } => return self.pull(i, *func, wrt),
            // a debugger has no place for all lanes of a variable
            Op::Debug { .. } => return,
            op => match with_axis(op) {
                Some(op) => op,
                None => unreachable!("`{}` has no lanes or goes lane by lane", op.name()),
            },
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

    fn product(&mut self, i: &Inst) {
        let Some(op) = with_label(&i.op, [0, 1].map(|k| self.lanes.differs(i.args[k]))) else { return };
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

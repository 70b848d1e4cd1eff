//! Kernels that are written for the threads of a grid from the start, because threads meet within a step.

use tdl_ir::{BinaryOp, Dtype};

use super::index;
use super::together::Team;
use crate::ir::*;
use crate::lower::Lower;

/// What a thread knows within a step.
pub struct Step {
    /// The step's number.
    pub number: Operand,
    /// The thread's number in its team.
    pub lane: Operand,
    /// Arrays that the block shares.
    pub shared: Vec<Reg>,
}

impl Lower<'_> {
    /// Launches a kernel whose steps are done by teams of threads; `body` writes what a thread does in one. `shared`: dtype and length
    /// of what the threads of a block share.
    pub fn launch_teams(
        &mut self,
        kind: &str,
        range: Operand,
        team: Team,
        shared: &[(Dtype, usize)],
        body: impl FnOnce(&mut Self, &Step),
    ) {
        self.launch_with(kind, range, Operand::i64(1), |l| {
            let c = l.code();
            let range = c.named(RegTy::Scalar(Dtype::I64), Some("range".into()));
            let mut arrays = Vec::new();
            for (dtype, len) in shared {
                let dst = c.reg(RegTy::Ptr);
                c.push(Stmt::Shared { dst, dtype: *dtype, len: *len });
                arrays.push(dst);
            }
            let [thread, block, blocks] = [Place::Thread, Place::Block, Place::Blocks]
                .map(|place| c.let_(RegTy::Scalar(Dtype::I64), Expr::Place(place)));
            let teams = (team.block / team.threads) as i64;
            let size = Operand::i64(team.threads as i64);
            let (lane, first, step) = if teams == 1 {
                (thread.into(), block.into(), blocks.into())
            } else {
                let (lane, number) = (c.rem(thread.into(), size), c.div(thread.into(), size));
                let Operand::Reg(number) = number else { unreachable!("the number of a team is in a register") };
                let first = c.scalar(Dtype::I64, Expr::Index(index(0, &[(number, 1), (block, teams)])));
                (lane, first, c.scalar(Dtype::I64, Expr::Index(index(0, &[(blocks, teams)]))))
            };
            let number = c.i64();
            c.begin();
            body(l, &Step { number: number.into(), lane, shared: arrays });
            let c = l.code();
            let body = c.end();
            c.push(Stmt::For(super::serial(number, first, range.into(), step, body)));
            (number, number, Some(Grid { range, threads: team.block, per: team.per() }))
        });
    }

    /// The `x` of a thread of the warp whose number differs in the bits of `xor`.
    pub fn shuffle(&mut self, dtype: Dtype, x: Operand, xor: u32) -> Operand {
        let dst = self.code().reg(RegTy::Scalar(dtype));
        self.code().push(Device::Shuffle { dst, dtype, x, xor }.into());
        dst.into()
    }

    /// Is `i` below `n`?
    pub fn below(&mut self, i: Operand, n: Operand) -> Operand {
        let op = tdl_ir::CompareOp::Lt;
        self.code().scalar(Dtype::Bool, Expr::Compare { op, dtype: Dtype::I64, a: i, b: n })
    }

    pub fn both(&mut self, a: Operand, b: Operand) -> Operand {
        self.code().binary(BinaryOp::And, Dtype::Bool, a, b)
    }

    pub fn choose(&mut self, dtype: Dtype, cond: Operand, a: Operand, b: Operand) -> Operand {
        self.code().scalar(dtype, Expr::Select { dtype, cond, a, b })
    }

    /// `if cond`, what `then` gives, else what `els` does.
    pub fn either<const N: usize>(
        &mut self,
        dtypes: [Dtype; N],
        cond: Operand,
        then: impl FnOnce(&mut Self) -> [Operand; N],
        els: impl FnOnce(&mut Self) -> [Operand; N],
    ) -> [Operand; N] {
        self.code().begin();
        let a = then(self);
        let then = self.code().end();
        self.code().begin();
        let b = els(self);
        let els = self.code().end();
        let all = dtypes.map(|d| self.code().reg(RegTy::Scalar(d)));
        let results = (0..N).map(|i| IfResult { result: all[i], then: a[i], els: b[i] }).collect();
        self.code().push(Stmt::If(If { cond, then, els, results }));
        all.map(Operand::from)
    }

    /// `if cond { then }`.
    pub fn when(&mut self, cond: Operand, then: impl FnOnce(&mut Self)) {
        self.code().begin();
        then(self);
        let then = self.code().end();
        self.code().push(Stmt::If(If { cond, then, els: vec![], results: vec![] }));
    }

    /// `if cond { then }` of the host.
    pub fn host_when(&mut self, cond: Operand, then: impl FnOnce(&mut Self), els: impl FnOnce(&mut Self)) {
        self.host.begin();
        then(self);
        let then = self.host.end();
        self.host.begin();
        els(self);
        let els = self.host.end();
        self.host.push(Stmt::If(If { cond, then, els, results: vec![] }));
    }
}

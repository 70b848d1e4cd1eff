//! Random numbers on a GPU: `tdl_ir::random`, in loop IR, operation for operation, so that the numbers are the same bits.

use tdl_ir::{BinaryOp, CompareOp, Dist, Dtype, Scalar, UnaryOp};

use crate::buffers::BufId;
use crate::code::{Code, Idx};
use crate::eval::BufStore;
use crate::ir::*;
use crate::lower::Lower;
use crate::size::Size;
use tdl_ir::random::{FAR_F32, LOG_F32, LOG_F64, NEAR_F32, TABLES_F64};

impl Lower<'_> {
    /// Fills a buffer with `len` numbers.
    pub fn draw(&mut self, buf: BufId, dist: Dist, dtype: Dtype, key: Operand, counter: Operand, len: Operand) {
        self.tally_draw(dtype, len);
        self.launch_over("draw", len, Operand::i64(1), |l, lo, hi| {
            let (key, counter) = (l.outer(key), l.outer(counter));
            let head = l.code().begin_loop(lo, hi, LoopKind::Vector);
            let mut d = Draw { c: l.code() };
            let index = d.c.binary(BinaryOp::Add, Dtype::I64, counter, head.var.into());
            let index = d.c.convert(Dtype::I64, Dtype::U64, index);
            let value = d.number(dist, dtype, key, index);
            let to = BufStore { id: buf, dtype, dims: &[Size::ONE] };
            l.store(to, &[Idx::reg(head.var)], value);
            l.code().end_loop(head, vec![], vec![]);
        });
    }
}

struct Draw<'c> {
    c: &'c mut Code,
}

fn int(x: i64, d: Dtype) -> Operand {
    Operand::Const(Scalar::Int(x), d)
}

impl Draw<'_> {
    fn op(&mut self, op: BinaryOp, d: Dtype, a: Operand, b: Operand) -> Operand {
        self.c.binary(op, d, a, b)
    }

    fn bits(&mut self, from: Dtype, to: Dtype, x: Operand) -> Operand {
        self.c.scalar(to, Expr::Bits { from, to, x })
    }

    fn muladd(&mut self, dtype: Dtype, a: Operand, b: Operand, c: Operand) -> Operand {
        self.c.scalar(dtype, Expr::MulAdd { dtype, a, b, c })
    }

    fn unary(&mut self, op: UnaryOp, dtype: Dtype, x: Operand) -> Operand {
        self.c.scalar(dtype, Expr::Unary { op, dtype, x })
    }

    fn select(&mut self, dtype: Dtype, cond: Operand, a: Operand, b: Operand) -> Operand {
        self.c.scalar(dtype, Expr::Select { dtype, cond, a, b })
    }

    fn compare(&mut self, op: CompareOp, dtype: Dtype, a: Operand, b: Operand) -> Operand {
        self.c.scalar(Dtype::Bool, Expr::Compare { op, dtype, a, b })
    }

    fn number(&mut self, dist: Dist, dtype: Dtype, key: Operand, index: Operand) -> Operand {
        let narrow = dtype.size() == 4;
        let word = if narrow { self.word32(key, index) } else { self.word64(key, index) };
        let word_dtype = if narrow { Dtype::U32 } else { Dtype::U64 };
        match dist {
            Dist::Bits => self.c.convert(word_dtype, dtype, word),
            Dist::Uniform => {
                let (skip, scale) = if narrow { (8, 24) } else { (11, 53) };
                let top = self.op(BinaryOp::Shr, word_dtype, word, int(skip, word_dtype));
                let x = self.c.convert(word_dtype, dtype, top);
                let scale = Operand::Const(Scalar::float(0.5f64.powi(scale)), dtype);
                self.op(BinaryOp::Mul, dtype, x, scale)
            }
            Dist::Normal if narrow => self.normal32(word),
            Dist::Normal => self.normal64(word),
        }
    }

    // --- words

    fn block(&mut self, key: Operand, index: Operand, domain: i64) -> [Operand; 4] {
        let (low, high) = (
            |d: &mut Self, x| d.c.convert(Dtype::U64, Dtype::U32, x),
            |d: &mut Self, x| {
                let up = d.op(BinaryOp::Shr, Dtype::U64, x, int(32, Dtype::U64));
                d.c.convert(Dtype::U64, Dtype::U32, up)
            },
        );
        let key = self.c.convert(Dtype::I64, Dtype::U64, key);
        let (mut k0, mut k1) = (low(self, key), high(self, key));
        let (mut a, mut b) = (low(self, index), high(self, index));
        let (mut c, mut d) = (int(domain, Dtype::U32), int(0, Dtype::U32));
        for _ in 0..10 {
            let times = |s: &mut Self, x, by| {
                let wide = s.c.convert(Dtype::U32, Dtype::U64, x);
                s.op(BinaryOp::Mul, Dtype::U64, wide, int(by, Dtype::U64))
            };
            let (p, q) = (times(self, a, 0xD251_1F53), times(self, c, 0xCD9E_8D57));
            let mix = |s: &mut Self, product, x, k| {
                let up = high(s, product);
                let x = s.op(BinaryOp::Xor, Dtype::U32, up, x);
                s.op(BinaryOp::Xor, Dtype::U32, x, k)
            };
            [a, b, c, d] = [mix(self, q, b, k0), low(self, q), mix(self, p, d, k1), low(self, p)];
            k0 = self.op(BinaryOp::Add, Dtype::U32, k0, int(0x9E37_79B9, Dtype::U32));
            k1 = self.op(BinaryOp::Add, Dtype::U32, k1, int(0xBB67_AE85, Dtype::U32));
        }
        [a, b, c, d]
    }

    fn word32(&mut self, key: Operand, j: Operand) -> Operand {
        let index = self.op(BinaryOp::Shr, Dtype::U64, j, int(2, Dtype::U64));
        let lanes = self.block(key, index, 0);
        let at = self.op(BinaryOp::And, Dtype::U64, j, int(3, Dtype::U64));
        let mut word = lanes[3];
        for (i, lane) in lanes.into_iter().enumerate().take(3).rev() {
            let here = self.compare(CompareOp::Eq, Dtype::U64, at, int(i as i64, Dtype::U64));
            word = self.select(Dtype::U32, here, lane, word);
        }
        word
    }

    fn word64(&mut self, key: Operand, j: Operand) -> Operand {
        let index = self.op(BinaryOp::Shr, Dtype::U64, j, int(1, Dtype::U64));
        let [a, b, c, d] = self.block(key, index, 1);
        let at = self.op(BinaryOp::And, Dtype::U64, j, int(1, Dtype::U64));
        let first = self.compare(CompareOp::Eq, Dtype::U64, at, int(0, Dtype::U64));
        let (low, high) = (self.select(Dtype::U32, first, a, c), self.select(Dtype::U32, first, b, d));
        let (low, high) = (self.c.convert(Dtype::U32, Dtype::U64, low), self.c.convert(Dtype::U32, Dtype::U64, high));
        let high = self.op(BinaryOp::Shl, Dtype::U64, high, int(32, Dtype::U64));
        self.op(BinaryOp::Or, Dtype::U64, low, high)
    }

    // --- normal numbers

    /// `c[0]`, then `· x + c[i]`.
    fn chain(&mut self, d: Dtype, x: Operand, c: impl IntoIterator<Item = f64>) -> Operand {
        let mut c = c.into_iter().map(|c| Operand::Const(Scalar::float(c), d));
        let first = c.next().unwrap_or_else(|| Operand::Const(Scalar::float(0.0), d));
        c.fold(first, |p, c| self.muladd(d, p, x, c))
    }

    /// The word as a signed number, and `2 a + 1` and `MAX - 2 a` of its magnitude as floats.
    fn halves(&mut self, word: Operand, [unsigned, signed, float]: [Dtype; 3]) -> (Operand, Operand, Operand) {
        let top = unsigned.size() as i64 * 8 - 1;
        let v = self.c.convert(unsigned, signed, word);
        let sign = self.op(BinaryOp::Shr, signed, v, int(top, signed));
        let a = self.op(BinaryOp::Xor, signed, v, sign);
        let a = self.c.convert(signed, unsigned, a);
        let twice = self.op(BinaryOp::Add, unsigned, a, a);
        let odd = self.op(BinaryOp::Add, unsigned, twice, int(1, unsigned));
        let rest = self.op(BinaryOp::Sub, unsigned, int(-1, unsigned), twice);
        (v, self.c.convert(unsigned, float, odd), self.c.convert(unsigned, float, rest))
    }

    fn signed(&mut self, v: Operand, int_dtype: Dtype, float: Dtype, z: Operand) -> Operand {
        let negative = self.compare(CompareOp::Lt, int_dtype, v, int(0, int_dtype));
        let minus = self.unary(UnaryOp::Neg, float, z);
        self.select(float, negative, minus, z)
    }

    fn normal32(&mut self, word: Operand) -> Operand {
        const F: Dtype = Dtype::F32;
        let num = |x: f64| Operand::Const(Scalar::float(x), F);
        let (v, odd, rest) = self.halves(word, [Dtype::U32, Dtype::I32, F]);
        let scale = num(0.5f64.powi(32));
        let x = self.op(BinaryOp::Mul, F, odd, scale);
        let rest = self.op(BinaryOp::Mul, F, rest, scale);
        let more = self.op(BinaryOp::Add, F, num(1.0), x);
        let t = self.op(BinaryOp::Mul, F, rest, more);
        let log = self.log(t, [Dtype::U32, Dtype::I32, F]);
        let w = self.unary(UnaryOp::Neg, F, log);
        let middle = self.compare(CompareOp::Lt, F, w, num(5.0));
        let near = self.op(BinaryOp::Sub, F, w, num(2.5));
        let near = self.chain(F, near, NEAR_F32.map(f64::from));
        let root = self.unary(UnaryOp::Sqrt, F, w);
        let far = self.op(BinaryOp::Sub, F, root, num(3.0));
        let far = self.chain(F, far, FAR_F32.map(f64::from));
        let p = self.select(F, middle, near, far);
        let z = self.op(BinaryOp::Mul, F, p, x);
        let z = self.op(BinaryOp::Mul, F, z, num(std::f32::consts::SQRT_2.into()));
        self.signed(v, Dtype::I32, F, z)
    }

    fn normal64(&mut self, word: Operand) -> Operand {
        const F: Dtype = Dtype::F64;
        let num = |x: f64| Operand::Const(Scalar::float(x), F);
        let (v, odd, rest) = self.halves(word, [Dtype::U64, Dtype::I64, F]);
        let scale = num(0.5f64.powi(65));
        let q = self.op(BinaryOp::Mul, F, odd, scale);
        let ratio = |d: &mut Self, r, [above, below]: [&[f64; 8]; 2]| {
            let (a, b) = (d.chain(F, r, above.iter().rev().copied()), d.chain(F, r, below.iter().rev().copied()));
            d.op(BinaryOp::Div, F, a, b)
        };
        let [middle, near, far] = TABLES_F64;
        let minus = self.unary(UnaryOp::Neg, F, q);
        let r = self.muladd(F, minus, q, num(0.180625));
        let inner = ratio(self, r, middle);
        let inner = self.op(BinaryOp::Mul, F, q, inner);
        let tail = self.op(BinaryOp::Mul, F, rest, scale);
        let log = self.log(tail, [Dtype::U64, Dtype::I64, F]);
        let minus = self.unary(UnaryOp::Neg, F, log);
        let r = self.unary(UnaryOp::Sqrt, F, minus);
        let at = self.op(BinaryOp::Sub, F, r, num(1.6));
        let near = ratio(self, at, near);
        let at = self.op(BinaryOp::Sub, F, r, num(5.0));
        let far = ratio(self, at, far);
        let small = self.compare(CompareOp::Le, F, r, num(5.0));
        let outer = self.select(F, small, near, far);
        let inside = self.compare(CompareOp::Le, F, q, num(0.425));
        let z = self.select(F, inside, inner, outer);
        self.signed(v, Dtype::I64, F, z)
    }

    fn log(&mut self, t: Operand, [unsigned, signed, float]: [Dtype; 3]) -> Operand {
        let num = |x: f64| Operand::Const(Scalar::float(x), float);
        let (low, mantissa, ln2, series): (i64, i64, f64, Vec<f64>) = if float == Dtype::F32 {
            (0x3F35_04F3, 23, std::f32::consts::LN_2.into(), LOG_F32.map(f64::from).to_vec())
        } else {
            (0x3FE6_A09E_667F_3BCD, 52, std::f64::consts::LN_2, LOG_F64.to_vec())
        };
        let bits = self.bits(float, unsigned, t);
        let above = self.op(BinaryOp::Sub, unsigned, bits, int(low, unsigned));
        let above = self.c.convert(unsigned, signed, above);
        let e = self.op(BinaryOp::Shr, signed, above, int(mantissa, signed));
        let exponent = self.c.convert(signed, unsigned, e);
        let exponent = self.op(BinaryOp::Shl, unsigned, exponent, int(mantissa, unsigned));
        let m = self.op(BinaryOp::Sub, unsigned, bits, exponent);
        let m = self.bits(unsigned, float, m);
        let (less, more) = (self.op(BinaryOp::Sub, float, m, num(1.0)), self.op(BinaryOp::Add, float, m, num(1.0)));
        let s = self.op(BinaryOp::Div, float, less, more);
        let s2 = self.op(BinaryOp::Mul, float, s, s);
        let p = self.chain(float, s2, series);
        let rest = self.op(BinaryOp::Mul, float, s, p);
        let e = self.c.convert(signed, float, e);
        self.muladd(float, e, num(ln2), rest)
    }
}

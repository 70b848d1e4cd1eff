//! Arithmetic on registers. f16 and bf16 compute in f32 and round after each operation.

use tdl_ir::{BinaryOp, CompareOp, Dtype, DtypeClass, ReduceOp, UnaryOp};
use tdl_loops::ir::{Expr, Operand};

use super::func::Emit;
use super::llty;
use super::math::Fp;

/// Integer powers.
pub const POWER: &str = "define internal i64 @tdl.ipow(i64 %a, i64 %b) #0 {
entry:
  %neg = icmp slt i64 %b, 0
  br i1 %neg, label %negative, label %head
head:
  %base = phi i64 [%a, %entry], [%square, %body]
  %n = phi i64 [%b, %entry], [%half, %body]
  %y = phi i64 [1, %entry], [%next, %body]
  %more = icmp ne i64 %n, 0
  br i1 %more, label %body, label %done
body:
  %bit = and i64 %n, 1
  %odd = icmp ne i64 %bit, 0
  %product = mul i64 %y, %base
  %next = select i1 %odd, i64 %product, i64 %y
  %square = mul i64 %base, %base
  %half = lshr i64 %n, 1
  br label %head
done:
  ret i64 %y
negative:
  %one = icmp eq i64 %a, 1
  %minus = icmp eq i64 %a, -1
  %low = and i64 %b, 1
  %twice = shl i64 %low, 1
  %sign = sub i64 1, %twice
  %small = select i1 %minus, i64 %sign, i64 0
  %r = select i1 %one, i64 1, i64 %small
  ret i64 %r
}
";

/// Writing past the caches.
pub const STREAM: &str = "define internal void @tdl.stream(ptr %to, ptr %from, i64 %bytes) #0 {
entry:
  %address = ptrtoint ptr %to to i64
  %minus = sub i64 0, %address
  %ahead = and i64 %minus, 63
  %fits = icmp ule i64 %ahead, %bytes
  %first = select i1 %fits, i64 %ahead, i64 %bytes
  %whole.line = icmp eq i64 %first, 0
  br i1 %whole.line, label %lines, label %start
start:
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %first, i1 false)
  br label %lines
lines:
  %rest = sub i64 %bytes, %first
  %whole = and i64 %rest, -64
  %end = add i64 %first, %whole
  br label %head
head:
  %i = phi i64 [%first, %lines], [%next, %body]
  %more = icmp ult i64 %i, %end
  br i1 %more, label %body, label %done
body:
  %a = getelementptr i8, ptr %from, i64 %i
  %b = getelementptr i8, ptr %to, i64 %i
  %line = load <16 x i32>, ptr %a, align 1
  store <16 x i32> %line, ptr %b, align 64, !nontemporal !2147483647
  %next = add i64 %i, 64
  br label %head
done:
  %last = sub i64 %bytes, %end
  %none = icmp eq i64 %last, 0
  br i1 %none, label %all, label %tail
tail:
  %c = getelementptr i8, ptr %from, i64 %end
  %d = getelementptr i8, ptr %to, i64 %end
  call void @llvm.memcpy.p0.p0.i64(ptr %d, ptr %c, i64 %last, i1 false)
  br label %all
all:
  ret void
}
!2147483647 = !{i32 1}
";

impl Emit<'_> {
    pub(super) fn scalar(&mut self, e: &Expr) -> String {
        match e {
            Expr::Unary { op, dtype, x } => {
                let x = self.op(*x);
                self.unary(*op, *dtype, &x)
            }
            Expr::Binary { op: BinaryOp::Div, dtype: dtype @ (Dtype::F32 | Dtype::F64), a, b }
                if self.invariant(*b) =>
            {
                let (a, b) = (self.op(*a), self.op(*b));
                Fp::new(self, *dtype).div_by_invariant(&a, &b)
            }
            Expr::Binary { op, dtype, a, b } => {
                let (a, b) = (self.op(*a), self.op(*b));
                self.binary(*op, *dtype, &a, &b)
            }
            Expr::Compare { op, dtype, a, b } => {
                let (a, b) = (self.op(*a), self.op(*b));
                self.compare(*op, *dtype, &a, &b)
            }
            Expr::Select { dtype, cond, a, b } => {
                let ty = llty(*dtype);
                let text = format!("{}, {ty} {}, {ty} {}", self.op(*cond), self.op(*a), self.op(*b));
                self.tmp("select i1 ", &text)
            }
            Expr::Convert { from, to, x } => {
                let x = self.op(*x);
                self.convert(*from, *to, &x)
            }
            Expr::Bits { from, to, x } => {
                let x = self.op(*x);
                let (a, b) = (llty(*from), llty(*to));
                if a == b { x } else { self.tmp(&format!("bitcast {a} "), &format!("{x} to {b}")) }
            }
            Expr::MulAdd { dtype, a, b, c } => {
                let all: Vec<String> = [a, b, c].into_iter().map(|o: &Operand| self.op(*o)).collect();
                let wide: Vec<String> = all.iter().map(|x| self.widen(*dtype, x)).collect();
                let refs: Vec<&str> = wide.iter().map(String::as_str).collect();
                let r = self.float_call("fma", wide_dtype(*dtype), &refs);
                self.narrow(*dtype, &r)
            }
            _ => unreachable!("only arithmetic comes here"),
        }
    }

    /// A 16-bit float as f32; others as they are.
    pub(super) fn widen(&mut self, d: Dtype, x: &str) -> String {
        match d {
            Dtype::F16 => self.tmp("fpext half ", &format!("{x} to float")),
            Dtype::Bf16 => {
                let w = self.tmp("zext i16 ", &format!("{x} to i32"));
                let s = self.tmp("shl i32 ", &format!("{w}, 16"));
                self.tmp("bitcast i32 ", &format!("{s} to float"))
            }
            _ => x.to_owned(),
        }
    }

    /// f32 rounded to a 16-bit float.
    pub(super) fn narrow(&mut self, d: Dtype, x: &str) -> String {
        match d {
            Dtype::F16 => self.tmp("fptrunc float ", &format!("{x} to half")),
            Dtype::Bf16 => {
                let bits = self.tmp("bitcast float ", &format!("{x} to i32"));
                let high = self.tmp("lshr i32 ", &format!("{bits}, 16"));
                let odd = self.tmp("and i32 ", &format!("{high}, 1"));
                let bias = self.tmp("add i32 ", &format!("{odd}, 32767"));
                let sum = self.tmp("add i32 ", &format!("{bits}, {bias}"));
                let round = self.tmp("lshr i32 ", &format!("{sum}, 16"));
                let quiet = self.tmp("or i32 ", &format!("{high}, 64"));
                let nan = self.tmp("fcmp uno float ", &format!("{x}, {x}"));
                let pick = self.tmp("select i1 ", &format!("{nan}, i32 {quiet}, i32 {round}"));
                self.tmp("trunc i32 ", &format!("{pick} to i16"))
            }
            _ => x.to_owned(),
        }
    }

    pub(super) fn unary(&mut self, op: UnaryOp, d: Dtype, x: &str) -> String {
        let ty = llty(d);
        match d.class() {
            DtypeClass::Float => {
                let wide = self.widen(d, x);
                let r = self.float_unary(op, wide_dtype(d), &wide);
                if matches!(op, UnaryOp::IsNan | UnaryOp::IsFinite) { r } else { self.narrow(d, &r) }
            }
            DtypeClass::Bool => self.tmp("xor i1 true, ", x),
            DtypeClass::Signed | DtypeClass::Unsigned => match op {
                UnaryOp::Neg => self.tmp(&format!("sub {ty} 0, "), x),
                UnaryOp::Not => self.tmp(&format!("xor {ty} -1, "), x),
                UnaryOp::Abs if d.class() == DtypeClass::Signed => {
                    let n = self.tmp(&format!("sub {ty} 0, "), x);
                    let c = self.tmp(&format!("icmp slt {ty} {x}, "), "0");
                    self.tmp("select i1 ", &format!("{c}, {ty} {n}, {ty} {x}"))
                }
                UnaryOp::Sign => {
                    let positive = if d.class() == DtypeClass::Signed { "icmp sgt" } else { "icmp ugt" };
                    let p = self.tmp(&format!("{positive} {ty} {x}, "), "0");
                    let p = self.tmp("zext i1 ", &format!("{p} to {ty}"));
                    if d.class() == DtypeClass::Unsigned {
                        return p;
                    }
                    let n = self.tmp(&format!("icmp slt {ty} {x}, "), "0");
                    let n = self.tmp("zext i1 ", &format!("{n} to {ty}"));
                    self.tmp(&format!("sub {ty} "), &format!("{p}, {n}"))
                }
                // rounding an integer changes nothing; other functions take floats alone
                _ => x.to_owned(),
            },
        }
    }

    pub(super) fn binary(&mut self, op: BinaryOp, d: Dtype, a: &str, b: &str) -> String {
        match d.class() {
            DtypeClass::Float => {
                let (x, y) = (self.widen(d, a), self.widen(d, b));
                let r = self.float_binary(op, wide_dtype(d), &x, &y);
                self.narrow(d, &r)
            }
            DtypeClass::Bool => {
                let name = match op {
                    BinaryOp::And | BinaryOp::Mul | BinaryOp::Min => "and",
                    BinaryOp::Or | BinaryOp::Max => "or",
                    _ => "xor",
                };
                self.tmp(&format!("{name} i1 {a}, "), b)
            }
            DtypeClass::Signed => self.int_binary(op, d, true, a, b),
            DtypeClass::Unsigned => self.int_binary(op, d, false, a, b),
        }
    }

    fn int_binary(&mut self, op: BinaryOp, d: Dtype, signed: bool, a: &str, b: &str) -> String {
        let ty = llty(d);
        let bits = d.size() * 8;
        let simple = |name: &str| format!("{name} {ty} {a}, ");
        match op {
            BinaryOp::Add => self.tmp(&simple("add"), b),
            BinaryOp::Sub => self.tmp(&simple("sub"), b),
            BinaryOp::Mul => self.tmp(&simple("mul"), b),
            BinaryOp::And => self.tmp(&simple("and"), b),
            BinaryOp::Or => self.tmp(&simple("or"), b),
            BinaryOp::Xor => self.tmp(&simple("xor"), b),
            BinaryOp::Min | BinaryOp::Max => {
                let less = if signed { "slt" } else { "ult" };
                let c = self.tmp(&format!("icmp {less} {ty} {a}, "), b);
                let (x, y) = if op == BinaryOp::Min { (a, b) } else { (b, a) };
                self.tmp("select i1 ", &format!("{c}, {ty} {x}, {ty} {y}"))
            }
            BinaryOp::FloorDiv | BinaryOp::Div => self.divide(ty, signed, a, b, true),
            BinaryOp::Rem => self.divide(ty, signed, a, b, false),
            BinaryOp::Pow => {
                let extend = if signed { "sext" } else { "zext" };
                let wide = |e: &mut Self, x: &str| {
                    if bits == 64 { x.to_owned() } else { e.tmp(&format!("{extend} {ty} {x} to "), "i64") }
                };
                let (x, y) = (wide(self, a), wide(self, b));
                let r = self.tmp("call i64 @tdl.ipow(i64 ", &format!("{x}, i64 {y})"));
                if bits == 64 { r } else { self.tmp("trunc i64 ", &format!("{r} to {ty}")) }
            }
            BinaryOp::Shl | BinaryOp::Shr => {
                let fits = self.tmp(&format!("icmp ult {ty} {b}, "), &bits.to_string());
                let name = match (op, signed) {
                    (BinaryOp::Shl, _) => "shl",
                    (_, true) => "ashr",
                    (_, false) => "lshr",
                };
                let most = (bits - 1).to_string();
                let by = self.tmp("select i1 ", &format!("{fits}, {ty} {b}, {ty} {most}"));
                let r = self.tmp(&format!("{name} {ty} {a}, "), &by);
                if name == "ashr" { r } else { self.tmp("select i1 ", &format!("{fits}, {ty} {r}, {ty} 0")) }
            }
            BinaryOp::Atan2 | BinaryOp::Polygamma => a.to_owned(),
        }
    }

    /// Rounds towards minus infinity; a division by zero gives 0 and does not trap.
    fn divide(&mut self, ty: &str, signed: bool, a: &str, b: &str, quotient: bool) -> String {
        let zero = self.tmp(&format!("icmp eq {ty} {b}, "), "0");
        if !signed {
            let safe = self.tmp("select i1 ", &format!("{zero}, {ty} 1, {ty} {b}"));
            let r = self.tmp(&format!("{} {ty} {a}, ", if quotient { "udiv" } else { "urem" }), &safe);
            return self.tmp("select i1 ", &format!("{zero}, {ty} 0, {ty} {r}"));
        }
        // -1 would overflow for the smallest integer
        let minus = self.tmp(&format!("icmp eq {ty} {b}, "), "-1");
        let special = self.tmp("or i1 ", &format!("{zero}, {minus}"));
        let safe = self.tmp("select i1 ", &format!("{special}, {ty} 1, {ty} {b}"));
        let r = self.tmp(&format!("srem {ty} {a}, "), &safe);
        let signs = self.tmp(&format!("xor {ty} {r}, "), &safe);
        let differ = self.tmp(&format!("icmp slt {ty} {signs}, "), "0");
        let some = self.tmp(&format!("icmp ne {ty} {r}, "), "0");
        let adjust = self.tmp("and i1 ", &format!("{differ}, {some}"));
        let result = if quotient {
            let q = self.tmp(&format!("sdiv {ty} {a}, "), &safe);
            let one = self.tmp("zext i1 ", &format!("{adjust} to {ty}"));
            let q = self.tmp(&format!("sub {ty} {q}, "), &one);
            let n = self.tmp(&format!("sub {ty} 0, "), a);
            self.tmp("select i1 ", &format!("{minus}, {ty} {n}, {ty} {q}"))
        } else {
            let more = self.tmp(&format!("add {ty} {r}, "), &safe);
            let r = self.tmp("select i1 ", &format!("{adjust}, {ty} {more}, {ty} {r}"));
            self.tmp("select i1 ", &format!("{minus}, {ty} 0, {ty} {r}"))
        };
        self.tmp("select i1 ", &format!("{zero}, {ty} 0, {ty} {result}"))
    }

    pub(super) fn compare(&mut self, op: CompareOp, d: Dtype, a: &str, b: &str) -> String {
        let class = d.class();
        if class == DtypeClass::Float {
            let (x, y) = (self.widen(d, a), self.widen(d, b));
            let name = match op {
                CompareOp::Eq => "oeq",
                CompareOp::Ne => "une",
                CompareOp::Lt => "olt",
                CompareOp::Le => "ole",
                CompareOp::Gt => "ogt",
                CompareOp::Ge => "oge",
            };
            return self.tmp(&format!("fcmp {name} {} {x}, ", llty(wide_dtype(d))), &y);
        }
        let sign = if class == DtypeClass::Signed { "s" } else { "u" };
        let name = match op {
            CompareOp::Eq => "eq".to_owned(),
            CompareOp::Ne => "ne".to_owned(),
            CompareOp::Lt => format!("{sign}lt"),
            CompareOp::Le => format!("{sign}le"),
            CompareOp::Gt => format!("{sign}gt"),
            CompareOp::Ge => format!("{sign}ge"),
        };
        self.tmp(&format!("icmp {name} {} {a}, ", llty(d)), b)
    }

    pub(super) fn convert(&mut self, from: Dtype, to: Dtype, x: &str) -> String {
        if from == to {
            return x.to_owned();
        }
        let (a, b) = (llty(from), llty(to));
        match (from.class(), to.class()) {
            (DtypeClass::Float, DtypeClass::Float) => {
                let wide = self.widen(from, x);
                let (w, target) = (wide_dtype(from), wide_dtype(to));
                let same = match (w, target) {
                    (Dtype::F32, Dtype::F64) => self.tmp("fpext float ", &format!("{wide} to double")),
                    (Dtype::F64, Dtype::F32) if to == Dtype::F16 => {
                        return self.tmp("fptrunc double ", &format!("{wide} to half"));
                    }
                    (Dtype::F64, Dtype::F32) => self.tmp("fptrunc double ", &format!("{wide} to float")),
                    _ => wide,
                };
                self.narrow(to, &same)
            }
            (DtypeClass::Float, DtypeClass::Bool) => {
                let wide = self.widen(from, x);
                self.tmp(&format!("fcmp une {} {wide}, ", llty(wide_dtype(from))), "0.0")
            }
            (DtypeClass::Float, class @ (DtypeClass::Signed | DtypeClass::Unsigned)) => {
                let wide = self.widen(from, x);
                let f = wide_dtype(from);
                let (name, suffix) = if class == DtypeClass::Signed { ("fptosi", "s") } else { ("fptoui", "u") };
                let _ = suffix;
                let letter = if f == Dtype::F64 { "f64" } else { "f32" };
                self.tmp(&format!("call {b} @llvm.{name}.sat.{b}.{letter}({} ", llty(f)), &format!("{wide})"))
            }
            (DtypeClass::Signed, DtypeClass::Float) | (DtypeClass::Unsigned | DtypeClass::Bool, DtypeClass::Float) => {
                let name = if from.class() == DtypeClass::Signed { "sitofp" } else { "uitofp" };
                let target = llty(wide_dtype(to));
                let r = self.tmp(&format!("{name} {a} {x} to "), target);
                self.narrow(to, &r)
            }
            (_, DtypeClass::Bool) => self.tmp(&format!("icmp ne {a} {x}, "), "0"),
            (DtypeClass::Bool, _) => self.tmp(&format!("zext i1 {x} to "), b),
            (class, _) => {
                if from.size() == to.size() {
                    return x.to_owned();
                }
                let name = match (from.size() > to.size(), class) {
                    (true, _) => "trunc",
                    (false, DtypeClass::Signed) => "sext",
                    (false, _) => "zext",
                };
                self.tmp(&format!("{name} {a} {x} to "), b)
            }
        }
    }

    /// A step of an integer, bool or 16-bit reduction.
    pub(super) fn combine(&mut self, op: ReduceOp, d: Dtype, a: &str, b: &str) -> String {
        let op = match op {
            ReduceOp::Sum => BinaryOp::Add,
            ReduceOp::Prod => BinaryOp::Mul,
            ReduceOp::Max => BinaryOp::Max,
            ReduceOp::Min => BinaryOp::Min,
            ReduceOp::Any => BinaryOp::Or,
            ReduceOp::All => BinaryOp::And,
        };
        self.binary(op, d, a, b)
    }
}

/// What a float computes in.
pub(super) fn wide_dtype(d: Dtype) -> Dtype {
    match d {
        Dtype::F16 | Dtype::Bf16 => Dtype::F32,
        other => other,
    }
}

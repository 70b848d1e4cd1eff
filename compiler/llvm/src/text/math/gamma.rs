//! Functions of the runtime, and `lgamma` and `digamma` of f64 for machines without it: the formulas of `tdl_ir`'s `special`,
//! branches computed both ways and selected.

use std::f64::consts::PI;
use std::fmt::Write;

use tdl_ir::Dtype;
use tdl_ir::op::special::{DIGAMMA_SERIES, LGAMMA_SERIES};
use tdl_loops::ir::Program;

use super::{Fp, polygamma};
use crate::text::Globals;
use crate::text::func::Emit;
use crate::text::gpu::Machine;

/// From here on the asymptotic series hold, after as many steps of the recurrence.
const LARGE: f64 = 12.0;

/// Definitions of the functions.
pub fn functions(g: &mut Globals, program: &Program) -> String {
    let mut out = String::new();
    for name in ["lgamma", "digamma"] {
        let mut e = new(g, program);
        let mut f = Fp::new(&mut e, Dtype::F64);
        let y = if name == "lgamma" { f.lgamma("%x") } else { f.digamma("%x") };
        let _ = writeln!(out, "define internal double @tdl.{name}(double %x) #0 {{\n{}  ret double {y}\n}}", e.out);
    }
    out + &polygamma::functions(g, program)
}

/// The body of a function of such a machine.
pub(super) fn new<'a>(g: &'a mut Globals, program: &'a Program) -> Emit<'a> {
    let mut e = Emit::new(g, program, &[]);
    e.machine = Machine::Ptx(0);
    e
}

impl Fp<'_, '_> {
    /// A function in f64: the runtime's, or on a GPU the module's own.
    pub fn library(&mut self, name: &str, args: &[&str]) -> String {
        let name = &match self.e.machine {
            Machine::Cpu | Machine::HostOfGpu => format!("tdl_{name}"),
            Machine::Simulated | Machine::Ptx(_) => format!("tdl.{name}"),
        };
        let double = self.double();
        let mut list = Vec::with_capacity(args.len());
        for x in args {
            let wide = if double { (*x).to_owned() } else { self.e.tmp("fpext float ", &format!("{x} to double")) };
            list.push(format!("double {wide}"));
        }
        let r = self.e.tmp(&format!("call double @{name}("), &format!("{})", list.join(", ")));
        if double { r } else { self.e.tmp("fptrunc double ", &format!("{r} to float")) }
    }

    /// `x` or `1 - x`, whichever is above 0; and whether it is the latter.
    fn reflected(&mut self, x: &str) -> (String, String) {
        let one = self.num(1.0);
        let other = self.sub(&one, x);
        let low = self.cmp_num("ole", x, 0.0);
        (self.select(&low, &other, x), low)
    }

    /// Is it an integer? And its distance from the next one.
    fn fraction(&mut self, x: &str) -> (String, String) {
        let near = self.call("rint", &[x]);
        let whole = self.cmp("oeq", x, &near);
        (whole, self.sub(x, &near))
    }

    fn lgamma(&mut self, x: &str) -> String {
        let (start, low) = self.reflected(x);
        let (mut z, mut product) = (start, self.num(1.0));
        for _ in 0..LARGE as i32 {
            let small = self.cmp_num("olt", &z, LARGE);
            let more = self.mul(&product, &z);
            product = self.select(&small, &more, &product);
            let next = self.plus(&z, 1.0);
            z = self.select(&small, &next, &z);
        }
        let square = self.mul(&z, &z);
        let one = self.num(1.0);
        let r = self.div(&one, &square);
        let tail = self.poly(&r, &LGAMMA_SERIES);
        let tail = self.div(&tail, &z);
        let (log, half) = (self.log(&z), self.plus(&z, -0.5));
        let y = self.mul(&half, &log);
        let y = self.sub(&y, &z);
        let y = self.plus(&y, 0.918_938_533_204_672_8);
        let y = self.add(&y, &tail);
        let log = self.log(&product);
        let y = self.sub(&y, &log);
        // reflection
        let (whole, r) = self.fraction(x);
        let angle = self.times(&r, PI);
        let (sin, _) = self.sin_cos(&angle);
        let sin = self.call("fabs", &[&sin]);
        let pi = self.num(PI);
        let ratio = self.div(&pi, &sin);
        let log = self.log(&ratio);
        let below = self.sub(&log, &y);
        let y = self.select(&low, &below, &y);
        let infinity = self.num(f64::INFINITY);
        let pole = self.e.tmp("and i1 ", &format!("{low}, {whole}"));
        let y = self.select(&pole, &infinity, &y);
        let size = self.call("fabs", &[x]);
        let large = self.cmp("oeq", &size, &infinity);
        let y = self.select(&large, &infinity, &y);
        self.keep_nan(x, &y)
    }

    fn digamma(&mut self, x: &str) -> String {
        let (start, low) = self.reflected(x);
        let (mut z, mut shift) = (start, self.num(0.0));
        let one = self.num(1.0);
        for _ in 0..LARGE as i32 {
            let small = self.cmp_num("olt", &z, LARGE);
            let part = self.div(&one, &z);
            let more = self.add(&shift, &part);
            shift = self.select(&small, &more, &shift);
            let next = self.plus(&z, 1.0);
            z = self.select(&small, &next, &z);
        }
        let square = self.mul(&z, &z);
        let r = self.div(&one, &square);
        let tail = self.poly(&r, &DIGAMMA_SERIES);
        let tail = self.mul(&tail, &r);
        let (log, half) = (self.log(&z), self.num(0.5));
        let half = self.div(&half, &z);
        let y = self.sub(&log, &half);
        let y = self.sub(&y, &tail);
        let y = self.sub(&y, &shift);
        let infinity = self.num(f64::INFINITY);
        let large = self.cmp("oeq", &z, &infinity);
        let y = self.select(&large, &infinity, &y);
        // reflection
        let (whole, r) = self.fraction(x);
        let angle = self.times(&r, PI);
        let (sin, cos) = self.sin_cos(&angle);
        let tan = self.div(&sin, &cos);
        let pi = self.num(PI);
        let part = self.div(&pi, &tan);
        let below = self.sub(&y, &part);
        let y = self.select(&low, &below, &y);
        let nan = self.num(f64::NAN);
        let pole = self.e.tmp("and i1 ", &format!("{low}, {whole}"));
        let y = self.select(&pole, &nan, &y);
        let zero = self.cmp_num("oeq", x, 0.0);
        let minus = self.neg(x);
        let signed = self.call("copysign", &[&infinity, &minus]);
        let y = self.select(&zero, &signed, &y);
        self.keep_nan(x, &y)
    }
}

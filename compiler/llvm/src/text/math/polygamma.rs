//! `polygamma` of f64, for machines without the runtime: the formulas of `tdl_ir`'s `special`. Only the sum is a loop; other
//! branches are computed both ways and selected.

use std::fmt::Write;

use tdl_ir::Dtype;
use tdl_ir::op::special::POLYGAMMA_SERIES;
use tdl_loops::ir::Program;

use super::Fp;
use super::gamma::new;
use crate::text::Globals;

/// Definitions of the functions; they call `lgamma` and `digamma`.
pub fn functions(g: &mut Globals, program: &Program) -> String {
    let mut out = String::new();
    let mut e = new(g, program);
    Fp::new(&mut e, Dtype::F64).powers();
    let _ = writeln!(out, "define internal double @tdl.powers(double %n, double %q) #0 {{\nentry:\n{}}}", e.out);
    let mut e = new(g, program);
    let y = Fp::new(&mut e, Dtype::F64).polygamma();
    let head = "define internal double @tdl.polygamma(double %n, double %x) #0";
    let _ = writeln!(out, "{head} {{\n{}  ret double {y}\n}}", e.out);
    out
}

impl Fp<'_, '_> {
    fn powers(&mut self) {
        let s = self.plus("%n", 1.0);
        let log = self.library("lgamma", &[&s]);
        let log = self.div(&log, &s);
        let scale = self.exp(&log);
        let limit = self.plus(&s, 12.0);
        self.e.line("br label %loop");

        self.e.start("loop");
        let zero = self.num(0.0);
        self.e.line("%z = phi double [ %q, %entry ], [ %z.next, %more ]");
        self.e.line(&format!("%sum = phi double [ {zero}, %entry ], [ %sum.next, %more ]"));
        let small = self.cmp("olt", "%z", &limit);
        self.e.line(&format!("br i1 {small}, label %more, label %tail"));

        self.e.start("more");
        let ratio = self.div(&scale, "%z");
        let term = self.pow(&ratio, &s);
        let one = self.num(1.0);
        self.e.line(&format!("%sum.next = fadd double %sum, {term}"));
        self.e.line(&format!("%z.next = fadd double %z, {one}"));
        let bound = self.times("%sum.next", 1e-18);
        // a NaN ends it, too
        let goes_on = self.cmp("ogt", &term, &bound);
        self.e.line(&format!("br i1 {goes_on}, label %loop, label %done"));

        self.e.start("done");
        self.e.line("ret double %sum.next");

        self.e.start("tail");
        let whole = self.div("%z", "%n");
        let mut tail = self.plus(&whole, 0.5);
        let mut factor = self.div(&s, "%z");
        let square = self.mul("%z", "%z");
        for (k, c) in POLYGAMMA_SERIES.into_iter().enumerate() {
            let part = self.times(&factor, c);
            tail = self.add(&tail, &part);
            let (a, b) = (self.plus(&s, 2.0 * k as f64 + 1.0), self.plus(&s, 2.0 * k as f64 + 2.0));
            let ab = self.mul(&a, &b);
            let more = self.div(&ab, &square);
            factor = self.mul(&factor, &more);
        }
        let ratio = self.div(&scale, "%z");
        let first = self.pow(&ratio, &s);
        let rest = self.mul(&first, &tail);
        let y = self.add("%sum", &rest);
        let far = self.cmp_num("oeq", "%z", f64::INFINITY);
        let y = self.select(&far, &zero, &y);
        self.e.line(&format!("ret double {y}"));
    }

    fn polygamma(&mut self) -> String {
        let (one, minus, zero) = (self.num(1.0), self.num(-1.0), self.num(0.0));
        let half = self.times("%n", 0.5);
        let floor = self.call("floor", &[&half]);
        let odd = self.cmp("une", &half, &floor);
        let sign = self.select(&odd, &one, &minus);
        let high = self.cmp_num("ogt", "%x", 0.0);
        let near = self.call("roundeven", &["%x"]);
        let r = self.sub("%x", &near);
        let over = self.cmp_num("ogt", &r, 0.0);
        let (up, down, left) = (self.plus(&r, 1.0), self.sub(&one, &r), self.neg(&r));
        let above = self.select(&over, &r, &up);
        let above = self.select(&high, "%x", &above);
        let below = self.select(&over, &down, &left);
        let below = self.select(&high, &one, &below);
        let other = self.sub(&one, "%x");
        let other = self.select(&high, &one, &other);
        let [a, b, c] = [above, below, other].map(|q| self.library("powers", &["%n", &q]));
        let rest = self.sub(&b, &c);
        let rest = self.mul(&sign, &rest);
        let both = self.add(&a, &rest);
        let y = self.select(&high, &a, &both);
        let y = self.mul(&sign, &y);
        // the poles
        let nan = self.num(f64::NAN);
        let infinity = self.num(f64::INFINITY);
        let infinite = self.mul(&sign, &infinity);
        let origin = self.cmp("oeq", "%x", &zero);
        let one_way = self.e.tmp("or i1 ", &format!("{odd}, {origin}"));
        let pole = self.select(&one_way, &infinite, &nan);
        let whole = self.cmp("oeq", &r, &zero);
        let low = self.cmp_num("ole", "%x", 0.0);
        let at_pole = self.e.tmp("and i1 ", &format!("{low}, {whole}"));
        let y = self.select(&at_pole, &pole, &y);
        let first = self.library("digamma", &["%x"]);
        let is_first = self.cmp("oeq", "%n", &zero);
        // what has no value
        let (negative, floor) = (self.cmp_num("olt", "%n", 0.0), self.call("floor", &["%n"]));
        let (broken, endless) = (self.cmp("une", "%n", &floor), self.cmp("oeq", "%n", &infinity));
        let lowest = self.cmp_num("oeq", "%x", f64::NEG_INFINITY);
        let mut bad = self.e.tmp("or i1 ", &format!("{negative}, {broken}"));
        for more in [endless, lowest] {
            bad = self.e.tmp("or i1 ", &format!("{bad}, {more}"));
        }
        let y = self.select(&bad, &nan, &y);
        let y = self.keep_nan("%x", &y);
        self.select(&is_first, &first, &y)
    }
}

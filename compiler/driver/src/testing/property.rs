//! Properties: random arguments, and the simplest ones that a failure can be shown with.

use std::fmt::Write as _;
use std::io::Write;
use std::time::{Duration, Instant};

use tdl_elaborate::Roots;
use tdl_ir::Scalar;
use tdl_ir::interp::Value;
use tdl_source::{Diagnostic, code};
use tdl_types::SizeVar;
use tdl_types::thir::{FnDef, Program};

use super::values::{Case, Flavour, Random, Signature};
use super::{Report, Summary, TestOptions, Verdict};
use crate::call::{Callable, Outcome, Prints};
use crate::repl::{Close, write_value};
use crate::{Failure, Session};

/// What looking for a simpler counterexample may cost.
const SHRINK_TRIALS: usize = 2000;
const SHRINK_TIME: Duration = Duration::from_secs(5);

/// Sizes are at most this in the last cases; they grow up to it.
const LARGEST: u64 = 9;

/// How a property failed.
struct Fault {
    case: Case,
    /// Of an assertion or another run-time error; empty if the property was false.
    text: String,
    printed: String,
}

enum Trial {
    Holds,
    Fails(Fault),
    Interrupted,
}

impl Session {
    /// Compiles properties; none if there are none.
    pub(super) fn compile_properties(
        &mut self,
        program: &Program,
        wanted: &[usize],
    ) -> Result<Option<Callable>, Failure> {
        if wanted.is_empty() {
            return Ok(None);
        }
        let ids = wanted.iter().map(|i| program.props[*i].func).collect();
        let elaborated = self.elaborate(program, &Roots::Fns(ids))?;
        let funcs: Vec<_> = elaborated.fns.iter().map(|(_, f)| *f).collect();
        let module = self.optimize(&elaborated.module, &funcs)?;
        self.callable(module).map(Some)
    }

    pub(super) fn properties(
        &self,
        program: &Program,
        wanted: &[usize],
        callable: &Callable,
        options: &TestOptions,
        out: &mut dyn Write,
    ) -> Result<Summary, Failure> {
        let mut summary = Summary::default();
        for (k, i) in wanted.iter().enumerate() {
            let prop = &program.props[*i];
            let def = &program.fns[prop.func.index()];
            let start = Instant::now();
            let (verdict, printed) = match Signature::new(program, def, &prop.facts) {
                Some(signature) => {
                    let run = Run { session: self, callable, k, program, def, signature };
                    run.property(&prop.name, options)?
                }
                None => (Verdict::Failed("no values can be made up for the parameters' types\n".into()), String::new()),
            };
            let report = Report {
                kind: "prop",
                name: &prop.name,
                span: def.name_span,
                verdict: &verdict,
                output: &printed,
                time: start.elapsed(),
            };
            if !self.report_test(&report, options, &mut summary, out) {
                break;
            }
        }
        Ok(summary)
    }
}

/// One property.
struct Run<'a> {
    session: &'a Session,
    callable: &'a Callable,
    /// Index of the function in the compiled module.
    k: usize,
    program: &'a Program,
    def: &'a FnDef,
    signature: Signature,
}

impl Run<'_> {
    /// The verdict, and what the failing case printed.
    fn property(&self, name: &str, options: &TestOptions) -> Result<(Verdict, String), Failure> {
        let mut random = Random::new(options.seed, name);
        let mut tried = 0;
        // few cases have small sizes, of which none may be as a clause asks for: then larger ones, until one is
        for i in 0..options.cases.max(4 * LARGEST as u32 + 1) {
            if i >= options.cases && tried > 0 {
                break;
            }
            let Some(case) = self.case(i, options, &mut random) else { continue };
            tried += 1;
            match self.trial(case)? {
                Trial::Holds => {}
                Trial::Interrupted => return Ok((Verdict::Interrupted, String::new())),
                Trial::Fails(fault) => {
                    let (fault, steps) = self.shrink(fault)?;
                    let text = self.describe(name, &fault, i, steps, options.seed);
                    return Ok((Verdict::Failed(text), fault.printed));
                }
            }
        }
        if tried == 0 {
            let text = format!("no sizes up to {LARGEST} are as `{name}` asks for");
            let d = Diagnostic::error(code::E0701, text, self.def.name_span, "not tried with any values");
            let text = tdl_source::render(&[d], self.session.map(), self.session.style());
            return Ok((Verdict::Failed(text), String::new()));
        }
        Ok((Verdict::Passed, String::new()))
    }

    /// Arguments of case `i`: first all sizes 0, then all 1, then random ones that grow.
    fn case(&self, i: u32, options: &TestOptions, random: &mut Random) -> Option<Case> {
        let largest = (u64::from(i) / 4).clamp(2, LARGEST);
        let flavour = match i % 5 {
            0 => Flavour::Small,
            1 | 2 => Flavour::Normal(1.0),
            3 => Flavour::Normal(10f64.powi(random.below(7) as i32 - 3)),
            _ => Flavour::Special(options.non_finite),
        };
        // sizes such as `n - 5` may be negative, and few may be as a `where` clause asks for: more are tried
        for _ in 0..1000 {
            let sizes = self.signature.vars.iter().map(|_| match i {
                0 => 0,
                1 => 1,
                _ => random.below(largest + 1) as i64,
            });
            let sizes: Vec<i64> = sizes.collect();
            let case = Case::random(&self.signature, sizes, flavour, random);
            if case.is_some() || i < 2 {
                return case;
            }
        }
        None
    }

    fn trial(&self, case: Case) -> Result<Trial, Failure> {
        let arguments = case.arguments(&self.signature, self.callable.func(self.k));
        let call = self.session.call_values(self.callable, self.k, arguments, Prints::Kept)?;
        let fails = |text| Trial::Fails(Fault { case, text, printed: call.printed });
        Ok(match call.outcome {
            Outcome::Done(values) if values.first().is_some_and(holds) => Trial::Holds,
            Outcome::Done(_) => fails(String::new()),
            Outcome::Failed { text, .. } => fails(text),
            Outcome::Interrupted => Trial::Interrupted,
        })
    }

    /// The simplest case that fails too, as far as it is found, and the number of steps to it.
    fn shrink(&self, mut fault: Fault) -> Result<(Fault, usize), Failure> {
        let start = Instant::now();
        let (mut trials, mut steps) = (0, 0);
        'simpler: loop {
            for case in fault.case.simpler(&self.signature) {
                trials += 1;
                if trials > SHRINK_TRIALS || start.elapsed() > SHRINK_TIME {
                    return Ok((fault, steps));
                }
                match self.trial(case)? {
                    Trial::Fails(simpler) => {
                        fault = simpler;
                        steps += 1;
                        continue 'simpler;
                    }
                    Trial::Holds => {}
                    Trial::Interrupted => return Ok((fault, steps)),
                }
            }
            return Ok((fault, steps));
        }
    }

    fn describe(&self, name: &str, fault: &Fault, i: u32, steps: usize, seed: u64) -> String {
        let mut text = fault.text.clone();
        if text.is_empty() {
            let d = Diagnostic::error(
                code::E0701,
                format!("`{name}` does not hold"),
                self.def.name_span,
                "false for the values below",
            );
            text = tdl_source::render(&[d], self.session.map(), self.session.style());
        }
        let shrunk = match steps {
            0 => String::new(),
            1 => ", 1 step simpler than found".into(),
            n => format!(", {n} steps simpler than found"),
        };
        let _ = writeln!(text, "counterexample (case {} with --seed {seed}{shrunk}):", i + 1);
        let mut named: Vec<String> = Vec::new();
        for (g, size) in self.def.generics.iter().zip(&fault.case.sizes) {
            named.push(format!("{} = {size}", self.program.generics[g.index()].name));
        }
        if !named.is_empty() {
            let _ = writeln!(text, "  {}", named.join(", "));
        }
        let vars: Vec<SizeVar> = self.signature.vars.clone();
        let close = Close { vars: &vars, sizes: &fault.case.sizes };
        let mut leaves = fault.case.leaves.iter();
        for p in &self.def.params {
            let mut value = String::new();
            write_value(self.program, &p.ty.subst(&close), &mut leaves, true, &mut value);
            let lead = format!("  {} = ", p.name);
            let indent = " ".repeat(lead.chars().count());
            let _ = writeln!(text, "{lead}{}", value.trim_end().replace('\n', &format!("\n{indent}")));
        }
        text
    }
}

fn holds(v: &Value) -> bool {
    v.tensor().is_some_and(|t| t.get(0) == Scalar::Bool(true))
}

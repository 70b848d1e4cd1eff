//! Steps that go band by band: each as the runtime's `Step`, which says what to call for a share of its range.

use tdl_loops::ir::{Bands, RuntimeCall, Stmt};

use super::func::Emit;

impl Emit<'_> {
    pub(super) fn bands(&mut self, b: &Bands) {
        let steps = self.slot(&format!("[{} x %Step]", b.steps.len()));
        for (i, s) in b.steps.iter().enumerate() {
            let (run, what, env, range, grain) = match s {
                Stmt::Launch { kernel, args, range, grain } => {
                    let env = self.env(args);
                    let (range, grain) = (self.op(*range), self.op(*grain));
                    ("tdl_step_kernel".to_owned(), format!("@k{}.part", kernel.0), env, range, grain)
                }
                Stmt::Gemm(g) => {
                    let (slot, class) = self.gemm_slot(g);
                    (format!("tdl_step_gemm_{class}"), slot, "null".to_owned(), "0".to_owned(), "0".to_owned())
                }
                Stmt::Runtime { call: RuntimeCall::Windows(w), .. } => {
                    let (slot, class) = self.windows_slot(w);
                    (format!("tdl_step_windows_{class}"), slot, "null".to_owned(), "0".to_owned(), "0".to_owned())
                }
                _ => unreachable!("verified"),
            };
            let at = self.tmp("getelementptr %Step, ptr ", &format!("{steps}, i64 {i}"));
            self.put(&at, "%Step", 0, &format!("ptr @{run}"));
            self.put(&at, "%Step", 1, &format!("ptr {what}"));
            self.put(&at, "%Step", 2, &format!("ptr {env}"));
            self.put(&at, "%Step", 3, &format!("i64 {range}"));
            self.put(&at, "%Step", 4, &format!("i64 {grain}"));
        }
        let (count, n) = (self.op(b.count), b.steps.len());
        self.line(&format!(
            "call void @tdl_bands(ptr %ctx, ptr {steps}, i64 {n}, i64 {count}, i64 {}, i64 {})",
            b.chunk, b.fewest
        ));
    }
}

//! Which parts of a program ask for derivatives, themselves or in what they call: what has to be differentiated to know
//! whether it can be.

use crate::ids::*;
use crate::thir::*;
use crate::visit::visit;

/// Of the program's own file.
#[derive(Debug, Default)]
pub struct Derivatives {
    pub main: bool,
    /// Functions other than `main`, properties and benchmarks among them.
    pub fns: Vec<FnId>,
    /// Tests that must compile, by index into [`Program::tests`].
    pub tests: Vec<usize>,
}

/// What in the program's own file asks for derivatives.
pub fn derivatives(program: &Program) -> Derivatives {
    let mut asks = vec![false; program.fns.len()];
    let mut callers: Vec<Vec<FnId>> = vec![Vec::new(); program.fns.len()];
    let mut work = Vec::new();
    for (i, def) in program.fns.iter().enumerate() {
        let id = FnId(i as u32);
        let bodies = def.body.iter().chain(def.params.iter().filter_map(|p| p.default.as_deref()));
        let mut found = false;
        for body in bodies {
            scan(program, body, &mut |part| match part {
                Part::Derivative => found = true,
                Part::Mention(callee) => callers[callee.index()].push(id),
            });
        }
        if found {
            asks[i] = true;
            work.push(id);
        }
    }
    while let Some(id) = work.pop() {
        for caller in std::mem::take(&mut callers[id.index()]) {
            if !std::mem::replace(&mut asks[caller.index()], true) {
                work.push(caller);
            }
        }
    }
    let own = |module: ModuleId| program.modules[module.index()].name.is_empty();
    let main = program.modules.iter().find(|m| m.name.is_empty()).and_then(|m| m.main);
    let mut out = Derivatives::default();
    for id in (0..program.fns.len()).filter(|i| asks[*i] && own(program.fns[*i].module)).map(|i| FnId(i as u32)) {
        if main == Some(id) { out.main = true } else { out.fns.push(id) }
    }
    for (i, test) in program.tests.iter().enumerate().filter(|(_, t)| own(t.module)) {
        let compiles = !matches!(test.expect, Expect::CompileError { .. });
        let Some(body) = test.body.as_ref().filter(|_| compiles) else { continue };
        let mut found = false;
        scan(program, body, &mut |part| match part {
            Part::Derivative => found = true,
            Part::Mention(callee) => found |= asks[callee.index()],
        });
        if found {
            out.tests.push(i);
        }
    }
    out
}

enum Part {
    Derivative,
    /// A function that is called or handed on.
    Mention(FnId),
}

fn scan(program: &Program, body: &Body, f: &mut dyn FnMut(Part)) {
    let roots = std::iter::once(&body.value).chain(body.lambdas.iter().map(|l| &l.body));
    for root in roots {
        visit(root, &mut |e| match &e.kind {
            ExprKind::Derivative(_) | ExprKind::Vjp { .. } | ExprKind::Jvp { .. } | ExprKind::Vmap(_) => {
                f(Part::Derivative);
            }
            ExprKind::Const(id) => {
                if let Some(value) = &program.consts[id.index()].value {
                    scan(program, value, f);
                }
            }
            ExprKind::Fn { func, .. } | ExprKind::Call { callee: Callee::Fn(func), .. } => f(Part::Mention(*func)),
            ExprKind::Call { callee: Callee::Method(m), .. } | ExprKind::Bound { method: m, .. } => {
                // any struct may stand for the type parameter
                let name = &program.interfaces[m.interface.index()].methods[m.index].name;
                let methods = program.structs.iter().flat_map(|s| &s.methods);
                methods.filter(|(n, _)| n == name).for_each(|(_, id)| f(Part::Mention(*id)));
            }
            _ => {}
        });
    }
}

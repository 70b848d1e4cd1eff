//! For a profile: what a library function does counts where the program calls it.
//!
//! before: %y = call @relu(%x)         # model.tdl:7        func @relu(…) { … }      # <std>/nn.tdl:34
//! after:  %y = call @relu.at0(%x)     # model.tdl:7        func @relu.at0(…) { … }  # model.tdl:7
//!
//! Each call outside of the library gets a copy of the function, and of those that it calls in turn. Checks and effects keep
//! their places: failures look as ever. A function that is differentiated by name stays one, since its forward pass is shared.

use rustc_hash::{FxHashMap, FxHashSet};
use tdl_ir::{Block, FuncId, Module, Op};
use tdl_source::{FileId, Span};

/// A module whose functions stand where they are called from, if they are of a library.
pub fn callers(module: &Module, library: &dyn Fn(FileId) -> bool) -> Module {
    let mut c = Callers { out: module.clone(), copies: FxHashMap::default(), library };
    for id in module.ids() {
        if !library(module.func(id).span.file) {
            let mut body = std::mem::take(&mut c.out.func_mut(id).body);
            let fixed = derived(&body);
            c.block(&mut body, &fixed, None);
            c.out.func_mut(id).body = body;
        }
    }
    c.out
}

struct Callers<'l> {
    out: Module,
    copies: FxHashMap<(FuncId, Span), FuncId>,
    library: &'l dyn Fn(FileId) -> bool,
}

impl Callers<'_> {
    /// Calls get copies. In a copy itself, `at` is where everything happens.
    fn block(&mut self, block: &mut Block, fixed: &FxHashSet<FuncId>, at: Option<Span>) {
        for i in &mut block.insts {
            let fails = matches!(i.op, Op::Assert { .. }) || i.op.has_effect();
            if let Some(at) = at
                && !fails
                && (self.library)(i.span.file)
            {
                i.span = at;
            }
            if let Op::Call { func } = &mut i.op
                && !fixed.contains(func)
                && (self.library)(self.out.func(*func).span.file)
            {
                *func = self.copy(*func, i.span);
            }
            for region in &mut i.regions {
                self.block(region, fixed, at);
            }
        }
    }

    fn copy(&mut self, func: FuncId, at: Span) -> FuncId {
        if let Some(copy) = self.copies.get(&(func, at)) {
            return *copy;
        }
        let mut f = self.out.func(func).clone();
        let fixed = derived(&f.body);
        self.block(&mut f.body, &fixed, Some(at));
        f.name = format!("{}.at{}", f.name, self.copies.len());
        let copy = self.out.add(f);
        self.copies.insert((func, at), copy);
        copy
    }
}

/// What is differentiated or mapped by name.
fn derived(block: &Block) -> FxHashSet<FuncId> {
    let mut all = FxHashSet::default();
    block.visit_insts(&mut |i| match i.op {
        Op::Vjp { func, .. } | Op::Jvp { func, .. } | Op::Vmap { func, .. } => _ = all.insert(func),
        _ => {}
    });
    all
}

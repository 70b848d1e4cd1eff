//! Functions as arguments in brackets: `Dense[3, 4, tanh]`. A function is checked against the parameter's type, in terms of
//! the arguments beside it, once the signatures of all functions are known.

use std::rc::Rc;

use tdl_ir::op::UnaryOp;
use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::{self, ExprKind as A};

use super::{Checker, Def, Entry};
use crate::ids::FnId;
use crate::ty::{FnArg, FnTy, Kind, Ty};

/// A function item where a parameter of this type is asked for.
pub(super) struct Given {
    sig: Rc<FnTy>,
    func: FnId,
    span: Span,
}

impl Checker<'_> {
    /// The function that `e` names. The check against the parameter's type follows by [`Checker::fn_arg_fits`].
    pub(super) fn lower_fn_arg(&mut self, e: &ast::Expr) -> Option<Rc<FnArg>> {
        let def = match &e.kind {
            A::Name(name) => match self.entry_of(&name.name) {
                Some(Entry::Generic(g)) if matches!(self.program.generics[g.index()].kind, Kind::Fn(_)) => {
                    return Some(Rc::new(FnArg::Param(g)));
                }
                Some(Entry::Generic(_) | Entry::Local(_) | Entry::Size(_)) => None,
                None => match self.def_of(&name.name) {
                    Some(def) => Some(def),
                    None => {
                        let Some(op) = UnaryOp::from_name(&name.name) else {
                            self.unknown_name(name, "function");
                            return None;
                        };
                        return Some(Rc::new(FnArg::Elementwise(op)));
                    }
                },
            },
            A::Field { base, name } => match &base.kind {
                A::Name(module) => match self.def_of(&module.name) {
                    Some(Def::Module(m)) => Some(self.member(m, name)?),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        };
        let Some(Def::Fn(func)) = def else {
            self.no_function(e.span);
            return None;
        };
        Some(Rc::new(FnArg::Item(func)))
    }

    pub(super) fn no_function(&mut self, span: Span) {
        self.errors.push(
            Diagnostic::error(code::E0309, "the name of a function is needed here", span, "no function")
                .help("a lambda cannot be part of a type: give it a name, `fn f(x: f32) -> f32 = …`"),
        );
    }

    /// Checks a function against a parameter's type, now or when all signatures are known.
    pub(super) fn fn_arg_fits(&mut self, arg: &FnArg, sig: &FnTy, span: Span) {
        match arg {
            FnArg::Item(func) => {
                self.fn_args.push(Given { sig: Rc::new(sig.clone()), func: *func, span });
                if self.signatures_done {
                    self.check_fn_args();
                }
            }
            FnArg::Elementwise(op) => {
                self.elementwise_fits(*op, sig, span);
            }
            FnArg::Param(_) | FnArg::Infer(_) => {}
        }
    }

    fn elementwise_fits(&mut self, op: UnaryOp, sig: &FnTy, span: Span) {
        let fits = match sig.params.as_slice() {
            [one] => matches!((&one.ty, &sig.result), (Ty::Tensor(..), Ty::Tensor(..)) if one.ty == sig.result),
            _ => false,
        };
        if !fits {
            let text = format!(
                "`{}` maps a tensor to one of its type, the parameter is {}",
                op.def().name,
                self.show_ty(&Ty::Fn(Rc::new(sig.clone())))
            );
            self.errors.push(Diagnostic::error(code::E0301, text, span, "another type"));
        }
    }

    /// Checks the functions that were given so far.
    pub(super) fn check_fn_args(&mut self) {
        for given in std::mem::take(&mut self.fn_args) {
            let inst = self.instantiate(given.func, None);
            let io = self.program.fns[given.func.index()].io;
            let fits = inst.params.len() == given.sig.params.len()
                && io == given.sig.io
                && given
                    .sig
                    .params
                    .iter()
                    .zip(&inst.params)
                    .all(|(want, have)| want.mutable == have.mutable && self.unify(&want.ty, &have.ty).is_ok())
                && self.unify(&given.sig.result, &inst.result).is_ok();
            if !fits {
                let name = self.program.fns[given.func.index()].name.clone();
                let at = self.program.fns[given.func.index()].name_span;
                let text = format!("`{name}` does not fit the parameter: {}", self.show_ty(&Ty::Fn(given.sig.clone())));
                self.errors.push(
                    Diagnostic::error(code::E0301, text, given.span, "a function of another type")
                        .label(at, "this function"),
                );
            }
        }
    }
}

//! `test` items. Properties and benchmarks are functions: see `generated`.

use tdl_source::{Code, Diagnostic, code};
use tdl_syntax::ast::{self, ItemKind};

use super::Checker;
use super::again::Before;
use super::errors::mk;
use crate::ids::*;
use crate::thir::*;

impl Checker<'_> {
    pub(super) fn check_tests(&mut self, before: &mut Option<Before>) {
        for (i, m) in self.asts.clone().into_iter().enumerate() {
            for item in &m.ast.items {
                self.module = ModuleId(i as u32);
                match &item.kind {
                    ItemKind::Test(_) => self.check_test_again(item, before),
                    ItemKind::Import(_)
                    | ItemKind::Const(_)
                    | ItemKind::TypeAlias(_)
                    | ItemKind::Struct(_)
                    | ItemKind::Impl(_)
                    | ItemKind::Interface(_)
                    | ItemKind::Fn(_)
                    | ItemKind::Prop(_)
                    | ItemKind::Bench(_) => {}
                }
            }
        }
    }

    pub(super) fn check_test(&mut self, t: &ast::Test) {
        let module = self.module;
        self.fresh_body();
        self.body.open = true;
        self.body.io = true;
        self.body.result = Some(Ty::unit());
        let expect = t.expect.as_ref().map(|c| (c, c.name.strip_prefix('E').and_then(|n| n.parse::<u16>().ok())));
        let before = self.errors.len();
        let block = self.block(&t.body, None, "");
        let ty = self.block_type(&block, &Ty::unit());
        let value = mk(ExprKind::Block(block), ty, t.body.span);
        let body = self.finish(value);
        let mut def = TestDef {
            name: t.name.clone(),
            module,
            expect: Expect::Success,
            message: t.message.clone(),
            body,
            span: t.name_span,
        };
        match expect {
            None => {}
            Some((at, None)) => {
                let text = format!("`{}` is no error code", at.name);
                self.error(Diagnostic::error(code::E0316, text, at.span, "written like `E0401`"));
            }
            Some((_, Some(n))) if n >= 700 => def.expect = Expect::RuntimeError(Code(n)),
            Some((at, Some(n))) => {
                let mine = self.errors.split_off(before);
                let says = |d: &Diagnostic| t.message.as_ref().is_none_or(|m| d.message.contains(&**m));
                let found = mine.iter().any(|d| d.code == Code(n) && says(d));
                def.expect = Expect::CompileError { code: Code(n), found };
                // without errors it may be one that differentiation finds
                def.body = def.body.filter(|_| mine.is_empty());
                if !found && !mine.is_empty() {
                    // other errors than the expected one are shown, with what was
                    let wanted = match &t.message {
                        Some(m) => format!("this test expects the error {} with \"{m}\" in its message", at.name),
                        None => format!("this test expects the error {}", at.name),
                    };
                    self.errors.extend(mine.into_iter().map(|d| d.label(at.span, wanted.clone())));
                }
            }
        }
        self.program.tests.push(def);
    }
}

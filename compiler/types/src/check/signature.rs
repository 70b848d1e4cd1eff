//! Signatures of functions and methods.

use tdl_source::{Diagnostic, code};
use tdl_syntax::ast;

use super::{Checker, Entry};
use crate::ids::*;
use crate::thir::Param;
use crate::ty::{Kind, Ty};

impl<'a> Checker<'a> {
    /// Lowers generics, parameters and result. The scope holds the impl's generics.
    pub(super) fn signature(&mut self, id: FnId, f: &'a ast::Fn, annotations: &[ast::Annotation]) {
        let generics = self.declare_generics(&f.generics);
        for clause in self.sigs[id.index()].clauses.clone() {
            self.assume(&clause.fact);
        }
        self.program.fns[id.index()].generics.extend(generics);
        self.program.fns[id.index()].io =
            f.io || (&*f.name.name == "main" && self.program.fns[id.index()].self_struct.is_none());
        for a in annotations {
            match &*a.name.name {
                "remat" => self.program.fns[id.index()].remat = true,
                "vjp" => self.rules.push((id, a.clone())),
                other => self.errors.push(Diagnostic::error(
                    code::E0201,
                    format!("unknown annotation `@{other}`"),
                    a.span,
                    "not known",
                )),
            }
        }
        // clauses about the generics hold in the parameters' types already
        let (mut early, errors) = (Vec::new(), self.errors.len());
        for e in &f.facts {
            self.collect_facts(e, &mut early);
        }
        self.errors.truncate(errors);
        for clause in &early {
            self.assume(&clause.fact);
        }
        // numbers may stand in the types of the parameters before them
        for p in &f.params {
            let local = self.new_local(&p.name.name, Ty::Error, p.mutable, p.span);
            if p.ty.as_ref().is_some_and(is_i64) {
                self.body.locals[local.index()].ty = Ty::I64;
                self.bind_name(&p.name.name, Entry::Local(local));
            }
        }
        let mut params: Vec<Param> = Vec::new();
        for (i, p) in f.params.iter().enumerate() {
            if p.ty.is_none()
                && let Some(Entry::Generic(g)) = self.entry_of(&p.name.name)
                && matches!(self.program.generics[g.index()].kind, Kind::Tree(_) | Kind::Interface(..))
            {
                self.sigs[id.index()].type_params.resize(i + 1, None);
                self.sigs[id.index()].type_params[i] = Some(g);
                let (local, name) = (LocalId(i as u32), p.name.name.as_ref().into());
                self.body.locals[i].ty = Ty::unit();
                params.push(Param { local, name, ty: Ty::unit(), mutable: false, default: None, span: p.span });
                continue;
            }
            let ty = match (&p.ty, &*p.name.name, self.program.fns[id.index()].self_struct) {
                (None, "self", Some(sid)) => Ty::Struct(sid, self.sigs[id.index()].self_args.clone()),
                (None, "self", None) => {
                    self.errors.push(Diagnostic::error(
                        code::E0309,
                        "`self` outside of an `impl`",
                        p.span,
                        "only methods have it",
                    ));
                    Ty::Error
                }
                (None, ..) => {
                    self.missing_type(p);
                    Ty::Error
                }
                (Some(t), ..) => self.lower(t),
            };
            if let Some(first) = params.iter().find(|q| *q.name == *p.name.name) {
                let first = first.span;
                self.duplicate(&p.name, "parameter", Some(first));
            }
            let local = LocalId(i as u32);
            self.body.locals[i].ty = ty.clone();
            self.bind_name(&p.name.name, Entry::Local(local));
            let name = p.name.name.as_ref().into();
            params.push(Param { local, name, ty, mutable: p.mutable, default: None, span: p.span });
        }
        // clauses may speak about `i64` parameters
        let clauses = self.where_clauses(&f.facts);
        for clause in &clauses {
            self.assume(&clause.fact);
        }
        self.sigs[id.index()].clauses.extend(clauses);
        let result = f.result.as_ref().map_or(Ty::unit(), |t| self.lower(t));
        let spans = self.sigs[id.index()].clauses.iter().map(|c| c.span).collect();
        let def = &mut self.program.fns[id.index()];
        def.params = params;
        def.result = result;
        def.clauses = spans;
    }

    pub(super) fn missing_type(&mut self, p: &ast::Param) {
        self.errors.push(
            Diagnostic::error(
                code::E0309,
                format!("parameter `{}` needs a type", p.name.name),
                p.span,
                "no type given",
            )
            .help(format!("write `{}: f32[n]`, for instance", p.name.name)),
        );
    }
}

pub(super) fn is_i64(t: &ast::Type) -> bool {
    matches!(&t.kind, ast::TypeKind::Path { path, args } if args.is_empty() && path.len() == 1 && &*path[0].name == "i64")
}

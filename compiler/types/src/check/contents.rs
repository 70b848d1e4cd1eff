//! What structs are made of: none contains itself, and none has parts without number.

use rustc_hash::{FxHashMap, FxHashSet};
use tdl_source::{Diagnostic, code};

use super::Checker;
use crate::thir::StructId;
use crate::ty::{GenericArg, Ty};

/// Parts of a value, those of its parts counted, at most.
pub(super) const MAX_PARTS: usize = 10_000;

impl Checker<'_> {
    /// Removes fields by which a struct contains itself, or more than [`MAX_PARTS`] parts.
    pub(super) fn struct_parts(&mut self) {
        let all = (0..self.program.structs.len()).map(|i| StructId(i as u32));
        let mut finite = FxHashSet::default();
        for id in all.clone() {
            for at in 0..self.program.structs[id.index()].fields.len() {
                let ty = self.program.structs[id.index()].fields[at].ty.clone();
                if self.contained_again(&ty, &mut vec![id], &mut finite) == Some(id) {
                    let text = format!("struct `{}` contains itself", self.program.structs[id.index()].name);
                    self.drop_field(id, at, |span| Diagnostic::error(code::E0307, text, span, "here"));
                }
            }
        }
        let mut counts = FxHashMap::default();
        for id in all {
            self.count_struct(id, &mut counts);
        }
    }

    fn drop_field(&mut self, id: StructId, at: usize, error: impl FnOnce(tdl_source::Span) -> Diagnostic) {
        let field = &mut self.program.structs[id.index()].fields[at];
        field.ty = Ty::Error;
        self.errors.push(error(field.span));
    }

    /// The first struct of `path` that `ty` contains; those in `finite` lead to none.
    fn contained_again(&self, ty: &Ty, path: &mut Vec<StructId>, finite: &mut FxHashSet<StructId>) -> Option<StructId> {
        match ty {
            Ty::Struct(id, args) => {
                if path.contains(id) {
                    return Some(*id);
                }
                let inside = |this: &Self, path: &mut Vec<StructId>, finite: &mut FxHashSet<StructId>| {
                    let fields = &this.program.structs[id.index()].fields;
                    fields.iter().find_map(|f| this.contained_again(&f.ty, path, finite))
                };
                if !finite.contains(id) {
                    path.push(*id);
                    let inner = inside(self, path, finite);
                    path.pop();
                    if inner.is_some() {
                        return inner;
                    }
                    finite.insert(*id);
                }
                args.iter().find_map(|a| match a {
                    GenericArg::Ty(t) => self.contained_again(t, path, finite),
                    GenericArg::Size(_) | GenericArg::Shape(_) | GenericArg::Dtype(_) | GenericArg::Fn(_) => None,
                })
            }
            Ty::Tuple(items) => items.iter().find_map(|t| self.contained_again(t, path, finite)),
            Ty::Stack(_, t) | Ty::Exists(_, t) => self.contained_again(t, path, finite),
            Ty::Error | Ty::Never | Ty::Tensor(..) | Ty::Param(_) | Ty::Fn(_) | Ty::Str | Ty::Rng | Ty::Infer(_) => {
                None
            }
        }
    }

    /// How many parts a struct has that does not contain itself.
    fn count_struct(&mut self, id: StructId, counts: &mut FxHashMap<StructId, usize>) -> usize {
        if let Some(n) = counts.get(&id) {
            return *n;
        }
        counts.insert(id, 1);
        let mut all = 0usize;
        for at in 0..self.program.structs[id.index()].fields.len() {
            let ty = self.program.structs[id.index()].fields[at].ty.clone();
            let n = self.count(&ty, counts);
            if all + n <= MAX_PARTS {
                all += n;
                continue;
            }
            let name = self.program.structs[id.index()].name.clone();
            let text = format!("`{name}` has more than {MAX_PARTS} parts, those of its parts counted");
            self.drop_field(id, at, |span| {
                Diagnostic::error(code::E0603, text, span, "with this field").help("put what is alike into one array")
            });
        }
        counts.insert(id, all);
        all
    }

    fn count(&mut self, ty: &Ty, counts: &mut FxHashMap<StructId, usize>) -> usize {
        let sum = |a: usize, b: usize| a.saturating_add(b).min(2 * MAX_PARTS);
        match ty {
            Ty::Struct(id, args) => {
                let own = self.count_struct(*id, counts);
                args.iter().fold(own, |n, a| match a {
                    GenericArg::Ty(t) => sum(n, self.count(t, counts)),
                    GenericArg::Size(_) | GenericArg::Shape(_) | GenericArg::Dtype(_) | GenericArg::Fn(_) => n,
                })
            }
            Ty::Tuple(items) => items.iter().fold(0, |n, t| sum(n, self.count(t, counts))),
            Ty::Stack(_, t) | Ty::Exists(_, t) => self.count(t, counts),
            Ty::Error | Ty::Never | Ty::Tensor(..) | Ty::Param(_) | Ty::Fn(_) | Ty::Str | Ty::Rng | Ty::Infer(_) => 1,
        }
    }
}

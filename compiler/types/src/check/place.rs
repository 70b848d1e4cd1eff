//! Places: parts of mutable variables that are assigned or passed for `mut` parameters.

use tdl_source::{Diagnostic, code};
use tdl_syntax::ast::{self, ExprKind as A};

use super::{Checker, Def, Entry};
use crate::thir::{ExprKind, Place, Projection, Subscript};
use crate::ty::Ty;

impl Checker<'_> {
    /// The place an expression is, if it has the form of one and its root is a variable. Reports only inside subscripts.
    pub(super) fn try_place(&mut self, e: &ast::Expr) -> Option<Place> {
        match &e.kind {
            A::Name(name) => match self.entry_of(&name.name)? {
                Entry::Local(root) => {
                    let ty = self.body.locals[root.index()].ty.clone();
                    Some(Place { root, path: Vec::new(), ty: self.zonk(&ty), span: e.span })
                }
                Entry::Generic(_) | Entry::Size(_) => None,
            },
            A::Field { base, name } => {
                let mut place = self.try_place(base)?;
                let (index, ty) = match &place.ty {
                    Ty::Struct(id, args) => self.field_type(*id, args, &name.name)?,
                    Ty::Stack(dims, elem) => match &**elem {
                        Ty::Struct(id, args) => {
                            let (i, t) = self.field_type(*id, args, &name.name)?;
                            (i, Ty::stack(dims.clone(), t))
                        }
                        _ => return None,
                    },
                    _ => return None,
                };
                place.path.push(Projection::Field(index));
                place.ty = self.zonk(&ty);
                place.span = e.span;
                Some(place)
            }
            A::TupleField { base, index, .. } => {
                let mut place = self.try_place(base)?;
                let Ty::Tuple(items) = &place.ty else { return None };
                let ty = items.get(*index)?.clone();
                place.path.push(Projection::TupleField(*index));
                place.ty = ty;
                place.span = e.span;
                Some(place)
            }
            A::Index { base, items, .. } => {
                let mut place = self.try_place(base)?;
                if let Ty::Exists(..) = place.ty {
                    place.ty = self.opened_place(base)?;
                }
                if !matches!(place.ty, Ty::Tensor(..) | Ty::Stack(..)) {
                    return None;
                }
                let (subscripts, ty) = self.subscripts(&place.ty.clone(), items, e.span)?;
                place.path.push(Projection::Index(subscripts));
                place.ty = ty;
                place.span = e.span;
                Some(place)
            }
            _ => None,
        }
    }

    /// The type of a place of existential size whose parts are meant: its sizes get names before the statement.
    fn opened_place(&mut self, e: &ast::Expr) -> Option<Ty> {
        let value = self.expr(e, None);
        let ty = self.zonk(&value.ty);
        if matches!(value.kind, ExprKind::Open { .. }) {
            self.temp(value);
        }
        (!ty.is_error()).then_some(ty)
    }

    /// A place to assign to; reports if there is none.
    pub(super) fn assignable(&mut self, e: &ast::Expr) -> Option<Place> {
        let errors = self.errors.len();
        let Some(place) = self.try_place(e) else {
            if let A::Name(name) = &e.kind
                && self.entry_of(&name.name).is_none()
                && self.errors.len() == errors
            {
                self.assign_global(name);
                return None;
            }
            if self.errors.len() == errors {
                let value = self.expr(e, None);
                if !value.ty.is_error() {
                    self.error(
                        Diagnostic::error(
                            code::E0306,
                            "only parts of variables are assigned",
                            e.span,
                            "not a variable",
                        )
                        .help("the left side is `x`, `x.f`, `x[i]` or a tuple of these"),
                    );
                }
            }
            return None;
        };
        self.require_mutable(&place).then_some(place)
    }

    /// An assignment to a name that is no variable.
    fn assign_global(&mut self, name: &ast::Ident) {
        let known = match self.def_of(&name.name) {
            Some(Def::Const(id)) => Some(("a constant", self.program.consts[id.index()].span)),
            Some(Def::Fn(id)) => Some(("a function", self.program.fns[id.index()].name_span)),
            Some(Def::Struct(_) | Def::Interface(_) | Def::Alias(_) | Def::Module(_)) | None => None,
        };
        let n = &name.name;
        let d = match known {
            Some((what, at)) => {
                let text = format!("`{n}` is {what}, which does not change");
                Diagnostic::error(code::E0306, text, name.span, "assigned here")
                    .label(at, "defined here")
                    .help(format!("for a variable of this name write `let mut {n} = …` before"))
            }
            None => {
                let frames = self.body.names.iter().flat_map(|f| f.keys());
                let near = super::names::nearest(n, frames.map(|k| &**k));
                let d =
                    Diagnostic::error(code::E0201, format!("unknown variable `{n}`"), name.span, "not defined here");
                match near {
                    Some(near) => d.fix(format!("did you mean `{near}`?"), name.span, near),
                    None => d.help(format!("a new variable begins with `let`: `let {n} = …`")),
                }
            }
        };
        self.error(d);
        if known.is_none() {
            self.hush(name);
        }
    }

    pub(super) fn require_mutable(&mut self, place: &Place) -> bool {
        let local = self.body.locals[place.root.index()].clone();
        // a lambda's copy of what it captures may be drawn from: generators alone
        let captured = self.body.local_depth[place.root.index()] < self.body.depth;
        let index = self.body.ranges.around.last().map(|i| self.body.ranges.indices[*i].local);
        if captured
            && self.zonk(&place.ty) != Ty::Rng
            && index.is_some_and(|i| self.body.local_depth[i.index()] == self.body.depth)
        {
            let text = format!("a comprehension cannot change `{}`: its elements are independent", local.name);
            self.error(
                Diagnostic::error(code::E0306, text, place.span, "changed here")
                    .label(local.span, "the variable")
                    .help("write a loop: `for i in 0..n { … }`"),
            );
            return false;
        }
        if captured && self.zonk(&place.ty) != Ty::Rng {
            let text = format!("a lambda captures `{}` by value, so it cannot change it", local.name);
            self.error(
                Diagnostic::error(code::E0306, text, place.span, "changed here")
                    .label(local.span, "the variable")
                    .help("take it as a parameter `|mut m| …` and give the new value back with the result"),
            );
            return false;
        }
        if local.mutable || (captured && self.zonk(&local.ty) == Ty::Rng) {
            return true;
        }
        if local.ty.is_error() {
            return false;
        }
        let text = format!("`{}` is not mutable", local.name);
        let is_param = self.body.params.contains(&place.root);
        let entry = self.program.fns.last().is_some_and(|f| &*f.name == "<entry>");
        let help = if is_param && entry {
            format!("declare it `let mut {} = …`", local.name)
        } else if is_param && &*local.name == "self" {
            "a method that changes its struct takes `mut self`".to_owned()
        } else if is_param {
            format!("declare the parameter `{}: mut …`, or work on a copy: `let mut y = {}`", local.name, local.name)
        } else if self.body.loop_vars.contains(&place.root) {
            format!("a loop sets it anew in each round; for a copy write `let mut x = {}`", local.name)
        } else {
            format!("declare it `let mut {} = …`", local.name)
        };
        let mut d = Diagnostic::error(code::E0306, text, place.span, "changed here").help(help);
        // of an earlier entry there is no place
        if !(is_param && entry) {
            d = d.label(local.span, "bound here");
        }
        self.error(d);
        false
    }

    /// Two `mut` arguments of one call may not share anything.
    pub(super) fn overlaps(&mut self, places: &[Place]) {
        let Some((a, b)) = meeting(places) else { return };
        let name = self.body.locals[a.root.index()].name.clone();
        let text = format!("`{name}` is passed twice to be changed");
        self.error(
            Diagnostic::error(code::E0315, text, a.span, "here again")
                .label(b.span, "first here")
                .help("work on a copy of one of them, or merge the two parameters"),
        );
    }

    /// Two targets of one assignment may not be one place. Elements may: `(x[i], x[j]) = (x[j], x[i])` sets one after the
    /// other.
    pub(super) fn same_targets(&mut self, places: &[Place]) {
        let whole = |p: &&Place| !p.path.iter().any(|s| matches!(s, Projection::Index(_)));
        let places: Vec<Place> = places.iter().filter(whole).cloned().collect();
        let Some((a, b)) = meeting(&places) else { return };
        let name = self.body.locals[a.root.index()].name.clone();
        let text = format!("`{name}` is set twice by one assignment");
        self.error(
            Diagnostic::error(code::E0315, text, a.span, "here again")
                .label(b.span, "first here")
                .help("write `_` where a value is not wanted"),
        );
    }
}

/// Two places that share something, the later one first.
fn meeting(places: &[Place]) -> Option<(&Place, &Place)> {
    places.iter().enumerate().find_map(|(i, a)| {
        places[..i].iter().find(|b| a.root == b.root && paths_meet(&a.path, &b.path)).map(|b| (a, b))
    })
}

fn paths_meet(a: &[Projection], b: &[Projection]) -> bool {
    for (x, y) in a.iter().zip(b) {
        match (x, y) {
            (Projection::Field(i), Projection::Field(j)) | (Projection::TupleField(i), Projection::TupleField(j)) => {
                if i != j {
                    return false;
                }
            }
            (Projection::Index(p), Projection::Index(q)) => {
                let fixed = |s: &Subscript| match s {
                    Subscript::Index { index, .. } => match &index.kind {
                        ExprKind::Int(v) => Some(*v),
                        _ => None,
                    },
                    _ => None,
                };
                if let (Some(Some(i)), Some(Some(j))) = (p.first().map(fixed), q.first().map(fixed))
                    && i != j
                {
                    return false;
                }
            }
            (Projection::Field(_) | Projection::TupleField(_) | Projection::Index(_), _) => return true,
        }
    }
    true
}

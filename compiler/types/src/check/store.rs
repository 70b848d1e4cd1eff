//! The unknowns of inference and their solution.

use std::rc::Rc;

use super::Checker;
use crate::size::{SizeExpr, SizeVar};
use crate::subst::{Subst, subst_elem, subst_shape};
use crate::ty::{Dim, Dtype, DtypeBound, Elem, FnArg, GenericArg, Kind, Shape, Spread, Ty};

/// What an unknown dtype may become.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Class {
    /// An integer literal: any number; `i64` if nothing else says.
    IntLit,
    /// A float literal: any float; `f32` if nothing else says.
    FloatLit,
    /// A dtype parameter of something called; may have a default.
    Bound(DtypeBound, Option<Elem>),
}

#[derive(Clone, Debug)]
pub(super) enum ElemState {
    Open(Class),
    Is(Elem),
}

/// All unknowns of a body.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    pub sizes: Vec<Option<SizeExpr>>,
    pub elems: Vec<ElemState>,
    pub spreads: Vec<Option<Shape>>,
    pub tys: Vec<Option<Ty>>,
    pub fns: Vec<Option<Rc<FnArg>>>,
    /// Defaults of size and type parameters of structs, used if nothing else says.
    pub defaults: Vec<(GenericArg, GenericArg)>,
    /// Equations that could not be solved yet.
    pub pending: Vec<(SizeExpr, SizeExpr)>,
    /// Equations that a number from run time decides: checked before the statement.
    pub checked: Vec<(SizeExpr, SizeExpr)>,
}

impl Subst for Store {
    fn size(&self, var: SizeVar) -> Option<SizeExpr> {
        match var {
            SizeVar::Infer(i) => self.sizes[i as usize].as_ref().map(|e| e.subst(&|v| self.size(v))),
            _ => None,
        }
    }

    fn elem(&self, elem: Elem) -> Option<Elem> {
        match elem {
            Elem::Infer(i) => match &self.elems[i as usize] {
                ElemState::Is(e) => Some(subst_elem(*e, self)),
                ElemState::Open(_) => None,
            },
            Elem::Dtype(_) | Elem::Param(_) => None,
        }
    }

    fn spread(&self, spread: Spread) -> Option<Shape> {
        match spread {
            Spread::Infer(i) => self.spreads[i as usize].as_ref().map(|s| subst_shape(s, self)),
            Spread::Param(_) => None,
        }
    }

    fn function(&self, f: &FnArg) -> Option<Rc<FnArg>> {
        match f {
            FnArg::Infer(i) => {
                let found = self.fns[*i as usize].clone()?;
                Some(self.function(&found).unwrap_or(found))
            }
            FnArg::Item(_) | FnArg::Elementwise(_) | FnArg::Param(_) => None,
        }
    }

    fn unknown(&self, id: u32) -> Option<Ty> {
        self.tys[id as usize].as_ref().map(|t| t.subst(self))
    }
}

/// Why two types differ.
#[derive(Clone, Debug)]
pub(super) enum Mismatch {
    /// Of another kind altogether.
    Kind,
    Dtype {
        expected: Elem,
        found: Elem,
    },
    Size {
        expected: SizeExpr,
        found: SizeExpr,
    },
    Rank,
}

pub(super) type Unified = Result<(), Mismatch>;

impl Store {
    pub fn new_size(&mut self) -> SizeExpr {
        self.sizes.push(None);
        SizeExpr::var(SizeVar::Infer(self.sizes.len() as u32 - 1))
    }

    pub fn new_elem(&mut self, class: Class) -> Elem {
        self.elems.push(ElemState::Open(class));
        Elem::Infer(self.elems.len() as u32 - 1)
    }

    pub fn new_spread(&mut self) -> Spread {
        self.spreads.push(None);
        Spread::Infer(self.spreads.len() as u32 - 1)
    }

    pub fn new_ty(&mut self) -> Ty {
        self.tys.push(None);
        Ty::Infer(self.tys.len() as u32 - 1)
    }

    /// An unknown of a generic's kind.
    pub fn new_arg(&mut self, kind: &Kind) -> GenericArg {
        match kind {
            Kind::Size => GenericArg::Size(self.new_size()),
            Kind::Shape => GenericArg::Shape(vec![Dim::Spread(self.new_spread())]),
            Kind::Dtype(bound) => GenericArg::Dtype(self.new_elem(Class::Bound(*bound, None))),
            Kind::Tree(_) | Kind::Interface(..) => GenericArg::Ty(self.new_ty()),
            Kind::Fn(_) => {
                self.fns.push(None);
                GenericArg::Fn(Rc::new(FnArg::Infer(self.fns.len() as u32 - 1)))
            }
        }
    }
}

fn has_unknown(e: &SizeExpr) -> bool {
    let mut found = false;
    e.visit_vars(&mut |v| found |= matches!(v, SizeVar::Infer(_)));
    found
}

/// Whether the size depends on a number that only the run knows.
fn from_run_time(e: &SizeExpr) -> bool {
    let mut found = false;
    e.visit_vars(&mut |v| found |= matches!(v, SizeVar::Local(_) | SizeVar::Const(_)));
    found
}

impl Checker<'_> {
    /// The type with all solved unknowns replaced.
    pub(super) fn zonk(&self, t: &Ty) -> Ty {
        t.subst(&self.body.store)
    }

    pub(super) fn zonk_size(&self, e: &SizeExpr) -> SizeExpr {
        e.subst(&|v| self.body.store.size(v))
    }

    pub(super) fn zonk_elem(&self, e: Elem) -> Elem {
        subst_elem(e, &self.body.store)
    }

    /// Makes two types equal by solving unknowns.
    pub(super) fn unify(&mut self, expected: &Ty, found: &Ty) -> Unified {
        let (a, b) = (self.zonk(expected), self.zonk(found));
        self.unify_resolved(&a, &b)
    }

    /// As [`Self::unify`], and undone if it fails.
    pub(super) fn try_unify(&mut self, expected: &Ty, found: &Ty) -> Unified {
        let saved = self.body.store.clone();
        let result = self.unify(expected, found);
        if result.is_err() {
            self.body.store = saved;
        }
        result
    }

    fn unify_resolved(&mut self, a: &Ty, b: &Ty) -> Unified {
        match (a, b) {
            (Ty::Error | Ty::Never, _) | (_, Ty::Error | Ty::Never) => Ok(()),
            (Ty::Infer(i), Ty::Infer(j)) if i == j => Ok(()),
            (Ty::Infer(i), other) | (other, Ty::Infer(i)) => {
                if mentions_unknown(other, *i) {
                    return Err(Mismatch::Kind);
                }
                self.body.store.tys[*i as usize] = Some(other.clone());
                Ok(())
            }
            (Ty::Tensor(e, s), Ty::Tensor(f, t)) => {
                self.unify_elem(*e, *f)?;
                self.unify_shape(s, t)
            }
            (Ty::Tuple(xs), Ty::Tuple(ys)) => {
                if xs.len() != ys.len() {
                    return Err(Mismatch::Kind);
                }
                xs.iter().zip(ys).try_for_each(|(x, y)| self.unify(x, y))
            }
            (Ty::Struct(i, xs), Ty::Struct(j, ys)) if i == j => {
                xs.iter().zip(ys).try_for_each(|(x, y)| self.unify_arg(x, y))
            }
            (Ty::Stack(s, x), Ty::Stack(t, y)) => self.unify_stacks(s, x, t, y),
            (Ty::Stack(s, x), Ty::Tensor(e, t)) | (Ty::Tensor(e, t), Ty::Stack(s, x)) => {
                // T[n] against f32[n, d]: T is f32[d]
                let Ty::Infer(_) = self.zonk(x) else { return Err(Mismatch::Kind) };
                let (head, tail) = split_front(t, s.len()).ok_or(Mismatch::Rank)?;
                self.unify_shape(s, &head)?;
                self.unify(x, &Ty::Tensor(*e, tail))
            }
            (Ty::Param(i), Ty::Param(j)) if i == j => Ok(()),
            (Ty::Fn(f), Ty::Fn(g)) => {
                if f.params.len() != g.params.len() {
                    return Err(Mismatch::Kind);
                }
                for (p, q) in f.params.iter().zip(&g.params) {
                    self.unify(&p.ty, &q.ty)?;
                }
                self.unify(&f.result, &g.result)
            }
            (Ty::Str, Ty::Str) | (Ty::Rng, Ty::Rng) => Ok(()),
            (Ty::Exists(vars, x), Ty::Exists(others, y)) => {
                if vars.len() != others.len() {
                    return Err(Mismatch::Kind);
                }
                let rename = others.iter().zip(vars).map(|(o, v)| (*o, SizeExpr::var(*v)));
                let y = y.subst(&crate::subst::Bindings::sizes(rename));
                self.unify(x, &y)
            }
            (
                Ty::Tensor(..)
                | Ty::Tuple(_)
                | Ty::Struct(..)
                | Ty::Stack(..)
                | Ty::Param(_)
                | Ty::Fn(_)
                | Ty::Str
                | Ty::Rng
                | Ty::Exists(..),
                _,
            ) => Err(Mismatch::Kind),
        }
    }

    fn unify_stacks(&mut self, s: &Shape, x: &Ty, t: &Shape, y: &Ty) -> Unified {
        let open = |t: &Ty| matches!(t, Ty::Infer(_));
        let (x, y) = (self.zonk(x), self.zonk(y));
        if s.len() < t.len() && open(&x) && !has_spread(s) {
            let (head, tail) = split_front(t, s.len()).ok_or(Mismatch::Rank)?;
            self.unify_shape(s, &head)?;
            return self.unify(&x, &Ty::stack(tail, y));
        }
        if t.len() < s.len() && open(&y) && !has_spread(t) {
            let (head, tail) = split_front(s, t.len()).ok_or(Mismatch::Rank)?;
            self.unify_shape(&head, t)?;
            return self.unify(&Ty::stack(tail, x), &y);
        }
        self.unify_shape(s, t)?;
        self.unify(&x, &y)
    }

    pub(super) fn unify_arg(&mut self, a: &GenericArg, b: &GenericArg) -> Unified {
        match (a, b) {
            (GenericArg::Size(x), GenericArg::Size(y)) => self.unify_size(x, y),
            (GenericArg::Shape(x), GenericArg::Shape(y)) => self.unify_shape(x, y),
            (GenericArg::Dtype(x), GenericArg::Dtype(y)) => self.unify_elem(*x, *y),
            (GenericArg::Ty(x), GenericArg::Ty(y)) => self.unify(x, y),
            (GenericArg::Fn(x), GenericArg::Fn(y)) => {
                let known = |f: &Rc<FnArg>| self.body.store.function(f).unwrap_or_else(|| f.clone());
                let (x, y) = (known(x), known(y));
                match (&*x, &*y) {
                    _ if x == y => Ok(()),
                    (FnArg::Infer(i), _) => {
                        self.body.store.fns[*i as usize] = Some(y);
                        Ok(())
                    }
                    (_, FnArg::Infer(i)) => {
                        self.body.store.fns[*i as usize] = Some(x);
                        Ok(())
                    }
                    _ => Err(Mismatch::Kind),
                }
            }
            (
                GenericArg::Size(_)
                | GenericArg::Shape(_)
                | GenericArg::Dtype(_)
                | GenericArg::Ty(_)
                | GenericArg::Fn(_),
                _,
            ) => Err(Mismatch::Kind),
        }
    }

    pub(super) fn unify_elem(&mut self, a: Elem, b: Elem) -> Unified {
        let (a, b) = (self.zonk_elem(a), self.zonk_elem(b));
        let wrong = Err(Mismatch::Dtype { expected: a, found: b });
        match (a, b) {
            (Elem::Infer(i), Elem::Infer(j)) => {
                if i == j {
                    return Ok(());
                }
                let (ElemState::Open(x), ElemState::Open(y)) =
                    (self.body.store.elems[i as usize].clone(), self.body.store.elems[j as usize].clone())
                else {
                    return wrong;
                };
                let Some(class) = join(x, y) else { return wrong };
                // the newer points to the older, so that ways stay short
                let (old, new) = (i.min(j), i.max(j));
                self.body.store.elems[old as usize] = ElemState::Open(class);
                self.body.store.elems[new as usize] = ElemState::Is(Elem::Infer(old));
                Ok(())
            }
            (Elem::Infer(i), known) | (known, Elem::Infer(i)) => {
                let ElemState::Open(class) = self.body.store.elems[i as usize].clone() else { return wrong };
                if !self.class_accepts(class, known) {
                    return wrong;
                }
                self.body.store.elems[i as usize] = ElemState::Is(known);
                Ok(())
            }
            (Elem::Dtype(_) | Elem::Param(_), _) => {
                if a == b {
                    Ok(())
                } else {
                    wrong
                }
            }
        }
    }

    /// Whether it is the open dtype of an integer literal.
    pub(super) fn is_int_literal(&self, elem: Elem) -> bool {
        let Elem::Infer(i) = self.zonk_elem(elem) else { return false };
        matches!(self.body.store.elems[i as usize], ElemState::Open(Class::IntLit))
    }

    fn class_accepts(&self, class: Class, elem: Elem) -> bool {
        let need = match class {
            Class::IntLit => DtypeBound::Num,
            Class::FloatLit => DtypeBound::Float,
            Class::Bound(b, _) => b,
        };
        self.elem_within(elem, need)
    }

    /// Whether every dtype that `elem` can be lies within the bound.
    pub(super) fn elem_within(&self, elem: Elem, need: DtypeBound) -> bool {
        match self.zonk_elem(elem) {
            Elem::Dtype(d) => need.accepts(d),
            Elem::Param(id) => match &self.program.generics[id.index()].kind {
                Kind::Dtype(b) => bound_within(*b, need),
                Kind::Size | Kind::Shape | Kind::Tree(_) | Kind::Interface(..) | Kind::Fn(_) => false,
            },
            Elem::Infer(i) => match &self.body.store.elems[i as usize] {
                ElemState::Open(Class::IntLit) => bound_within(DtypeBound::Num, need),
                ElemState::Open(Class::FloatLit) => bound_within(DtypeBound::Float, need),
                ElemState::Open(Class::Bound(b, _)) => bound_within(*b, need),
                ElemState::Is(_) => true,
            },
        }
    }

    /// Narrows an unknown dtype to a bound; says whether the dtype fits.
    pub(super) fn require_elem(&mut self, elem: Elem, need: DtypeBound) -> bool {
        let elem = self.zonk_elem(elem);
        let Elem::Infer(i) = elem else { return self.elem_within(elem, need) };
        let ElemState::Open(class) = self.body.store.elems[i as usize].clone() else { return true };
        let narrowed = match (class, need) {
            (Class::IntLit, DtypeBound::Float) => Some(Class::FloatLit),
            (class, need) => join(class, Class::Bound(need, None)),
        };
        let Some(class) = narrowed else { return false };
        self.body.store.elems[i as usize] = ElemState::Open(class);
        true
    }

    pub(super) fn unify_shape(&mut self, a: &[Dim], b: &[Dim]) -> Unified {
        let (a, b) = (subst_shape(a, &self.body.store), subst_shape(b, &self.body.store));
        let spread = |s: &[Dim]| s.iter().position(|d| matches!(d, Dim::Spread(_)));
        match (spread(&a), spread(&b)) {
            (None, None) => {
                if a.len() != b.len() {
                    return Err(Mismatch::Rank);
                }
                self.unify_dims(&a, &b)
            }
            (Some(i), None) => self.unify_spread(&a, i, &b, false),
            (None, Some(j)) => self.unify_spread(&b, j, &a, true),
            (Some(i), Some(j)) => {
                let (Dim::Spread(x), Dim::Spread(y)) = (a[i].clone(), b[j].clone()) else { return Ok(()) };
                if x == y {
                    if i != j || a.len() != b.len() {
                        return Err(Mismatch::Rank);
                    }
                    self.unify_dims(&a[..i], &b[..j])?;
                    return self.unify_dims(&a[i + 1..], &b[j + 1..]);
                }
                let fits =
                    |outer: &[Dim], i: usize, inner: &[Dim], j: usize| j >= i && inner.len() - j >= outer.len() - i;
                if matches!(x, Spread::Infer(_)) && fits(&a, i, &b, j) {
                    self.unify_spread(&a, i, &b, false)
                } else if matches!(y, Spread::Infer(_)) && fits(&b, j, &a, i) {
                    self.unify_spread(&b, j, &a, true)
                } else {
                    Err(Mismatch::Rank)
                }
            }
        }
    }

    /// `pattern` has its spread at `i`; `whole` is what it stands for, with the rest.
    fn unify_spread(&mut self, pattern: &[Dim], i: usize, whole: &[Dim], swapped: bool) -> Unified {
        let tail = pattern.len() - i - 1;
        if whole.len() < i + tail {
            return Err(Mismatch::Rank);
        }
        let Dim::Spread(Spread::Infer(id)) = pattern[i] else { return Err(Mismatch::Rank) };
        let middle = whole[i..whole.len() - tail].to_vec();
        self.body.store.spreads[id as usize] = Some(middle);
        let (front, back) = (&whole[..i], &whole[whole.len() - tail..]);
        for (p, w) in [(&pattern[..i], front), (&pattern[i + 1..], back)] {
            if swapped {
                self.unify_dims(w, p)?;
            } else {
                self.unify_dims(p, w)?;
            }
        }
        Ok(())
    }

    fn unify_dims(&mut self, a: &[Dim], b: &[Dim]) -> Unified {
        for (x, y) in a.iter().zip(b) {
            match (x, y) {
                (Dim::Size(x), Dim::Size(y)) => self.unify_size(x, y)?,
                (Dim::Spread(_), _) | (_, Dim::Spread(_)) => return Err(Mismatch::Rank),
            }
        }
        Ok(())
    }

    pub(super) fn unify_size(&mut self, a: &SizeExpr, b: &SizeExpr) -> Unified {
        let (a, b) = (self.zonk_size(a), self.zonk_size(b));
        if self.facts.equal(&a, &b) {
            return Ok(());
        }
        if !has_unknown(&a) && !has_unknown(&b) {
            return Err(Mismatch::Size { expected: a, found: b });
        }
        self.solve_size(&a, &b, false)
    }

    /// Solves `a == b` for an unknown that stands in it linearly; otherwise keeps the equation.
    fn solve_size(&mut self, a: &SizeExpr, b: &SizeExpr, last: bool) -> Unified {
        let zero = a.sub(b);
        let mut unknowns = Vec::new();
        zero.visit_vars(&mut |v| {
            if let SizeVar::Infer(i) = v
                && !unknowns.contains(&i)
            {
                unknowns.push(i);
            }
        });
        for &i in &unknowns {
            let var = SizeVar::Infer(i);
            let own = SizeExpr::var(var);
            // zero = factor * own + rest
            let rest = zero.subst(&|v| (v == var).then(SizeExpr::default));
            let Some(factor) = zero.sub(&rest).exact_div(&own) else { continue };
            if factor.mentions(var) || rest.mentions(var) {
                continue;
            }
            let value = match factor.as_const() {
                Some(1) => rest.neg(),
                Some(-1) => rest,
                Some(_) | None => {
                    if (unknowns.len() > 1 && !last) || has_unknown(&factor) {
                        continue;
                    }
                    let target = rest.neg();
                    match target.exact_div(&factor) {
                        Some(v) => v,
                        None if !has_unknown(&target) && self.facts.divides(&factor, &target) => {
                            target.floor_div(&factor)
                        }
                        None if has_unknown(&target) => continue,
                        None if factor.as_const().is_some() && from_run_time(&target) => {
                            self.body.store.checked.push((a.clone(), b.clone()));
                            target.floor_div(&factor)
                        }
                        None => return Err(Mismatch::Size { expected: a.clone(), found: b.clone() }),
                    }
                }
            };
            self.body.store.sizes[i as usize] = Some(value);
            return Ok(());
        }
        self.body.store.pending.push((a.clone(), b.clone()));
        Ok(())
    }

    /// Tries the kept equations again; the first that cannot hold is the error.
    pub(super) fn solve_pending(&mut self) -> Unified {
        loop {
            let pending = std::mem::take(&mut self.body.store.pending);
            let before = pending.len();
            let mut result = Ok(());
            for (a, b) in pending {
                let r = self.unify_size(&a, &b);
                if result.is_ok() {
                    result = r;
                }
            }
            if result.is_err() || self.body.store.pending.is_empty() || self.body.store.pending.len() >= before {
                return result;
            }
        }
    }

    /// Gives what is still open its default, from the given marks on: at the end of a statement.
    pub(super) fn default_unknowns(&mut self, first_elem: usize, first_default: usize) {
        let first_default = first_default.min(self.body.store.defaults.len());
        let defaults = self.body.store.defaults.split_off(first_default);
        for (unknown, value) in defaults {
            let open = match &unknown {
                GenericArg::Size(e) => has_unknown(&self.zonk_size(e)),
                GenericArg::Dtype(e) => matches!(self.zonk_elem(*e), Elem::Infer(_)),
                GenericArg::Ty(t) => matches!(self.zonk(t), Ty::Infer(_)),
                GenericArg::Fn(f) => {
                    let known = self.body.store.function(f).unwrap_or_else(|| f.clone());
                    matches!(*known, FnArg::Infer(_))
                }
                GenericArg::Shape(_) => false,
            };
            if open {
                // literals that met the parameter follow its default if they can
                let _ = self.unify_arg(&unknown, &value);
            }
        }
        for i in first_elem..self.body.store.elems.len() {
            let ElemState::Open(class) = self.body.store.elems[i].clone() else { continue };
            let value = match class {
                Class::IntLit => Elem::Dtype(Dtype::I64),
                Class::FloatLit => Elem::Dtype(Dtype::F32),
                Class::Bound(_, Some(default)) => default,
                Class::Bound(_, None) => continue,
            };
            self.body.store.elems[i] = ElemState::Is(value);
        }
    }
}

fn bound_within(have: DtypeBound, need: DtypeBound) -> bool {
    have == need
        || match need {
            DtypeBound::Any => true,
            DtypeBound::Num => matches!(have, DtypeBound::Float | DtypeBound::Int),
            DtypeBound::Float | DtypeBound::Int => false,
        }
}

/// What satisfies both.
fn join(a: Class, b: Class) -> Option<Class> {
    use DtypeBound::{Any, Float, Int, Num};
    Some(match (a, b) {
        (Class::IntLit, Class::IntLit) => Class::IntLit,
        (Class::FloatLit, Class::IntLit | Class::FloatLit) | (Class::IntLit, Class::FloatLit) => Class::FloatLit,
        (Class::Bound(bound, _), lit @ (Class::IntLit | Class::FloatLit))
        | (lit @ (Class::IntLit | Class::FloatLit), Class::Bound(bound, _)) => match (bound, lit) {
            (Any | Num, lit) => lit,
            (Float, _) => Class::FloatLit,
            (Int, Class::IntLit) => Class::Bound(Int, Some(Elem::Dtype(Dtype::I64))),
            (Int, _) => return None,
        },
        (Class::Bound(x, d), Class::Bound(y, e)) => {
            let bound = if bound_within(x, y) {
                x
            } else if bound_within(y, x) {
                y
            } else {
                return None;
            };
            Class::Bound(bound, d.or(e))
        }
    })
}

pub(super) fn has_spread(s: &[Dim]) -> bool {
    s.iter().any(|d| matches!(d, Dim::Spread(_)))
}

/// The first `n` entries, which must be sizes, and the rest.
pub(super) fn split_front(s: &[Dim], n: usize) -> Option<(Shape, Shape)> {
    if s.len() < n || has_spread(&s[..n]) {
        return None;
    }
    Some((s[..n].to_vec(), s[n..].to_vec()))
}

fn mentions_unknown(t: &Ty, id: u32) -> bool {
    match t {
        Ty::Infer(i) => *i == id,
        Ty::Tuple(items) => items.iter().any(|t| mentions_unknown(t, id)),
        Ty::Struct(_, args) => args.iter().any(|a| matches!(a, GenericArg::Ty(t) if mentions_unknown(t, id))),
        Ty::Stack(_, elem) | Ty::Exists(_, elem) => mentions_unknown(elem, id),
        Ty::Fn(f) => f.params.iter().any(|p| mentions_unknown(&p.ty, id)) || mentions_unknown(&f.result, id),
        Ty::Error | Ty::Never | Ty::Tensor(..) | Ty::Param(_) | Ty::Str | Ty::Rng => false,
    }
}

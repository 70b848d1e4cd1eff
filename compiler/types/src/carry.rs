//! A type of one program in another one, such as the next of an interactive session, whose tables have other numbers.

use std::rc::Rc;

use crate::ids::{FnId, StructId};
use crate::show::type_to_string;
use crate::thir::Program;
use crate::ty::{FnArg, GenericArg, Ty};

/// What `ty` of the program `from` is in the program `to`. The sizes and dtypes in it are numbers; structs and functions are
/// found by name. None if a struct of it is not there any more, or has other fields.
pub fn carry(ty: &Ty, from: &Program, to: &Program) -> Option<Ty> {
    Carry { from, to }.ty(ty)
}

struct Carry<'a> {
    from: &'a Program,
    to: &'a Program,
}

impl Carry<'_> {
    fn ty(&self, ty: &Ty) -> Option<Ty> {
        Some(match ty {
            Ty::Error | Ty::Never | Ty::Tensor(..) | Ty::Str | Ty::Rng | Ty::Param(_) | Ty::Infer(_) => ty.clone(),
            Ty::Tuple(items) => Ty::Tuple(items.iter().map(|t| self.ty(t)).collect::<Option<_>>()?),
            Ty::Struct(id, args) => {
                let args = args.iter().map(|a| self.arg(a)).collect::<Option<_>>()?;
                Ty::Struct(self.structure(*id)?, args)
            }
            Ty::Stack(dims, elem) => Ty::Stack(dims.clone(), Rc::new(self.ty(elem)?)),
            Ty::Exists(vars, inner) => Ty::Exists(vars.clone(), Rc::new(self.ty(inner)?)),
            // functions are no values of a session
            Ty::Fn(_) => return None,
        })
    }

    fn arg(&self, arg: &GenericArg) -> Option<GenericArg> {
        Some(match arg {
            GenericArg::Size(_) | GenericArg::Shape(_) | GenericArg::Dtype(_) => arg.clone(),
            GenericArg::Ty(t) => GenericArg::Ty(self.ty(t)?),
            GenericArg::Fn(f) => GenericArg::Fn(match **f {
                FnArg::Item(id) => Rc::new(FnArg::Item(self.function(id)?)),
                FnArg::Elementwise(_) | FnArg::Param(_) | FnArg::Infer(_) => Rc::clone(f),
            }),
        })
    }

    fn function(&self, id: FnId) -> Option<FnId> {
        let old = &self.from.fns[id.index()];
        let module = |p: &Program, m: crate::ids::ModuleId| Rc::clone(&p.modules[m.index()].name);
        let home = module(self.from, old.module);
        let same = |f: &crate::thir::FnDef| f.name == old.name && module(self.to, f.module) == home;
        self.to.fns.iter().position(same).map(|i| FnId(i as u32))
    }

    /// The struct of the same name, if it has the same parameters and fields.
    fn structure(&self, id: StructId) -> Option<StructId> {
        let old = &self.from.structs[id.index()];
        let home = &self.from.modules[old.module.index()].name;
        let same = |s: &crate::thir::StructDef| s.name == old.name && self.to.modules[s.module.index()].name == *home;
        let at = self.to.structs.iter().position(same)?;
        let new = &self.to.structs[at];
        let names = |p: &Program, ids: &[crate::ids::GenericId]| -> Vec<Rc<str>> {
            ids.iter().map(|g| Rc::clone(&p.generics[g.index()].name)).collect()
        };
        let fields = old.fields.len() == new.fields.len()
            && old.fields.iter().zip(&new.fields).all(|(a, b)| {
                a.name == b.name
                    && a.state == b.state
                    && type_to_string(self.from, None, &a.ty) == type_to_string(self.to, None, &b.ty)
                    && self.ty(&a.ty).is_some_and(|t| structs(&t) == structs(&b.ty))
            });
        (fields && names(self.from, &old.generics) == names(self.to, &new.generics)).then_some(StructId(at as u32))
    }
}

/// The structs in a type, in order.
fn structs(ty: &Ty) -> Vec<StructId> {
    let mut out = Vec::new();
    collect(ty, &mut out);
    out
}

fn collect(ty: &Ty, out: &mut Vec<StructId>) {
    match ty {
        Ty::Error | Ty::Never | Ty::Tensor(..) | Ty::Str | Ty::Rng | Ty::Param(_) | Ty::Infer(_) | Ty::Fn(_) => {}
        Ty::Tuple(items) => items.iter().for_each(|t| collect(t, out)),
        Ty::Stack(_, t) | Ty::Exists(_, t) => collect(t, out),
        Ty::Struct(id, args) => {
            out.push(*id);
            for a in args {
                match a {
                    GenericArg::Ty(t) => collect(t, out),
                    GenericArg::Size(_) | GenericArg::Shape(_) | GenericArg::Dtype(_) | GenericArg::Fn(_) => {}
                }
            }
        }
    }
}

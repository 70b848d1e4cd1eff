//! Types in user syntax: `f32[n, 10]`, `Linear[784, h]`, `some k. i64[k]`.

use crate::size::{SizeExpr, SizeNames, SizeVar};
use crate::thir::{Body, LocalDef, OpenDef, Program};
use crate::ty::{Dim, Dtype, Elem, FnTy, GenericArg, Kind, Shape, Spread, Ty};

/// Where the names of a type's parts are found.
#[derive(Clone, Copy)]
pub struct Show<'a> {
    pub program: &'a Program,
    pub locals: &'a [LocalDef],
    pub opens: &'a [OpenDef],
}

/// The type in user syntax; `body` is where its locals and opened sizes live.
pub fn type_to_string(program: &Program, body: Option<&Body>, ty: &Ty) -> String {
    let (locals, opens) = body.map_or((&[][..], &[][..]), |b| (&b.locals[..], &b.opens[..]));
    Show { program, locals, opens }.ty(ty)
}

impl SizeNames for Show<'_> {
    fn size_name(&self, var: SizeVar) -> String {
        match var {
            SizeVar::Param(id) => self.program.generics[id.index()].name.to_string(),
            SizeVar::Local(id) => self.locals.get(id.index()).map_or("?".into(), |l| l.name.to_string()),
            SizeVar::Const(id) => self.program.consts[id.index()].name.to_string(),
            SizeVar::Open(id) => self.opens.get(id.index()).map_or("?".into(), |o| o.name.to_string()),
            SizeVar::Bound(i) => self.program.bound_names.get(i as usize).map_or("?".into(), |n| n.to_string()),
            SizeVar::Infer(_) => "_".into(),
            SizeVar::Quotient(_) => "?".into(),
        }
    }
}

impl Show<'_> {
    pub fn size(&self, e: &SizeExpr) -> String {
        e.show(self)
    }

    pub fn elem(&self, e: Elem) -> String {
        match e {
            Elem::Dtype(d) => d.name().into(),
            Elem::Param(id) => self.program.generics[id.index()].name.to_string(),
            Elem::Infer(_) => "_".into(),
        }
    }

    pub fn shape(&self, s: &Shape) -> String {
        let dim = |d: &Dim| match d {
            Dim::Size(e) => self.size(e),
            Dim::Spread(Spread::Param(id)) => format!("..{}", self.program.generics[id.index()].name),
            Dim::Spread(Spread::Infer(_)) => "...".into(),
        };
        format!("[{}]", s.iter().map(dim).collect::<Vec<_>>().join(", "))
    }

    pub fn ty(&self, t: &Ty) -> String {
        match t {
            Ty::Error => "?".into(),
            Ty::Never => "nothing".into(),
            Ty::Tensor(e, s) if s.is_empty() => self.elem(*e),
            Ty::Tensor(e, s) => format!("{}{}", self.elem(*e), self.shape(s)),
            Ty::Tuple(items) if items.len() == 1 => format!("({},)", self.ty(&items[0])),
            Ty::Tuple(items) => format!("({})", items.iter().map(|t| self.ty(t)).collect::<Vec<_>>().join(", ")),
            Ty::Struct(id, args) => {
                let name = &self.program.structs[id.index()].name;
                // a trailing `f32` is what most structs have by default
                let args = match args.split_last() {
                    Some((GenericArg::Dtype(Elem::Dtype(Dtype::F32)), rest)) if !rest.is_empty() => rest,
                    Some(_) | None => args,
                };
                if args.is_empty() { name.to_string() } else { format!("{name}{}", self.args(args)) }
            }
            Ty::Stack(dims, elem) => {
                let bare = matches!(&**elem, Ty::Struct(_, args) if args.is_empty());
                format!("{}{}{}", self.ty(elem), if bare { "[]" } else { "" }, self.shape(dims))
            }
            Ty::Param(id) => self.program.generics[id.index()].name.to_string(),
            Ty::Fn(f) => self.fn_ty(f),
            Ty::Str => "str".into(),
            Ty::Rng => "Rng".into(),
            Ty::Exists(vars, inner) => {
                let names: Vec<String> = vars.iter().map(|v| self.size_name(*v)).collect();
                format!("some {}. {}", names.join(", "), self.ty(inner))
            }
            Ty::Infer(_) => "_".into(),
        }
    }

    fn fn_ty(&self, f: &FnTy) -> String {
        let generics: Vec<String> = f.generics.iter().map(|g| self.generic(*g)).collect();
        let brackets = if generics.is_empty() { String::new() } else { format!("[{}]", generics.join(", ")) };
        let param = |p: &crate::ty::FnParam| {
            let name = p.name.as_ref().map_or(String::new(), |n| format!("{n}: "));
            format!("{name}{}{}", if p.mutable { "mut " } else { "" }, self.ty(&p.ty))
        };
        let params: Vec<String> = f.params.iter().map(param).collect();
        let result = if f.result.is_unit() { "()".into() } else { self.ty(&f.result) };
        format!("fn{brackets}({}) -> {result}", params.join(", "))
    }

    /// A parameter with its kind.
    pub fn generic(&self, id: crate::ids::GenericId) -> String {
        let def = &self.program.generics[id.index()];
        match &def.kind {
            Kind::Size => def.name.to_string(),
            Kind::Shape => format!("..{}", def.name),
            Kind::Dtype(b) => format!("{}: {}", def.name, b.name()),
            Kind::Tree(None) => format!("{}: tree", def.name),
            Kind::Tree(Some(e)) => format!("{}: tree[{}]", def.name, self.elem(*e)),
            Kind::Interface(i, args) => {
                let name = &self.program.interfaces[i.index()].name;
                format!("{}: {name}{}", def.name, if args.is_empty() { String::new() } else { self.args(args) })
            }
            Kind::Fn(f) => format!("{}: {}", def.name, self.fn_ty(f)),
        }
    }

    /// Arguments in brackets.
    pub fn args(&self, args: &[GenericArg]) -> String {
        let shown: Vec<String> = args.iter().map(|a| self.arg(a)).collect();
        format!("[{}]", shown.join(", "))
    }

    pub fn arg(&self, a: &GenericArg) -> String {
        match a {
            GenericArg::Size(e) => self.size(e),
            GenericArg::Shape(s) => self.shape(s),
            GenericArg::Dtype(e) => self.elem(*e),
            GenericArg::Ty(t) => self.ty(t),
            GenericArg::Fn(f) => match &**f {
                crate::ty::FnArg::Item(id) => self.program.fns[id.index()].name.to_string(),
                crate::ty::FnArg::Elementwise(op) => op.def().name.to_string(),
                crate::ty::FnArg::Infer(_) => "_".to_string(),
                crate::ty::FnArg::Param(id) => self.program.generics[id.index()].name.to_string(),
            },
        }
    }
}

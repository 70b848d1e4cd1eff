//! Files: trees by the paths of their leaves, arrays in the formats that others write. A file's type is what the program says it is; whether
//! that is so is checked while it is read.

use tdl_ir::op::HostFn;
use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::{self, ExprKind as A};

use super::{ArgValue, Call, Row};
use crate::check::Checker;
use crate::check::errors::{error_expr, has_error, mk};
use crate::check::ops::texts;
use crate::check::store::Class;
use crate::size::SizeExpr;
use crate::subst::Bindings;
use crate::thir::{Builtin, Expr, ExprKind, SizeVar};
use crate::ty::{Dim, Dtype, DtypeBound, Elem, FnParam, FnTy, Shape, Ty};

/// The path, and that files may be touched here.
pub(super) fn path(cx: &mut Checker<'_>, call: &mut Call<'_>) -> Option<Expr> {
    cx.require_io(call.name, call.span);
    let p = cx.arg_of(call.args[0].take()?, &Ty::Str, "the path");
    (!p.ty.is_error()).then_some(p)
}

pub(super) fn save(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let Some(p) = path(cx, &mut call) else { return error_expr(call.span) };
    let Some(v) = call.args[1].take() else { return error_expr(call.span) };
    let v = cx.arg_value(v, None);
    let t = cx.zonk(&v.ty);
    if matches!(t, Ty::Fn(_) | Ty::Str) {
        let text = format!("{} cannot be saved", cx.show_ty(&t));
        cx.error(Diagnostic::error(code::E0301, text, v.span, "a tree of tensors is needed"));
    }
    if v.ty.is_error() {
        return error_expr(call.span);
    }
    if !matches!(t, Ty::Str) && cx.holds_text(&t) {
        let text = format!("{} holds text, which files of tensors have not", cx.show_ty(&t));
        cx.error(Diagnostic::error(code::E0301, text, v.span, "text in it").help("save the bytes instead: `utf8(s)`"));
        return error_expr(call.span);
    }
    let op = if call.name == "write_npz" { Builtin::WriteNpz } else { Builtin::Save };
    mk(ExprKind::Builtin { op, args: vec![p, v] }, Ty::unit(), call.span)
}

/// `load(path)` whose type nobody says.
pub(super) fn load(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let hint = call.hint.take().map(|t| cx.zonk(&t));
    let Some(p) = path(cx, &mut call) else { return error_expr(call.span) };
    let mut args = vec![p];
    let rename = match call.args[1].take() {
        Some(ArgValue::Ast(e)) => {
            let param = FnParam { name: None, ty: Ty::Str, mutable: false };
            let sig = FnTy { generics: Vec::new(), params: vec![param], result: Ty::Str, io: false };
            let hint = Ty::Fn(sig.into());
            let f = cx.arg_of(ArgValue::Ast(e), &hint, "`rename`");
            if f.ty.is_error() {
                return error_expr(call.span);
            }
            args.push(f);
            true
        }
        Some(ArgValue::Ready(_)) | None => false,
    };
    let given = call.args[2].take();
    let extra = cx.flag_arg(given, "extra");
    let fits =
        |t: &Ty| matches!(t, Ty::Struct(..) | Ty::Tuple(_) | Ty::Tensor(..) | Ty::Stack(..) | Ty::Param(_) | Ty::Rng);
    match hint {
        Some(t) if fits(&t) || matches!(&t, Ty::Exists(_, inner) if fits(inner)) => {
            if cx.holds_text(&t) {
                let text = format!("{} holds text, which files of tensors have not", cx.show_ty(&t));
                cx.error(Diagnostic::error(code::E0301, text, call.span, "text in it"));
                return error_expr(call.span);
            }
            mk(ExprKind::Builtin { op: Builtin::Load { rename, extra }, args }, t, call.span)
        }
        _ => {
            cx.error(
                Diagnostic::error(
                    code::E0309,
                    format!("`{}` needs the type of what it reads", call.name),
                    call.span,
                    "of what type?",
                )
                .help("say it: `load(path) as Mlp[128]`"),
            );
            error_expr(call.span)
        }
    }
}

/// A reader of one array.
struct Reader {
    func: HostFn,
    /// How many axes it may give: from, to.
    ranks: (usize, usize),
    dtype: Dtype,
}

fn reader(name: &str) -> Option<Reader> {
    let any = (0, usize::MAX);
    let (func, ranks, dtype) = match name {
        "read_csv" => (HostFn::ReadCsv, (2, 2), Dtype::F32),
        "read_npy" => (HostFn::ReadNpy, any, Dtype::F32),
        "read_npz" => (HostFn::ReadNpz, any, Dtype::F32),
        "read_idx" => (HostFn::ReadIdx, any, Dtype::U8),
        "read_image" => (HostFn::ReadImage, (2, 3), Dtype::U8),
        _ => return None,
    };
    Some(Reader { func, ranks, dtype })
}

/// The tensor that a type is, sizes of its own included.
fn tensor(t: &Ty) -> Option<(Elem, &Shape)> {
    match t {
        Ty::Tensor(e, s) => Some((*e, s)),
        Ty::Exists(_, inner) => tensor(inner),
        _ => None,
    }
}

/// `read_npy(path)` and its like. Where the type is known, it is that; else one whose sizes the file decides.
pub(super) fn read(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let Some(reader) = reader(call.name) else { return error_expr(call.span) };
    if reader.func == HostFn::ReadNpz && call.args[1].is_none() {
        return whole(cx, call);
    }
    let hint = call.hint.take().map(|t| cx.zonk(&t));
    let Some(p) = path(cx, &mut call) else { return error_expr(call.span) };
    let mut args = vec![p];
    match (reader.func, call.args.get_mut(1).and_then(Option::take)) {
        (HostFn::ReadCsv, Some(lines)) => args.push(cx.arg_of(lines, &Ty::I64, "`header`")),
        (HostFn::ReadCsv, None) => args.push(mk(ExprKind::Int(0), Ty::I64, call.span)),
        (HostFn::ReadNpz, Some(entry)) => args.push(cx.arg_of(entry, &Ty::Str, "`entry`")),
        _ => {}
    }
    if args.iter().any(|a| a.ty.is_error()) {
        return error_expr(call.span);
    }
    let known = hint.as_ref().filter(|t| is_settled(t));
    let ty = match known {
        Some(t) => t.clone(),
        None => match cx.type_of_file(&call, &reader, hint.as_ref()) {
            Some(t) => t,
            None => return error_expr(call.span),
        },
    };
    if !cx.file_may_be(&call, &reader, &ty) {
        return error_expr(call.span);
    }
    mk(ExprKind::Builtin { op: Builtin::Read(reader.func), args }, ty, call.span)
}

/// `read_npz(path)` without an entry: all of them, as the fields of the type.
fn whole(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let one = call.hint.as_ref().is_none_or(|t| tensor(&cx.zonk(t)).is_some());
    if one {
        let text = "`read_npz` needs the name of an entry, or the type of all of them";
        cx.error(
            Diagnostic::error(code::E0309, text, call.span, "which entry?")
                .help("say it: `read_npz(path, \"x\")`, or `read_npz(path) as Data` whose fields are the entries"),
        );
        return error_expr(call.span);
    }
    call.args.resize_with(3, || None);
    load(cx, call)
}

/// Whether a type says how many axes there are, and of each how long it is or that the file decides.
fn is_settled(t: &Ty) -> bool {
    tensor(t).is_some_and(|(_, shape)| shape.iter().all(is_known))
}

fn is_known(d: &Dim) -> bool {
    match d {
        Dim::Size(s) => {
            let mut known = true;
            s.visit_vars(&mut |v| known &= !matches!(v, SizeVar::Infer(_)));
            known
        }
        Dim::Spread(_) => false,
    }
}

/// The functions that write one array.
pub(super) fn write(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let (func, ranks) = match call.name {
        "write_csv" => (HostFn::WriteCsv, Some((1, 2))),
        "write_idx" => (HostFn::WriteIdx, None),
        "write_image" => (HostFn::WriteImage, Some((2, 3))),
        _ => (HostFn::WriteNpy, None),
    };
    let Some(p) = path(cx, &mut call) else { return error_expr(call.span) };
    let Some(x) = call.args[1].take() else { return error_expr(call.span) };
    let x = cx.arg_value(x, None);
    let Some((elem, shape)) = cx.tensor_arg(&x, call.name, DtypeBound::Any) else { return error_expr(call.span) };
    if func == HostFn::WriteImage && matches!(elem, Elem::Infer(_)) {
        // written whole numbers are bytes
        let _ = cx.unify_elem(elem, Elem::Dtype(Dtype::U8));
    }
    let spread = shape.iter().any(|d| matches!(d, Dim::Spread(_)));
    let bad = match ranks {
        Some((least, most)) if !spread && !(least..=most).contains(&shape.len()) => {
            Some((code::E0406, format!("{least} or {most} axes")))
        }
        _ if func == HostFn::WriteImage && !is_pixel(elem) => Some((code::E0302, "u8, or floats from 0 to 1".into())),
        _ => None,
    };
    if let Some((code, needs)) = bad {
        let t = cx.show_ty(&x.ty);
        cx.error(Diagnostic::error(
            code,
            format!("`{}` takes {needs}, got {t}", call.name),
            x.span,
            format!("this is {t}"),
        ));
        return error_expr(call.span);
    }
    let mut args = vec![p, x];
    if let Some(names) = call.args.get_mut(2).and_then(Option::take) {
        let names = cx.arg_value(names, None);
        let t = cx.zonk(&names.ty);
        if texts(&t).is_none_or(|s| s.len() != 1) {
            if !has_error(&t) {
                let text = format!("`header` is the names of the columns, str[n], got {}", cx.show_ty(&t));
                cx.error(
                    Diagnostic::error(code::E0301, text, names.span, "no names").help("write `header: [\"x\", \"y\"]`"),
                );
            }
            return error_expr(call.span);
        }
        args.push(names);
    }
    mk(ExprKind::Builtin { op: Builtin::Host(func), args }, Ty::unit(), call.span)
}

fn is_pixel(elem: Elem) -> bool {
    match elem {
        Elem::Dtype(d) => d == Dtype::U8 || d.is_float(),
        Elem::Param(_) | Elem::Infer(_) => true,
    }
}

impl Checker<'_> {
    /// Whether a leaf of the type is text.
    fn holds_text(&self, t: &Ty) -> bool {
        match t {
            Ty::Str => true,
            Ty::Tuple(items) => items.iter().any(|t| self.holds_text(t)),
            Ty::Stack(_, t) | Ty::Exists(_, t) => self.holds_text(t),
            Ty::Struct(id, args) => {
                let def = &self.program.structs[id.index()];
                let bindings = Bindings::new(&def.generics, args);
                def.fields.iter().any(|f| self.holds_text(&f.ty.subst(&bindings)))
            }
            Ty::Error | Ty::Never | Ty::Tensor(..) | Ty::Param(_) | Ty::Fn(_) | Ty::Rng | Ty::Infer(_) => false,
        }
    }

    /// The type of what is read where nothing says it: sizes that the file decides.
    fn type_of_file(&mut self, call: &Call<'_>, reader: &Reader, hint: Option<&Ty>) -> Option<Ty> {
        let hint = hint.and_then(tensor);
        let elem = match hint {
            Some((e, _)) => e,
            None => self.body.store.new_elem(Class::Bound(DtypeBound::Num, Some(Elem::Dtype(reader.dtype)))),
        };
        let said = hint.filter(|(_, s)| s.iter().all(|d| matches!(d, Dim::Size(_)))).map(|(_, s)| s.len());
        let most = reader.ranks.1;
        let rank = match said {
            Some(n) => n,
            None if most < usize::MAX => most,
            None => {
                let (name, e) = (call.name, reader.dtype.name());
                let arguments = if call.args.len() > 1 { "path, \"x\"" } else { "path" };
                let text = format!("`{name}` needs a type: its rank is known only to the file");
                self.error(
                    Diagnostic::error(code::E0309, text, call.span, "of what rank?")
                        .help(format!("say it: `{name}({arguments}) as some n. {e}[n]`")),
                );
                return None;
            }
        };
        // an image is RGB unless its type says otherwise
        let image = reader.func == HostFn::ReadImage;
        let names = if image { ["h", "w", "c"] } else { ["n", "m", "k"] };
        let (mut vars, mut dims): (Vec<_>, Shape) = (Vec::new(), Vec::new());
        for i in 0..rank {
            let known = match hint {
                Some((_, shape)) if said.is_some() => shape.get(i).filter(|d| is_known(d)).cloned(),
                _ if image && i == 2 => Some(Dim::Size(SizeExpr::constant(3))),
                _ => None,
            };
            dims.push(match known {
                Some(d) => d,
                None => {
                    let var = self.new_bound(names.get(i).copied().unwrap_or("size"));
                    vars.push(var);
                    Dim::Size(SizeExpr::var(var))
                }
            });
        }
        Some(Ty::exists(vars, Ty::Tensor(elem, dims)))
    }

    /// Whether the reader ever gives a tensor of this type, or a report.
    fn file_may_be(&mut self, call: &Call<'_>, reader: &Reader, ty: &Ty) -> bool {
        let Some((elem, shape)) = tensor(ty) else { return true };
        let (least, most) = reader.ranks;
        let (name, t) = (call.name, self.show_ty(ty));
        if !(least..=most).contains(&shape.len()) {
            let (gives, help) = match reader.func {
                HostFn::ReadCsv => ("a table, of two axes", "take a column: `read_csv(path)[:, 0]`"),
                _ => ("an image: of two axes if it is gray, else of three", "write `u8[h, w, 3]` for one in colour"),
            };
            let text = format!("`{name}` reads {gives}, not {t}");
            self.error(Diagnostic::error(code::E0406, text, call.span, format!("read as {t}")).help(help));
            return false;
        }
        if reader.func == HostFn::ReadImage && !is_pixel(self.zonk_elem(elem)) {
            let text = format!("`{name}` reads u8, or floats from 0 to 1, not {t}");
            self.error(Diagnostic::error(code::E0302, text, call.span, format!("read as {t}")));
            return false;
        }
        true
    }

    /// `load(path) as T`, `read_npy(path) as T`: the file is checked against the type while it is read.
    pub(in crate::check) fn loading(&mut self, value: &ast::Expr, target: &Ty, span: Span) -> Option<Expr> {
        let A::Call { callee, args, .. } = &value.kind else { return None };
        let A::Name(name) = &callee.kind else { return None };
        let reads = reader(&name.name).is_some();
        if !reads && &*name.name != "load" {
            return None;
        }
        if self.entry_of(&name.name).is_some() || self.def_of(&name.name).is_some() {
            return None;
        }
        if reads && &*name.name != "read_npz" && tensor(target).is_none() {
            let text = format!("`{}` reads one tensor, not {}", name.name, self.show_ty(target));
            self.error(
                Diagnostic::error(code::E0301, text, span, format!("read as {}", self.show_ty(target)))
                    .help("the fields of a struct are read by `load`, from a safetensors or npz file"),
            );
            return Some(error_expr(span));
        }
        let Some(Row::Named(row)) = super::find(&name.name) else { return None };
        let Some(args) = self.written_args(args) else { return Some(error_expr(span)) };
        let Some(call) = self.slots(row.name, row.params, row.required, row.rest, args, Some(target), span) else {
            return Some(error_expr(span));
        };
        Some((row.rule)(self, call))
    }
}

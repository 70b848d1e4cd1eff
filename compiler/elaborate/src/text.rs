//! Text: interpolation, `print`, messages of `assert`. Trees print as `Line { slope: 2.9, intercept: -1.0 }`.

use std::sync::Arc;

use tdl_ir::{AssertKind, HostFn, Op, Piece, Type, ValueId};
use tdl_types::thir::{Expr, ExprKind, TextPiece, Ty};

use crate::R;
use crate::elab::Elab;
use crate::env::Env;
use crate::rty::RTy;
use crate::val::{Argument, Val};

/// A line under construction.
#[derive(Default)]
struct Line {
    pieces: Vec<Piece>,
    args: Vec<ValueId>,
    /// Inside a tuple or struct, where text stands in quotes.
    quoting: bool,
}

impl Line {
    fn text(&mut self, s: &str) {
        if s.is_empty() {
            return;
        }
        if let Some(Piece::Text(last)) = self.pieces.last_mut() {
            *last = format!("{last}{s}").into();
        } else {
            self.pieces.push(Piece::Text(s.into()));
        }
    }

    fn value(&mut self, v: ValueId, spec: &Arc<str>) {
        self.pieces.push(Piece::Value { spec: Arc::clone(spec) });
        self.args.push(v);
    }
}

impl<'p> Elab<'p> {
    pub fn text(&mut self, env: &mut Env<'p>, pieces: &'p [TextPiece]) -> R<Val<'p>> {
        let line = self.line(env, pieces)?;
        let text = self.formatted(line);
        Ok(Val::Leaf(self.intern(text)))
    }

    fn formatted(&mut self, line: Line) -> ValueId {
        match line.pieces.as_slice() {
            [] => self.b.text(""),
            [Piece::Text(t)] => self.b.text(&t.clone()),
            [Piece::Text(_) | Piece::Value { .. }, ..] => {
                self.b.inst1(Op::Format { pieces: line.pieces }, line.args, Type::Str)
            }
        }
    }

    fn line(&mut self, env: &mut Env<'p>, pieces: &'p [TextPiece]) -> R<Line> {
        let mut line = Line::default();
        for p in pieces {
            match p {
                TextPiece::Text(t) => line.text(t),
                TextPiece::Value { value, format } => {
                    let v = self.expr(env, value)?;
                    let ty = self.ty(env, &value.ty)?;
                    self.write(&mut line, &v, &ty, format, 0)?;
                }
            }
        }
        Ok(line)
    }

    /// Appends a value; `front` axes of its leaves belong to a stack.
    fn write(&mut self, line: &mut Line, v: &Val<'p>, ty: &RTy<'p>, spec: &Arc<str>, front: usize) -> R<()> {
        match (v, ty) {
            (Val::Leaf(v), RTy::Str) => {
                // inside something else a text stands in quotes
                let text = if line.quoting || front > 0 {
                    let format = self.b.text(spec);
                    let format = self.intern(format);
                    self.b.inst1(Op::Host(HostFn::ShowTexts), vec![*v, format], Type::Str)
                } else {
                    self.text_of(*v)
                };
                let spec = if front > 0 { "".into() } else { Arc::clone(spec) };
                line.value(text, &spec);
            }
            (Val::Leaf(_), RTy::Stack(dims, elem)) => self.write(line, v, elem, spec, front + dims.len())?,
            (Val::Leaf(v), _) => line.value(*v, spec),
            (Val::Pack(_, body), RTy::Exists(_, ty)) => self.write(line, body, ty, spec, front)?,
            (Val::Tree(items), RTy::Tuple(tys)) => {
                let outer = std::mem::replace(&mut line.quoting, true);
                line.text("(");
                for (i, (v, t)) in items.iter().zip(tys).enumerate() {
                    line.text(if i > 0 { ", " } else { "" });
                    self.write(line, v, t, spec, front)?;
                }
                line.text(if items.len() == 1 { ",)" } else { ")" });
                line.quoting = outer;
            }
            (Val::Tree(items), RTy::Struct(id, args)) => {
                let tys = self.fields(*id, args)?;
                let def = &self.program.structs[id.index()];
                let outer = std::mem::replace(&mut line.quoting, true);
                line.text(&def.name);
                line.text(if items.is_empty() { " {" } else { " { " });
                for (i, ((v, t), f)) in items.iter().zip(&tys).zip(&def.fields).enumerate() {
                    line.text(if i > 0 { ", " } else { "" });
                    line.text(&f.name);
                    line.text(": ");
                    self.write(line, v, t, spec, front)?;
                }
                line.text(if items.is_empty() { "}" } else { " }" });
                line.quoting = outer;
            }
            (v, RTy::Stack(dims, elem)) => {
                if let (RTy::Struct(id, _), Some(first)) = (&**elem, v.leaves().first()) {
                    // `S[][n] { x: … }`, as it is written
                    let name = self.program.structs[id.index()].name.to_string();
                    let extents: Vec<_> = self.b.dims(*first).into_iter().skip(front).take(dims.len()).collect();
                    let mut inner = Line::default();
                    self.write(&mut inner, v, elem, spec, front + dims.len())?;
                    line.text(&name);
                    line.text("[][");
                    for (i, d) in extents.into_iter().enumerate() {
                        line.text(if i > 0 { ", " } else { "" });
                        let d = self.b.dim_value(d);
                        line.value(d, &"".into());
                    }
                    line.text("]");
                    let mut pieces = inner.pieces.into_iter();
                    if let Some(Piece::Text(t)) = pieces.next() {
                        line.text(t.strip_prefix(name.as_str()).unwrap_or(&t));
                    }
                    for p in pieces {
                        match p {
                            Piece::Text(t) => line.text(&t),
                            Piece::Value { spec } => line.pieces.push(Piece::Value { spec }),
                        }
                    }
                    line.args.extend(inner.args);
                } else {
                    self.write(line, v, elem, spec, front + dims.len())?;
                }
            }
            (Val::Tree(items), RTy::Rng) => {
                line.text("Rng(");
                for (i, v) in items.iter().enumerate() {
                    line.text(if i > 0 { ", " } else { "" });
                    self.write(line, v, &RTy::Never, spec, front)?;
                }
                line.text(")");
            }
            (Val::Fn(_), _) => line.text("fn"),
            (Val::Pack(_, body), _) => self.write(line, body, ty, spec, front)?,
            (Val::Never | Val::Tree(_), _) => line.text("()"),
        }
        Ok(())
    }

    pub fn print(&mut self, env: &Env<'p>, args: &[Argument<'p>], tys: &[&Ty], end: &Arc<str>) -> R<Val<'p>> {
        let mut line = Line::default();
        for (i, (a, t)) in args.iter().zip(tys).enumerate() {
            line.text(if i > 0 { " " } else { "" });
            let ty = self.ty(env, t)?;
            self.write(&mut line, &a.val, &ty, &"".into(), 0)?;
        }
        self.b.inst(Op::Print { pieces: line.pieces, end: Arc::clone(end) }, line.args, Vec::new(), Vec::new());
        Ok(Val::unit())
    }

    pub fn assert_stmt(&mut self, env: &mut Env<'p>, ok: ValueId, message: &'p [TextPiece]) -> R<()> {
        if self.constant_bool(ok) == Some(true) {
            return Ok(());
        }
        let simple = |p: &TextPiece| match p {
            TextPiece::Text(_) => true,
            TextPiece::Value { value, .. } => is_at_hand(value),
        };
        if message.iter().all(simple) {
            return self.user_assert(env, ok, message);
        }
        // what the message shows is computed only when it is shown
        let failed = self.not(ok);
        let unit = RTy::Tuple(Vec::new());
        let fail = |this: &mut Self, env: &mut Env<'p>| {
            let no = this.b.const_bool(false);
            this.user_assert(env, no, message)?;
            Ok(Val::unit())
        };
        self.choose(env, failed, Vec::new(), &unit, fail, |_, _| Ok(Val::unit())).map(|_| ())
    }

    fn user_assert(&mut self, env: &mut Env<'p>, ok: ValueId, message: &'p [TextPiece]) -> R<()> {
        let line = self.line(env, message)?;
        let mut args = vec![ok];
        args.extend(line.args);
        self.b.inst(Op::Assert { kind: AssertKind::User, pieces: line.pieces }, args, Vec::new(), Vec::new());
        Ok(())
    }
}

/// Whether the value is there without computing anything.
fn is_at_hand(e: &Expr) -> bool {
    match &e.kind {
        ExprKind::Local(_) | ExprKind::Size(_) | ExprKind::Int(_) | ExprKind::Float(_) | ExprKind::Bool(_) => true,
        ExprKind::Field { base, .. } | ExprKind::TupleField { base, .. } => is_at_hand(base),
        _ => false,
    }
}

//! `window`: products over windows, and views of them. One size for each name; an axis that windows move over is written by the
//! names of place and element, `(y k)`.

use tdl_ir::op::Window;
use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::ExprKind as A;

use super::einops::Known;
use super::pattern::{Atom, ItemKind, Side};
use crate::check::Checker;
use crate::check::call::{ArgValue, Args};
use crate::check::errors::{error_expr, mk};
use crate::check::lower::count;
use crate::thir::{Builtin, EinsumAxis, Expr, ExprKind};
use crate::ty::{DtypeBound, Shape, Ty};

const EXAMPLE: &str = "`window(f32[n, o, l - k + 1], \"n c (y k), o c k -> n o y\", x, w)`";

/// An axis that windows move over: names of place and element.
struct Moved {
    place: String,
    tap: String,
    span: Span,
}

impl Checker<'_> {
    /// `window(T, "n c (y k), o c k -> n o y", x, w, y: (stride, dilation, padding))`.
    pub(in crate::check) fn window(&mut self, args: Args<'_>, span: Span) -> Expr {
        self.window_checked(args, span).unwrap_or_else(|| error_expr(span))
    }

    fn window_checked(&mut self, args: Args<'_>, span: Span) -> Option<Expr> {
        let (labelled, plain): (Vec<_>, Vec<_>) = args.into_iter().partition(|a| a.label.is_some());
        let mut plain = plain.into_iter();
        let Some(first) = plain.next() else {
            let d = Diagnostic::error(code::E0303, "`window` lacks the type of its result", span, "no arguments");
            self.error(d.help(format!("for example {EXAMPLE}")));
            return None;
        };
        let at_type = first.span();
        let ty = self.type_arg(first.value, "window")?;
        // stands for the result in messages
        let result = mk(ExprKind::Builtin { op: Builtin::Zeros, args: Vec::new() }, ty.clone(), at_type);
        let (elem, result_shape) = self.tensor_arg(&result, "window", DtypeBound::Num)?;
        let (pattern, at) = self.written_pattern(plain.next(), "window", EXAMPLE, span)?;
        let mut operands: Vec<Expr> = plain.map(|a| self.arg_value(a.value, None)).collect();
        if operands.len() != pattern.operands.len() || operands.len() > 2 {
            let text = format!(
                "`window` takes as many operands as its pattern has, one or two: the pattern has {}, given are {}",
                pattern.operands.len(),
                operands.len()
            );
            let d = self.wrong_pattern(text, at, count(pattern.operands.len(), "operand"));
            self.error(d.help(format!("for example {EXAMPLE}")));
            return None;
        }
        let sides: Vec<&Side> = pattern.operands.iter().chain([&pattern.result]).collect();
        let moved = self.moved(&sides, at)?;
        let mut sizes: Vec<Known> = Vec::new();
        let mut rest: Option<(Shape, Span)> = None;
        for (side, x) in sides.iter().zip(operands.iter().chain([&result])) {
            let (e, shape) = if x.span == at_type {
                (elem, result_shape.clone())
            } else {
                self.tensor_arg(x, "window", DtypeBound::Num)?
            };
            if self.unify_elem(elem, e).is_err() {
                let text = format!(
                    "`window` needs one dtype, got {} and {}",
                    self.show().elem(self.zonk_elem(elem)),
                    self.show().elem(e)
                );
                self.error(
                    Diagnostic::error(code::E0302, text, x.span, "another dtype").label(at_type, "the result's type"),
                );
                return None;
            }
            self.axis_sizes("window", side, &shape, x, &mut sizes, &mut rest)?;
        }
        let label = |name: &str| sizes.iter().position(|k| k.name == name).map(|k| k as u8);
        let mut windows = Vec::new();
        for (k, m) in moved.iter().enumerate() {
            windows.push([(sizes.len() + k) as u8, label(&m.place)?, label(&m.tap)?]);
        }
        if sizes.len() + windows.len() > 64 {
            let d = self.wrong_pattern("`window` takes up to 64 names".into(), at, "more");
            self.error(d);
            return None;
        }
        let axes = |side: &Side| -> Vec<EinsumAxis> {
            let one = |i: &super::pattern::Item| match &i.kind {
                ItemKind::Atom(Atom::Name(a)) => label(a).map(EinsumAxis::Label),
                ItemKind::Group(_) => {
                    moved.iter().position(|m| m.span == i.span).map(|k| EinsumAxis::Label((sizes.len() + k) as u8))
                }
                ItemKind::Atom(Atom::Size(_)) | ItemKind::Rest => Some(EinsumAxis::Rest),
            };
            side.items.iter().filter_map(one).collect()
        };
        let labels: Vec<Vec<EinsumAxis>> = sides.iter().map(|s| axes(s)).collect();
        let steps = self.window_steps(labelled, &moved, span)?;
        operands.extend(steps);
        let (result, labels) = labels.split_last()?;
        let op = Builtin::Window { operands: labels.to_vec(), result: result.clone(), windows };
        let guarded = super::make::sizes(&ty);
        let e = mk(ExprKind::Builtin { op, args: operands }, ty, span);
        Some(self.guard_sizes(e, &guarded, span))
    }

    /// The axes that windows move over, checked: all in one tensor; place and element each in one of the others.
    fn moved(&mut self, sides: &[&Side], at: Span) -> Option<Vec<Moved>> {
        let mut moved = Vec::new();
        let mut home = None;
        for (k, side) in sides.iter().enumerate() {
            for item in &side.items {
                let names = match &item.kind {
                    ItemKind::Atom(Atom::Name(_)) | ItemKind::Rest => continue,
                    ItemKind::Atom(Atom::Size(_)) => None,
                    ItemKind::Group(atoms) => match atoms.as_slice() {
                        [(Atom::Name(place), _), (Atom::Name(tap), _)] => Some((place.clone(), tap.clone())),
                        _ => None,
                    },
                };
                let Some((place, tap)) = names else {
                    let text = "`window` takes names, `...` and windows like `(y k)`".into();
                    let d = self.wrong_pattern(text, item.span, "none of these");
                    self.error(
                        d.help("`(y k)` is an axis that windows move over: `y` is their place, `k` what is in them"),
                    );
                    return None;
                };
                if home.is_some_and(|h| h != k) {
                    let text = "`window`: all windows move over axes of one tensor".into();
                    let d = self.wrong_pattern(text, item.span, "a window in another");
                    self.error(d);
                    return None;
                }
                home = Some(k);
                moved.push(Moved { place, tap, span: item.span });
            }
        }
        let Some(home) = home.filter(|_| moved.len() <= 3) else {
            let text = format!("`window` takes one to three windows, the pattern has {}", moved.len());
            let d = self.wrong_pattern(text, at, "in this pattern");
            self.error(d.help(format!("for example {EXAMPLE}")));
            return None;
        };
        let bare = |k: usize, name: &str| {
            let is = |i: &super::pattern::Item| matches!(&i.kind, ItemKind::Atom(Atom::Name(n)) if n == name);
            sides[k].items.iter().any(is)
        };
        // as the IR wants it, whose labels are places in a list of names
        let names: Vec<&String> = moved.iter().flat_map(|m| [&m.place, &m.tap]).collect();
        let of = |k: usize| -> Vec<u8> {
            let wholes = (0..moved.len()).filter(|_| k == home).map(|w| 128 + w as u8);
            wholes.chain((0..names.len()).filter(|n| bare(k, names[*n])).map(|n| n as u8)).collect()
        };
        let fits = if sides.len() == 3 {
            let lists = [of(0), of(1), of(2)];
            let windows: Vec<Window> = (0..moved.len())
                .map(|w| Window { whole: 128 + w as u8, place: 2 * w as u8, tap: 2 * w as u8 + 1 })
                .collect();
            let distinct = (1..names.len()).all(|n| !names[..n].contains(&names[n]));
            distinct && Window::roles(&windows, [&lists[0], &lists[1], &lists[2]]).is_some()
        } else {
            names.iter().all(|n| bare(1 - home, n) && !bare(home, n))
        };
        if !fits {
            let m = &moved[0];
            let (text, help) = if sides.len() == 3 {
                (
                    format!(
                        "`window`: `{}` stands in one of the other tensors, `{}` in the third, and so for all windows",
                        m.place, m.tap
                    ),
                    format!("for example {EXAMPLE}"),
                )
            } else {
                (
                    format!("`window` of one operand: the other side has `{}` and `{}`", m.place, m.tap),
                    "for example `window(f32[n, l - k + 1, k], \"n (y k) -> n y k\", x)`".to_string(),
                )
            };
            let d = self.wrong_pattern(text, m.span, "this window");
            self.error(d.help(help));
            return None;
        }
        // what stands in one tensor alone could only be summed, or repeated
        for (k, side) in sides.iter().enumerate() {
            for i in &side.items {
                if let ItemKind::Atom(Atom::Name(n)) = &i.kind
                    && !names.contains(&n)
                    && !(0..sides.len()).any(|o| o != k && bare(o, n))
                {
                    let d = self.wrong_pattern(
                        format!("`window`: `{n}` stands in one tensor alone"),
                        i.span,
                        "nowhere else",
                    );
                    self.error(d.help("sum or repeat it before, or after"));
                    return None;
                }
            }
        }
        Some(moved)
    }

    /// `y: (stride, dilation, padding)` for each window, by the name of its place; without it 1, 1 and 0.
    fn window_steps(&mut self, labelled: Args<'_>, moved: &[Moved], span: Span) -> Option<Vec<Expr>> {
        let int = |n: i64| mk(ExprKind::Size(crate::size::SizeExpr::constant(n)), Ty::I64, span);
        let mut steps: Vec<Vec<Expr>> = moved.iter().map(|_| vec![int(1), int(1), int(0)]).collect();
        for a in labelled {
            let at = a.span();
            let Some(label) = &a.label else { continue };
            let Some(k) = moved.iter().position(|m| *m.place == *label.name) else {
                let text = format!("`window`: no window has its place at `{}`", label.name);
                let d = self.wrong_pattern(text, label.span, "not in the pattern");
                let places: Vec<String> = moved.iter().map(|m| format!("`{}`", m.place)).collect();
                self.error(d.help(format!("the windows are at {}", places.join(", "))));
                return None;
            };
            let items = match &a.value {
                ArgValue::Ast(e) => match &e.kind {
                    A::Tuple(items) if items.len() == 3 => Some(items),
                    _ => None,
                },
                ArgValue::Ready(_) => None,
            };
            let Some(items) = items else {
                self.error(
                    Diagnostic::error(code::E0303, "the steps of a window are three numbers", at, "not a triple")
                        .help(format!("stride, dilation and padding: `{}: (1, 1, 0)`", label.name)),
                );
                return None;
            };
            steps[k] = items.iter().map(|e| self.arg_of(ArgValue::Ast(e), &Ty::I64, "a step of a window")).collect();
            if steps[k].iter().any(|e| e.ty.is_error()) {
                return None;
            }
        }
        Some(steps.concat())
    }
}

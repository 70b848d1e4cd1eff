//! Module to text.

use std::collections::HashMap;
use std::fmt::Write;

use tdl_source::Span;

use super::number::quote;
use super::print_op;
use crate::{Block, Dim, FuncId, Function, Inst, Module, Op, Type, ValueId};

/// The whole module.
pub fn print(module: &Module) -> String {
    whole(module, false)
}

/// The whole module, each instruction with its place in the source: `loc(file:start..end)`.
pub fn print_with_spans(module: &Module) -> String {
    whole(module, true)
}

/// One function.
pub fn print_function(module: &Module, func: &Function) -> String {
    let mut p = Printer::new(module, func, false);
    p.function(None);
    p.out
}

/// A type with its extents by number; for messages.
pub fn print_type(ty: &Type) -> String {
    type_text(ty, &|v| format!("%{}", v.0))
}

fn whole(module: &Module, spans: bool) -> String {
    let texts: Vec<String> = module
        .ids()
        .map(|id| {
            let mut p = Printer::new(module, module.func(id), spans);
            p.function(Some(id));
            p.out
        })
        .collect();
    texts.join("\n")
}

fn type_text(ty: &Type, name: &dyn Fn(ValueId) -> String) -> String {
    let inner = |dtype: crate::Dtype, dims: &[Dim]| {
        let dims: Vec<String> = dims
            .iter()
            .map(|d| match d {
                Dim::Const(c) => c.to_string(),
                Dim::Val(v) => name(*v),
            })
            .collect();
        if dims.is_empty() { dtype.to_string() } else { format!("{dtype}[{}]", dims.join(", ")) }
    };
    match ty {
        Type::Str => "str".into(),
        Type::Tensor { dtype, dims } => inner(*dtype, dims),
        Type::Stack { dtype, dims } => format!("stack<{}>", inner(*dtype, dims)),
    }
}

/// Whether a name needs no quotes after `%` or `@`.
pub fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.')
}

fn plain_or_quoted(name: &str) -> String {
    if is_plain(name) { name.into() } else { quote(name) }
}

pub(super) struct Printer<'m> {
    module: &'m Module,
    func: &'m Function,
    names: HashMap<ValueId, String>,
    spans: bool,
    depth: usize,
    pub(super) out: String,
}

impl<'m> Printer<'m> {
    fn new(module: &'m Module, func: &'m Function, spans: bool) -> Printer<'m> {
        Printer { module, func, names: value_names(func), spans, depth: 1, out: String::new() }
    }

    pub(super) fn name(&self, v: ValueId) -> String {
        self.names.get(&v).map_or_else(|| format!("%?{}", v.0), Clone::clone)
    }

    pub(super) fn list(&self, values: &[ValueId]) -> String {
        values.iter().map(|v| self.name(*v)).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn func_name(&self, id: FuncId) -> String {
        match self.module.funcs.get(id.0 as usize) {
            Some(f) => format!("@{}", plain_or_quoted(&f.name)),
            None => format!("@?{}", id.0),
        }
    }

    pub(super) fn ty(&self, v: ValueId) -> String {
        match self.func.values.get(v.0 as usize) {
            Some(data) => type_text(&data.ty, &|v| self.name(v)),
            None => "?".into(),
        }
    }

    pub(super) fn dtype(&self, v: ValueId) -> Option<crate::Dtype> {
        self.func.values.get(v.0 as usize).and_then(|d| d.ty.dtype())
    }

    fn typed(&self, v: ValueId) -> String {
        format!("{}: {}", self.name(v), self.ty(v))
    }

    fn typed_list(&self, values: &[ValueId]) -> String {
        values.iter().map(|v| self.typed(*v)).collect::<Vec<_>>().join(", ")
    }

    fn loc(&self, span: Span) -> String {
        if self.spans { format!(" loc({}:{}..{})", span.file.0, span.start, span.end) } else { String::new() }
    }

    fn function(&mut self, id: Option<FuncId>) {
        let f = self.func;
        let mut attrs = Vec::new();
        if let Some(name) = &f.attrs.composite {
            attrs.push(format!("composite: {}", quote(name)));
        }
        if f.attrs.remat {
            attrs.push("remat".into());
        }
        if let Some(rule) = f.attrs.custom_vjp {
            attrs.push(format!("custom_vjp: {}", self.func_name(rule)));
        }
        if f.attrs.effects {
            attrs.push("effects".into());
        }
        if id.is_some() && id == self.module.entry {
            attrs.push("entry".into());
        }
        let attrs = if attrs.is_empty() { String::new() } else { format!(" {}", attrs.join(", ")) };
        let head = format!(
            "func @{}({}){attrs}{} {{",
            plain_or_quoted(&f.name),
            self.typed_list(&f.body.params),
            self.loc(f.span)
        );
        self.out.push_str(&head);
        self.out.push('\n');
        self.body(&f.body, "return");
        self.out.push_str("}\n");
    }

    fn indent(&mut self) {
        for _ in 0..self.depth {
            self.out.push_str("  ");
        }
    }

    /// Instructions and results, without parameters and braces.
    fn body(&mut self, block: &Block, end: &str) {
        for inst in &block.insts {
            self.inst(inst);
        }
        if !block.results.is_empty() {
            self.indent();
            let results = self.list(&block.results);
            let _ = writeln!(self.out, "{end} {results}");
        }
    }

    fn inst(&mut self, inst: &Inst) {
        self.indent();
        if !inst.results.is_empty() {
            let results = self.typed_list(&inst.results);
            let _ = write!(self.out, "{results} = ");
        }
        let head = print_op::head(self, inst);
        self.out.push_str(&head);
        if inst.op == Op::For {
            let carried = self.carried(self.params(inst, 0, 1), inst.args.get(1..).unwrap_or(&[]));
            let i = inst.regions.first().and_then(|r| r.params.first()).map_or("%?".into(), |i| self.name(*i));
            let n = inst.args.first().map_or("%?".into(), |n| self.name(*n));
            let comma = if carried.is_empty() { "" } else { ", " };
            let _ = write!(self.out, " {i} < {n}{comma}{carried}");
        }
        if inst.op == Op::While {
            let carried = self.carried(self.params(inst, 0, 0), &inst.args);
            let space = if carried.is_empty() { "" } else { " " };
            let _ = write!(self.out, "{space}{carried}");
        }
        for (i, region) in inst.regions.iter().enumerate() {
            if i > 0 {
                self.indent();
                self.out.push('}');
                self.out.push_str(if inst.op == Op::While { " do" } else { " else" });
                if !region.params.is_empty() {
                    let params = self.typed_list(&region.params);
                    let _ = write!(self.out, " {params}");
                }
            }
            self.out.push_str(" {\n");
            self.depth += 1;
            self.body(region, "yield");
            self.depth -= 1;
        }
        if !inst.regions.is_empty() {
            self.indent();
            self.out.push('}');
        }
        let loc = self.loc(inst.span);
        self.out.push_str(&loc);
        self.out.push('\n');
    }

    fn params<'a>(&self, inst: &'a Inst, region: usize, skip: usize) -> &'a [ValueId] {
        inst.regions.get(region).and_then(|r| r.params.get(skip..)).unwrap_or(&[])
    }

    /// `%acc: f32 = %init, …`
    fn carried(&self, params: &[ValueId], inits: &[ValueId]) -> String {
        let n = params.len().max(inits.len());
        let one = |i: usize| {
            let param = params.get(i).map_or_else(|| "%?".into(), |p| self.typed(*p));
            let init = inits.get(i).map_or_else(|| "%?".into(), |v| self.name(*v));
            format!("{param} = {init}")
        };
        (0..n).map(one).collect::<Vec<_>>().join(", ")
    }
}

/// The text of every value, in the order of their definitions in the text.
fn value_names(func: &Function) -> HashMap<ValueId, String> {
    fn visit(block: &Block, params: bool, out: &mut Vec<ValueId>) {
        if params {
            out.extend(&block.params);
        }
        for inst in &block.insts {
            out.extend(&inst.results);
            for region in &inst.regions {
                visit(region, true, out);
            }
        }
    }
    let mut order = Vec::new();
    visit(&func.body, true, &mut order);
    let mut names = HashMap::new();
    let mut uses: HashMap<&str, usize> = HashMap::new();
    let mut anonymous = 0;
    for v in order {
        if names.contains_key(&v) {
            continue;
        }
        let text = match func.values.get(v.0 as usize).and_then(|d| d.name.as_deref()) {
            Some(name) => {
                let n = uses.entry(name).or_insert(0);
                *n += 1;
                let text = plain_or_quoted(name);
                if *n == 1 { format!("%{text}") } else { format!("%{text}#{n}") }
            }
            None => {
                anonymous += 1;
                format!("%{}", anonymous - 1)
            }
        };
        names.insert(v, text);
    }
    names
}

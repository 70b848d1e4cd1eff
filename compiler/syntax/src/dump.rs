//! The tree as text: S-expressions for expressions, an indented outline for items (`tdl emit --stage ast`).

use std::fmt::Write;

use crate::ast::*;

/// One expression as an S-expression.
pub fn dump_expr(e: &Expr) -> String {
    let list = |head: &str, items: Vec<String>| format!("({head} {})", items.join(" "));
    match &e.kind {
        ExprKind::Int(v) => v.to_string(),
        ExprKind::Float(v) => v.to_string(),
        ExprKind::Bool(v) => v.to_string(),
        ExprKind::Str(pieces) => {
            let piece = |p: &StrPiece| match p {
                StrPiece::Text(t) => format!("{t:?}"),
                StrPiece::Value { expr, format } if format.is_empty() => format!("{{{}}}", dump_expr(expr)),
                StrPiece::Value { expr, format } => format!("{{{}:{format}}}", dump_expr(expr)),
            };
            list("text", pieces.iter().map(piece).collect())
        }
        ExprKind::Name(name) => name.name.to_string(),
        ExprKind::Array(items) => list("array", items.iter().map(dump_expr).collect()),
        ExprKind::Comprehension { body, binders, bare: _ } => {
            let mut items = vec![dump_expr(body)];
            items.extend(binders.iter().map(|b| match &b.range {
                BinderRange::Inferred => b.name.name.to_string(),
                BinderRange::Below(e) => format!("{}<{}", b.name.name, dump_expr(e)),
                BinderRange::In(e) => format!("{}:{}", b.name.name, dump_expr(e)),
            }));
            list("for", items)
        }
        ExprKind::Tuple(items) => list("tuple", items.iter().map(dump_expr).collect()),
        ExprKind::Struct { ty, fields } => {
            let mut items = vec![dump_type(ty)];
            items.extend(fields.iter().map(|(n, e)| format!("{}:{}", n.name, dump_expr(e))));
            list("struct", items)
        }
        ExprKind::Unary { op: UnaryOp::Neg, operand, .. } => list("neg", vec![dump_expr(operand)]),
        ExprKind::Unary { op: UnaryOp::Not, operand, .. } => list("not", vec![dump_expr(operand)]),
        ExprKind::Binary { op, left, right, .. } => list(binary(*op), vec![dump_expr(left), dump_expr(right)]),
        ExprKind::Compare { op, left, right, .. } => list(compare(*op), vec![dump_expr(left), dump_expr(right)]),
        ExprKind::And(a, b) => list("and", vec![dump_expr(a), dump_expr(b)]),
        ExprKind::Or(a, b) => list("or", vec![dump_expr(a), dump_expr(b)]),
        ExprKind::Pipe { value, target, .. } => list("|>", vec![dump_expr(value), dump_expr(target)]),
        ExprKind::As { value, ty } => list("as", vec![dump_expr(value), dump_type(ty)]),
        ExprKind::Range { from, to } => list("..", vec![dump_expr(from), dump_expr(to)]),
        ExprKind::Call { callee, args, .. } => {
            let mut items = vec![dump_expr(callee)];
            items.extend(args.iter().map(|a| match &a.label {
                Some(l) => format!("{}:{}", l.name, dump_expr(&a.value)),
                None => dump_expr(&a.value),
            }));
            list("call", items)
        }
        ExprKind::Index { base, items, .. } => {
            let mut parts = vec![dump_expr(base)];
            parts.extend(items.iter().map(index_item));
            list("index", parts)
        }
        ExprKind::Field { base, name } => list(".", vec![dump_expr(base), name.name.to_string()]),
        ExprKind::TupleField { base, index, .. } => list(".", vec![dump_expr(base), index.to_string()]),
        ExprKind::Lambda { params, body, .. } => {
            let names: Vec<&str> = params.iter().map(|p| &*p.name.name).collect();
            format!("(lambda ({}) {})", names.join(" "), dump_expr(body))
        }
        ExprKind::If { cond, then, els } => {
            let mut items = vec![dump_expr(cond), dump_block(then)];
            items.extend(els.as_ref().map(|e| dump_expr(e)));
            list("if", items)
        }
        ExprKind::Block(b) => dump_block(b),
        ExprKind::Break => "(break)".into(),
        ExprKind::Continue => "(continue)".into(),
        ExprKind::Return(None) => "(return)".into(),
        ExprKind::Return(Some(e)) => list("return", vec![dump_expr(e)]),
        ExprKind::Type(t) => list("type", vec![dump_type(t)]),
        ExprKind::Placeholder => "_".into(),
        ExprKind::Error => "(error)".into(),
    }
}

fn index_item(item: &IndexItem) -> String {
    let part = |e: &Option<Expr>| e.as_ref().map(dump_expr).unwrap_or_default();
    match item {
        IndexItem::Expr(e) => dump_expr(e),
        IndexItem::Slice { from, to, step: None, .. } => format!("{}:{}", part(from), part(to)),
        IndexItem::Slice { from, to, step, .. } => format!("{}:{}:{}", part(from), part(to), part(step)),
        IndexItem::Ellipsis(_) => "...".into(),
        IndexItem::New(_) => "new".into(),
        IndexItem::Spread(name, _) => format!("..{}", name.name),
    }
}

fn dump_block(b: &Block) -> String {
    let mut items: Vec<String> = b.stmts.iter().map(dump_stmt).collect();
    items.extend(b.result.as_ref().map(|e| dump_expr(e)));
    format!("{{{}}}", items.join("; "))
}

fn dump_stmt(s: &Stmt) -> String {
    match &s.kind {
        StmtKind::Let { mutable, pattern, ty, value, .. } => {
            let all = if *mutable && matches!(pattern.kind, PatternKind::Tuple(_)) { "mut " } else { "" };
            let ty = ty.as_ref().map(|t| format!(": {}", dump_type(t))).unwrap_or_default();
            format!("(let {all}{}{ty} {})", dump_pattern(pattern), dump_expr(value))
        }
        StmtKind::Assign { target, value } => format!("(= {} {})", dump_expr(target), dump_expr(value)),
        StmtKind::Update { target, op, value, .. } => {
            format!("({}= {} {})", binary(*op), dump_expr(target), dump_expr(value))
        }
        StmtKind::For { pattern, iter, body, .. } => {
            format!("(loop {} {} {})", dump_pattern(pattern), dump_expr(iter), dump_block(body))
        }
        StmtKind::While { cond, body, .. } => format!("(while {} {})", dump_expr(cond), dump_block(body)),
        StmtKind::Assert { cond, .. } => format!("(assert {})", dump_expr(cond)),
        StmtKind::Expr(e) => dump_expr(e),
        StmtKind::Item(item) => dump_item(item).trim_end().to_owned(),
    }
}

fn dump_pattern(p: &Pattern) -> String {
    match &p.kind {
        PatternKind::Name { mutable, name } => format!("{}{}", if *mutable { "mut " } else { "" }, name.name),
        PatternKind::Tuple(parts) => format!("({})", parts.iter().map(dump_pattern).collect::<Vec<_>>().join(" ")),
        PatternKind::Ignore => "_".into(),
    }
}

/// A type in the user's spelling.
pub fn dump_type(t: &Type) -> String {
    match &t.kind {
        TypeKind::Path { path, args } => {
            let mut out = path.iter().map(|p| &*p.name).collect::<Vec<_>>().join(".");
            for group in args {
                let _ = write!(out, "[{}]", group.iter().map(type_arg).collect::<Vec<_>>().join(", "));
            }
            out
        }
        TypeKind::Tuple(types) => format!("({})", types.iter().map(dump_type).collect::<Vec<_>>().join(", ")),
        TypeKind::Fn(f) => {
            let params = f.params.iter().map(|p| dump_type(&p.ty)).collect::<Vec<_>>().join(", ");
            format!("fn{}({params}) -> {}", generics(&f.generics), dump_type(&f.result))
        }
        TypeKind::Some { vars, body } => {
            let vars = vars.iter().map(|v| &*v.name).collect::<Vec<_>>().join(", ");
            format!("some {vars}. {}", dump_type(body))
        }
        TypeKind::Infer => "_".into(),
    }
}

fn type_arg(a: &TypeArg) -> String {
    match a {
        TypeArg::Expr(e) => dump_expr(e),
        TypeArg::Type(t) => dump_type(t),
        TypeArg::Spread(name, _) => format!("..{}", name.name),
        TypeArg::Named(name, a) => format!("{}: {}", name.name, type_arg(a)),
    }
}

fn generics(all: &[Generic]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let one = |g: &Generic| {
        let kind = g.kind.as_ref().map(|k| format!(": {}", dump_type(k))).unwrap_or_default();
        let default = g.default.as_ref().map(|d| format!(" = {}", dump_expr(d))).unwrap_or_default();
        format!("{}{}{kind}{default}", if g.variadic { ".." } else { "" }, g.name.name)
    };
    format!("[{}]", all.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// All items of a module.
pub fn dump_module(m: &Module) -> String {
    m.items.iter().map(|i| dump_item(i)).collect()
}

fn dump_item(item: &Item) -> String {
    let facts = |f: &[Expr]| {
        if f.is_empty() {
            String::new()
        } else {
            format!(" where {}", f.iter().map(dump_expr).collect::<Vec<_>>().join(", "))
        }
    };
    let mut out = String::new();
    for a in &item.annotations {
        let _ = writeln!(out, "@{}", a.name.name);
    }
    match &item.kind {
        ItemKind::Import(i) => {
            let path = i.path.iter().map(|p| &*p.name).collect::<Vec<_>>().join(".");
            let names = i
                .names
                .as_ref()
                .map(|n| format!(" {{{}}}", n.iter().map(|n| &*n.name.name).collect::<Vec<_>>().join(" ")));
            let _ = writeln!(out, "import {path}{}", names.unwrap_or_default());
        }
        ItemKind::Const(c) => {
            let _ = writeln!(out, "const {} {}", c.name.name, dump_expr(&c.value));
        }
        ItemKind::TypeAlias(a) => {
            let _ = writeln!(out, "type {}{} {}", a.name.name, generics(&a.generics), dump_type(&a.ty));
        }
        ItemKind::Struct(s) => {
            let _ = writeln!(out, "struct {}{}{}", s.name.name, generics(&s.generics), facts(&s.facts));
            for f in &s.fields {
                let _ = writeln!(out, "  {}{}: {}", if f.mutable { "mut " } else { "" }, f.name.name, dump_type(&f.ty));
            }
        }
        ItemKind::Impl(i) => {
            let _ = writeln!(out, "impl {}{}{}", i.name.name, generics(&i.generics), facts(&i.facts));
            nested(&mut out, &i.items);
        }
        ItemKind::Interface(i) => {
            let _ = writeln!(out, "interface {}{}", i.name.name, generics(&i.generics));
            nested(&mut out, &i.items);
        }
        ItemKind::Fn(f) => {
            let param = |p: &Param| {
                let ty = p.ty.as_ref().map(|t| format!(": {}", dump_type(t))).unwrap_or_default();
                let default = p.default.as_ref().map(|d| format!(" = {}", dump_expr(d))).unwrap_or_default();
                format!("{}{}{ty}{default}", if p.mutable { "mut " } else { "" }, p.name.name)
            };
            let params = f.params.iter().map(param).collect::<Vec<_>>().join(", ");
            let result = f.result.as_ref().map(|t| format!(" -> {}", dump_type(t))).unwrap_or_default();
            let io = if f.io { "io " } else { "" };
            let name = &f.name.name;
            let _ = writeln!(out, "{io}fn {name}{}({params}){result}{}", generics(&f.generics), facts(&f.facts));
            match f.body.as_ref().map(|b| &b.kind) {
                Some(ExprKind::Block(b)) => block_lines(&mut out, b),
                Some(_) => {
                    let _ = writeln!(out, "  {}", f.body.as_ref().map(dump_expr).unwrap_or_default());
                }
                None => {}
            }
        }
        ItemKind::Test(t) => {
            let _ = writeln!(out, "test {:?}", t.name);
            block_lines(&mut out, &t.body);
        }
        ItemKind::Prop(p) => {
            let _ = writeln!(out, "prop {:?}", p.name);
            block_lines(&mut out, &p.body);
        }
        ItemKind::Bench(b) => {
            let _ = writeln!(out, "bench {:?}", b.name);
            block_lines(&mut out, &b.body);
        }
    }
    out
}

fn nested(out: &mut String, items: &[Item]) {
    for line in items.iter().map(dump_item).collect::<String>().lines() {
        let _ = writeln!(out, "  {line}");
    }
}

fn block_lines(out: &mut String, b: &Block) {
    for s in &b.stmts {
        let _ = writeln!(out, "  {}", dump_stmt(s));
    }
    if let Some(e) = &b.result {
        let _ = writeln!(out, "  {}", dump_expr(e));
    }
}

fn binary(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Sub => "-",
        BinaryOp::Mul => "*",
        BinaryOp::Div => "/",
        BinaryOp::FloorDiv => "//",
        BinaryOp::Rem => "%",
        BinaryOp::Pow => "^",
        BinaryOp::MatMul => "@",
    }
}

fn compare(op: CompareOp) -> &'static str {
    match op {
        CompareOp::Eq => "==",
        CompareOp::Ne => "!=",
        CompareOp::Lt => "<",
        CompareOp::Le => "<=",
        CompareOp::Gt => ">",
        CompareOp::Ge => ">=",
    }
}

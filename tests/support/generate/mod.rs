//! Random well-typed programs as source text: the parser, the checker and everything behind them get what nobody would write.
//!
//! Sizes are the names `n` and `m` (of at least 1) and numbers, so that types are equal where their texts are. Values stay small,
//! conditions and roundings compare with odd numbers, so that another order of a sum changes no decision.

mod expr;
mod random;

pub use random::Random;

type Dims = Vec<String>;

#[derive(Clone, PartialEq)]
enum Ty {
    Num(Dims),
    Int(Dims),
    Bool(Dims),
    Pair(Box<Ty>, Box<Ty>),
    /// `Rec[size]`, of a vector and a number.
    Rec(String),
}

#[derive(Clone)]
struct Var {
    name: String,
    ty: Ty,
    mutable: bool,
}

/// A function that was written: `name[n, m](a: E[n, m], b: E[m], s: E, q: i64) -> result`.
#[derive(Clone)]
struct Callee {
    name: String,
    result: Ty,
}

struct Gen {
    random: Random,
    /// The dtype of all floats.
    float: &'static str,
    callees: Vec<Callee>,
    vars: Vec<Var>,
    /// Indices of comprehensions and loops, with the sizes that they stay below.
    binders: Vec<(String, String)>,
    names: usize,
    /// How much the expression may still grow.
    fuel: usize,
    /// Derivatives around.
    derived: usize,
    result: Option<Ty>,
}

/// A program that prints what it computes.
pub fn program(seed: u64) -> String {
    let mut random = Random::new(seed);
    let float = if random.below(4) == 0 { "f32" } else { "f64" };
    let (callees, vars, binders) = (Vec::new(), Vec::new(), Vec::new());
    let mut g = Gen { random, float, callees, vars, binders, names: 0, fuel: 0, derived: 0, result: None };
    let mut out = format!("struct Rec[k] {{ a: {float}[k], b: {float} }}\n\n");
    out += &format!("impl Rec[k] {{\n  fn call(self, x: {float}) -> {float}[k] = tanh(self.a * x + self.b)\n}}\n\n");
    for _ in 0..1 + g.random.below(3) {
        out += &g.function();
    }
    out += &g.main();
    out
}

impl Gen {
    fn name(&mut self, stem: &str) -> String {
        self.names += 1;
        format!("{stem}{}", self.names)
    }

    fn size(&mut self) -> String {
        self.random.pick(&["n", "m", "n", "m", "2", "3", "1"]).to_owned()
    }

    fn dims(&mut self, most: usize) -> Dims {
        let rank = self.random.below(most + 1);
        (0..rank).map(|_| self.size()).collect()
    }

    fn ty(&mut self) -> Ty {
        match self.random.below(12) {
            0 => Ty::Int(self.dims(2)),
            1 => Ty::Bool(self.dims(2)),
            2 => Ty::Pair(Box::new(Ty::Num(self.dims(2))), Box::new(Ty::Int(self.dims(1)))),
            3 => Ty::Rec(self.size()),
            _ => Ty::Num(self.dims(3)),
        }
    }

    fn show(&self, ty: &Ty) -> String {
        let tensor = |dtype: &str, dims: &Dims| match dims.is_empty() {
            true => dtype.to_owned(),
            false => format!("{dtype}[{}]", dims.join(", ")),
        };
        match ty {
            Ty::Num(dims) => tensor(self.float, dims),
            Ty::Int(dims) => tensor("i64", dims),
            Ty::Bool(dims) => tensor("bool", dims),
            Ty::Pair(a, b) => format!("({}, {})", self.show(a), self.show(b)),
            Ty::Rec(k) => format!("Rec[{k}]"),
        }
    }

    fn function(&mut self) -> String {
        let name = self.name("fun");
        let result = self.ty();
        let float = self.float;
        let var = |name: &str, ty| Var { name: name.to_owned(), ty, mutable: false };
        let sizes = |names: &[&str]| names.iter().map(|s| (*s).to_owned()).collect::<Dims>();
        self.vars = vec![
            var("a", Ty::Num(sizes(&["n", "m"]))),
            var("b", Ty::Num(sizes(&["m"]))),
            var("s", Ty::Num(Vec::new())),
            var("q", Ty::Int(Vec::new())),
        ];
        self.result = Some(result.clone());
        let count = 1 + self.random.below(4);
        let mut lines = self.stmts(count, 2, false);
        lines.push(self.root(&result));
        self.result = None;
        let head =
            format!("fn {name}[n, m](a: {float}[n, m], b: {float}[m], s: {float}, q: i64) -> {}", self.show(&result));
        self.callees.push(Callee { name, result });
        format!("{head} {{\n{}\n}}\n\n", indent(&lines))
    }

    fn main(&mut self) -> String {
        self.vars.clear();
        let mut lines =
            vec![format!("let n = {}", 1 + self.random.below(4)), format!("let m = {}", 1 + self.random.below(3))];
        let count = 2 + self.random.below(5);
        lines.extend(self.stmts(count, 2, false));
        for callee in self.callees.clone() {
            let (n, m) = (self.size(), self.size());
            self.fuel = 12;
            let call = self.call(&callee.name, &n, &m);
            let name = self.name("r");
            lines.push(format!("let {name} = {call}"));
            let ty = put(&callee.result, &n, &m);
            self.vars.push(Var { name, ty, mutable: false });
            if let Ty::Num(dims) = put(&callee.result, &n, &m) {
                lines.extend(self.lanes(&callee.name, &n, &m, &dims));
            }
        }
        for var in self.vars.clone() {
            lines.extend(shown(&var.name, &var.ty));
        }
        format!("fn main() {{\n{}\n}}\n", indent(&lines))
    }

    /// A function on lanes, which take ways of their own through it, and its gradient there: like the lanes one by one.
    fn lanes(&mut self, callee: &str, n: &str, m: &str, dims: &Dims) -> Vec<String> {
        self.fuel = 8;
        let float = self.float;
        let count = self.random.below(4).to_string();
        let name = self.name("lane");
        let a = self.num(&vec![n.to_owned(), m.to_owned()]);
        let b = self.num(&vec![count.clone(), m.to_owned()]);
        let s = self.num(&vec![count.clone()]);
        let q = self.int(&vec![count.clone()]);
        let body = format!("{callee}({name}a, b, s, q)");
        let sum = match dims.is_empty() {
            true => body.clone(),
            false => format!("sum({body})"),
        };
        let types = format!("b: {float}[{m}], s: {float}, q: i64");
        let (lane, lanes) = (format!("|{types}| {body}"), format!("({name}b, {name}s, {name}q)"));
        let by_s = format!("|{types}| grad(|s: {float}| {sum})(s)");
        let at = format!("({name}b[i], {name}s[i], {name}q[i])");
        let close = if float == "f32" { "1e-2" } else { "1e-7" };
        let same = |x: &str, y: &str| {
            let (x, y) = (format!("where(isfinite({x}), {x}, 0.0)"), format!("where(isfinite({y}), {y}, 0.0)"));
            format!("assert allclose({x}, {y}, rtol: {close}, atol: {close}), \"lanes of {name} differ\"")
        };
        let mut whole = vec![count.clone()];
        whole.extend(dims.iter().cloned());
        let whole = self.show(&Ty::Num(whole));
        vec![
            format!("let {name}a = {a}"),
            format!("let {name}b = {b}"),
            format!("let {name}s = {s}"),
            format!("let {name}q = {q}"),
            format!("let {name} = vmap({lane}){lanes}"),
            format!("let {name}g = vmap({by_s}){lanes}"),
            format!("let {name}h = grad(|s: {float}[{count}]| sum(vmap({lane})({name}b, s, {name}q)))({name}s)"),
            format!("let mut {name}y = zeros({whole})"),
            format!("let mut {name}z = zeros({float}[{count}])"),
            format!("for i in 0..{count} {{"),
            format!("  {name}y[i] = ({lane}){at}"),
            format!("  {name}z[i] = ({by_s}){at}"),
            "}".to_owned(),
            same(&name, &format!("{name}y")),
            same(&format!("{name}g"), &format!("{name}z")),
            same(&format!("{name}h"), &format!("{name}z")),
        ]
    }

    /// Statements; what they declare stays in scope for the caller to end.
    fn stmts(&mut self, count: usize, depth: usize, in_loop: bool) -> Vec<String> {
        let mut out = Vec::new();
        for _ in 0..count {
            let mutables: Vec<Var> = self.vars.iter().filter(|v| v.mutable).cloned().collect();
            match self.random.below(10) {
                0..=2 => {
                    let ty = self.ty();
                    let value = self.root(&ty);
                    let name = self.name("x");
                    out.push(format!("let {name} = {value}"));
                    self.vars.push(Var { name, ty, mutable: false });
                }
                3 => out.push(self.declare()),
                4 | 5 if !mutables.is_empty() => {
                    let var = self.random.pick(&mutables);
                    out.push(self.assign(&var));
                }
                6 if depth > 0 => {
                    let cond = self.condition();
                    let then = self.block(depth - 1, in_loop);
                    let other = self.block(depth - 1, in_loop);
                    out.push(format!("if {cond} {{\n{then}\n}} else {{\n{other}\n}}"));
                }
                7 if depth > 0 => {
                    if mutables.is_empty() {
                        out.push(self.declare());
                    }
                    let i = self.name("at");
                    let trips = self.random.pick(&["0", "1", "2", "3", "n", "m"]).to_owned();
                    self.binders.push((i.clone(), trips.clone()));
                    let body = self.block(depth - 1, true);
                    self.binders.pop();
                    out.push(format!("for {i} in 0..{trips} {{\n{body}\n}}"));
                }
                8 if depth > 0 => {
                    let k = self.name("k");
                    let limit = 1 + self.random.below(4);
                    let cond = self.condition();
                    let body = self.block(depth - 1, true);
                    out.push(format!("let mut {k} = 0\nwhile {k} < {limit} and {cond} {{\n  {k} += 1\n{body}\n}}"));
                }
                9 if in_loop => {
                    let what = self.random.pick(&["break", "continue"]);
                    let cond = self.condition();
                    out.push(format!("if {cond} {{ {what} }}"));
                }
                _ => match self.result.clone() {
                    Some(result) if self.random.below(3) == 0 => {
                        let (cond, value) = (self.condition(), self.root(&result));
                        out.push(format!("if {cond} {{ return {value} }}"));
                    }
                    _ => out.push(self.declare()),
                },
            }
        }
        out
    }

    fn declare(&mut self) -> String {
        let ty = self.ty();
        let value = self.root(&ty);
        let name = self.name("v");
        self.vars.push(Var { name: name.clone(), ty, mutable: true });
        format!("let mut {name} = {value}")
    }

    fn block(&mut self, depth: usize, in_loop: bool) -> String {
        let scope = self.vars.len();
        let count = 1 + self.random.below(3);
        let lines = self.stmts(count, depth, in_loop);
        self.vars.truncate(scope);
        indent(&lines)
    }

    fn assign(&mut self, var: &Var) -> String {
        let name = &var.name;
        let whole = self.root(&var.ty);
        match &var.ty {
            Ty::Num(dims) if !dims.is_empty() && self.random.below(3) > 0 => {
                let at = self.index(&dims[0]);
                let op = self.random.pick(&["=", "+=", "-="]);
                if self.random.below(3) == 0 {
                    let count = self.random.pick(&["2", "3"]).to_owned();
                    let ids = self.small(&Ty::Int(vec![count]));
                    let value = self.root(&Ty::Num(dims[1..].to_vec()));
                    return format!("{name}[({ids}) % {}] {op} {value}", dims[0]);
                }
                if dims.len() > 1 && self.random.below(2) == 0 {
                    let at = self.index(&dims[1]);
                    let mut rest = dims.clone();
                    rest.remove(1);
                    let value = self.root(&Ty::Num(rest));
                    return format!("{name}[:, {at}] {op} {value}");
                }
                let value = self.root(&Ty::Num(dims[1..].to_vec()));
                format!("{name}[{at}] {op} {value}")
            }
            Ty::Num(_) if self.random.below(2) == 0 => format!("{name} += {whole}"),
            Ty::Rec(k) if self.random.below(2) == 0 => {
                let value = self.root(&Ty::Num(vec![k.clone()]));
                format!("{name}.a = {value}")
            }
            Ty::Pair(_, b) if self.random.below(2) == 0 => {
                let value = self.root(b);
                format!("{name}.1 = {value}")
            }
            Ty::Num(_) | Ty::Int(_) | Ty::Bool(_) | Ty::Pair(..) | Ty::Rec(_) => format!("{name} = {whole}"),
        }
    }

    fn condition(&mut self) -> String {
        self.fuel = 6;
        let c = self.bools(&Vec::new());
        format!("({c})")
    }
}

/// The result of a function with its sizes put in.
fn put(ty: &Ty, n: &str, m: &str) -> Ty {
    let size = |s: &String| match s.as_str() {
        "n" => n.to_owned(),
        "m" => m.to_owned(),
        s => s.to_owned(),
    };
    let dims = |d: &Dims| d.iter().map(size).collect::<Dims>();
    match ty {
        Ty::Num(d) => Ty::Num(dims(d)),
        Ty::Int(d) => Ty::Int(dims(d)),
        Ty::Bool(d) => Ty::Bool(dims(d)),
        Ty::Pair(a, b) => Ty::Pair(Box::new(put(a, n, m)), Box::new(put(b, n, m))),
        Ty::Rec(k) => Ty::Rec(size(k)),
    }
}

fn indent(lines: &[String]) -> String {
    let all = lines.join("\n");
    all.lines().map(|l| format!("  {l}")).collect::<Vec<_>>().join("\n")
}

fn shown(name: &str, ty: &Ty) -> Vec<String> {
    match ty {
        Ty::Num(_) | Ty::Int(_) | Ty::Bool(_) => vec![format!("print(\"{name}\", {name})")],
        Ty::Pair(a, b) => [shown(&format!("{name}.0"), a), shown(&format!("{name}.1"), b)].concat(),
        Ty::Rec(_) => vec![format!("print(\"{name}\", {name}.a, {name}.b)")],
    }
}

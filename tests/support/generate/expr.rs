//! Expressions of a given type.

use super::{Dims, Gen, Ty, Var, put};

impl Gen {
    /// A value with new fuel; floats are kept small.
    pub fn root(&mut self, ty: &Ty) -> String {
        self.fuel = 6 + self.random.below(14);
        let value = self.value(ty);
        match ty {
            Ty::Num(_) if self.random.below(3) > 0 => format!("tanh({value})"),
            Ty::Num(_) | Ty::Int(_) | Ty::Bool(_) | Ty::Pair(..) | Ty::Rec(_) => value,
        }
    }

    pub fn small(&mut self, ty: &Ty) -> String {
        self.fuel = 4;
        self.value(ty)
    }

    pub fn value(&mut self, ty: &Ty) -> String {
        match ty {
            Ty::Num(dims) => self.num(dims),
            Ty::Int(dims) => self.int(dims),
            Ty::Bool(dims) => self.bools(dims),
            Ty::Pair(a, b) => match self.known(ty) {
                Some(v) if self.random.below(2) == 0 => v,
                _ => format!("({}, {})", self.value(a), self.value(b)),
            },
            Ty::Rec(k) => match self.known(ty) {
                Some(v) if self.random.below(3) == 0 => v,
                Some(v) if self.random.below(2) == 0 => format!("({v} + {v} * 0.25)"),
                _ => {
                    let (a, b) = (self.num(&vec![k.clone()]), self.num(&Vec::new()));
                    format!("Rec[{k}] {{ a: {a}, b: {b} }}")
                }
            },
        }
    }

    /// A variable of this type.
    fn known(&mut self, ty: &Ty) -> Option<String> {
        let fitting: Vec<String> = self.vars.iter().filter(|v| v.ty == *ty).map(|v| v.name.clone()).collect();
        (!fitting.is_empty()).then(|| self.random.pick(&fitting))
    }

    /// An `i64` below a size.
    pub fn index(&mut self, size: &str) -> String {
        let bound: Vec<String> = self.binders.iter().filter(|(_, s)| s == size).map(|(b, _)| b.clone()).collect();
        match self.random.below(4) {
            0 | 1 if !bound.is_empty() => self.random.pick(&bound),
            2 => "0".to_owned(),
            3 => "-1".to_owned(),
            _ => format!("({} % {size})", self.small_int()),
        }
    }

    /// A number that depends on no float.
    fn small_int(&mut self) -> String {
        let bound: Vec<String> = self.binders.iter().map(|(b, _)| b.clone()).collect();
        match bound.is_empty() || self.random.below(3) == 0 {
            true => self.random.pick(&["1", "2", "5"]).to_owned(),
            false => format!("({} + {})", self.random.pick(&bound), self.random.below(4)),
        }
    }

    fn literal(&mut self) -> String {
        let n = self.random.below(2000) as f64 / 1000.0 - 1.0;
        if n < 0.0 { format!("({n:.4})") } else { format!("{n:.4}") }
    }

    fn leaf(&mut self, dims: &Dims) -> String {
        if let Some(v) = self.known(&Ty::Num(dims.clone()))
            && self.random.below(5) > 0
        {
            return v;
        }
        let literal = self.literal();
        let float = self.float;
        if dims.is_empty() {
            return match self.random.below(3) {
                0 => format!("{float}({})", self.small_int()),
                _ => format!("{float}({literal})"),
            };
        }
        let ty = self.show(&Ty::Num(dims.clone()));
        match self.random.below(3) {
            0 => format!("full({ty}, {literal})"),
            1 if dims.len() == 1 => format!("(arange({ty}) * {literal})"),
            _ => {
                let names: Vec<String> = dims.iter().map(|_| self.name("at")).collect();
                let terms: Vec<String> =
                    names.iter().enumerate().map(|(k, i)| format!("{float}({i}) * 0.{}7", k + 1)).collect();
                let ranges: Vec<String> = names.iter().zip(dims).map(|(i, d)| format!("{i} < {d}")).collect();
                format!("[sin({} + {literal}) for {}]", terms.join(" + "), ranges.join(", "))
            }
        }
    }

    pub fn num(&mut self, dims: &Dims) -> String {
        if self.fuel == 0 {
            return self.leaf(dims);
        }
        self.fuel -= 1;
        let rank = dims.len();
        let size = self.size();
        let with_front: Dims = std::iter::once(size.clone()).chain(dims.iter().cloned()).collect();
        match self.random.below(26) {
            0..=2 => self.leaf(dims),
            3..=5 => {
                let f = self.random.pick(UNARY);
                let x = self.num(dims);
                f.replace('$', &format!("({x})"))
            }
            6..=8 => {
                let op = self.random.pick(&["+", "-", "*"]);
                format!("({} {op} {})", self.num(dims), self.num(dims))
            }
            9 => {
                // a suffix broadcasts
                let suffix: Dims = dims[self.random.below(rank + 1)..].to_vec();
                let op = self.random.pick(&["+", "-", "*"]);
                format!("({} {op} {})", self.num(dims), self.num(&suffix))
            }
            10 => format!("where({}, {}, {})", self.bools(dims), self.num(dims), self.num(dims)),
            11 => format!("(if {} {{ {} }} else {{ {} }})", self.bools(&Vec::new()), self.num(dims), self.num(dims)),
            12 => {
                let f = self.random.pick(&["minimum", "maximum"]);
                format!("{f}({}, {})", self.num(dims), self.num(dims))
            }
            13 => {
                let f = self.random.pick(&["sum", "mean", "max", "min", "prod"]);
                let at = self.random.below(rank + 1);
                let mut wide = dims.clone();
                wide.insert(at, size);
                format!("{f}(tanh({}), axis: {at})", self.num(&wide))
            }
            14 => {
                let at = self.index(&size);
                format!("({})[{at}]", self.num(&with_front))
            }
            15 if rank > 0 => {
                let mut table = dims.clone();
                table[0] = size.clone();
                let ids = self.int(&vec![dims[0].clone()]);
                format!("({})[({ids}) % {size}]", self.num(&table))
            }
            16 if rank >= 2 => {
                let mut turned = dims.clone();
                turned.swap(rank - 1, rank - 2);
                format!("({}).T", self.num(&turned))
            }
            17 if rank >= 2 => {
                let (mut left, mut right) = (dims.clone(), dims[rank - 2..].to_vec());
                left[rank - 1] = size.clone();
                right[0] = size;
                format!("({} @ {})", self.num(&left), self.num(&right))
            }
            18 if rank > 0 => {
                let f = self.random.pick(&[
                    "cumsum($)",
                    "sort($)",
                    "softmax($)",
                    "($)[::-1]",
                    "cumprod(tanh($))",
                    "log_softmax($)",
                ]);
                let x = self.num(dims);
                f.replace('$', &x)
            }
            19 | 20 => self.comprehension(dims),
            21 => self.derivative(dims),
            22 if rank > 0 => {
                let r = self.name("r");
                let inner: Dims = dims[1..].to_vec();
                let row = self.dims(2);
                let over: Dims = std::iter::once(dims[0].clone()).chain(row.iter().cloned()).collect();
                let x = self.num(&over);
                let ty = self.show(&Ty::Num(row.clone()));
                let body =
                    self.within(vec![Var { name: r.clone(), ty: Ty::Num(row), mutable: false }], |g| g.num(&inner));
                format!("vmap(|{r}: {ty}| {body})({x})")
            }
            23 => {
                // of unknown length
                let mask = self.bools(&vec![size]);
                let kept: Dims = with_front.clone();
                format!("sum(({})[{mask}], axis: 0)", self.num(&kept))
            }
            24 => self.called(dims),
            _ if rank == 1 => match self.random.below(3) {
                0 => format!("({}).a", self.value(&Ty::Rec(dims[0].clone()))),
                1 => {
                    let (x, y) = (self.num(&vec![dims[0].clone(), size.clone()]), self.num(&vec![size]));
                    format!("einsum(\"a b, b -> a\", {x}, {y})")
                }
                _ => {
                    let (rec, x) = (self.value(&Ty::Rec(dims[0].clone())), self.num(&Vec::new()));
                    format!("({rec})({x})")
                }
            },
            _ if rank == 0 => {
                let (x, y) = (self.num(&vec![size.clone()]), self.num(&vec![size]));
                format!("({x} @ {y})")
            }
            _ => self.leaf(dims),
        }
    }

    fn comprehension(&mut self, dims: &Dims) -> String {
        if dims.is_empty() {
            let (i, size) = (self.name("at"), self.size());
            let f = self.random.pick(&["sum", "mean", "max", "min"]);
            self.binders.push((i.clone(), size.clone()));
            let body = self.num(dims);
            self.binders.pop();
            return format!("{f}({body} for {i} < {size})");
        }
        let names: Vec<String> = dims.iter().map(|_| self.name("at")).collect();
        let before = self.binders.len();
        self.binders.extend(names.iter().cloned().zip(dims.iter().cloned()));
        let body = self.num(&Vec::new());
        self.binders.truncate(before);
        let ranges: Vec<String> = names.iter().zip(dims).map(|(i, d)| format!("{i} < {d}")).collect();
        format!("[{body} for {}]", ranges.join(", "))
    }

    /// Something in a scope with more variables.
    fn within(&mut self, vars: Vec<Var>, build: impl FnOnce(&mut Gen) -> String) -> String {
        let scope = self.vars.len();
        self.vars.extend(vars);
        let out = build(self);
        self.vars.truncate(scope);
        out
    }

    fn derivative(&mut self, dims: &Dims) -> String {
        if self.derived >= 2 {
            return self.leaf(dims);
        }
        self.derived += 1;
        let (v, ty) = (self.name("v"), self.show(&Ty::Num(dims.clone())));
        let x = self.num(dims);
        let param = || vec![Var { name: v.clone(), ty: Ty::Num(dims.clone()), mutable: false }];
        let out = match self.random.below(5) {
            0 => {
                let (dx, y) = (self.num(dims), self.within(param(), |g| g.num(dims)));
                format!("jvp(|{v}: {ty}| {y}, {x}, {dx}).1")
            }
            1 => {
                let (dy, y) = (self.num(dims), self.within(param(), |g| g.num(dims)));
                format!("vjp(|{v}: {ty}| {y}, {x}).1({dy})")
            }
            2 => {
                let loss = self.within(param(), |g| g.num(&Vec::new()));
                format!("value_and_grad(|{v}: {ty}| {loss})({x}).1")
            }
            _ => {
                let loss = self.within(param(), |g| g.num(&Vec::new()));
                format!("grad(|{v}: {ty}| {loss})({x})")
            }
        };
        self.derived -= 1;
        format!("tanh({out})")
    }

    pub fn call(&mut self, name: &str, n: &str, m: &str) -> String {
        let a = self.num(&vec![n.to_owned(), m.to_owned()]);
        let b = self.num(&vec![m.to_owned()]);
        let (s, q) = (self.num(&Vec::new()), self.int(&Vec::new()));
        format!("{name}({a}, {b}, {s}, {q})")
    }

    /// The number that a function gives.
    fn called(&mut self, dims: &Dims) -> String {
        let fitting: Vec<(String, String, String)> = self
            .callees
            .iter()
            .flat_map(|c| [("n", "m"), ("m", "n"), ("2", "n"), ("3", "2")].map(|(n, m)| (c, n, m)))
            .filter(|(c, n, m)| put(&c.result, n, m) == Ty::Num(dims.clone()))
            .map(|(c, n, m)| (c.name.clone(), n.to_owned(), m.to_owned()))
            .collect();
        if fitting.is_empty() {
            return self.leaf(dims);
        }
        let (name, n, m) = self.random.pick(&fitting);
        self.call(&name, &n, &m)
    }

    pub fn int(&mut self, dims: &Dims) -> String {
        let ty = self.show(&Ty::Int(dims.clone()));
        if self.fuel == 0 || self.random.below(3) == 0 {
            if let Some(v) = self.known(&Ty::Int(dims.clone())) {
                return v;
            }
            return match dims.len() {
                0 => self.small_int(),
                1 => format!("arange({ty})"),
                _ => format!("full({ty}, {})", self.random.below(9)),
            };
        }
        self.fuel -= 1;
        match self.random.below(8) {
            0 | 1 => {
                let op = self.random.pick(&["+", "-", "*"]);
                format!("({} {op} {})", self.int(dims), self.int(dims))
            }
            2 => {
                let op = self.random.pick(&["//", "%"]);
                format!("({} {op} {})", self.int(dims), self.random.pick(&["2", "3", "7", "(-3)"]))
            }
            3 => {
                let size = self.size();
                let mut wide = dims.clone();
                let at = self.random.below(dims.len() + 1);
                wide.insert(at, size);
                let f = self.random.pick(&["argmax", "argmin"]);
                format!("{f}({}, axis: {at})", self.num(&wide))
            }
            4 => format!("i64(({}) * 3.7131)", self.num(dims)),
            5 => format!("where({}, {}, {})", self.bools(dims), self.int(dims), self.int(dims)),
            6 if !dims.is_empty() => format!("argsort({})", self.num(dims)),
            7 if !dims.is_empty() => format!("cumsum({})", self.int(dims)),
            _ => {
                let size = self.size();
                let wide: Dims = std::iter::once(size).chain(dims.iter().cloned()).collect();
                let f = self.random.pick(&["sum", "max", "min"]);
                format!("{f}({}, axis: 0)", self.int(&wide))
            }
        }
    }

    pub fn bools(&mut self, dims: &Dims) -> String {
        let op = self.random.pick(&["<", ">", "<=", ">="]);
        if self.fuel == 0 {
            return format!("({} {op} 0.1234567)", self.leaf(dims));
        }
        self.fuel -= 1;
        match self.random.below(6) {
            0 => format!("({} {} {})", self.bools(dims), self.random.pick(&["and", "or"]), self.bools(dims)),
            1 => format!("(not {})", self.bools(dims)),
            2 => format!("({} % 2 == 0)", self.int(dims)),
            3 => self
                .known(&Ty::Bool(dims.clone()))
                .unwrap_or_else(|| format!("({} == {})", self.int(dims), self.int(dims))),
            _ => format!("({} {op} {} + 0.1234567)", self.num(dims), self.num(dims)),
        }
    }
}

const UNARY: &[&str] = &[
    "tanh$",
    "sin$",
    "cos$",
    "sigmoid$",
    "erf$",
    "exp(-abs$)",
    "sqrt(abs$ + 0.5)",
    "log(abs$ + 1.5)",
    "abs$",
    "(-$)",
    "atan$",
    "square$",
    "softplus$",
    "log1p(abs$)",
    "($ / (1.5 + abs$))",
    "(0.3 * $)",
];

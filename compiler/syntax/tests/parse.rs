//! The parser on the reference's own snippets, on slips, and on token soup.

use tdl_source::{SourceMap, Style, render};
use tdl_syntax::ast::*;
use tdl_syntax::{parse, parse_entry};

fn errors(text: &str) -> String {
    let mut map = SourceMap::default();
    let file = map.add("a.tdl", text);
    render(&parse(file, text).errors, &map, Style::default())
}

#[track_caller]
fn accepts(text: &str) -> Module {
    let mut map = SourceMap::default();
    let file = map.add("a.tdl", text);
    let parsed = parse(file, text);
    assert!(parsed.errors.is_empty(), "{text}\n{}", render(&parsed.errors, &map, Style::default()));
    parsed.module
}

/// The expression of a one-line program as an S-expression.
fn shape(text: &str) -> String {
    let mut map = SourceMap::default();
    let file = map.add("a.tdl", text);
    let entry = parse_entry(file, text);
    assert!(entry.errors.is_empty(), "{text}\n{}", render(&entry.errors, &map, Style::default()));
    match &entry.stmts[0].kind {
        StmtKind::Expr(e) => tdl_syntax::dump_expr(e),
        other => panic!("{other:?}"),
    }
}

#[test]
fn whole_library_and_examples() {
    for dir in ["../../stdlib", "../../examples"] {
        for entry in std::fs::read_dir(dir).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|e| e == "tdl") {
                accepts(&std::fs::read_to_string(path).expect("text"));
            }
        }
    }
}

#[test]
fn every_kind_of_item() {
    let module = accepts(
        r#"
import nn.{Linear, relu}
import a.b as c
const LR: f32 = 1e-3
type Image = f32[28, 28]
type Batch[n] = Image[n]

## Doc.
struct Dense[i, o, E: float = f32, act: fn[..s](f32[..s]) -> f32[..s] = relu] where i % 2 == 0 {
  weight: E[i, o]
  mut bias: E[o],
}

impl Dense[i, o] where i % 2 == 0 {
  fn init(rng: mut Rng) -> Dense[i, o] = Dense {
    weight: rng.normal(f32[i, o]) * sqrt(2.0 / f32(i)), bias: zeros(f32[o]) }
  @remat
  fn call[..s](self, x: f32[..s, i]) -> f32[..s, o] = x @ self.weight + self.bias
}

interface Optimizer[M] { fn step(self, m: M, g: M) -> (M, Self) }

fn conv1d[n, k](x: f32[n], w: f32[k]) -> f32[n - k + 1] where k <= n =
  [sum(x[i + j] * w[j] for j) for i < n - k + 1]

io fn read_scores(path: str) -> some n. f32[n] = read_npy(path) as some n. f32[n]

fn main(steps: i64 = 200, lr: f32 = 0.1) {
  let [k] y = nonzero(x)
  let mut out: some n. i64[n] = prompt
  @remat(every: 3)
  for i in 0..steps { x[i, :] += 1.0 }
  while a and not b { break }
  (s.model, s.opt) = s.opt.step(s.model, g)
  x[1:3, ..., new, ::2] = y
  let d = Digit[][n] { x: raw[:, 0:64] / 16.0, y: i64(raw[:, 64]) }
  let f = |mut m, x: f64[3]| { m + x }
  x
    |> self.l1
    |> g(_, 3)
    .sum()
  return
}

@vjp(softplus)
fn softplus_bwd(x: f32, y: f32, dy: f32) -> f32 = dy * sigmoid(x)

test "softmax sums to one" { assert allclose(sum(softmax([1.0, 2.0])), 1.0) }
test "bad product" expect error E0401 { ones(f32[2, 3]) @ ones(f32[2, 3]) }
prop "transpose twice" (x: f32[n, m]) { all(x.T.T == x) }
bench "matmul" for n in [256, 512] { ones(f32[n, n]) @ ones(f32[n, n]) }
"#,
    );
    assert_eq!(module.items.len(), 16);
    let ItemKind::Struct(dense) = &module.items[5].kind else { panic!() };
    assert_eq!(module.items[5].doc.as_deref(), Some("Doc."));
    assert!(dense.fields[1].mutable && dense.generics.len() == 4 && dense.facts.len() == 1);
}

#[test]
fn precedence() {
    for (text, expected) in [
        ("1 + 2 * 3", "(+ 1 (* 2 3))"),
        ("-x ^ 2", "(neg (^ x 2))"),
        ("2 ^ 3 ^ 2", "(^ 2 (^ 3 2))"),
        ("2 ^ -1", "(^ 2 (neg 1))"),
        ("not a == b and c", "(and (not (== a b)) c)"),
        ("a or b and c", "(or a (and b c))"),
        ("x @ w + b", "(+ (@ x w) b)"),
        ("-x as f32", "(as (neg x) f32)"),
        ("x |> f |> g(_, 3)", "(|> (|> x f) (call g _ 3))"),
        ("0..n + 1", "(.. 0 (+ n 1))"),
        ("t.0.1", "(. (. t 0) 1)"),
        ("f(x).T[0]", "(index (. (call f x) T) 0)"),
        ("|x, y| x + y", "(lambda (x y) (+ x y))"),
        ("xs |> |x| x + 1", "(|> xs (lambda (x) (+ x 1)))"),
        ("7 // 2 % 3", "(% (// 7 2) 3)"),
        ("vmap(f, in: 0)", "(call vmap f in:0)"),
        ("sum(a[i] for i)", "(call sum (for (index a i) i))"),
        ("[a[i] * b[j] for i, j < n]", "(for (* (index a i) (index b j)) i j<n)"),
        ("if a { 1 } else if b { 2 } else { 3 }", "(if a {1} (if b {2} {3}))"),
        ("1.5e-3", "0.0015"),
        ("(x as f32[n])[0]", "(index (as x f32[n]) 0)"),
        ("x[..., new, 1:, ::2]", "(index x ... new 1: ::2)"),
    ] {
        assert_eq!(shape(text), expected, "{text}");
    }
}

#[test]
fn newlines() {
    let block = |text: &str| match &accepts(text).items[0].kind {
        ItemKind::Fn(Fn { body: Some(Expr { kind: ExprKind::Block(b), .. }), .. }) => b.clone(),
        other => panic!("{other:?}"),
    };
    // a line that begins with `-` is a new statement
    let b = block("fn f() {\n  a\n  -b\n}");
    assert_eq!(b.stmts.len(), 1);
    // an operator at the end of a line goes on
    assert!(block("fn f() {\n  a -\n  b\n}").stmts.is_empty());
    // a call and a tuple on the next line stay apart
    let b = block("fn f() {\n  f(x)\n  (m, o) = g(y)\n}");
    assert_eq!(b.stmts.len(), 2);
    // braces inside parentheses end statements at newlines
    accepts("fn f() = g(|m| {\n  let y = m\n  y\n}, 3)");
    accepts("fn f() = if a {\n 1\n}\nelse {\n 2\n}");
    accepts("fn f(\n  a: i64,\n  b: i64,\n) -> i64\nwhere a <= b =\n  a");
}

#[test]
fn text_pieces() {
    assert_eq!(shape(r#""a {x:.3} {{b}} {f("y {z}")}""#), r#"(text "a " {x:.3} " {b} " {(call f (text "y " {z}))})"#);
}

#[test]
fn several_bad_items_are_all_reported() {
    let text = "fn a() = 1 +\n\nfn b() -> f32 = 2.0\n\nfn c( = 3\n\nstruct D { x f32 }\n\nfn e() { let = 4 }\n";
    let all = errors(text);
    assert_eq!(all.matches("error[").count(), 4, "{all}");
    insta::assert_snapshot!(all);
}

#[test]
fn slips_from_other_languages() {
    let mut all = String::new();
    for text in [
        "fn f() { let x = 1; }",
        "fn f(a: bool, b: bool) -> bool = a && b || !a",
        "fn f(x: f32) -> f32 = x ** 2",
        "fn f() -> f32 = 1. + .5",
        "fn f() { print('hello') }",
        "fn f() { x++ }",
        "def f():\n  return 1",
        "class Model { }",
        "from nn import relu",
        "let x = 3",
        "fn f(x: f32) -> f32 { if x > 0.0: x }",
        "fn f(x: f32) f32 = x",
        "fn f(x: f32) -> f32",
        "fn f() { print(\"abc }",
        "fn f() { print((1 + 2] }",
        "fn f() { (1 + 2 }",
        "fn f() { 1 } }",
        "fn f() { let while = 3 }",
        "fn f() -> i64 = 99999999999999999999999",
        "fn f() { print(\"\\q\") }",
        "fn f() { print(\"{1 + }\") }",
        "fn f() = @",
        "fn f() { $ }",
    ] {
        let e = errors(text);
        assert!(e.contains("error["), "accepted: {text}");
        all.push_str(&format!("{e}\n"));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn hostile_nesting_is_an_error() {
    for open in ["(", "[", "{", "f(", "|x| (", "-(", "[[", "if a {"] {
        let text = format!("fn f() = {}", open.repeat(100_000));
        assert!(errors(&text).contains("E0105"), "{open}");
    }
    accepts(&format!("fn f() = {}1{}", "(".repeat(150), ")".repeat(150)));
    accepts(&format!("fn f(a: f32[1]) = {}1{}", "a[".repeat(150), "]".repeat(150)));
    accepts(&format!("fn f() = {}1", "-".repeat(2000)));
}

#[test]
fn empty_files_are_modules() {
    for text in ["", "\n\n", "# only a comment\n", "## only a doc\n"] {
        assert!(accepts(text).items.is_empty());
    }
    assert_eq!(accepts("## About.\n\nfn f() {}").doc.as_deref(), Some("About."));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(400))]
    #[test]
    fn token_soup_never_panics(words in proptest::collection::vec(proptest::sample::select(SOUP), 0..60)) {
        for text in [words.join(" "), words.concat(), format!("fn f() {{ {} }}", words.join(" "))] {
            errors(&text);
            let mut map = SourceMap::default();
            let file = map.add("r", text.as_str());
            render(&parse_entry(file, &text).errors, &map, Style::default());
        }
    }
}

const SOUP: &[&str] = &[
    "fn",
    "let",
    "mut",
    "struct",
    "impl",
    "if",
    "else",
    "for",
    "in",
    "while",
    "return",
    "x",
    "f32",
    "n",
    "1",
    "2.5",
    "1e9",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "=",
    "->",
    "|>",
    "|",
    ".",
    "..",
    "...",
    "+",
    "-",
    "*",
    "/",
    "//",
    "^",
    "@",
    "<",
    "==",
    "+=",
    "as",
    "and",
    "not",
    "\"t\"",
    "\"{x:.2}\"",
    "\"",
    "\n",
    "#",
    "##",
    "é",
    "'",
    ";",
    "some",
    "where",
    "test",
    "import",
    "_",
    "self",
    "true",
    "\\",
    "&&",
    "!",
    "0x",
    "\t",
    "type",
    "const",
    "break",
    "new",
];

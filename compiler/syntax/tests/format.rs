//! The formatter over everything that is written in tdl here: what a text means stays, and formatting twice is formatting
//! once.

use std::path::{Path, PathBuf};

use tdl_source::SourceMap;
use tdl_syntax::tokens::{self, Token};

/// The tree without its places; none if the text does not parse.
fn tree(text: &str) -> Option<String> {
    let mut map = SourceMap::default();
    let parsed = tdl_syntax::parse(map.add("t.tdl", text), text);
    if !parsed.errors.is_empty() {
        return None;
    }
    let mut module = parsed.module;
    // the text itself is no part of the tree
    module.sources.clear();
    let shown = format!("{module:?}");
    let mut out = String::new();
    let mut rest = shown.as_str();
    while let Some(at) = rest.find("Span {") {
        out.push_str(&rest[..at]);
        let end = rest[at..].find('}').expect("a span is closed");
        rest = &rest[at + end + 1..];
    }
    out.push_str(rest);
    Some(out)
}

fn format(text: &str) -> String {
    let mut map = SourceMap::default();
    tdl_syntax::format(map.add("t.tdl", text), text).unwrap_or_else(|e| panic!("{e:?}\n{text}"))
}

/// Formats a text that parses and checks what must hold of every result.
fn check(name: &str, text: &str) -> String {
    let before = tree(text).unwrap_or_else(|| panic!("{name} does not parse:\n{text}"));
    let once = format(text);
    assert_eq!(tree(&once).as_ref(), Some(&before), "{name}: the tree changed\n{text}\n---\n{once}");
    assert_eq!(format(&once), once, "{name}: not idempotent");
    assert_eq!(comments(text), comments(&once), "{name}: comments changed");
    for line in once.lines() {
        assert!(!line.ends_with(' '), "{name}: blanks at the end of `{line}`");
    }
    once
}

fn comments(text: &str) -> Vec<String> {
    tokens::tokens(text)
        .filter(|(t, _)| matches!(t, Ok(Token::Comment | Token::Doc)))
        .map(|(_, r)| text[r].chars().filter(|c| !c.is_whitespace()).collect())
        .collect()
}

fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files(&path, out);
        } else if name.ends_with(".tdl") {
            out.push(path);
        }
    }
}

/// Every program of the repository that parses.
fn programs() -> Vec<(String, String)> {
    let mut paths = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."), &mut paths);
    paths.sort();
    let read = |p: &PathBuf| (p.display().to_string(), std::fs::read_to_string(p).unwrap_or_default());
    paths.iter().map(read).filter(|(_, text)| tree(text).is_some()).collect()
}

#[test]
fn every_program_keeps_its_tree() {
    let all = programs();
    assert!(all.len() > 15, "only {} programs", all.len());
    for (name, text) in &all {
        check(name, text);
    }
}

/// Programs with other spaces and other line breaks.
fn disturb(text: &str, mut seed: u64) -> String {
    let mut random = move |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    let mut out = String::new();
    let mut end = 0;
    let mut open = Vec::new();
    for (token, range) in tokens::tokens(text) {
        let gap = &text[end..range.start];
        end = range.end;
        let round = open.last().is_some_and(|b| *b != '{');
        out.push_str(gap);
        if !gap.is_empty() || round {
            match random(8) {
                0 => out.push_str("   "),
                1 if round && token != Ok(Token::Newline) => out.push('\n'),
                2 if token == Ok(Token::Newline) => out.push('\n'),
                _ => {}
            }
        }
        match token {
            Ok(Token::Open) => open.extend(text[range.clone()].chars()),
            Ok(Token::Close) => drop(open.pop()),
            _ => {}
        }
        out.push_str(&text[range]);
    }
    out + &text[end..]
}

#[test]
fn disturbed_programs_keep_their_tree() {
    let mut tried = 0;
    for (name, text) in programs() {
        for seed in 0..12 {
            let disturbed = disturb(&text, seed);
            if tree(&disturbed).is_some() {
                check(&format!("{name} disturbed with {seed}"), &disturbed);
                tried += 1;
            }
        }
    }
    assert!(tried > 100, "only {tried} programs");
}

const WORDS: &[&str] = &[
    "a",
    "b.c",
    "x[0]",
    "x[i : i + 2]",
    "f(a, n: 3)",
    "1.5",
    "\"t {x + 1:.3}\"",
    "-",
    "+",
    "*",
    "@",
    "==",
    "and",
    "or",
    "|>",
    "..",
    "not",
    "(",
    ")",
    "[",
    "]",
    ",",
    "\n",
    "|p| p + 1",
    "if a { b } else { c }",
    "{ 1 }",
    "as f32[n]",
    "# note\n",
    "where",
    "let x = a",
    "return",
    "for i < n",
    "S { a: 1, b: 2 }",
    "S[][n] { a: x }",
    "some k. f32[k]",
    "x.T",
    "long_name_of_a_value",
];

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]
    #[test]
    fn random_programs_keep_their_tree(words in proptest::collection::vec(proptest::sample::select(WORDS), 1..40)) {
        for text in [format!("fn f() {{ {} }}", words.join(" ")), format!("fn f() = {}", words.join(" "))] {
            if tree(&text).is_some() {
                check("random", &text);
            }
        }
    }

    /// Expressions that always parse, long ones among them.
    #[test]
    fn random_expressions_keep_their_tree(e in expression()) {
        let text = format!("fn f(a: f32, x: f32[4]) -> f32 = {e}\n");
        let once = check("random", &text);
        proptest::prop_assert!(once.lines().all(|l| l.chars().count() <= 160), "{}", once);
    }
}

fn expression() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    let leaf = prop_oneof![Just("a"), Just("x[0]"), Just("1.5"), Just("a_longer_name"), Just("nn.relu")];
    leaf.prop_map(str::to_owned).prop_recursive(6, 120, 4, |e| {
        let op = proptest::sample::select(&["+", "-", "*", "/", "@", "^", "and", "or", "<", "|>", ".."][..]);
        prop_oneof![
            (e.clone(), op, e.clone()).prop_map(|(a, op, b)| format!("({a}) {op} {b}")),
            e.clone().prop_map(|a| format!("-({a})")),
            proptest::collection::vec(e.clone(), 0..5).prop_map(|v| format!("f({})", v.join(", "))),
            proptest::collection::vec(e.clone(), 1..5).prop_map(|v| format!("[{}]", v.join(","))),
            (e.clone(), e.clone()).prop_map(|(a, b)| format!("f(|p, q: f32| {a}, label: {b})")),
            (e.clone(), e.clone(), e.clone()).prop_map(|(a, b, c)| format!("(if ({a}) {{ {b} }} else {{ {c} }})")),
            (e.clone(), e.clone()).prop_map(|(a, b)| format!("sum({a} for i, j in 0..({b}))")),
            (e.clone(), e.clone()).prop_map(|(a, b)| format!("Point {{ x: {a}, y: {b} }}")),
            (e.clone(), e).prop_map(|(a, b)| format!("{{\nlet t = {a}\nt + ({b})\n}}")),
        ]
    })
}

#[test]
fn one_style() {
    let source = "\
## Doc.
import   nn.{ Linear,relu }
import optim . Adam   # why
#note
const  A:f32=1e-3
struct P[n,E:float=f32]{x:E[n],y:E[ n ]}
@remat
fn f[n](x:f32[n],mut k: i64=-1)->f32[n]where 1<=n{

    let y=x*-2.0+x[0 : 1][0]
    let z = [ x[:,1:3], x[::2] ]
    let g=|a,b|a+b
    assert(all(y==x)),\"m\"
    for i in 0 .. n{
      y[i]+=1.0
    }

    if k==0{y}
    else{where(y>0.0,x ,y)}

}


io fn r(p:str)->some n.f32[n]=read_npy(p)as some n.f32[n]
";
    let expected = "\
## Doc.
import nn.{Linear, relu}
import optim.Adam  # why
# note
const A: f32 = 1e-3
struct P[n, E: float = f32] { x: E[n], y: E[n] }
@remat
fn f[n](x: f32[n], mut k: i64 = -1) -> f32[n] where 1 <= n {
  let y = x * -2.0 + x[0 : 1][0]
  let z = [x[:, 1:3], x[::2]]
  let g = |a, b| a + b
  assert(all(y == x)), \"m\"
  for i in 0..n {
    y[i] += 1.0
  }

  if k == 0 { y } else { where(y > 0.0, x, y) }
}

io fn r(p: str) -> some n. f32[n] = read_npy(p) as some n. f32[n]
";
    assert_eq!(check("style", source), expected);
}

#[test]
fn long_lines_break_where_they_are_loosest() {
    let source = "\
fn transform[n, m](first: f32[n, m], second: f32[n, m], third: f32[n, m], scale: f32 = 1.0) -> f32[n, m] = first + second * third
fn g(x: f32[8]) -> f32 {
  let y = x |> transform(first_argument, _) |> transform(second_argument, _) |> transform(third_argument, _) |> sum
  let total = some_function(first_argument_of_it, second_argument_of_it, third_argument_of_it, fourth_argument)
  let s = [some_function_name(x[i + 1], y[j], weight_of_the_neighbours) * another_function(x[i], y[j + 1]) for i < n, j < m]
  if first_condition_of_it and second_condition_of_it and third_condition_of_it and fourth_condition_of_it { y } else { 0.0 }
}
";
    let text = check("long", source);
    for line in text.lines() {
        assert!(line.chars().count() <= 106, "{line}");
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_block_is_indented_from_its_statement_however_long_the_head_is() {
    let source = "\
fn f(x: f32[8],
     n: i64) -> f32
  where 0 <= n,
    n <= 8 {
  let y = g(x, |a| {
    a + 1.0
  })
  if n > 1 and
    n < 5 {
    y
  }
}
";
    assert_eq!(check("heads", source), source);
}

#[test]
fn a_block_over_several_lines_has_its_braces_on_lines_of_their_own() {
    let source = "\
fn f(x: f32) -> f32 { let y = x
  y * y }
struct S { a: f32,
  b: f32 }
fn main() {
  print(map(|x| { let y = x
    y })(3.0), { 4 })
  for i in 0..3 { if i > 1 { print(i)
    break } }
  let z = { 1 +
    2 }
}
";
    let formatted = "\
fn f(x: f32) -> f32 {
  let y = x
  y * y
}
struct S {
  a: f32,
  b: f32
}
fn main() {
  print(map(|x| {
    let y = x
    y
  })(3.0), { 4 })
  for i in 0..3 {
    if i > 1 {
      print(i)
      break
    }
  }
  let z = { 1 +
              2 }
}
";
    assert_eq!(check("blocks", source), formatted);
}

#[test]
fn a_call_of_where_is_no_clause() {
    let source = "\
fn f(x: f32) -> f32 {
  let y = x
  where(y > 0.0, y, 0.0)
}
";
    assert_eq!(check("where", source), source);
}

#[test]
fn a_list_that_breaks_is_filled() {
    let source = "\
fn f(x: f32[n, m], y: f32[n, m]) -> f32
  where 1 <= first_size_of_all, 1 <= second_size_of_all, 1 <= third_size_of_all, 1 <= fourth_size_of_all,
    1 <= n {
  print(rearrange(x, \"a b -> b a\") |> shape_of_the_tensor, rearrange(y, \"a b -> b a\") |> shape_of_the_tensor,
    1)
  0.0
}
";
    let formatted = "\
fn f(x: f32[n, m], y: f32[n, m]) -> f32
  where 1 <= first_size_of_all, 1 <= second_size_of_all, 1 <= third_size_of_all,
    1 <= fourth_size_of_all, 1 <= n {
  print(rearrange(x, \"a b -> b a\") |> shape_of_the_tensor,
        rearrange(y, \"a b -> b a\") |> shape_of_the_tensor, 1)
  0.0
}
";
    assert_eq!(check("lists", source), formatted);
}

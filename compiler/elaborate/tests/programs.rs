//! From source text to what the interpreter prints.

use std::path::{Path, PathBuf};

use tdl_elaborate::{Failure, Roots, elaborate};
use tdl_ir::interp::{Interp, PlainHost};
use tdl_source::{SourceMap, Style, render};
use tdl_types::{Module, check};

const STDLIB: [&str; 9] = ["prelude", "nn", "conv", "optim", "data", "linalg", "math", "random", "train"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Parses and checks a program with the whole standard library, and gives it to `then`.
fn checked<T>(source: &str, then: impl FnOnce(&tdl_types::thir::Program) -> T) -> T {
    let mut map = SourceMap::default();
    let mut texts: Vec<(String, String)> = STDLIB
        .iter()
        .map(|name| {
            let path = root().join(format!("stdlib/{name}.tdl"));
            ((*name).to_string(), std::fs::read_to_string(path).expect("the standard library is there"))
        })
        .collect();
    texts.push((String::new(), source.to_string()));
    let mut asts = Vec::new();
    for (name, text) in &texts {
        let parsed = tdl_syntax::parse(map.add(name.clone(), text.as_str()), text);
        asts.push((name.as_str(), parsed));
    }
    let shown = |ds: &[tdl_source::Diagnostic]| render(ds, &map, Style::default());
    for (name, p) in &asts {
        assert!(p.errors.is_empty(), "{name}: {}", shown(&p.errors));
    }
    let modules: Vec<Module<'_>> = asts.iter().map(|(name, p)| Module { name, ast: &p.module }).collect();
    let result = check(&modules);
    assert!(result.errors.is_empty(), "{}", shown(&result.errors));
    then(&result.program)
}

fn lines(failures: &[Failure]) -> String {
    failures.iter().map(|f| format!("{f:?}")).collect::<Vec<_>>().join("\n")
}

/// What `main` prints; a failed run ends with its message.
fn run(source: &str) -> String {
    checked(source, |program| {
        let out = elaborate(program, &Roots::Main, false).unwrap_or_else(|e| panic!("{}", lines(&e)));
        let entry = out.main.expect("has a main");
        tdl_ir::verify(&out.module).unwrap_or_else(|e| panic!("{e}\n{}", tdl_ir::print(&out.module)));
        let args = entry
            .params
            .iter()
            .map(|p| {
                let default = p.default.expect("a default");
                let module = tdl_transform::differentiate(&out.module, &[default], true).expect("a default is simple");
                let mut host = PlainHost::default();
                Interp::new(&module).run(tdl_ir::FuncId(0), vec![], &mut host).expect("a default")[0].clone()
            })
            .collect();
        let mut module = tdl_transform::differentiate(&out.module, &[entry.func], true)
            .unwrap_or_else(|e| panic!("{e:?}\n{}", tdl_ir::print(&out.module)));
        tdl_transform::optimize(&mut module, true).unwrap_or_else(|e| panic!("{e:?}"));
        let mut host = PlainHost::default();
        let digits = std::fs::read_to_string(root().join("examples/data/digits.csv")).unwrap_or_default();
        host.texts.insert("examples/data/digits.csv".into(), digits.lines().take(200).collect::<Vec<_>>().join("\n"));
        let done = Interp::new(&module).run(tdl_ir::FuncId(0), args, &mut host);
        let mut text = host.out;
        if let Err(e) = done {
            text += &e.message;
        }
        text
    })
}

#[track_caller]
fn prints(body: &str, expected: &str) {
    assert_eq!(run(body).trim_end(), expected.trim());
}

#[test]
fn arithmetic_of_integers_and_floats() {
    prints(
        "fn main() {\n  print(1 + 2 * 3, -7 // 2, -7 % 3, 2 ^ 3 ^ 2)\n  print(1.5 / 2.0, f64(1) / 4.0, i64(2.9))\n}",
        "7 -4 2 512\n0.75 0.25 2",
    );
}

#[test]
fn division_of_integers_by_zero_fails() {
    prints("fn main(n: i64 = 0) { print(1 // n) }", "division by zero");
}

#[test]
fn a_loop_with_continue_and_break() {
    prints(
        "fn main() {
  let mut total = 0
  for i in 0..10 {
    if i == 3 { continue }
    if i == 7 { break }
    total += i
  }
  print(total)
}",
        "18",
    );
}

#[test]
fn a_return_inside_a_nested_loop() {
    prints(
        "fn find(n: i64) -> (i64, i64) {
  for i in 1..n {
    for j in 1..n {
      if i * j == 12 and i > 3 { return (i, j) }
    }
  }
  (0, 0)
}
fn main() { print(find(10)); print(find(3)) }"
            .replace("; ", "\n")
            .as_str(),
        "(4, 3)\n(0, 0)",
    );
}

#[test]
fn while_with_a_condition_over_changing_variables() {
    prints(
        "fn main(n: i64 = 27) {
  let mut x = n
  let mut steps = 0
  while x != 1 and steps < 1000 {
    x = if x % 2 == 0 { x // 2 } else { 3 * x + 1 }
    steps += 1
  }
  print(steps)
}",
        "111",
    );
}

#[test]
fn broadcasting_and_products() {
    prints(
        "fn main() {
  let a = [[1.0, 2.0], [3.0, 4.0]]
  let b = [10.0, 20.0]
  print(a + b)
  print(a @ b, b @ a, b @ b)
  print(a @ a)
  print(a - mean(a, axis: -1, keepdims: true))
  print(sum(a, axis: 0), max(a), argmax(a, axis: 1))
}",
        "[[11, 22], [13, 24]]\n[50, 110] [70, 100] 500\n[[7, 10], [15, 22]]\n[[-0.5, 0.5], [-0.5, 0.5]]\n[4, 6] 4 [1, 1]",
    );
}

#[test]
fn indexing_slicing_gathering_masking() {
    prints(
        "fn main() {
  let x = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
  let ids = [1, 0]
  print(x[1], x[-1, -1], x[:, 1:3], x[:, ::2])
  print(x[ids], x[ids, [0, 2]], x[..., 0], x[0, new])
  print(x[0][x[0] > 1.5])
}",
        "[4, 5, 6] 6 [[2, 3], [5, 6]] [[1, 3], [4, 6]]\n[[4, 5, 6], [1, 2, 3]] [4, 3] [1, 4] [[1, 2, 3]]\n[2, 3]",
    );
}

#[test]
fn an_index_out_of_range_fails() {
    let text = run("fn main(i: i64 = 7) { print([1.0, 2.0][i]) }");
    assert_eq!(text, "index 7 is out of range: axis 0 has size 2");
}

#[test]
fn places_are_updated() {
    prints(
        "struct P { x: f32[3], y: f32 }
fn main() {
  let mut p = P { x: zeros(f32[3]), y: 1.0 }
  p.x[1] = 5.0
  p.x[1:3] += 1.0
  p.y *= 3.0
  let old = p
  p.x[[0, 0, 2]] += 1.0
  print(p)
  print(old.x)
}",
        "P { x: [2, 6, 2], y: 3 }\n[0, 6, 1]",
    );
}

#[test]
fn methods_that_change_their_receiver() {
    prints(
        "struct Counter { n: i64 }
impl Counter {
  fn next(mut self) -> i64 {
    self.n += 1
    self.n
  }
}
fn main() {
  let mut c = Counter { n: 0 }
  let a = c.next()
  let b = c.next()
  print(a, b, c.n)
}",
        "1 2 2",
    );
}

#[test]
fn functions_as_values() {
    prints(
        "fn twice(f: fn(f32) -> f32, x: f32) -> f32 = f(f(x))
fn square(x: f32) -> f32 = x * x
fn main() {
  let k = 3.0
  let g = |x: f32| x + k
  print(twice(square, 3.0), twice(g, 1.0), twice(|x| k * x, 2.0), 4.0 |> sqrt |> square)
}",
        "81 7 18 4",
    );
}

#[test]
fn sizes_known_only_at_run_time() {
    prints(
        "fn evens[n](x: i64[n]) -> some k. i64[k] = x[x % 2 == 0]
fn main() {
  let y = evens(arange(i64[7]))
  print(y, len(y), sum(y))
  let mut out: some n. i64[n] = y
  for i in 0..2 { out = concat((out, [100 + i])) }
  print(out)
}",
        "[0, 2, 4, 6] 4 12\n[0, 2, 4, 6, 100, 101]",
    );
}

#[test]
fn a_cast_to_a_wrong_size_fails_with_both_shapes() {
    let text = run("fn main() {
  let x = arange(i64[7])
  print(x[x > 3] as i64[2])
}");
    assert_eq!(text, "the shape is [3], not [2]");
}

#[test]
fn gradients_of_functions_lambdas_and_structs() {
    prints(
        "struct Line { slope: f64, intercept: f64 }
fn loss[n](line: Line, x: f64[n], y: f64[n]) -> f64 {
  let e = line.slope * x + line.intercept - y
  sum(e * e)
}
fn main() {
  let line = Line { slope: 1.0, intercept: 0.0 }
  let (value, g) = value_and_grad(loss)(line, [1.0, 2.0], [0.0, 0.0])
  print(value, g)
  print(line - 0.5 * g)
  let a: f64 = 2.0
  print(grad(|x: f64| a * x * x * x)(3.0), grad(grad(|x: f64| a * x * x * x))(3.0))
}",
        "5 Line { slope: 10, intercept: 6 }\nLine { slope: -4, intercept: -3 }\n54 36",
    );
}

#[test]
fn gradient_through_while_and_early_return() {
    prints(
        "fn f(x: f64) -> f64 {
  let mut y = x
  while y < 100.0 {
    if y > 50.0 { return 3.0 * y }
    y = y * y
  }
  y
}
fn main() { print(value_and_grad(f)(2.0), value_and_grad(f)(8.0)) }",
        "(256, 1024) (192, 48)",
    );
}

#[test]
fn pullbacks_and_tangents() {
    prints(
        "fn main() {
  let (y, pull) = vjp(|v: f64[2]| v * v, [1.0, 3.0])
  print(y, pull([1.0, 10.0]))
  print(jvp(|v: f64| v * v * v, 2.0, 1.0))
  print(jacobian(|v: f64[2]| v * v)([1.0, 3.0]))
}",
        "[1, 9] [2, 60]\n(8, 12)\n[[2, 0], [0, 6]]",
    );
}

#[test]
fn generators_move_and_draw() {
    prints(
        "fn draw(rng: mut Rng) -> f32 = rng.uniform(f32[])
fn main() {
  let mut rng = Rng(3)
  let a = draw(rng)
  let b = draw(rng)
  assert a != b
  assert 0.0 <= a and a < 1.0
  let p = rng.permutation(10)
  print(sum(p), sort(p))
  let mut child = rng.split()
  let mut again = Rng(3)
  print(draw(again) == a, child.uniform(f32[]) != rng.uniform(f32[]))
}",
        "45 [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\ntrue true",
    );
}

#[test]
fn trees_and_optimizers() {
    prints(
        "import optim.{Sgd, Adam}
fn main() {
  let opt = Sgd.new([1.0, 2.0], lr: 0.5)
  let (m, next) = opt.step([1.0, 2.0], [1.0, 1.0])
  print(m)
  let adam = Adam.new([1.0, 2.0], lr: 0.5)
  let (w, more) = adam.step([1.0, 2.0], [3.0, -4.0])
  print(more.t, \"{w:.4}\")
}",
        "[0.5, 1.5]\n1 [0.5000, 2.5000]",
    );
}

#[test]
fn a_data_set_in_batches() {
    prints(
        "import data
struct Row { x: f32[2], y: i64 }
fn main() {
  let set = Row[][4] { x: [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]], y: [1, 2, 3, 4] }
  for b in data.batches(set, 2) { print(sum(b.x), b.y) }
  let (first, rest) = data.split(set, 0.5, Rng(1))
  print(len(first), len(rest), sum(first.y) + sum(rest.y))
}",
        "10 [1, 2]\n26 [3, 4]\n2 2 10",
    );
}

#[test]
fn layers_and_losses() {
    prints(
        "import nn.{Linear, relu, cross_entropy, accuracy}
fn main() {
  let layer = Linear { weight: [[1.0, 2.0], [3.0, 4.0]], bias: [10.0, 20.0] }
  print([1.0, 1.0] |> layer |> relu)
  print(\"{cross_entropy(zeros(f32[2, 4]), [0, 3]):.4}\", accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1]))
}",
        "[14, 26]\n1.3863 0.5",
    );
}

#[test]
fn every_example_elaborates_and_runs() {
    for name in ["linear", "newton", "while_grad"] {
        let source = std::fs::read_to_string(root().join(format!("examples/{name}.tdl"))).expect("an example");
        let text = run(&source);
        assert!(text.ends_with('\n'), "{name}: {text}");
    }
}

#[test]
fn digits_trains_on_its_first_rows() {
    let source = std::fs::read_to_string(root().join("examples/digits.tdl")).expect("an example");
    let text = run(&source.replace("epochs: i64 = 20", "epochs: i64 = 2"));
    assert!(text.starts_with("epoch 0  accuracy 0."), "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
}

/// The fenced examples in a module's `##` comments.
fn examples(text: &str) -> Vec<String> {
    let (mut out, mut current) = (Vec::new(), None::<String>);
    for line in text.lines() {
        let Some(doc) = line.trim_start().strip_prefix("##") else { continue };
        let doc = doc.strip_prefix(' ').unwrap_or(doc);
        match (doc.trim() == "```", current.take()) {
            (true, None) => current = Some(String::new()),
            (true, Some(done)) => out.push(done),
            (false, Some(so_far)) => current = Some(so_far + "  " + doc + "\n"),
            (false, None) => {}
        }
    }
    out
}

#[test]
fn examples_of_the_standard_library_hold() {
    let (mut failed, mut count) = (String::new(), 0);
    for module in STDLIB {
        let text = std::fs::read_to_string(root().join(format!("stdlib/{module}.tdl"))).expect("a module");
        let names: Vec<&str> = text
            .lines()
            .filter_map(|l| l.strip_prefix("fn ").or_else(|| l.strip_prefix("struct ")))
            .filter_map(|l| l.split(['[', '(', ' ']).next())
            .collect();
        let imports = match module {
            "prelude" => String::new(),
            "train" => "import optim\nimport train\n".to_string(),
            m => format!("import {m}\nimport {m}.{{{}}}\n", names.join(", ")),
        };
        for example in examples(&text) {
            let source = format!("{imports}fn main() {{\n{example}}}\n");
            count += 1;
            let done = std::panic::catch_unwind(|| run(&source));
            match done {
                Ok(text) if text.is_empty() => {}
                Ok(text) => failed += &format!("{module}:\n{example}{text}\n"),
                Err(e) => {
                    let text = e.downcast_ref::<String>().cloned().unwrap_or_default();
                    failed += &format!("{module}:\n{example}{text}\n");
                }
            }
        }
    }
    assert!(failed.is_empty(), "{failed}");
    assert!(count > 100, "{count} examples");
}

//! Library functions stand where they are called from.

use tdl_ir::{Module, Op};
use tdl_source::{FileId, Span};

const TEXT: &str = "
func @helper(%x: f32) {
  %0: f32 = exp %x
  return %0
}
func @library(%x: f32) {
  %0: f32 = call @helper(%x)
  %1: f32 = neg %0
  return %1
}
func @main(%x: f32) {
  %0: f32 = call @library(%x)
  %1: f32 = call @library(%0)
  %2: f32 = add %0, %1
  return %1, %2
}
";

/// Where the operations of a function are, calls followed: name and offset.
fn places(module: &Module, func: &str, out: &mut Vec<(String, u32, u32)>) {
    let f = module.func(module.find(func).expect("the function"));
    for i in &f.body.insts {
        match &i.op {
            Op::Call { func } => places(module, &module.func(*func).name.clone(), out),
            op => out.push((op.name().to_owned(), i.span.file.0, i.span.start)),
        }
    }
}

#[test]
fn operations_count_where_the_program_calls() {
    let (library, program) = (FileId(1), FileId(0));
    let mut module = tdl_ir::parse(TEXT).unwrap_or_else(|e| panic!("{e}"));
    for (k, f) in module.funcs.iter_mut().enumerate() {
        let file = if k < 2 { library } else { program };
        f.span = Span::new(file, 0, 1);
        for (n, i) in f.body.insts.iter_mut().enumerate() {
            i.span = Span::new(file, 10 * (k + 1) + n, 99);
        }
    }
    let out = tdl_transform::callers(&module, &|file| file == library);
    tdl_ir::verify(&out).unwrap_or_else(|e| panic!("{}", e.message));
    let mut all = Vec::new();
    places(&out, "main", &mut all);
    let expected = [("exp", 30), ("neg", 30), ("exp", 31), ("neg", 31), ("add", 32)];
    assert_eq!(all, expected.map(|(op, at)| (op.to_owned(), 0, at)));
    let mut all = Vec::new();
    places(&out, "library", &mut all);
    assert_eq!(all, [("exp".to_owned(), 1, 10), ("neg".to_owned(), 1, 21)], "the library itself is as it was");
}

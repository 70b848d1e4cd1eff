//! Library functions that become ops.

use tdl_transform::composites;

fn attention(dtype: &str, name: &str) -> String {
    format!(
        r#"func @nn.attention(%n: i64, %q: {dtype}[%n, 4], %k: {dtype}[6, 4], %v: {dtype}[6, 3], %causal: bool) composite: "{name}" {{
  %0: {dtype}[%n, 6] = contract %q, %k, "ad,bd->ab"
  %1: {dtype}[%n, 3] = contract %0, %v, "ab,bc->ac"
  return %1
}}"#
    )
}

#[test]
fn attention_becomes_an_op() {
    for dtype in ["f32", "f16", "bf16"] {
        let module = tdl_ir::parse(&attention(dtype, "nn.attention")).expect("parses");
        let new = composites(&module).expect("an op");
        tdl_ir::verify(&new).expect("verifies");
        let text = tdl_ir::print(&new);
        assert!(text.contains("= attention %") && !text.contains("contract"), "{text}");
        assert!(text.contains("select %causal"), "{text}");
    }
}

#[test]
fn other_functions_stay() {
    for text in [attention("f64", "nn.attention"), attention("f32", "nn.softmax")] {
        assert!(composites(&tdl_ir::parse(&text).expect("parses")).is_none());
    }
}

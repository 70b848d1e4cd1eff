//! Every op with name, family and doc: what printer, parser and reference docs iterate.

use super::{BinaryOp, CompareOp, IoOp, Op, ReduceOp, ScanOp, UnaryOp};

/// A group of ops that share their shape rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    Constant,
    Unary,
    Binary,
    Compare,
    Elementwise,
    Movement,
    Reduce,
    Scan,
    Order,
    Product,
    Indexed,
    Random,
    Control,
    Derivative,
    Stack,
    Effect,
    Io,
}

/// A line of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub family: Family,
    /// As in the text form of the IR; unique.
    pub name: &'static str,
    pub doc: &'static str,
}

/// Every op there is, family by family.
pub fn catalogue() -> Vec<Entry> {
    let entry = |family, name, doc| Entry { family, name, doc };
    let mut all = Vec::new();
    let fixed = |family: Family| FIXED.iter().copied().filter(move |e| e.family == family);
    all.extend(fixed(Family::Constant));
    all.extend(UnaryOp::ALL.iter().map(|op| {
        let d = op.def();
        entry(Family::Unary, d.name, d.doc)
    }));
    all.extend(BinaryOp::ALL.iter().map(|op| {
        let d = op.def();
        entry(Family::Binary, d.name, d.doc)
    }));
    all.extend(CompareOp::ALL.iter().map(|op| {
        let d = op.def();
        entry(Family::Compare, d.name, d.doc)
    }));
    all.extend(fixed(Family::Elementwise));
    all.extend(fixed(Family::Movement));
    all.extend(ReduceOp::ALL.iter().map(|op| {
        let d = op.def();
        entry(Family::Reduce, d.name, d.doc)
    }));
    all.extend(ScanOp::ALL.iter().map(|op| {
        let d = op.def();
        entry(Family::Scan, d.name, d.doc)
    }));
    for family in [
        Family::Order,
        Family::Product,
        Family::Indexed,
        Family::Random,
        Family::Control,
        Family::Derivative,
        Family::Stack,
        Family::Effect,
        Family::Io,
    ] {
        all.extend(fixed(family));
    }
    all
}

const fn row(family: Family, name: &'static str, doc: &'static str) -> Entry {
    Entry { family, name, doc }
}

/// The ops outside the elementwise and reduction tables.
const FIXED: &[Entry] = &[
    row(Family::Constant, "const", "A scalar."),
    row(Family::Constant, "dense", "A tensor whose elements stand in the program."),
    row(Family::Constant, "text", "A `str`."),
    row(Family::Constant, "iota", "0, 1, … n-1."),
    row(Family::Elementwise, "select", "`(c, a, b)`: a where c, else b."),
    row(
        Family::Elementwise,
        "convert",
        "To another dtype: float to integer truncates and saturates, NaN gives 0; to bool is `x != 0`.",
    ),
    row(Family::Elementwise, "stop_grad", "Identity whose derivative is zero."),
    row(Family::Elementwise, "barrier", "Identity behind which everything is computed anew."),
    row(Family::Movement, "expand", "Inserts axes that repeat the operand."),
    row(Family::Movement, "reshape", "The same elements in row-major order under another shape."),
    row(Family::Movement, "permute", "Reorders axes: result axis i is operand axis perm[i]."),
    row(Family::Movement, "slice", "`(x, start…)`: a strided box."),
    row(Family::Movement, "update_slice", "`(x, u, start…)`: x with a strided box replaced by u, or added to."),
    row(Family::Movement, "flip", "Reverses axes."),
    row(
        Family::Movement,
        "shear",
        "`(x, stride, dilation, padding)`: windows along an axis, by place and tap; with `spread` the transpose.",
    ),
    row(Family::Movement, "concat", "Operands one after the other along an axis."),
    row(Family::Order, "argmax", "Index of the first largest element along an axis; NaN counts as largest."),
    row(Family::Order, "argmin", "Index of the first smallest element along an axis; NaN counts as smallest."),
    row(Family::Order, "sort", "Elements in order along an axis, and where they came from; stable, NaN last."),
    row(Family::Order, "nonzero", "Positions of true in a mask, ascending, and how many."),
    row(Family::Product, "contract", "Sum of products over shared axes, as einsum."),
    row(Family::Product, "window", "Sum of products over windows: convolutions and their derivatives."),
    row(Family::Product, "attention", "`(q, k, v, reach)`: softmax(q kᵀ / sqrt(d)) v, and the logarithms of its sums."),
    row(Family::Product, "attention_grad", "`(q, k, v, dy, sums, delta, reach)`: the cotangents of q, k and v."),
    row(Family::Indexed, "gather", "`(x, ids)`: rows of x."),
    row(
        Family::Indexed,
        "scatter",
        "`(x, ids, u)`: x with rows replaced (the last wins) or added to (repeats accumulate).",
    ),
    row(Family::Random, "random_bits", "`(key, counter)`: all bits of each integer (Philox 4x32-10)."),
    row(Family::Random, "random_uniform", "`(key, counter)`: uniform in [0, 1)."),
    row(Family::Random, "random_normal", "`(key, counter)`: standard normal."),
    row(Family::Control, "if", "One of two regions."),
    row(Family::Control, "for", "A region n times, with carried values."),
    row(Family::Control, "while", "A region as long as a condition holds, with carried values."),
    row(Family::Control, "call", "Another function."),
    row(Family::Derivative, "vjp", "A function's results and the cotangents of its parameters."),
    row(Family::Derivative, "jvp", "A function's results and their tangents."),
    row(Family::Derivative, "checkpoint", "Marks a loop whose iterations are recomputed, so many at a time."),
    row(Family::Derivative, "vmap", "A function on each of n lanes."),
    row(Family::Stack, "stack_new", "An empty growable stack."),
    row(Family::Stack, "stack_push", "A stack with one more tensor; the old one is dead."),
    row(Family::Stack, "stack_tensor", "The number of tensors in a stack, and all of them as one."),
    row(Family::Effect, "print", "Writes text and values to standard output."),
    row(Family::Effect, "assert", "Stops the program with a message unless a condition holds."),
    row(Family::Effect, "format", "Text with values in it."),
    row(Family::Effect, "debug", "A place, or a variable, for a debugger."),
    row(Family::Io, "save", "Writes a safetensors file atomically."),
    row(Family::Io, "load", "Entries of a safetensors file, checked against their types."),
    row(Family::Io, "exists", "Is there a file of this path?"),
    row(Family::Io, "clock", "Seconds of a monotonic clock."),
    row(Family::Io, "host", "A function of the runtime on text and files."),
    row(Family::Io, "progress", "Shows the progress of a long loop on a terminal."),
];

impl Op {
    /// The op's name in the text form of the IR, an entry of [`catalogue`].
    pub fn name(&self) -> &'static str {
        match self {
            Op::Const(_) => "const",
            Op::Dense(_) => "dense",
            Op::Text(_) => "text",
            Op::Iota => "iota",
            Op::Unary(op) => op.def().name,
            Op::Binary(op) => op.def().name,
            Op::Compare(op) => op.def().name,
            Op::Select => "select",
            Op::Convert => "convert",
            Op::StopGrad => "stop_grad",
            Op::Barrier => "barrier",
            Op::Expand { .. } => "expand",
            Op::Reshape => "reshape",
            Op::Permute { .. } => "permute",
            Op::Slice { .. } => "slice",
            Op::UpdateSlice { .. } => "update_slice",
            Op::Flip { .. } => "flip",
            Op::Shear { .. } => "shear",
            Op::Concat { .. } => "concat",
            Op::Reduce { op, .. } => op.def().name,
            Op::ArgReduce { max: true, .. } => "argmax",
            Op::ArgReduce { max: false, .. } => "argmin",
            Op::Scan { op, .. } => op.def().name,
            Op::Sort { .. } => "sort",
            Op::Nonzero => "nonzero",
            Op::Contract { .. } => "contract",
            Op::Window { .. } => "window",
            Op::Attention => "attention",
            Op::AttentionGrad => "attention_grad",
            Op::Gather => "gather",
            Op::Scatter { .. } => "scatter",
            Op::Random { dist } => match dist {
                super::Dist::Bits => "random_bits",
                super::Dist::Uniform => "random_uniform",
                super::Dist::Normal => "random_normal",
            },
            Op::If => "if",
            Op::For => "for",
            Op::While => "while",
            Op::Call { .. } => "call",
            Op::Vjp { .. } => "vjp",
            Op::Jvp { .. } => "jvp",
            Op::Vmap { .. } => "vmap",
            Op::Checkpoint { .. } => "checkpoint",
            Op::StackNew => "stack_new",
            Op::StackPush => "stack_push",
            Op::StackTensor => "stack_tensor",
            Op::Print { .. } => "print",
            Op::Assert { .. } => "assert",
            Op::Format { .. } => "format",
            Op::Debug { .. } => "debug",
            Op::Io(io) => match io {
                IoOp::Save { .. } => "save",
                IoOp::Load { .. } => "load",
                IoOp::Exists => "exists",
                IoOp::Clock => "clock",
                IoOp::Progress => "progress",
            },
            Op::Host(_) => "host",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_documented() {
        let mut seen = std::collections::HashSet::new();
        for e in catalogue() {
            assert!(seen.insert(e.name), "`{}` is there twice", e.name);
            assert!(!e.doc.is_empty());
        }
        assert!(FIXED.iter().all(|e| catalogue().contains(e)));
    }
}

//! What people who come from other languages and libraries write, and what to write here.

use tdl_source::Span;
use tdl_syntax::ast::{Expr, ExprKind};

use super::Checker;
use crate::ty::Ty;

/// A name that means something elsewhere.
pub(super) fn name(name: &str) -> Option<&'static str> {
    Some(match name {
        "None" | "null" | "nil" | "NULL" | "undefined" => {
            "there is no null: what may be missing is a `bool` beside a value, or a tensor of length 0"
        }
        "True" | "TRUE" => "write `true`",
        "False" | "FALSE" => "write `false`",
        "int" | "long" => "a conversion is named after its dtype: `i64(x)`",
        "float" => "a conversion is named after its dtype: `f32(x)` or `f64(x)`",
        "double" => "a conversion is named after its dtype: `f64(x)`",
        "str" | "repr" | "format" => "values are put into a text by braces: `\"{x}\"`",
        "range" => "a range is written `0..n`",
        "enumerate" => "count with an index: `for i in 0..len(x)`, then `x[i]`",
        "zip" => "count with an index: `for i in 0..len(x)`, then `x[i]` and `y[i]`",
        "map" | "filter" | "list" | "vec" => "write a comprehension `[f(x[i]) for i]`, or a mask `x[x > 0.0]`",
        "matmul" | "mm" | "bmm" | "dot" | "mv" | "inner" => "a product of matrices or vectors is `a @ b`",
        "transpose" => "the last two axes are swapped by `x.T`, others by `permute(x, (1, 0, 2))`",
        "array" | "tensor" | "asarray" => "a tensor is written `[1.0, 2.0]`",
        "zeros_like" | "ones_like" | "empty" => "write `zeros(f32[n])` or `ones(f32[n])` with the type",
        "clip" | "clamp" => "write `minimum(maximum(x, low), high)`",
        "cat" | "concatenate" | "vstack" | "hstack" => "write `concat((a, b), axis: 0)`",
        "pow" | "power" => "a power is `x ^ y`",
        "println" | "printf" | "puts" | "echo" => "write `print(…)`",
        "raise" | "throw" | "panic" | "exit" => "stop with `assert condition, \"message\"`",
        "lambda" => "a function without a name is `|x| x + 1`",
        "torch" | "np" | "numpy" | "jnp" | "jax" | "tf" | "F" | "math" => {
            "`zeros`, `sum`, `exp` and the like are known everywhere; layers and losses are in `nn`: `import nn.{relu}`"
        }
        "size" | "shape" | "ndim" | "numel" => {
            "sizes have names in types: `fn f[n, m](x: f32[n, m])`, then `n` is the number; or `len(x)`"
        }
        "squeeze" => "an axis of size 1 is indexed away: `x[:, 0]`",
        "unsqueeze" | "expand_dims" => "a new axis is an index: `x[new, :]`, `x[:, new]`",
        "flatten" | "ravel" | "view" => "write `reshape(x, [n])` with the sizes",
        "expand" | "tile" => "write `broadcast_to(x, [n, m])`, or `repeat(x, \"a -> a 3\")`",
        "swapaxes" | "moveaxis" => "write `permute(x, (1, 0, 2))`",
        "rand" | "randn" | "normal" | "uniform" | "randint" | "permutation" | "shuffle" | "choice" | "seed" => {
            "random numbers come from a generator: `let mut rng = Rng(42)`, then `rng.normal(f32[n])`"
        }
        "full_like" | "empty_like" => "write `full(f32[n], v)` with the type",
        "absolute" | "fabs" => "write `abs(x)`",
        "rint" => "write `round(x)`",
        "logical_and" => "write `a and b`",
        "logical_or" => "write `a or b`",
        "logical_not" => "write `not a`",
        "append" | "push" | "extend" => "write `concat((x, y), axis: 0)`",
        "pad" => "write `concat` with `zeros`, or for images `conv.pad2d`",
        "meshgrid" => "write a comprehension: `[f(x[i], y[j]) for i, j]`",
        "amax" => "write `max(x, axis: 0)`",
        "amin" => "write `min(x, axis: 0)`",
        "random" => "random numbers come from a generator: `let mut rng = Rng(42)`, then `rng.normal(f32[n])`",
        _ => return None,
    })
}

/// Layers, losses, optimizers and functions of other libraries: their names, and what to use here.
const LIBRARY: &[(&str, &str)] = &[
    ("CrossEntropyLoss", "nn.cross_entropy"),
    ("cross_entropy_loss", "nn.cross_entropy"),
    ("softmax_cross_entropy", "nn.cross_entropy"),
    ("softmax_cross_entropy_with_integer_labels", "nn.cross_entropy"),
    ("SparseCategoricalCrossentropy", "nn.cross_entropy"),
    ("BCEWithLogitsLoss", "nn.bce_with_logits"),
    ("sigmoid_binary_cross_entropy", "nn.bce_with_logits"),
    ("binary_cross_entropy_with_logits", "nn.bce_with_logits"),
    ("MSELoss", "nn.mse"),
    ("mse_loss", "nn.mse"),
    ("mean_squared_error", "nn.mse"),
    ("L1Loss", "nn.mae"),
    ("l1_loss", "nn.mae"),
    ("HuberLoss", "nn.huber"),
    ("smooth_l1_loss", "nn.huber"),
    ("Dense", "nn.Linear"),
    ("Dropout", "nn.dropout"),
    ("ReLU", "nn.relu"),
    ("GELU", "nn.gelu"),
    ("SiLU", "nn.silu"),
    ("swish", "nn.silu"),
    ("ELU", "nn.elu"),
    ("LeakyReLU", "nn.leaky_relu"),
    ("BatchNorm1d", "nn.BatchNorm"),
    ("BatchNorm2d", "nn.BatchNorm"),
    ("BatchNormalization", "nn.BatchNorm"),
    ("LayerNormalization", "nn.LayerNorm"),
    ("RMSNorm", "nn.RmsNorm"),
    ("MultiheadAttention", "nn.MultiHeadAttention"),
    ("scaled_dot_product_attention", "nn.attention"),
    ("dot_product_attention", "nn.attention"),
    ("GRU", "nn.GruCell"),
    ("GRUCell", "nn.GruCell"),
    ("LSTM", "nn.LstmCell"),
    ("LSTMCell", "nn.LstmCell"),
    ("RNN", "nn.RnnCell"),
    ("RNNCell", "nn.RnnCell"),
    ("Conv1D", "conv.Conv1d"),
    ("Conv2D", "conv.Conv2d"),
    ("Conv3D", "conv.Conv3d"),
    ("Conv", "conv.Conv2d"),
    ("MaxPooling2D", "conv.MaxPool2d"),
    ("AveragePooling2D", "conv.AvgPool2d"),
    ("AdamW", "optim.adamw"),
    ("RMSprop", "optim.RmsProp"),
    ("clip_grad_norm_", "optim.clip_by_norm"),
    ("clip_by_global_norm", "optim.clip_by_norm"),
    ("CosineAnnealingLR", "optim.cosine"),
    ("cosine_decay_schedule", "optim.cosine"),
    ("StepLR", "optim.step_decay"),
    ("DataLoader", "data.batches"),
    ("random_split", "data.split"),
    ("inverse", "linalg.inv"),
    ("matrix_power", "linalg.power"),
];

/// What stands for a name of another library here: `(module, name)`.
pub(super) fn library(name: &str) -> Option<(&'static str, &'static str)> {
    LIBRARY.iter().find(|(theirs, _)| *theirs == name).and_then(|(_, ours)| ours.split_once('.'))
}

/// A type's name in another language.
pub(super) fn type_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "int" | "Int" | "usize" | "isize" | "i64_t" | "int64" | "long" | "Integer" => "i64",
        "int32" => "i32",
        "int16" => "i16",
        "int8" => "i8",
        "uint8" | "byte" => "u8",
        "float" | "Float" | "f32_t" | "float32" => "f32",
        "double" | "float64" => "f64",
        "half" | "float16" => "f16",
        "bfloat16" => "bf16",
        "string" | "String" | "Str" => "str",
        "Tensor" | "tensor" | "Array" | "ndarray" | "Matrix" => "f32[n, m]",
        "Vector" | "Vec" | "list" | "List" => "f32[n]",
        "boolean" | "Bool" => "bool",
        "void" | "None" => "()",
        _ => return None,
    })
}

/// A method of other libraries' tensors, with the receiver's text.
pub(super) fn tensor_method(method: &str, x: &str) -> Option<String> {
    Some(match method {
        "t" | "transpose" => format!("write `{x}.T`, or `permute({x}, (1, 0, 2))` for other axes"),
        "reshape" | "view" => format!("it is a function of a list of sizes: `reshape({x}, [n, m])`"),
        "flatten" | "ravel" => format!("write `reshape({x}, [n])` with the number of elements"),
        "unsqueeze" | "expand_dims" => format!("a new axis is an index: `{x}[new, :]`, `{x}[:, new]`"),
        "squeeze" => format!("an axis of size 1 is indexed away: `{x}[:, 0]`"),
        "expand" | "tile" => format!("write `broadcast_to({x}, [n, m])`"),
        "item" | "tolist" | "numpy" | "cpu" | "cuda" | "contiguous" | "clone" | "copy" => {
            format!("leave it out: `{x}` is a value, and it is copied when it changes")
        }
        "detach" => format!("write `stop_grad({x})`"),
        "backward" => "gradients are functions: `grad(|w| loss(w, x))(w)`".to_owned(),
        "astype" | "to" | "type" => format!("a conversion is named after its dtype: `f32({x})`"),
        "float" => format!("write `f32({x})`"),
        "double" => format!("write `f64({x})`"),
        "half" => format!("write `f16({x})`"),
        "int" | "long" => format!("write `i64({x})`"),
        "size" | "dim" | "ndim" | "numel" | "shape" => {
            format!("sizes have names in types: `fn f[n, m]({x}: f32[n, m])`, then `n` is the number; or `len({x})`")
        }
        "dot" | "matmul" | "mm" | "bmm" => format!("a product of matrices or vectors is `{x} @ y`"),
        "append" | "push" | "extend" => format!("write `concat(({x}, y), axis: 0)`"),
        "pow" => format!("a power is `{x} ^ 2`"),
        "add_" | "sub_" | "mul_" | "div_" => format!("write `{x} += y` and the like"),
        _ => return None,
    })
}

/// What other libraries' tensors have as a field.
pub(super) fn tensor_field(field: &str) -> Option<&'static str> {
    Some(match field {
        "shape" | "size" | "ndim" => {
            "sizes have names in types: `fn f[n, m](x: f32[n, m])`, then `n` is the number; or `len(x)`"
        }
        "dtype" => "dtypes are part of the type; take them as a parameter: `[E: float]`",
        "grad" => "gradients are values: `let g = grad(|w| loss(w, x))(w)`",
        "data" | "device" => "leave it out: a tensor is a value, and runs where the program does",
        _ => return None,
    })
}

impl Checker<'_> {
    /// The program's text at a place, if it is short enough to quote.
    pub(super) fn quote(&self, span: Span) -> Option<&str> {
        let text = self.sources.get(&span.file)?.text.get(span.start as usize..span.end as usize)?;
        (!text.is_empty() && text.len() <= 40 && !text.contains(['\n', '`'])).then_some(text)
    }

    /// Whether two places are in one file.
    pub(super) fn one_file(&self, a: Span, b: Span) -> bool {
        let whole = |s: Span| self.sources.get(&s.file).map_or(s.file, |f| f.whole);
        whole(a) == whole(b)
    }

    /// The line of a place, from 1.
    pub(super) fn line(&self, span: Span) -> Option<usize> {
        let line = self.line_of(span);
        self.lines.borrow_mut().push((span, line));
        line
    }

    pub(super) fn line_of(&self, span: Span) -> Option<usize> {
        let source = self.sources.get(&span.file)?;
        let text = source.text.get(..span.start as usize)?;
        Some(source.line + text.bytes().filter(|b| *b == b'\n').count() + 1)
    }

    /// The text of an expression to build advice from: `x`, or `…` where it is long. `tight`: as an operand.
    pub(super) fn quoted(&self, span: Span, tight: bool) -> String {
        let Some(text) = self.quote(span) else { return "…".into() };
        let inner = text.strip_prefix('(').and_then(|t| t.strip_suffix(')')).filter(|t| !t.contains(['(', ')', ',']));
        let text = inner.unwrap_or(text);
        let simple = text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.'));
        if tight && !simple { format!("({text})") } else { text.into() }
    }

    /// A name that is a field or method of `self`.
    pub(super) fn self_hint(&self, name: &str) -> Option<String> {
        let Some(super::Entry::Local(id)) = self.entry_of("self") else { return None };
        let Ty::Struct(sid, _) = self.zonk(&self.body.locals[id.index()].ty) else { return None };
        let def = &self.program.structs[sid.index()];
        if def.fields.iter().any(|f| *f.name == *name) {
            return Some(format!("it is a field: `self.{name}`"));
        }
        def.methods.iter().any(|(n, _)| **n == *name).then(|| format!("it is a method: `self.{name}(…)`"))
    }
}

/// Labels of other libraries, and what they are here.
const LABELS: &[(&str, &str)] = &[
    ("dim", "axis"),
    ("dims", "axis"),
    ("axes", "axis"),
    ("axis", "axes"),
    ("keepdim", "keepdims"),
    ("learning_rate", "lr"),
    ("weight_decay", "decay"),
    ("dtype", "T"),
    ("shape", "sizes"),
];

/// The parameter that an unknown label means.
pub(super) fn label(label: &str, names: &[&str]) -> Option<String> {
    let alias = LABELS.iter().find(|(a, n)| *a == label && names.contains(n));
    alias.map(|(_, n)| (*n).to_owned()).or_else(|| super::names::nearest(label, names.iter().copied()))
}

/// The name that stands for a receiver in advice.
pub(super) fn receiver(e: &Expr) -> &str {
    match &e.kind {
        ExprKind::Name(n) => &n.name,
        _ => "x",
    }
}

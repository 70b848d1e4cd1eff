//! Tensors: NumPy's layout. All elements share one form (positional or scientific, one precision, one width); more than
//! 1000 elements are summarized to three at either end of each axis; lines hold 75 columns.

use super::number::{self, Number, digits, exponent, positional};
use super::spec::Spec;
use crate::abi::Dtype;

const SUMMARIZE_ABOVE: usize = 1000;
const EDGE: usize = 3;
const LINE: usize = 75;
/// Digits after the point, at most.
const PRECISION: usize = 8;

/// The bracketed elements.
pub fn body(dtype: Dtype, shape: &[usize], bytes: &[u8], spec: &Spec) -> String {
    let n: usize = shape.iter().product();
    if n == 0 {
        return "[]".into();
    }
    let summarize = n > SUMMARIZE_ABOVE;
    let mut shown = Vec::new();
    pick(shape, 0, 0, summarize, &mut shown);
    let numbers: Vec<Number> = shown.iter().map(|i| number::read(dtype, &bytes[i * dtype.size()..])).collect();
    let texts = texts(&numbers, dtype, spec);
    let mut layout = Layout { texts: texts.into_iter(), summarize };
    layout.axis(shape, 1)
}

/// The same for elements that are texts already.
pub fn layout(shape: &[usize], elements: &[String]) -> String {
    if elements.is_empty() {
        return "[]".into();
    }
    let summarize = elements.len() > SUMMARIZE_ABOVE;
    let mut shown = Vec::new();
    pick(shape, 0, 0, summarize, &mut shown);
    let width = shown.iter().map(|i| elements[*i].chars().count()).max().unwrap_or(0);
    let texts: Vec<String> = shown.iter().map(|i| format!("{:<width$}", elements[*i])).collect();
    let mut layout = Layout { texts: texts.into_iter(), summarize };
    layout.axis(shape, 1)
}

/// Offsets of the elements that are shown, in order.
fn pick(shape: &[usize], axis: usize, base: usize, summarize: bool, out: &mut Vec<usize>) {
    if axis == shape.len() {
        out.push(base);
        return;
    }
    let stride: usize = shape[axis + 1..].iter().product();
    for i in visible(shape[axis], summarize).into_iter().flatten() {
        pick(shape, axis + 1, base + i * stride, summarize, out);
    }
}

/// Indices of an axis; `None` is the gap.
fn visible(n: usize, summarize: bool) -> Vec<Option<usize>> {
    if summarize && n > 2 * EDGE {
        return (0..EDGE).map(Some).chain([None]).chain((n - EDGE..n).map(Some)).collect();
    }
    (0..n).map(Some).collect()
}

/// All elements in one form, padded to one width.
fn texts(numbers: &[Number], dtype: Dtype, spec: &Spec) -> Vec<String> {
    let mut out: Vec<String> = if *spec != Spec::default() {
        numbers.iter().map(|n| number::number(*n, spec)).collect()
    } else {
        floats(numbers, dtype).unwrap_or_else(|| numbers.iter().map(|n| number::number(*n, spec)).collect())
    };
    // NumPy keeps room for `false` where all are true
    let least = if dtype == Dtype::Bool { "false".len() } else { 0 };
    let width = out.iter().map(|t| t.chars().count()).max().unwrap_or(0).max(spec.width).max(least);
    for t in &mut out {
        *t = format!("{t:>width$}");
    }
    out
}

/// NumPy's form of float arrays.
fn floats(numbers: &[Number], dtype: Dtype) -> Option<Vec<String>> {
    let values: Vec<f64> = numbers
        .iter()
        .map(|n| match n {
            Number::Float(x, _) => Some(*x),
            Number::Int(_) | Number::Bool(_) => None,
        })
        .collect::<Option<_>>()?;
    let finite: Vec<f64> = values.iter().copied().filter(|x| x.is_finite() && *x != 0.0).map(f64::abs).collect();
    let (largest, smallest) = finite.iter().fold((0.0f64, f64::INFINITY), |(hi, lo), x| (hi.max(*x), lo.min(*x)));
    let scientific = !finite.is_empty() && (largest >= 1e8 || smallest < 1e-4 || largest / smallest > 1000.0);
    let special = |x: f64| {
        if x.is_nan() {
            Some("nan".to_owned())
        } else if x.is_infinite() {
            Some(if x > 0.0 { "inf" } else { "-inf" }.to_owned())
        } else {
            None
        }
    };
    if scientific {
        let places = |x: f64| match digits(x, dtype).0.len() - 1 {
            n if n <= PRECISION => n,
            _ => {
                let text = format!("{x:.PRECISION$e}");
                let mantissa = text.split('e').next().unwrap_or("").trim_end_matches('0');
                mantissa.len().saturating_sub(2)
            }
        };
        let places = finite.iter().map(|x| places(*x)).max().unwrap_or(0);
        let form = |x: f64| {
            let text = exponent(x, places);
            if places == 0 { text.replacen('e', ".e", 1) } else { text }
        };
        return Some(values.iter().map(|x| special(*x).unwrap_or_else(|| form(*x))).collect());
    }
    // rounded to PRECISION digits, then as many as the longest needs; shorter ones end in blanks, as in NumPy
    let cut = |x: f64| {
        let text = positional(x, dtype);
        let text = match text.split_once('.') {
            Some((_, frac)) if frac.len() > PRECISION => format!("{x:.PRECISION$}").trim_end_matches('0').to_owned(),
            Some(_) => text,
            None => format!("{text}."),
        };
        if text.contains('.') { text } else { format!("{text}.") }
    };
    let texts: Vec<String> = values.iter().map(|x| special(*x).unwrap_or_else(|| cut(*x))).collect();
    let fraction = |t: &str| t.split_once('.').map_or(0, |(_, f)| f.len());
    let longest = texts.iter().map(|t| fraction(t)).max().unwrap_or(0);
    Some(
        texts
            .into_iter()
            .map(|t| if t.contains('.') { format!("{t}{}", " ".repeat(longest - fraction(&t))) } else { t })
            .collect(),
    )
}

struct Layout {
    texts: std::vec::IntoIter<String>,
    summarize: bool,
}

impl Layout {
    /// One axis; `indent` is the number of open brackets.
    fn axis(&mut self, shape: &[usize], indent: usize) -> String {
        if shape.len() == 1 {
            return self.row(shape[0], indent);
        }
        let mut out = String::from("[");
        let gap = "\n".repeat(shape.len() - 1) + &" ".repeat(indent);
        for (k, i) in visible(shape[0], self.summarize).into_iter().enumerate() {
            if k > 0 {
                out.push_str(&gap);
            }
            match i {
                Some(_) => out.push_str(&self.axis(&shape[1..], indent + 1)),
                None => out.push_str("..."),
            }
        }
        out.push(']');
        out
    }

    /// The last axis. Every closing bracket that may follow takes a column, as in NumPy.
    fn row(&mut self, n: usize, indent: usize) -> String {
        let mut out = String::from("[");
        let mut column = indent;
        for (k, i) in visible(n, self.summarize).into_iter().enumerate() {
            let text = match i {
                Some(_) => self.texts.next().unwrap_or_default(),
                None => "...".into(),
            };
            let len = text.chars().count();
            if k > 0 && column + 1 + len > LINE.saturating_sub(indent) && column > indent {
                out.truncate(out.trim_end().len());
                out.push('\n');
                out.push_str(&" ".repeat(indent));
                column = indent;
            } else if k > 0 {
                out.push(' ');
                column += 1;
            }
            out.push_str(&text);
            column += len;
        }
        out.push(']');
        out
    }
}

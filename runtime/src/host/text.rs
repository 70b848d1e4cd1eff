//! Text. In tensors a text is a number; the table of texts belongs to the process, so that numbers stay valid from one
//! entry of an interactive session to the next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Out, Outs, Value, wrong};
use crate::abi::Dtype;

#[derive(Default)]
struct Table {
    texts: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, i64>,
}

static TABLE: Mutex<Option<Table>> = Mutex::new(None);

fn locked() -> MutexGuard<'static, Option<Table>> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of a text; 0 is the empty one, so that an array of zeros is one of empty texts.
pub fn intern(text: &str) -> i64 {
    if text.is_empty() {
        return 0;
    }
    let mut guard = locked();
    let table = guard.get_or_insert_with(Table::default);
    if let Some(n) = table.numbers.get(text) {
        return *n;
    }
    let text: Arc<str> = text.into();
    table.texts.push(Arc::clone(&text));
    let n = table.texts.len() as i64;
    table.numbers.insert(text, n);
    n
}

/// The text of a number; that of a number that no text has is empty.
pub fn text_of(number: i64) -> Arc<str> {
    let guard = locked();
    let at = usize::try_from(number - 1).ok();
    at.and_then(|i| guard.as_ref()?.texts.get(i).cloned()).unwrap_or_else(|| "".into())
}

pub(super) fn numbers(value: Option<&Value<'_>>) -> Option<(Vec<i64>, Vec<usize>)> {
    match value? {
        Value::Tensor { dtype: Dtype::I64, shape, bytes } => {
            let one = |b: &[u8]| b.try_into().ok().map(i64::from_le_bytes);
            Some((bytes.chunks_exact(8).map(one).collect::<Option<_>>()?, shape.clone()))
        }
        Value::Tensor { .. } | Value::Text(_) => None,
    }
}

fn texts(value: Option<&Value<'_>>) -> Option<(Vec<Arc<str>>, Vec<usize>)> {
    let (numbers, shape) = numbers(value)?;
    Some((numbers.into_iter().map(text_of).collect(), shape))
}

pub(super) fn one(value: Option<&Value<'_>>) -> Option<Arc<str>> {
    texts(value)?.0.into_iter().next()
}

pub(super) fn i64s(values: impl IntoIterator<Item = i64>, shape: Vec<usize>) -> Out {
    Out::Tensor {
        dtype: Dtype::I64,
        shape,
        bytes: values.into_iter().flat_map(i64::to_le_bytes).collect::<Vec<u8>>().into(),
    }
}

/// A list of texts with its length before it.
pub(super) fn list<'a>(items: impl IntoIterator<Item = &'a str>) -> Vec<Out> {
    let numbers: Vec<i64> = items.into_iter().map(intern).collect();
    let n = numbers.len();
    vec![Out::Int(n as i64), i64s(numbers, vec![n])]
}

pub(super) fn intern_text(args: &[Value<'_>]) -> Outs {
    match args {
        [Value::Text(t)] => Ok(vec![Out::Int(intern(t))]),
        _ => Err(wrong("intern")),
    }
}

pub(super) fn text_of_number(args: &[Value<'_>]) -> Outs {
    let text = one(args.first()).ok_or_else(|| wrong("text_of"))?;
    Ok(vec![Out::Text(text.to_string())])
}

/// `["a"  "bc"] : str[2]`; with a format each element in it and no type. A single text is `"a"`.
pub(super) fn show_texts(args: &[Value<'_>]) -> Outs {
    let (Some((texts, shape)), Some(spec)) = (texts(args.first()), one(args.get(1))) else {
        return Err(wrong("show_texts"));
    };
    let dims: Vec<String> = shape.iter().map(usize::to_string).collect();
    let quoted: Vec<String> = texts.iter().map(|t| crate::fmt::text(&format!("{t:?}"), &spec)).collect();
    if shape.is_empty() {
        return Ok(vec![Out::Text(quoted.concat())]);
    }
    let body = crate::fmt::layout(&shape, &quoted);
    Ok(vec![Out::Text(if spec.is_empty() { format!("{body} : str[{}]", dims.join(", ")) } else { body })])
}

pub(super) fn order(args: &[Value<'_>]) -> Outs {
    let (Some((a, shape)), Some((b, _))) = (texts(args.first()), texts(args.get(1))) else {
        return Err(wrong("text_order"));
    };
    Ok(vec![match shape.is_empty() {
        true => Out::Int(a.iter().zip(&b).map(|(a, b)| a.cmp(b) as i64).next().unwrap_or(0)),
        false => i64s(a.iter().zip(&b).map(|(a, b)| a.cmp(b) as i64), shape),
    }])
}

pub(super) fn ranks(args: &[Value<'_>]) -> Outs {
    let Some((texts, shape)) = texts(args.first()) else { return Err(wrong("text_ranks")) };
    let mut distinct = texts.clone();
    distinct.sort();
    distinct.dedup();
    let place = |t: &Arc<str>| distinct.binary_search(t).unwrap_or(0) as i64;
    let ranks = i64s(texts.iter().map(place), shape);
    let mut out = vec![ranks];
    out.extend(list(distinct.iter().map(|t| &**t)));
    Ok(out)
}

pub(super) fn len(args: &[Value<'_>]) -> Outs {
    let Some((texts, shape)) = texts(args.first()) else { return Err(wrong("text_len")) };
    let count = |t: &Arc<str>| t.chars().count() as i64;
    Ok(vec![match shape.is_empty() {
        true => Out::Int(texts.first().map_or(0, count)),
        false => i64s(texts.iter().map(count), shape),
    }])
}

pub(super) fn utf8(args: &[Value<'_>]) -> Outs {
    let text = one(args.first()).ok_or_else(|| wrong("utf8"))?;
    let bytes = text.as_bytes().to_vec();
    let n = bytes.len();
    Ok(vec![Out::Int(n as i64), Out::Tensor { dtype: Dtype::U8, shape: vec![n], bytes: bytes.into() }])
}

pub(super) fn from_utf8(args: &[Value<'_>]) -> Outs {
    match args {
        [Value::Tensor { dtype: Dtype::U8, bytes, .. }] => match std::str::from_utf8(bytes) {
            Ok(t) => Ok(vec![Out::Int(intern(t))]),
            Err(e) => Err(format!("the bytes are not UTF-8 text (offset {})", e.valid_up_to())),
        },
        _ => Err(wrong("text_from_utf8")),
    }
}

pub(super) fn lines(args: &[Value<'_>]) -> Outs {
    let text = one(args.first()).ok_or_else(|| wrong("lines"))?;
    Ok(list(text.lines()))
}

pub(super) fn split(args: &[Value<'_>]) -> Outs {
    let (Some(text), Some(by)) = (one(args.first()), one(args.get(1))) else { return Err(wrong("split_text")) };
    Ok(if by.is_empty() { list(text.split_whitespace()) } else { list(text.split(&*by)) })
}

pub(super) fn list_dir(args: &[Value<'_>]) -> Outs {
    let path = one(args.first()).ok_or_else(|| wrong("list_dir"))?;
    let cannot = |e: std::io::Error| crate::files::cannot("read", &path, &e);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&*path).map_err(cannot)? {
        names.push(entry.map_err(cannot)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(list(names.iter().map(String::as_str)))
}

pub(super) fn env(args: &[Value<'_>]) -> Outs {
    let (Some(name), Some(default)) = (one(args.first()), one(args.get(1))) else { return Err(wrong("env")) };
    let found = std::env::var_os(&*name).map(|v| v.to_string_lossy().into_owned());
    Ok(vec![Out::Int(intern(found.as_deref().unwrap_or(&default)))])
}

pub(super) fn read_text(args: &[Value<'_>]) -> Outs {
    let path = one(args.first()).ok_or_else(|| wrong("read_text"))?;
    Ok(vec![Out::Int(intern(&crate::files::read_text(&path)?))])
}

pub(super) fn write_text(args: &[Value<'_>]) -> Outs {
    let (Some(path), Some(text)) = (one(args.first()), one(args.get(1))) else { return Err(wrong("write_text")) };
    crate::files::write_text(&path, &text)?;
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(items: &[&str]) -> Vec<u8> {
        items.iter().flat_map(|t| intern(t).to_le_bytes()).collect()
    }

    fn back(out: &Out) -> Vec<String> {
        match out {
            Out::Tensor { bytes, .. } => bytes
                .chunks_exact(8)
                .map(|b| text_of(i64::from_le_bytes(b.try_into().expect("eight"))).to_string())
                .collect(),
            Out::Text(_) | Out::Int(_) | Out::Bool(_) => Vec::new(),
        }
    }

    #[test]
    fn equal_texts_have_equal_numbers() {
        assert_eq!(intern("ab"), intern(&format!("a{}", "b")));
        assert_ne!(intern("ab"), intern("ba"));
        assert_eq!((intern(""), &*text_of(0), &*text_of(intern("ä"))), (0, "", "ä"));
    }

    #[test]
    fn ranks_are_places_among_the_distinct() {
        let bytes = args(&["b", "a", "b", "ä"]);
        let out = ranks(&[Value::Tensor { dtype: Dtype::I64, shape: vec![4], bytes: &bytes }]).expect("ranks");
        assert_eq!(out[0], i64s([1, 0, 1, 2], vec![4]));
        assert_eq!(back(&out[2]), ["a", "b", "ä"]);
    }

    #[test]
    fn parts_of_a_text() {
        let (text, by) = (args(&["a,b,,c"]), args(&[","]));
        let scalar = |bytes| Value::Tensor { dtype: Dtype::I64, shape: vec![], bytes };
        assert_eq!(back(&split(&[scalar(&text), scalar(&by)]).expect("parts")[1]), ["a", "b", "", "c"]);
        let (text, by) = (args(&["  a b\n c "]), args(&[""]));
        assert_eq!(back(&split(&[scalar(&text), scalar(&by)]).expect("words")[1]), ["a", "b", "c"]);
        let text = args(&["x\r\ny\n"]);
        assert_eq!(back(&lines(&[scalar(&text)]).expect("lines")[1]), ["x", "y"]);
    }
}

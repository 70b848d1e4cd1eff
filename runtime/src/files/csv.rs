//! CSV files of numbers, through the crate `csv`.

use std::fmt::Write;

use super::{Array, Want, check, open};
use crate::abi::Dtype;
use crate::fmt::type_name;

/// A matrix of numbers.
#[derive(Debug)]
struct Table {
    rows: usize,
    cols: usize,
    bytes: Vec<u8>,
}

/// The matrix in a file of comma-separated numbers after `header` lines. All rows have the same number of values.
pub fn read_csv(path: &str, header: i64, want: &Want) -> Result<Array, String> {
    let header = usize::try_from(header).map_err(|_| format!("cannot skip {header} lines of `{path}`"))?;
    let file = open(path)?;
    let dtype = want.dtype;
    let table = table(path, &file, header, dtype)?;
    let shape = vec![table.rows, table.cols];
    check(path, "", dtype, &shape, want)?;
    Ok(Array { dtype, shape, bytes: table.bytes.into() })
}

fn table(path: &str, text: &[u8], header: usize, dtype: Dtype) -> Result<Table, String> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(text);
    let mut table = Table { rows: 0, cols: 0, bytes: Vec::new() };
    let mut record = csv::ByteRecord::new();
    let mut skipped = 0;
    let mut first = 0;
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) if skipped < header || (header == 0 && table.rows == 0) => {
                let found = if skipped == 0 { "it is empty" } else { "it ends in its header" };
                return Err(format!("`{path}` holds no numbers: {found}"));
            }
            Ok(false) => return Ok(table),
            Err(e) => return Err(format!("`{path}`: {e}")),
        }
        if skipped < header {
            skipped += 1;
            // a table of no rows has its columns from the header
            table.cols = record.len();
            continue;
        }
        let start = record.position().map_or(0, csv::Position::byte) as usize;
        if table.rows == 0 {
            table.cols = record.len();
            first = start;
        } else if record.len() != table.cols {
            let s = if record.len() == 1 { "" } else { "s" };
            let (line, first) = (line_of(text, start), line_of(text, first));
            let found = record.len();
            return Err(format!("`{path}`: line {line} has {found} value{s}, line {first} has {}", table.cols));
        }
        for (column, cell) in record.iter().enumerate() {
            let cell = String::from_utf8_lossy(cell);
            push(&mut table.bytes, &cell, dtype).map_err(|e| {
                let line = line_of(text, start);
                let hint = if table.rows == 0 && header == 0 { " (is this line a header?)" } else { "" };
                format!("`{path}`, line {line}, column {}: {e}{hint}", column + 1)
            })?;
        }
        table.rows += 1;
    }
}

/// The line of a record that starts at or behind this offset. (The reader's own count is behind where lines end in CRLF.)
fn line_of(text: &[u8], start: usize) -> usize {
    let blank = text[start..].iter().take_while(|b| b.is_ascii_whitespace()).count();
    1 + text[..start + blank].iter().filter(|b| **b == b'\n').count()
}

fn push(out: &mut Vec<u8>, cell: &str, dtype: Dtype) -> Result<(), String> {
    if cell.is_empty() {
        return Err("no value".into());
    }
    let shown = || cell.chars().take(40).collect::<String>().escape_debug().to_string();
    let no_number = || format!("`{}` is no number", shown());
    let float = || cell.parse::<f64>().map_err(|_| no_number());
    let int = || {
        cell.parse::<i64>().or_else(|_| {
            let x = float()?;
            // 3.0 is an integer too
            if x.fract() == 0.0 && x.abs() < 9.0e18 {
                Ok(x as i64)
            } else {
                Err(format!("`{}` is no {}", shown(), dtype.name()))
            }
        })
    };
    let fits = |lo: i64, hi: i64| {
        int().and_then(
            |x| if (lo..=hi).contains(&x) { Ok(x) } else { Err(format!("{x} does not fit {}", dtype.name())) },
        )
    };
    match dtype {
        Dtype::F16 => out.extend(crate::fmt::to_f16(float()?).to_le_bytes()),
        Dtype::Bf16 => out.extend(crate::fmt::to_bf16(float()?).to_le_bytes()),
        Dtype::F32 => out.extend(cell.parse::<f32>().map_err(|_| no_number())?.to_le_bytes()),
        Dtype::F64 => out.extend(float()?.to_le_bytes()),
        Dtype::I8 => out.extend((fits(i8::MIN.into(), i8::MAX.into())? as i8).to_le_bytes()),
        Dtype::I16 => out.extend((fits(i16::MIN.into(), i16::MAX.into())? as i16).to_le_bytes()),
        Dtype::I32 => out.extend((fits(i32::MIN.into(), i32::MAX.into())? as i32).to_le_bytes()),
        Dtype::I64 => out.extend(int()?.to_le_bytes()),
        Dtype::U8 => out.extend((fits(0, u8::MAX.into())? as u8).to_le_bytes()),
        Dtype::U32 => out.extend((fits(0, u32::MAX.into())? as u32).to_le_bytes()),
        Dtype::U64 => match cell.parse::<u64>() {
            Ok(x) => out.extend(x.to_le_bytes()),
            Err(_) => out.extend((fits(0, i64::MAX)? as u64).to_le_bytes()),
        },
        Dtype::Bool => match cell {
            "0" | "false" => out.push(0),
            "1" | "true" => out.push(1),
            _ => return Err(format!("`{}` is no bool", shown())),
        },
    }
    Ok(())
}

/// Writes a matrix, or a vector as one column, as comma-separated numbers that read back as they were; names of the columns stand in the
/// first line.
pub fn write_csv(path: &str, names: &[&str], dtype: Dtype, shape: &[usize], bytes: &[u8]) -> Result<(), String> {
    let (rows, cols) = match *shape {
        [rows] => (rows, 1),
        [rows, cols] => (rows, cols),
        _ => {
            return Err(format!(
                "cannot write `{path}`: a table is a matrix or a vector, this is {}",
                type_name(dtype, shape)
            ));
        }
    };
    if !names.is_empty() && names.len() != cols {
        let (n, s) = (names.len(), if names.len() == 1 { "" } else { "s" });
        return Err(format!("cannot write `{path}`: {n} name{s} for the columns of {}", type_name(dtype, shape)));
    }
    let failed = |e: &dyn std::fmt::Display| format!("cannot write `{path}`: {e}");
    let mut out = csv::Writer::from_writer(Vec::new());
    if !names.is_empty() {
        out.write_record(names).map_err(|e| failed(&e))?;
    }
    let mut cell = String::new();
    for row in 0..rows {
        for col in 0..cols {
            let at = (row * cols + col) * dtype.size();
            cell.clear();
            push_text(&mut cell, dtype, &bytes[at..at + dtype.size()]).map_err(|e| failed(&e))?;
            out.write_field(&cell).map_err(|e| failed(&e))?;
        }
        if cols > 0 {
            out.write_record(None::<&[u8]>).map_err(|e| failed(&e))?;
        }
    }
    let text = out.into_inner().map_err(|e| failed(&e))?;
    super::write(path, &[&text])
}

/// A number in the fewest digits that give it back.
fn push_text(out: &mut String, dtype: Dtype, b: &[u8]) -> std::fmt::Result {
    fn number<const N: usize, T: Default>(b: &[u8], from: fn([u8; N]) -> T) -> T {
        b.try_into().map(from).unwrap_or_default()
    }
    match dtype {
        Dtype::F16 => write!(out, "{}", number(b, half::f16::from_le_bytes)),
        Dtype::Bf16 => write!(out, "{}", number(b, half::bf16::from_le_bytes)),
        Dtype::F32 => write!(out, "{}", number(b, f32::from_le_bytes)),
        Dtype::F64 => write!(out, "{}", number(b, f64::from_le_bytes)),
        Dtype::I8 => write!(out, "{}", number(b, i8::from_le_bytes)),
        Dtype::I16 => write!(out, "{}", number(b, i16::from_le_bytes)),
        Dtype::I32 => write!(out, "{}", number(b, i32::from_le_bytes)),
        Dtype::I64 => write!(out, "{}", number(b, i64::from_le_bytes)),
        Dtype::U8 => write!(out, "{}", number(b, u8::from_le_bytes)),
        Dtype::U32 => write!(out, "{}", number(b, u32::from_le_bytes)),
        Dtype::U64 => write!(out, "{}", number(b, u64::from_le_bytes)),
        Dtype::Bool => write!(out, "{}", u8::from(b.first().is_some_and(|x| *x != 0))),
    }
}

//! CSV files of numbers, through the crate `csv`.

use crate::abi::Dtype;

/// A matrix of numbers.
#[derive(Debug)]
pub struct Table {
    pub rows: usize,
    pub cols: usize,
    /// Row-major little-endian elements.
    pub bytes: Vec<u8>,
}

/// Reads a file of comma-separated numbers after `header` lines. All rows have the same number of values.
pub fn read_csv(path: &str, header: usize, dtype: Dtype) -> Result<Table, String> {
    let text = super::read(path)?;
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&text);
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
        Dtype::F16 => out.extend(half::f16::from_f64(float()?).to_le_bytes()),
        Dtype::Bf16 => out.extend(half::bf16::from_f64(float()?).to_le_bytes()),
        Dtype::F32 => out.extend(cell.parse::<f32>().map_err(|_| no_number())?.to_le_bytes()),
        Dtype::F64 => out.extend(float()?.to_le_bytes()),
        Dtype::I8 => out.extend((fits(i8::MIN.into(), i8::MAX.into())? as i8).to_le_bytes()),
        Dtype::I16 => out.extend((fits(i16::MIN.into(), i16::MAX.into())? as i16).to_le_bytes()),
        Dtype::I32 => out.extend((fits(i32::MIN.into(), i32::MAX.into())? as i32).to_le_bytes()),
        Dtype::I64 => out.extend(int()?.to_le_bytes()),
        Dtype::U8 => out.extend((fits(0, u8::MAX.into())? as u8).to_le_bytes()),
        Dtype::U32 => out.extend((fits(0, u32::MAX.into())? as u32).to_le_bytes()),
        Dtype::U64 => out.extend((fits(0, i64::MAX)? as u64).to_le_bytes()),
        Dtype::Bool => match cell {
            "0" | "false" => out.push(0),
            "1" | "true" => out.push(1),
            _ => return Err(format!("`{}` is no bool", shown())),
        },
    }
    Ok(())
}

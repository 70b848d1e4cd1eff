//! DWARF: the places of statements as locations of instructions, variables as stack slots that a debugger reads.
//!
//! A source function that has been inlined into a host function is a scope of its own, inlined at the host's last place
//! before it. A variable's value is stored to its slot where the program marks it; a tensor of constant shape and at
//! most [`SMALL`] bytes is copied whole, so that it prints as an array; any other shows its address and extents.

use std::collections::HashMap;
use std::fmt::Write;

use tdl_ir::Dtype;
use tdl_loops::ir::{Arg, Func, Operand, SiteId, Stmt};

use super::func::Emit;
use super::{Globals, ProgramInfo, llty, memty};

/// Tensors up to this size are copied for the debugger.
const SMALL: i64 = 4096;

/// What a module's debug information shares.
pub(crate) struct Unit {
    places: Vec<Option<Place>>,
    folder: String,
    id: usize,
}

#[derive(Clone)]
struct Place {
    file: String,
    line: u32,
    column: u32,
}

/// Of one host function.
pub(crate) struct Host {
    name: String,
    pub subprogram: usize,
    /// The location that instructions before the first mark get.
    start: usize,
    /// The host's own last place.
    line: u32,
    column: u32,
    slots: HashMap<(usize, String, usize), String>,
    declares: String,
}

impl Unit {
    pub fn new(g: &mut Globals, info: &ProgramInfo) -> Unit {
        let place = |s: &super::SiteText| Place { file: s.file.clone(), line: s.line, column: s.column };
        let places: Vec<Option<Place>> = info.sites.iter().map(|s| s.as_ref().map(place)).collect();
        let name = places.iter().flatten().next().map_or("program", |p| &p.file).to_owned();
        let file = file(g, &info.folder, &name);
        let id = g.node(&format!(
            "distinct !DICompileUnit(language: DW_LANG_C99, file: !{file}, producer: \"tdl\", isOptimized: false, \
             runtimeVersion: 0, emissionKind: FullDebug)"
        ));
        let version = g.node("!{i32 2, !\"Debug Info Version\", i32 3}");
        let dwarf = g.node("!{i32 7, !\"Dwarf Version\", i32 4}");
        let _ = writeln!(g.metadata, "!llvm.dbg.cu = !{{!{id}}}\n!llvm.module.flags = !{{!{version}, !{dwarf}}}");
        Unit { places, folder: info.folder.clone(), id }
    }

    fn place(&self, site: SiteId) -> Option<Place> {
        self.places.get(site.0 as usize).cloned().flatten()
    }
}

fn file(g: &mut Globals, folder: &str, name: &str) -> usize {
    g.node(&format!("!DIFile(filename: {}, directory: {})", quoted(name), quoted(folder)))
}

/// A metadata string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for b in text.bytes() {
        match b {
            b'"' | b'\\' | 0..=0x1f | 0x7f.. => {
                let _ = write!(out, "\\{b:02X}");
            }
            _ => out.push(char::from(b)),
        }
    }
    out.push('"');
    out
}

/// The function's scope, if it holds marks of its own.
pub(crate) fn begin(g: &mut Globals, f: &Func) -> Option<Host> {
    let unit = g.debug.as_ref()?;
    let own = |s: &Stmt| match s {
        Stmt::Debug { site, func, .. } if **func == *f.name => unit.place(*site),
        _ => None,
    };
    let place = f.body.iter().find_map(own)?;
    let (line, column) = (place.line, place.column);
    let subprogram = subprogram(g, &f.name, &place)?;
    let start = g.node(&format!("!DILocation(line: {line}, column: {column}, scope: !{subprogram})"));
    let (slots, declares) = (HashMap::new(), String::new());
    Some(Host { name: f.name.clone(), subprogram, start, line, column, slots, declares })
}

fn subprogram(g: &mut Globals, name: &str, place: &Place) -> Option<usize> {
    if let Some(id) = g.subprograms.get(name) {
        return Some(*id);
    }
    let unit = g.debug.as_ref()?;
    let (id, folder) = (unit.id, unit.folder.clone());
    let file = file(g, &folder, &place.file);
    let types = g.node("!{null}");
    let ty = g.node(&format!("!DISubroutineType(types: !{types})"));
    let line = place.line;
    // an instance of a function for a dtype or rank has a number behind its name
    let shown = name.rsplit_once('.').filter(|(_, n)| n.bytes().all(|b| b.is_ascii_digit())).map_or(name, |(n, _)| n);
    let id = g.node(&format!(
        "distinct !DISubprogram(name: {}, scope: !{file}, file: !{file}, line: {line}, type: !{ty}, scopeLine: {line}, \
         spFlags: DISPFlagDefinition, unit: !{id})",
        quoted(shown)
    ));
    g.subprograms.insert(name.to_owned(), id);
    Some(id)
}

impl Emit<'_> {
    /// `Stmt::Debug`.
    pub(super) fn debug(&mut self, site: SiteId, func: &str, variable: Option<&(std::sync::Arc<str>, Arg)>) {
        let Some(mut host) = self.debug.take() else { return };
        if let Some(place) = self.g.debug.as_ref().and_then(|u| u.place(site))
            && let Some((scope, at)) = self.scope(&mut host, func, &place)
        {
            let at_text = at.map_or(String::new(), |a| format!(", inlinedAt: !{a}"));
            let (line, column) = (place.line, place.column);
            let location =
                self.g.node(&format!("!DILocation(line: {line}, column: {column}, scope: !{scope}{at_text})"));
            let _ = writeln!(self.out, ";dbg {location}");
            match variable {
                // a place needs an instruction, or there is no address to stop at
                None => self.line("call void asm sideeffect \"nop\", \"\"()"),
                Some((name, value)) => self.variable(&mut host, scope, location, at.unwrap_or(0), name, value, &place),
            }
        }
        self.debug = Some(host);
    }

    /// The scope of a place and where it was inlined.
    fn scope(&mut self, host: &mut Host, func: &str, place: &Place) -> Option<(usize, Option<usize>)> {
        if func == host.name {
            (host.line, host.column) = (place.line, place.column);
            return Some((host.subprogram, None));
        }
        let scope = subprogram(self.g, func, place)?;
        let (line, column, outer) = (host.line, host.column, host.subprogram);
        let at = self.g.node_as(
            &format!("{func} at {line}:{column} in {outer}"),
            &format!("distinct !DILocation(line: {line}, column: {column}, scope: !{outer})"),
        );
        Some((scope, Some(at)))
    }

    fn variable(
        &mut self,
        host: &mut Host,
        scope: usize,
        location: usize,
        at: usize,
        name: &str,
        value: &Arg,
        place: &Place,
    ) {
        let Some((slot_ty, ty)) = self.variable_type(value) else { return };
        let key = (scope.max(at), name.to_owned(), ty);
        let slot = match host.slots.get(&key) {
            Some(slot) => slot.clone(),
            None => {
                let slot = self.slot(&slot_ty);
                let folder = self.g.debug.as_ref().map(|u| u.folder.clone()).unwrap_or_default();
                let file = file(self.g, &folder, &place.file);
                let line = place.line;
                let variable = self.g.node(&format!(
                    "!DILocalVariable(name: {}, scope: !{scope}, file: !{file}, line: {line}, type: !{ty})",
                    quoted(name)
                ));
                let _ = writeln!(
                    host.declares,
                    "  call void @llvm.dbg.declare(metadata ptr {slot}, metadata !{variable}, metadata !DIExpression()), \
                     !dbg !{location}"
                );
                host.slots.insert(key, slot.clone());
                slot
            }
        };
        match value {
            Arg::Scalar { value, dtype } => {
                let v = self.op(*value);
                let wide = match dtype {
                    Dtype::Bool => self.tmp(&format!("zext i1 {v} to "), "i8"),
                    Dtype::F16 => self.tmp(&format!("fpext half {v} to "), "float"),
                    Dtype::Bf16 => {
                        let bits = self.tmp(&format!("zext i16 {v} to "), "i32");
                        let high = self.tmp(&format!("shl i32 {bits}, "), "16");
                        self.tmp(&format!("bitcast i32 {high} to "), "float")
                    }
                    Dtype::F32
                    | Dtype::F64
                    | Dtype::I8
                    | Dtype::I16
                    | Dtype::I32
                    | Dtype::I64
                    | Dtype::U8
                    | Dtype::U32
                    | Dtype::U64 => v,
                };
                self.line(&format!("store {slot_ty} {wide}, ptr {slot}"));
            }
            Arg::Tensor { ptr, dtype, dims } => {
                let p = self.reg(*ptr).to_owned();
                if let Some(n) = small(dims, *dtype) {
                    let bytes = n * dtype.size() as i64;
                    self.line(&format!("call void @llvm.memcpy.p0.p0.i64(ptr {slot}, ptr {p}, i64 {bytes}, i1 false)"));
                    return;
                }
                self.line(&format!("store ptr {p}, ptr {slot}"));
                for (i, d) in dims.iter().enumerate() {
                    let at = self.tmp("getelementptr i64, ptr ", &format!("{slot}, i64 {}", i + 1));
                    let d = self.op(*d);
                    self.line(&format!("store i64 {d}, ptr {at}"));
                }
            }
            Arg::Str(_) => {}
        }
    }

    /// The slot's type, and the debugger's.
    fn variable_type(&mut self, value: &Arg) -> Option<(String, usize)> {
        match value {
            Arg::Scalar { dtype, .. } => {
                let slot = match dtype {
                    Dtype::Bool => "i8",
                    Dtype::F16 | Dtype::Bf16 => "float",
                    other => llty(*other),
                };
                let shown = if matches!(dtype, Dtype::F16 | Dtype::Bf16) { Dtype::F32 } else { *dtype };
                Some((slot.to_owned(), self.base_type(*dtype, shown)))
            }
            Arg::Tensor { dtype, dims, .. } => {
                let base = self.base_type(*dtype, *dtype);
                if let Some(n) = small(dims, *dtype) {
                    let ranges: Vec<String> = dims
                        .iter()
                        .filter_map(|d| d.as_i64())
                        .map(|d| format!("!{}", self.g.node(&format!("!DISubrange(count: {d})"))))
                        .collect();
                    let elements = self.g.node(&format!("!{{{}}}", ranges.join(", ")));
                    let bits = n * dtype.size() as i64 * 8;
                    let ty = self.g.node(&format!(
                        "!DICompositeType(tag: DW_TAG_array_type, baseType: !{base}, size: {bits}, elements: !{elements})"
                    ));
                    return Some((format!("[{n} x {}]", memty(*dtype)), ty));
                }
                let rank = dims.len();
                let pointer =
                    self.g.node(&format!("!DIDerivedType(tag: DW_TAG_pointer_type, baseType: !{base}, size: 64)"));
                let data = self.g.node(&format!(
                    "!DIDerivedType(tag: DW_TAG_member, name: \"data\", baseType: !{pointer}, size: 64)"
                ));
                let i64_ty = self.base_type(Dtype::I64, Dtype::I64);
                let range = self.g.node(&format!("!DISubrange(count: {rank})"));
                let ranges = self.g.node(&format!("!{{!{range}}}"));
                let shape_bits = rank * 64;
                let shape_ty = self.g.node(&format!(
                    "!DICompositeType(tag: DW_TAG_array_type, baseType: !{i64_ty}, size: {shape_bits}, elements: !{ranges})"
                ));
                let shape = self.g.node(&format!(
                    "!DIDerivedType(tag: DW_TAG_member, name: \"shape\", baseType: !{shape_ty}, size: {shape_bits}, \
                     offset: 64)"
                ));
                let members = self.g.node(&format!("!{{!{data}, !{shape}}}"));
                let ty = self.g.node(&format!(
                    "!DICompositeType(tag: DW_TAG_structure_type, name: \"{dtype}[rank {rank}]\", size: {}, \
                     elements: !{members})",
                    64 + shape_bits
                ));
                Some((format!("{{ ptr, [{rank} x i64] }}"), ty))
            }
            Arg::Str(_) => None,
        }
    }

    /// A scalar's type: named after `dtype`, kept as `shown` is.
    fn base_type(&mut self, dtype: Dtype, shown: Dtype) -> usize {
        let encoding = match shown {
            Dtype::F16 | Dtype::F32 | Dtype::F64 => "DW_ATE_float",
            Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64 => "DW_ATE_signed",
            Dtype::Bf16 | Dtype::U8 | Dtype::U32 | Dtype::U64 => "DW_ATE_unsigned",
            Dtype::Bool => "DW_ATE_boolean",
        };
        let bits = shown.size() * 8;
        self.g.node(&format!("!DIBasicType(name: \"{dtype}\", size: {bits}, encoding: {encoding})"))
    }
}

/// Number of elements of a tensor that is copied for the debugger.
fn small(dims: &[Operand], dtype: Dtype) -> Option<i64> {
    let n = dims.iter().try_fold(1i64, |n, d| n.checked_mul(d.as_i64()?))?;
    (!dims.is_empty() && n > 0 && n <= SMALL / dtype.size() as i64).then_some(n)
}

impl Host {
    /// The function's body with a location on each instruction, behind the declarations of its variables.
    pub fn finish(self, body: &str) -> String {
        let mut out = self.declares;
        let mut location = self.start;
        for line in body.lines() {
            if let Some(id) = line.strip_prefix(";dbg ") {
                location = id.parse().unwrap_or(location);
            } else if line.starts_with("  ") {
                let _ = writeln!(out, "{line}, !dbg !{location}");
            } else {
                let _ = writeln!(out, "{line}");
            }
        }
        out
    }
}

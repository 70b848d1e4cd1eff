//! The exported table `tdl_program`: parameters of `main` with their defaults, and places for run-time errors.

use std::fmt::Write;

use tdl_ir::Dtype;
use tdl_loops::ir::{Program, Task};

use super::{Globals, code, symbol};
use crate::Role;

/// What the driver knows of a program besides its code.
#[derive(Clone, Debug, Default)]
pub struct ProgramInfo {
    /// What `--help` says first.
    pub doc: String,
    pub params: Vec<ProgramParam>,
    /// One for each of the program's sites; none where no source stands behind.
    pub sites: Vec<Option<SiteText>>,
    /// Whether the code carries debug information, and the folder that file names are relative to.
    pub debug: bool,
    pub folder: String,
    /// Names of CPU features to check at start.
    pub features: Vec<String>,
}

/// A parameter of `main`.
#[derive(Clone, Debug)]
pub struct ProgramParam {
    pub name: String,
    /// None: text.
    pub dtype: Option<Dtype>,
    /// Name of the function that computes the default.
    pub default: Option<String>,
}

/// A place in the source.
#[derive(Clone, Debug)]
pub struct SiteText {
    pub file: String,
    pub line: u32,
    pub column: u32,
    pub width: u32,
    pub source: String,
    /// Where in the standard library, if `file` is the program that called it.
    pub inside: String,
}

/// What a profiled program has besides.
pub(super) const PROFILE_PRELUDE: &str = "%Task = type { %Text, i32, i32, i32, i32 }
%Profile = type { i64, ptr }
declare i64 @tdl_tick(ptr)
declare void @tdl_tock(ptr, i32, i64, i64, i64, ptr, i64)
";

fn profile(out: &mut String, g: &mut Globals, tasks: &[Task]) {
    let rows: Vec<String> = tasks
        .iter()
        .map(|t| {
            let name = g.text_value(&t.name);
            let (kind, double) = (t.kind as u32, u32::from(t.double));
            format!("%Task {{ %Text {name}, i32 {kind}, i32 {}, i32 {double}, i32 0 }}", t.site.0)
        })
        .collect();
    let n = rows.len();
    let _ = writeln!(out, "@tasks = private constant [{n} x %Task] [{}]", rows.join(", "));
    let _ = writeln!(out, "@{} = constant %Profile {{ i64 {n}, ptr @tasks }}", tdl_runtime::abi::PROFILE);
}

pub(super) fn emit(out: &mut String, g: &mut Globals, program: &Program, info: &ProgramInfo, role: Role) {
    let mut params = Vec::new();
    for p in &info.params {
        let name = g.text_value(&p.name);
        let dtype = p.dtype.map_or(32, code);
        let default = p.default.as_ref().map_or("null".to_owned(), |d| format!("@{}", symbol(d)));
        params.push(format!("%Param {{ %Text {name}, i32 {dtype}, i32 0, ptr {default} }}"));
    }
    let mut sites = Vec::new();
    for s in &info.sites {
        let ([file, source, inside], [line, column, width]) = match s {
            Some(s) => ([&*s.file, &s.source, &s.inside], [s.line, s.column, s.width]),
            None => ([""; 3], [0; 3]),
        };
        let [file, source, inside] = [file, source, inside].map(|t| g.text_value(t));
        sites.push(format!(
            "%Site {{ %Text {file}, i32 {line}, i32 {column}, i32 {width}, i32 0, %Text {source}, %Text {inside} }}"
        ));
    }
    let _ = writeln!(out, "@params = private constant [{} x %Param] [{}]", params.len(), params.join(", "));
    let _ = writeln!(out, "@sites = private constant [{} x %Site] [{}]", sites.len(), sites.join(", "));
    let entry = program.entry.map_or("null".to_owned(), |i| format!("@{}", symbol(&program.funcs[i].name)));
    let (doc, features) = (g.text_value(&info.doc), g.text_value(&info.features.join(",")));
    let _ = writeln!(
        out,
        "@{} = constant %Program {{ i32 {}, i32 {}, ptr @params, ptr {entry}, ptr @sites, i64 {}, %Text {doc}, %Text {features} }}",
        if role == Role::Fallback { tdl_runtime::abi::FALLBACK } else { tdl_runtime::abi::PROGRAM },
        tdl_runtime::abi::VERSION,
        params.len(),
        sites.len()
    );
    if let Some(tasks) = &program.tasks {
        profile(out, g, tasks);
    }
    let (name, tables) = match role {
        Role::Loaded | Role::Fallback => return,
        Role::Binary if program.tasks.is_some() => ("tdl_main_profiled", vec![tdl_runtime::abi::PROFILE]),
        Role::Binary => ("tdl_main", Vec::new()),
        Role::Gpu => {
            let _ = writeln!(out, "@{} = external constant %Program", tdl_runtime::abi::FALLBACK);
            ("tdl_main_gpu", vec![tdl_runtime::abi::FALLBACK])
        }
    };
    let more: String = tables.iter().map(|t| format!(", ptr @{t}")).collect();
    let _ = writeln!(
        out,
        "declare i32 @{name}(i32, ptr, ptr{})
define i32 @main(i32 %argc, ptr %argv) #0 {{
  %status = call i32 @{name}(i32 %argc, ptr %argv, ptr @tdl_program{more})
  ret i32 %status
}}",
        ", ptr".repeat(tables.len()),
    );
}

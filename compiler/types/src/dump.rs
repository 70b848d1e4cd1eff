//! The typed AST as text: `tdl emit --stage typed` shows what the checker found out.

use std::fmt::Write;

use crate::show::type_to_string;
use crate::thir::{Body, FnDef, Program};

/// The program's own functions with their types, and those of their variables.
pub fn dump(program: &Program) -> String {
    let mut out = String::new();
    for s in program.structs.iter().filter(|s| own(program, s.module)) {
        let _ = writeln!(out, "struct {}", s.name);
        for f in &s.fields {
            let state = if f.state { "mut " } else { "" };
            let _ = writeln!(out, "  {state}{}: {}", f.name, type_to_string(program, None, &f.ty));
        }
    }
    for f in program.fns.iter().filter(|f| own(program, f.module)) {
        function(program, f, &mut out);
    }
    out
}

fn own(program: &Program, module: crate::ids::ModuleId) -> bool {
    program.modules[module.index()].name.is_empty()
}

fn function(program: &Program, f: &FnDef, out: &mut String) {
    let body = f.body.as_ref();
    let param = |p: &crate::thir::Param| {
        let state = if p.mutable { "mut " } else { "" };
        format!("{}: {state}{}", p.name, type_to_string(program, body, &p.ty))
    };
    let params = f.params.iter().map(param).collect::<Vec<_>>().join(", ");
    let io = if f.io { "io " } else { "" };
    let _ = writeln!(out, "{io}fn {}({params}) -> {}", f.name, type_to_string(program, body, &f.result));
    if let Some(b) = body {
        locals(program, f, b, out);
    }
}

fn locals(program: &Program, f: &FnDef, body: &Body, out: &mut String) {
    for (i, local) in body.locals.iter().enumerate() {
        if f.params.iter().any(|p| p.local.index() == i) {
            continue;
        }
        let state = if local.mutable { "mut " } else { "" };
        let _ = writeln!(out, "  let {state}{}: {}", local.name, type_to_string(program, Some(body), &local.ty));
    }
}

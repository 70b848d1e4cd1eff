//! Kernels as a grid of threads: what they look like, and that the verifier accepts them.

use tdl_loops::ir::{Expr, Grid, Per, Stmt};
use tdl_loops::{Options, Program, Target, lower, print, verify};

fn gpu(text: &str) -> Program {
    let module = tdl_ir::parse(text).unwrap_or_else(|e| panic!("{e:?}"));
    let options = Options { roots: module.ids().collect(), target: Target::Gpu, ..Options::default() };
    let program = lower(&module, &options).expect("no derivatives");
    verify(&program).unwrap_or_else(|e| panic!("{e}"));
    program
}

#[test]
fn rows_are_reduced_by_blocks() {
    insta::assert_snapshot!("rows", print(&gpu(include_str!("programs/rows.tdlir"))));
}

#[test]
fn programs_verify() {
    for text in [include_str!("programs/mlp_step.tdlir"), include_str!("programs/while_in_for.tdlir")] {
        let program = gpu(text);
        assert!(program.kernels.iter().all(|k| k.grid.is_some()));
    }
}

#[test]
fn elements_are_steps_of_threads() {
    let program = gpu("func @f(%n: i64, %m: i64, %x: f32[%n, %m]) {\n  %y: f32[%n, %m] = exp %x\n  return %y\n}\n");
    let [k] = program.kernels.as_slice() else { panic!("{}", print(&program)) };
    assert!(matches!(k.grid, Some(Grid { per: Per::Thread, .. })), "{}", print(&program));
}

#[test]
fn the_verifier_knows_the_target() {
    let mut program = gpu(include_str!("programs/rows.tdlir"));
    program.target = Target::Cpu;
    assert!(verify(&program).is_err());
    let mut program = gpu(include_str!("programs/rows.tdlir"));
    let dst = program.kernels[0].lo;
    program.funcs[0].body.insert(0, Stmt::Let { dst, value: Expr::Place(tdl_loops::ir::Place::Thread) });
    assert!(verify(&program).is_err_and(|e| e.to_string().contains("grid")));
    let mut program = gpu(include_str!("programs/rows.tdlir"));
    program.kernels[0].body.push(Stmt::Safepoint);
    assert!(verify(&program).is_err());
}

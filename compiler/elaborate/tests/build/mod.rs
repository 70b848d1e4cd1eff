//! Typed trees by hand: a program of one `main`, and running it.

use std::cell::RefCell;
use std::rc::Rc;

use tdl_elaborate::{Roots, elaborate};
use tdl_ir::interp::{Interp, PlainHost};
use tdl_ir::op::{BinaryOp, CompareOp};
use tdl_source::Span;
use tdl_types::thir::*;

pub const F64: Dtype = Dtype::F64;
pub const I64: Dtype = Dtype::I64;

#[derive(Default)]
pub struct Main {
    locals: RefCell<Vec<LocalDef>>,
    lambdas: RefCell<Vec<Lambda>>,
    opens: RefCell<Vec<OpenDef>>,
}

pub fn tensor(d: Dtype, dims: &[i64]) -> Ty {
    Ty::tensor(Elem::Dtype(d), dims.iter().map(|n| SizeExpr::constant(*n)))
}

pub fn expr(kind: ExprKind, ty: Ty) -> Expr {
    Expr { kind, ty, span: Span::default() }
}

pub fn int(x: i64) -> Expr {
    expr(ExprKind::Int(x.into()), Ty::I64)
}

pub fn float(x: f64) -> Expr {
    expr(ExprKind::Float(x), Ty::F64)
}

pub fn floats(xs: &[f64]) -> Expr {
    expr(ExprKind::Array(xs.iter().map(|x| float(*x)).collect()), tensor(F64, &[xs.len() as i64]))
}

pub fn bin(op: BinaryOp, a: Expr, b: Expr) -> Expr {
    let ty = a.ty.clone();
    expr(ExprKind::Binary { op, left: a.into(), right: b.into() }, ty)
}

pub fn add(a: Expr, b: Expr) -> Expr {
    bin(BinaryOp::Add, a, b)
}

pub fn mul(a: Expr, b: Expr) -> Expr {
    bin(BinaryOp::Mul, a, b)
}

pub fn cmp(op: CompareOp, a: Expr, b: Expr) -> Expr {
    expr(ExprKind::Compare { op, left: a.into(), right: b.into() }, Ty::BOOL)
}

pub fn block(stmts: Vec<StmtKind>, result: Option<Expr>) -> Block {
    let stmts = stmts.into_iter().map(|kind| Stmt { kind, span: Span::default() }).collect();
    Block { stmts, result: result.map(Box::new), span: Span::default() }
}

pub fn block_expr(b: Block, ty: Ty) -> Expr {
    expr(ExprKind::Block(b), ty)
}

pub fn if_stmt(cond: Expr, then: Block) -> StmtKind {
    StmtKind::Expr(expr(ExprKind::If { cond: cond.into(), then, els: None }, Ty::unit()))
}

pub fn leave(kind: ExprKind) -> Block {
    block(vec![], Some(expr(kind, Ty::Never)))
}

pub fn builtin(op: Builtin, args: Vec<Expr>, ty: Ty) -> Expr {
    expr(ExprKind::Builtin { op, args }, ty)
}

pub fn print(args: Vec<Expr>) -> StmtKind {
    StmtKind::Expr(builtin(Builtin::Print { end: "\n".into() }, args, Ty::unit()))
}

pub fn place(root: LocalId, path: Vec<Projection>, ty: Ty) -> Place {
    Place { root, path, ty, span: Span::default() }
}

pub fn set(p: Place, value: Expr) -> StmtKind {
    StmtKind::Assign { target: Target::Place(p), value }
}

pub fn let_(l: LocalId, value: Expr) -> StmtKind {
    StmtKind::Let { pattern: Pattern::Local(l), value }
}

impl Main {
    pub fn local(&self, name: &str, ty: Ty) -> LocalId {
        let mut locals = self.locals.borrow_mut();
        locals.push(LocalDef { name: name.into(), ty, mutable: true, span: Span::default() });
        LocalId(locals.len() as u32 - 1)
    }

    pub fn get(&self, l: LocalId) -> Expr {
        let ty = self.locals.borrow()[l.index()].ty.clone();
        expr(ExprKind::Local(l), ty)
    }

    pub fn whole(&self, l: LocalId) -> Place {
        place(l, vec![], self.locals.borrow()[l.index()].ty.clone())
    }

    pub fn open(&self, name: &str) -> OpenId {
        let mut opens = self.opens.borrow_mut();
        opens.push(OpenDef { name: name.into(), span: Span::default() });
        OpenId(opens.len() as u32 - 1)
    }

    pub fn lambda(&self, params: Vec<LocalId>, body: Expr) -> Expr {
        let ty = Ty::Fn(Rc::new(FnTy {
            generics: vec![],
            params: params.iter().map(|p| FnParam { name: None, ty: self.get(*p).ty, mutable: false }).collect(),
            result: body.ty.clone(),
            io: false,
        }));
        let mut lambdas = self.lambdas.borrow_mut();
        let param_mutable = vec![false; params.len()];
        lambdas.push(Lambda { generics: vec![], params, param_mutable, captures: vec![], body, span: Span::default() });
        expr(ExprKind::Lambda(LambdaId(lambdas.len() as u32 - 1)), ty)
    }

    /// What the program prints; a failed run ends with its message.
    pub fn run(self, stmts: Vec<StmtKind>) -> String {
        self.run_with(stmts, Program::default())
    }

    /// A function whose body this is.
    pub fn function(self, name: &str, generics: Vec<GenericId>, params: &[LocalId], value: Expr) -> FnDef {
        let result = value.ty.clone();
        let locals = self.locals.into_inner();
        let param = |l: &LocalId| Param {
            local: *l,
            name: locals[l.index()].name.clone(),
            ty: locals[l.index()].ty.clone(),
            mutable: matches!(locals[l.index()].ty, Ty::Rng),
            default: None,
            span: Span::default(),
        };
        FnDef {
            name: name.into(),
            module: ModuleId(0),
            io: true,
            generics,
            self_generics: 0,
            self_struct: None,
            params: params.iter().map(param).collect(),
            result,
            clauses: vec![],
            remat: false,
            vjp: None,
            body: Some(Body { locals, opens: self.opens.into_inner(), lambdas: self.lambdas.into_inner(), value }),
            doc: None,
            name_span: Span::default(),
            span: Span::default(),
        }
    }

    /// As [`Main::run`], beside the items of `program`.
    pub fn run_with(self, stmts: Vec<StmtKind>, mut program: Program) -> String {
        let main = FnId(program.fns.len() as u32);
        program.fns.push(self.function("main", vec![], &[], block_expr(block(stmts, None), Ty::unit())));
        program.modules = vec![ModuleDef { name: "".into(), main: Some(main) }];
        let out = elaborate(&program, &Roots::Main, false).expect("elaborates");
        let entry = out.main.expect("has a main").func;
        tdl_ir::verify(&out.module).unwrap_or_else(|e| panic!("{e}\n{}", tdl_ir::print(&out.module)));
        let mut module = tdl_transform::differentiate(&out.module, &[entry], true)
            .unwrap_or_else(|e| panic!("{e:?}\n{}", tdl_ir::print(&out.module)));
        tdl_transform::optimize(&mut module, true).expect("optimizes");
        let mut host = PlainHost::default();
        let done = Interp::new(&module).run(tdl_ir::FuncId(0), vec![], &mut host);
        let mut text = host.out;
        if let Err(e) = done {
            text += &e.message;
        }
        text
    }
}

//! Functions and constants that need themselves.

use tdl_source::{Diagnostic, Span, code};

use super::{Checker, Node};
use crate::ids::*;

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    Open,
    Done,
}

/// Steps of a path: a node and where it uses the next.
type Path = Vec<(usize, Span)>;

struct Search<'s> {
    edges: &'s dyn Fn(usize) -> Vec<(usize, Span)>,
    marks: Vec<Mark>,
    path: Path,
    found: Vec<Path>,
}

impl Search<'_> {
    fn visit(&mut self, node: usize) {
        self.marks[node] = Mark::Open;
        for (next, span) in (self.edges)(node) {
            match self.marks[next] {
                Mark::Open => {
                    let from = self.path.iter().position(|(n, _)| *n == next).unwrap_or(self.path.len());
                    let mut cycle = self.path[from..].to_vec();
                    cycle.push((node, span));
                    self.found.push(cycle);
                }
                Mark::New => {
                    self.path.push((node, span));
                    self.visit(next);
                    self.path.pop();
                }
                Mark::Done => {}
            }
        }
        self.marks[node] = Mark::Done;
    }
}

impl Checker<'_> {
    pub(super) fn find_recursion(&mut self) {
        let fns = self.program.fns.len();
        let all = fns + self.program.consts.len();
        let index = |n: &Node| match n {
            Node::Fn(id) => id.index(),
            Node::Const(id) => fns + id.index(),
        };
        let edges = |n: usize| {
            let used = if n < fns { &self.call_graph[n] } else { &self.const_graph[n - fns] };
            used.iter().map(|(to, span)| (index(to), *span)).collect()
        };
        let mut search = Search { edges: &edges, marks: vec![Mark::New; all], path: Vec::new(), found: Vec::new() };
        for node in 0..all {
            if search.marks[node] == Mark::New {
                search.visit(node);
            }
        }
        let found = search.found;
        for cycle in found {
            let name = |n: usize| match n.checked_sub(fns) {
                None => format!("`{}`", self.program.fns[n].name),
                Some(c) => format!("`{}`", self.program.consts[c].name),
            };
            let names: Vec<String> = cycle.iter().map(|(n, _)| name(*n)).collect();
            let (of_consts, first, back) = (cycle.iter().all(|(n, _)| *n >= fns), cycle[0], names[0].clone());
            let (text, help) = if of_consts {
                (format!("{} needs {back}", names.join(" needs ")), "give one of them a value of its own")
            } else {
                (
                    format!("recursion: {} calls {back}", names.join(" calls ")),
                    "write a loop: `for` and `while` are differentiable too",
                )
            };
            let mut d = Diagnostic::error(code::E0307, text, first.1, "part of the cycle").help(help);
            for (_, span) in &cycle[1..] {
                d = d.label(*span, if of_consts { "and this" } else { "and this call" });
            }
            self.error(d);
        }
    }

    /// The type of a constant, whose value may have to be looked at for it.
    pub(super) fn const_type_of(&mut self, id: ConstId, span: Span) -> crate::ty::Ty {
        let known = &self.program.consts[id.index()];
        if known.value.is_some() || !known.ty.is_error() || self.const_asts[id.index()].ty.is_some() {
            return known.ty.clone();
        }
        if self.consts_open.contains(&id) {
            let text = format!("the value of `{}` needs itself", known.name);
            let d = Diagnostic::error(code::E0307, text, span, "part of the cycle");
            self.error(d.help("give one of the constants a value of its own"));
            return crate::ty::Ty::Error;
        }
        let (body, facts, module) = (std::mem::take(&mut self.body), std::mem::take(&mut self.facts), self.module);
        self.check_const(id, None);
        (self.body, self.facts, self.module) = (body, facts, module);
        self.program.consts[id.index()].ty.clone()
    }
}

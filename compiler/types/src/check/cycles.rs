//! Functions and constants that need themselves: neither recursion nor circular constants can be compiled.

use rustc_hash::FxHashMap;
use tdl_source::{Diagnostic, Span, code};

use super::Checker;
use crate::ids::*;

/// What can need itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Node {
    Fn(FnId),
    Const(ConstId),
}

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    Open,
    Done,
}

/// A way from a node back to itself: each node, and where it names the next.
type Cycle = Vec<(Node, Span)>;

struct Search<'g> {
    uses: &'g FxHashMap<Node, Vec<(Node, Span)>>,
    marks: FxHashMap<Node, Mark>,
    path: Cycle,
    found: Vec<Cycle>,
}

impl Checker<'_> {
    /// Keeps what the body that was just checked needs.
    pub(super) fn note_uses(&mut self, node: Node) {
        let calls = std::mem::take(&mut self.body.calls).into_iter().map(|(f, at)| (Node::Fn(f), at));
        let consts = std::mem::take(&mut self.body.consts).into_iter().map(|(c, at)| (Node::Const(c), at));
        self.uses.entry(node).or_default().extend(calls.chain(consts));
    }

    pub(super) fn find_cycles(&mut self) {
        let fns = (0..self.program.fns.len()).map(|i| Node::Fn(FnId(i as u32)));
        let consts = (0..self.program.consts.len()).map(|i| Node::Const(ConstId(i as u32)));
        let mut search = Search { uses: &self.uses, marks: FxHashMap::default(), path: Vec::new(), found: Vec::new() };
        for node in fns.chain(consts) {
            search.visit(node);
        }
        for cycle in search.found {
            self.report_cycle(&cycle);
        }
    }

    fn report_cycle(&mut self, cycle: &[(Node, Span)]) {
        let name = |n: Node| match n {
            Node::Fn(f) => self.program.fns[f.index()].name.clone(),
            Node::Const(c) => self.program.consts[c.index()].name.clone(),
        };
        let consts = cycle.iter().any(|(n, _)| matches!(n, Node::Const(_)));
        let (what, verb) = if consts { ("a cycle", "needs") } else { ("recursion", "calls") };
        let names: Vec<String> = cycle.iter().chain(cycle.first()).map(|(n, _)| format!("`{}`", name(*n))).collect();
        let text = format!("{what}: {}", names.join(&format!(" {verb} ")));
        let mut d = Diagnostic::error(code::E0307, text, cycle[0].1, format!("{} {verb} {}", names[0], names[1]));
        for (i, (_, at)) in cycle.iter().enumerate().skip(1) {
            d = d.label(*at, format!("{} {verb} {}", names[i], names[i + 1]));
        }
        self.error(if consts {
            d.help("write one of them as a number")
        } else {
            d.help("write a loop: `for` and `while` are differentiable too")
        });
    }
}

impl Search<'_> {
    fn visit(&mut self, node: Node) {
        if self.marks.contains_key(&node) {
            return;
        }
        self.marks.insert(node, Mark::Open);
        for (next, at) in self.uses.get(&node).into_iter().flatten() {
            match self.marks.get(next) {
                Some(Mark::Open) => {
                    let from = self.path.iter().position(|(n, _)| n == next).unwrap_or(self.path.len());
                    let mut cycle = self.path[from..].to_vec();
                    cycle.push((node, *at));
                    self.found.push(cycle);
                }
                Some(Mark::Done) => {}
                None => {
                    self.path.push((node, *at));
                    self.visit(*next);
                    self.path.pop();
                }
            }
        }
        self.marks.insert(node, Mark::Done);
    }
}

//! Minimum cut by Dinic's algorithm (Dinitz 1970): which values to keep so that all that is needed can be computed from
//! them at the least cost.

/// A directed graph with capacities.
pub struct Graph {
    /// Heads and residual capacities; the reverse of edge `e` is `e ^ 1`.
    to: Vec<usize>,
    left: Vec<u64>,
    out: Vec<Vec<usize>>,
}

pub const UNLIMITED: u64 = u64::MAX / 4;

impl Graph {
    pub fn new(nodes: usize) -> Graph {
        Graph { to: Vec::new(), left: Vec::new(), out: vec![Vec::new(); nodes] }
    }

    pub fn edge(&mut self, from: usize, to: usize, capacity: u64) {
        self.out[from].push(self.to.len());
        self.to.push(to);
        self.left.push(capacity);
        self.out[to].push(self.to.len());
        self.to.push(from);
        self.left.push(0);
    }

    /// Which nodes are on the sink's side of the minimum cut that lies nearest to the sink.
    pub fn sink_side(mut self, source: usize, sink: usize) -> Vec<bool> {
        while let Some(level) = self.levels(source, sink) {
            let mut next = vec![0; self.out.len()];
            while self.augment(source, sink, &level, &mut next) {}
        }
        // what still reaches the sink
        let mut reaches = vec![false; self.out.len()];
        reaches[sink] = true;
        let mut todo = vec![sink];
        while let Some(v) = todo.pop() {
            for e in &self.out[v] {
                let u = self.to[*e];
                if !reaches[u] && self.left[e ^ 1] > 0 {
                    reaches[u] = true;
                    todo.push(u);
                }
            }
        }
        reaches
    }

    /// Distances from the source, if the sink can be reached.
    fn levels(&self, source: usize, sink: usize) -> Option<Vec<u32>> {
        let mut level = vec![u32::MAX; self.out.len()];
        level[source] = 0;
        let mut queue = std::collections::VecDeque::from([source]);
        while let Some(v) = queue.pop_front() {
            for e in &self.out[v] {
                let u = self.to[*e];
                if self.left[*e] > 0 && level[u] == u32::MAX {
                    level[u] = level[v] + 1;
                    queue.push_back(u);
                }
            }
        }
        (level[sink] != u32::MAX).then_some(level)
    }

    /// One path of the level graph; `next` remembers the edges that lead nowhere.
    fn augment(&mut self, source: usize, sink: usize, level: &[u32], next: &mut [usize]) -> bool {
        let mut path: Vec<usize> = Vec::new();
        loop {
            let v = path.last().map_or(source, |e| self.to[*e]);
            if v == sink {
                let flow = path.iter().map(|e| self.left[*e]).min().unwrap_or(0);
                for e in path {
                    self.left[e] -= flow;
                    self.left[e ^ 1] += flow;
                }
                return true;
            }
            match self.out[v].get(next[v]) {
                Some(e) if self.left[*e] > 0 && level[self.to[*e]] == level[v] + 1 => path.push(*e),
                Some(_) => next[v] += 1,
                None => match path.pop() {
                    Some(e) => next[self.to[e ^ 1]] += 1,
                    None => return false,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheapest_cut_nearest_to_the_sink() {
        // 0 -3-> 1 -2-> 2 -2-> 3, and 1 -> 3 directly for 1: cutting before 1 costs 3, so do both edges near the sink
        let mut g = Graph::new(4);
        g.edge(0, 1, 3);
        g.edge(1, 2, 2);
        g.edge(2, 3, 2);
        g.edge(1, 3, 1);
        assert_eq!(g.sink_side(0, 3), [false, false, false, true]);
        let mut g = Graph::new(3);
        g.edge(0, 1, UNLIMITED);
        g.edge(1, 2, 5);
        assert_eq!(g.sink_side(0, 2), [false, false, true]);
    }
}

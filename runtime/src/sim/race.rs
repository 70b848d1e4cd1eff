//! Who touched which element last, to find accesses whose order nothing fixes.

use rustc_hash::FxHashMap;

use super::warp::WARP;

/// A thread, and how many barriers its block and its warp had behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who {
    pub block: u32,
    pub thread: u32,
    pub interval: u32,
    pub warp_interval: u32,
}

impl Who {
    fn warp(self) -> u32 {
        self.thread / WARP as u32
    }

    /// Are an access of this one and a later one of `other` in an order?
    fn before(self, other: Who) -> bool {
        self.block == other.block
            && (self.thread == other.thread
                || self.interval < other.interval
                || self.warp() == other.warp() && self.warp_interval < other.warp_interval)
    }
}

#[derive(Clone, Copy, Default)]
struct Element {
    writer: Option<Who>,
    reader: Option<Who>,
    /// Others than `reader` have read: of its warp since the warp's barrier, of its block since the block's, of other blocks.
    more_threads: bool,
    more_warps: bool,
    more_blocks: bool,
}

/// Elements by address.
#[derive(Default)]
pub struct Shadow {
    elements: FxHashMap<usize, Element>,
}

impl Shadow {
    /// Shared memory belongs to the next block.
    pub fn forget(&mut self, (start, end): (usize, usize)) {
        if start < end {
            self.elements.retain(|a, _| !(start..end).contains(a));
        }
    }

    /// What is wrong with an access.
    pub fn access(&mut self, address: usize, who: Who, write: bool, shared: bool) -> Option<String> {
        let e = self.elements.entry(address).or_default();
        let place = if shared { "shared" } else { "global" };
        if let Some(w) = e.writer.filter(|w| !w.before(who)) {
            let verb = if write { "writes" } else { "reads" };
            let Who { thread, block, .. } = w;
            return Some(format!(
                "{verb} an element of {place} memory that thread {thread} of block {block} writes at the same time"
            ));
        }
        if write {
            let early = e.reader.filter(|r| {
                let since = r.interval == who.interval;
                let others = e.more_warps || e.more_threads && r.warp_interval == who.warp_interval;
                !r.before(who) || e.more_blocks || since && others
            });
            if let Some(Who { thread, block, .. }) = early {
                return Some(format!(
                    "writes an element of {place} memory that thread {thread} of block {block} reads at the same time"
                ));
            }
            e.writer = Some(who);
            return None;
        }
        if shared && e.writer.is_none() {
            return Some("reads shared memory that nobody has written".into());
        }
        if let Some(r) = e.reader {
            let since = r.interval == who.interval;
            let warp = r.warp() == who.warp() && r.warp_interval == who.warp_interval;
            e.more_blocks |= r.block != who.block;
            e.more_warps = since && (e.more_warps || r.warp() != who.warp());
            e.more_threads = since && warp && (e.more_threads || r.thread != who.thread);
        }
        e.reader = Some(who);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(block: u32, thread: u32, interval: u32) -> Who {
        Who { block, thread, interval, warp_interval: 0 }
    }

    #[test]
    fn order_within_a_warp_is_that_of_its_barriers_too() {
        let of = |thread, warp_interval| Who { block: 0, thread, interval: 0, warp_interval };
        let mut s = Shadow::default();
        assert_eq!(s.access(8, of(0, 0), true, true), None);
        assert!(s.access(8, of(1, 0), false, true).is_some());
        assert_eq!(s.access(8, of(1, 1), false, true), None);
        assert!(s.access(8, of(32, 1), false, true).is_some(), "another warp is not in that order");
        assert_eq!(s.access(8, of(2, 1), false, true), None);
        assert!(s.access(8, of(2, 1), true, true).is_some(), "thread 1 may read later");
        assert_eq!(s.access(8, of(2, 2), true, true), None);
        let mut s = Shadow::default();
        assert_eq!(s.access(8, of(0, 0), false, false), None);
        assert_eq!(s.access(8, of(40, 0), false, false), None);
        assert_eq!(s.access(8, of(0, 5), false, false), None);
        assert!(s.access(8, of(0, 6), true, false).is_some(), "warp 1 may read later");
    }

    #[test]
    fn order_within_a_block_is_that_of_barriers() {
        let mut s = Shadow::default();
        assert_eq!(s.access(8, who(0, 0, 0), true, true), None);
        assert!(s.access(8, who(0, 1, 0), false, true).is_some_and(|e| e.contains("reads an element of shared")));
        assert_eq!(s.access(8, who(0, 1, 1), false, true), None);
        assert_eq!(s.access(8, who(0, 2, 1), false, true), None);
        assert!(
            s.access(8, who(0, 2, 1), true, true).is_some_and(|e| e.contains("thread 2") || e.contains("thread 1"))
        );
        assert_eq!(s.access(8, who(0, 2, 2), true, true), None);
        assert!(s.access(8, who(0, 3, 2), true, true).is_some());
    }

    #[test]
    fn blocks_are_in_no_order() {
        let mut s = Shadow::default();
        assert_eq!(s.access(8, who(0, 0, 0), false, false), None);
        assert_eq!(s.access(8, who(1, 0, 5), false, false), None);
        assert!(s.access(8, who(1, 0, 6), true, false).is_some());
        assert_eq!(s.access(16, who(0, 0, 0), true, false), None);
        assert!(s.access(16, who(1, 0, 9), false, false).is_some());
    }

    #[test]
    fn shared_memory_begins_unknown() {
        let mut s = Shadow::default();
        assert!(s.access(8, who(0, 0, 0), false, true).is_some());
        assert_eq!(s.access(16, who(0, 0, 0), true, true), None);
        s.forget((0, 32));
        assert!(s.access(16, who(0, 0, 3), false, true).is_some());
    }
}

//! Memory that is kept: a freed block goes to a list of its size class and is handed out again, so that a loop that
//! frees what it allocates asks the system for nothing after its first round.

use std::alloc::Layout;
use std::ptr::NonNull;

/// Alignment of every block.
pub const ALIGN: usize = 64;

/// What stands before a block.
#[repr(C, align(64))]
struct Header {
    class: usize,
    prev: *mut Header,
    next: *mut Header,
}

/// A program's heap.
pub struct Memory {
    /// Free blocks by class.
    free: Vec<Vec<*mut Header>>,
    /// Doubly linked list of blocks in use.
    live: *mut Header,
    counters: Counters,
}

// SAFETY: a context is used by one thread at a time; kernels on other threads never allocate
unsafe impl Send for Memory {}

/// What tests and `--timings` read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Blocks asked of the system.
    pub system: u64,
    /// Blocks handed out, new or again.
    pub blocks: u64,
    pub live_bytes: usize,
    pub peak_bytes: usize,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory { free: vec![Vec::new(); CLASSES], live: std::ptr::null_mut(), counters: Counters::default() }
    }
}

/// Four classes to a power of two: at most a quarter is wasted.
const CLASSES: usize = 4 * 58;

pub(crate) fn class_of(bytes: usize) -> Option<usize> {
    let bytes = bytes.max(64);
    let log = bytes.ilog2() as usize;
    let quarter = 1usize << (log - 2);
    let step = (bytes - (1 << log)).div_ceil(quarter);
    let class = 4 * (log - 6) + step;
    (class < CLASSES && bytes < 1 << 56).then_some(class)
}

pub(crate) fn class_bytes(class: usize) -> usize {
    let log = 6 + class / 4;
    (1 << log) + (class % 4) * (1 << (log - 2))
}

impl Memory {
    /// A block of at least `bytes`; `None` when the system has none.
    pub fn alloc(&mut self, bytes: usize) -> Option<NonNull<u8>> {
        let class = class_of(bytes)?;
        let size = class_bytes(class);
        let header = match self.free[class].pop() {
            Some(h) => h,
            None => self.ask_system(class, size)?,
        };
        // SAFETY: `header` starts a block of ours that nobody uses
        unsafe {
            (*header).prev = std::ptr::null_mut();
            (*header).next = self.live;
            if !self.live.is_null() {
                (*self.live).prev = header;
            }
            self.live = header;
        }
        self.counters.blocks += 1;
        self.counters.live_bytes += size;
        self.counters.peak_bytes = self.counters.peak_bytes.max(self.counters.live_bytes);
        // SAFETY: the block begins behind its header
        NonNull::new(unsafe { header.add(1) }.cast())
    }

    fn ask_system(&mut self, class: usize, size: usize) -> Option<*mut Header> {
        let total = size.checked_add(size_of::<Header>())?;
        let layout = layout(total)?;
        // SAFETY: the layout is not empty
        let p = unsafe { std::alloc::alloc(layout) }.cast::<Header>();
        if p.is_null() {
            return None;
        }
        huge_pages(p.cast(), total);
        // SAFETY: `p` is ours and large enough for a header
        unsafe { p.write(Header { class, prev: std::ptr::null_mut(), next: std::ptr::null_mut() }) };
        self.counters.system += 1;
        Some(p)
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// `ptr` came from [`Memory::alloc`] of this heap and was not freed since.
    pub unsafe fn free(&mut self, ptr: *mut u8) {
        // SAFETY: by contract a header stands before `ptr`
        unsafe {
            let header = ptr.cast::<Header>().sub(1);
            let (prev, next) = ((*header).prev, (*header).next);
            if prev.is_null() {
                self.live = next
            } else {
                (*prev).next = next
            }
            if !next.is_null() {
                (*next).prev = prev;
            }
            let class = (*header).class;
            self.counters.live_bytes -= class_bytes(class);
            self.free[class].push(header);
        }
    }

    /// Frees every block in use: what a failed call left.
    pub fn free_all(&mut self) {
        while !self.live.is_null() {
            // SAFETY: `live` heads the list of blocks in use
            unsafe { self.free(self.live.add(1).cast()) };
        }
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    // --- stacks

    pub fn stack_new(&mut self) -> *mut Stack {
        match self.alloc(size_of::<Stack>()) {
            Some(p) => {
                let s = p.as_ptr().cast::<Stack>();
                // SAFETY: the block is large enough and aligned
                unsafe { s.write(Stack { data: std::ptr::null_mut(), len: 0, capacity: 0 }) };
                s
            }
            None => std::ptr::null_mut(),
        }
    }

    /// Room for `bytes` more at the end.
    pub fn stack_grow(&mut self, stack: *mut Stack, bytes: usize) -> Option<NonNull<u8>> {
        if stack.is_null() {
            return None;
        }
        // SAFETY: generated code passes a live stack
        let s = unsafe { &mut *stack };
        let need = s.len.checked_add(bytes)?;
        if need > s.capacity || s.data.is_null() {
            let capacity = need.max(2 * s.capacity).max(4096);
            let new = self.alloc(capacity)?;
            if !s.data.is_null() {
                // SAFETY: both blocks hold `len` bytes; the old one is ours to free
                unsafe {
                    std::ptr::copy_nonoverlapping(s.data, new.as_ptr(), s.len);
                    self.free(s.data);
                }
            }
            s.data = new.as_ptr();
            s.capacity = capacity;
        }
        // SAFETY: `len <= capacity`
        let at = unsafe { s.data.add(s.len) };
        s.len = need;
        NonNull::new(at)
    }

    pub fn stack_free(&mut self, stack: *mut Stack) {
        if stack.is_null() {
            return;
        }
        // SAFETY: generated code frees a live stack once
        unsafe {
            let data = (*stack).data;
            if !data.is_null() {
                self.free(data);
            }
            self.free(stack.cast());
        }
    }
}

/// A growable row of bytes.
#[repr(C)]
pub struct Stack {
    pub data: *mut u8,
    pub len: usize,
    pub capacity: usize,
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.free_all();
        for (class, list) in self.free.iter().enumerate() {
            for header in list {
                if let Some(layout) = layout(class_bytes(class) + size_of::<Header>()) {
                    // SAFETY: every block of the class was allocated with this layout
                    unsafe { std::alloc::dealloc(header.cast::<u8>(), layout) };
                }
            }
        }
    }
}

fn layout(total: usize) -> Option<Layout> {
    let align = if total >= 4 << 20 { 2 << 20 } else { ALIGN };
    Layout::from_size_align(total, align).ok()
}

/// Asks for huge pages for large blocks: first touches of 4 KiB pages cost more than the work on them.
#[cfg(target_os = "linux")]
fn huge_pages(p: *mut u8, bytes: usize) {
    unsafe extern "C" {
        fn madvise(addr: *mut std::ffi::c_void, len: usize, advice: i32) -> i32;
    }
    const MADV_HUGEPAGE: i32 = 14;
    if bytes >= 4 << 20 {
        // SAFETY: advice on memory of ours, aligned to 2 MiB by `layout`
        unsafe { madvise(p.cast(), bytes, MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn huge_pages(_: *mut u8, _: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_cover_what_is_asked() {
        for bytes in (0..10_000).chain([1 << 20, (1 << 20) + 1, 3 << 30]) {
            let class = class_of(bytes).expect("a class");
            assert!(class_bytes(class) >= bytes, "{bytes}");
            assert!(bytes < 256 || class_bytes(class) <= bytes + bytes / 4 + 16, "{bytes}");
        }
        assert_eq!(class_of(usize::MAX), None);
    }

    #[test]
    fn freed_blocks_are_used_again() {
        let mut m = Memory::default();
        for _ in 0..100 {
            let blocks: Vec<_> = (0..10).map(|i| m.alloc(1000 * i).expect("memory")).collect();
            for b in blocks {
                assert_eq!(b.as_ptr() as usize % ALIGN, 0);
                // SAFETY: just allocated
                unsafe { m.free(b.as_ptr()) };
            }
        }
        assert_eq!(m.counters().system, 10);
        assert_eq!(m.counters().live_bytes, 0);
    }

    #[test]
    fn a_failed_call_leaves_nothing() {
        let mut m = Memory::default();
        let s = m.stack_new();
        for i in 0..100u8 {
            let p = m.stack_grow(s, 100).expect("memory");
            // SAFETY: there is room for 100 bytes
            unsafe { p.as_ptr().write_bytes(i, 100) };
        }
        // SAFETY: the stack is live
        let (data, len) = unsafe { ((*s).data, (*s).len) };
        assert_eq!(len, 10_000);
        // SAFETY: within the contents
        assert_eq!(unsafe { *data.add(9_950) }, 99);
        m.alloc(77).expect("memory");
        m.free_all();
        assert_eq!(m.counters().live_bytes, 0);
    }
}

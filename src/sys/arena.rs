//! The allocator: an arena that is never freed for the start, the C library's `malloc` for all that goes beyond.
//!
//! musl's `malloc` maps memory for each size of block and unmaps it again: half of the system calls of a start, and
//! more pages than the few kilobytes that PID 1 needs for its whole life. Those come from a static array instead, in
//! the order in which they are asked for. What waits or migrates needs more, and gets it from `malloc`.
//!
//! With it `portero -- true` makes 31 system calls, without it 41 (`strace -o calls …`), and RSS as PID 1 is 380 kB,
//! not 448 (`/proc/PID/smaps_rollup`); it costs 4 kB of the binary.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sys::fatal::or_end;

/// Enough for the environment, the arguments and the plan of a usual container; untouched pages cost nothing.
const SIZE: usize = 64 * 1024;

/// The allocator of the whole program.
struct Arena {
    memory: Memory,
    used: AtomicUsize,
}

/// A page, so that the first block shares its page with nothing else.
#[repr(C, align(4096))]
struct Memory(UnsafeCell<[u8; SIZE]>);

// SAFETY: the array is only handed out, in pieces that do not overlap: `used` moves by compare-and-exchange. What is
// taken back is released by it and acquired by whoever takes it next, so that nobody's last write comes after the
// next one's first.
unsafe impl Sync for Arena {}

#[global_allocator]
static ARENA: Arena = Arena {
    memory: Memory(UnsafeCell::new([0; SIZE])),
    used: AtomicUsize::new(0),
};

impl Arena {
    /// A piece of the array, or `None` when there is not enough left.
    fn take(&self, layout: Layout) -> Option<*mut u8> {
        let start = self.memory.0.get().cast::<u8>();
        let mut used = self.used.load(Ordering::Relaxed);
        loop {
            let at = used.checked_next_multiple_of(layout.align())?;
            let end = at
                .checked_add(layout.size())
                .filter(|end| *end <= SIZE && layout.align() <= 4096)?;
            match self
                .used
                .compare_exchange_weak(used, end, Ordering::Acquire, Ordering::Relaxed)
            {
                // SAFETY: `at` is within the array.
                Ok(_) => return Some(unsafe { start.add(at) }),
                Err(now) => used = now,
            }
        }
    }

    fn owns(&self, block: *mut u8) -> bool {
        let start = self.memory.0.get().addr();
        (start..start + SIZE).contains(&block.addr())
    }

    /// Whether the block is the last that was taken: then it can grow or go where it is.
    fn is_last(&self, block: *mut u8, size: usize) -> bool {
        let end = block.addr() - self.memory.0.get().addr() + size;
        self.used.load(Ordering::Relaxed) == end
    }

    /// Grows or shrinks the last block in its place.
    fn resize_last(&self, block: *mut u8, old: usize, new: usize) -> bool {
        let at = block.addr() - self.memory.0.get().addr();
        at + new <= SIZE
            && self.is_last(block, old)
            && self
                .used
                .compare_exchange(at + old, at + new, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }
}

// SAFETY: blocks from the array are aligned, as large as asked for, and never handed out twice while in use; all
// others are the system allocator's, and go back to it.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout, as it is.
        self.take(layout)
            .unwrap_or_else(|| or_end(unsafe { System.alloc(layout) }))
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if self.owns(block) {
            self.resize_last(block, layout.size(), 0);
        } else {
            // SAFETY: a block that is not of the array came from the system allocator, with this layout.
            unsafe { System.dealloc(block, layout) };
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !self.owns(block) {
            // SAFETY: as for `dealloc`.
            return or_end(unsafe { System.realloc(block, layout, size) });
        }
        if self.resize_last(block, layout.size(), size) {
            return block;
        }
        // SAFETY: the caller guarantees that `size` does not overflow with this alignment; the new block does not
        // overlap the old one, and both hold what is copied.
        unsafe {
            let larger = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            larger.copy_from_nonoverlapping(block, layout.size().min(size));
            self.dealloc(block, layout);
            larger
        }
    }
}

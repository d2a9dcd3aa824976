//! Memory that the start has touched and the loop does not need.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::{ptr, slice};

/// Gives back the memory that the start has touched, its code, its constants and its part of the stack: the loop that
/// is left for the years to come needs little of any. RSS as PID 1 is 380 kB with it and 1472 kB without
/// (`/proc/PID/smaps_rollup`), for four system calls.
pub fn release_start() {
    // SAFETY: the callback is of the type that is asked for, and takes no data.
    unsafe { libc::dl_iterate_phdr(Some(release_segments), ptr::null_mut()) };
    release_stack();
}

/// Pages of a file that are never written to come back from the page cache when they are used.
unsafe extern "C" fn release_segments(
    image: *mut libc::dl_phdr_info,
    _size: usize,
    _data: *mut c_void,
) -> c_int {
    // SAFETY: the pointer and the array behind it are the C library's, and are valid during the call
    // (dl_iterate_phdr(3)).
    let (base, segments) = unsafe {
        let image = &*image;
        let segments = slice::from_raw_parts(image.dlpi_phdr, image.dlpi_phnum.into());
        (image.dlpi_addr, segments)
    };
    let is_constant = |segment: &&libc::Elf64_Phdr| {
        segment.p_type == libc::PT_LOAD && segment.p_flags & libc::PF_W == 0
    };
    for segment in segments.iter().filter(is_constant) {
        let start = usize::try_from(base + segment.p_vaddr).unwrap_or_default();
        let size = usize::try_from(segment.p_memsz).unwrap_or_default();
        let (start, end) = (start.next_multiple_of(PAGE), (start + size) / PAGE * PAGE);
        if end <= start {
            continue;
        }
        // SAFETY: whole pages of one segment of the image, which is mapped from its file and never written to: what is
        // dropped here is read again from there (madvise(2), MADV_DONTNEED).
        unsafe {
            libc::madvise(
                ptr::without_provenance_mut(start),
                end - start,
                libc::MADV_DONTNEED,
            )
        };
    }
    // The program itself comes first, and is all that there is in a static one.
    1
}

/// How deep the start may have been below the loop: parsing the command line takes some 20 kB.
const STACK_OF_START: usize = 128 * 1024;

/// The stack below the caller's frame comes back as zeroes.
#[inline(never)]
fn release_stack() {
    let here = MaybeUninit::<u8>::uninit();
    // The page of this frame stays, and the one below: `madvise` itself has a frame there.
    let end = (here.as_ptr().addr() / PAGE).saturating_sub(1) * PAGE;
    let start = end.saturating_sub(STACK_OF_START);
    // SAFETY: at least a page below the stack pointer, where no frame of this one thread's is; no signal has a handler,
    // which would be called there. Where nothing is mapped yet the call does nothing (madvise(2), ENOMEM).
    unsafe {
        libc::madvise(
            ptr::without_provenance_mut(start),
            end - start,
            libc::MADV_DONTNEED,
        )
    };
}

/// The page of x86-64, and of most arm64 kernels. Where pages are larger, `madvise(2)` refuses an address that does not
/// begin one, which does no harm.
const PAGE: usize = 4096;

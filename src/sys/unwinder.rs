//! What stands in a release for the unwinder that comes with std: nothing unwinds here, and no back-trace is printed,
//! for a panic is one line and the end, and the binary has no tables to unwind by (see build.rs). Optimisation over all
//! crates then sees that no frame is ever shown, and leaves out all by which std would read and print debug
//! information: 260 kB. Without it std would ask for more of its unwinder than stands here, and the linker would find
//! both.

use std::ffi::{c_int, c_void};

use crate::sys::fatal::fail;

/// `_URC_END_OF_STACK` of the Itanium C++ ABI: there is no frame to show.
const END_OF_STACK: c_int = 5;

type Frame = *mut c_void;

/// Shows no frame.
// SAFETY: the only symbol of this name, here and below: std's archive has them for those who have none.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(
    _: extern "C" fn(Frame, *mut c_void) -> c_int,
    _: *mut c_void,
) -> c_int {
    END_OF_STACK
}

// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume(_: *mut c_void) -> ! {
    fail("it can't go on: nothing unwinds here");
}

/// What std's personality asks of a frame, of which there is never one.
macro_rules! of_no_frame {
    ($($name:ident($($argument:ty),*)),*) => {$(
        // SAFETY: as above.
        #[unsafe(no_mangle)]
        extern "C" fn $name(_: Frame, $(_: $argument),*) -> usize {
            0
        }
    )*};
}

of_no_frame!(
    _Unwind_GetDataRelBase(),
    _Unwind_GetIP(),
    _Unwind_GetIPInfo(*mut c_int),
    _Unwind_GetLanguageSpecificData(),
    _Unwind_GetRegionStart(),
    _Unwind_GetTextRelBase(),
    _Unwind_SetGR(c_int, usize),
    _Unwind_SetIP(usize)
);

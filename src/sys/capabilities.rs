//! The capability sets of the calling thread (`capabilities(7)`); in all of them bit n stands for capability n.

use std::ffi::{c_int, c_ulong};
use std::io;

/// The three sets of `capget(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// What counts now.
    pub effective: u64,
    /// What may be made effective.
    pub permitted: u64,
    /// What may pass through `execve(2)` of a file that has it inheritable, and what may be made ambient.
    pub inheritable: u64,
}

/// `_LINUX_CAPABILITY_VERSION_3`: two 32-bit halves a set (`capget(2)`).
const CAPABILITY_VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: c_int,
}

/// The calling thread's capabilities.
///
/// # Errors
/// As `capget(2)`.
pub fn capabilities() -> io::Result<Capabilities> {
    let header = CapabilityHeader {
        version: CAPABILITY_VERSION,
        pid: 0,
    };
    let mut halves = [[0u32; 3]; 2];
    // SAFETY: version 3 reads one header and writes two triples of u32, which is what the pointers are to.
    match unsafe { libc::syscall(libc::SYS_capget, &raw const header, halves.as_mut_ptr()) } {
        0 => {
            let join = |set: usize| u64::from(halves[0][set]) | u64::from(halves[1][set]) << 32;
            Ok(Capabilities {
                effective: join(0),
                permitted: join(1),
                inheritable: join(2),
            })
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sets the calling thread's capabilities.
///
/// # Errors
/// As `capset(2)`.
pub fn set_capabilities(sets: Capabilities) -> io::Result<()> {
    let header = CapabilityHeader {
        version: CAPABILITY_VERSION,
        pid: 0,
    };
    let half = |shift: u32| {
        [sets.effective, sets.permitted, sets.inheritable].map(|set| low_half(set >> shift))
    };
    let halves = [half(0), half(32)];
    // SAFETY: version 3 reads one header and two triples of u32, which is what the pointers are to.
    match unsafe { libc::syscall(libc::SYS_capset, &raw const header, halves.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn low_half(set: u64) -> u32 {
    u32::try_from(set & u64::from(u32::MAX)).unwrap_or_default()
}

/// The bounding set: the most that a program can have when it is executed.
///
/// # Errors
/// When the kernel does not tell, which takes a filter of system calls.
pub fn bounding_set() -> io::Result<u64> {
    set(|capability| prctl(libc::PR_CAPBSET_READ, capability, 0))
}

/// Takes `capability` out of the bounding set, for good.
///
/// # Errors
/// As `prctl(2)`: EPERM without `CAP_SETPCAP`.
pub fn drop_bounding(capability: u32) -> io::Result<()> {
    prctl(libc::PR_CAPBSET_DROP, capability, 0).map(drop)
}

/// The ambient set: what a program without privileges of its own has when it is executed. Empty before Linux 4.3,
/// which knows none.
///
/// # Errors
/// As for `bounding_set`.
pub fn ambient_set() -> io::Result<u64> {
    set(|capability| ambient(libc::PR_CAP_AMBIENT_IS_SET, capability))
}

/// Puts `capability` into the ambient set. It must be permitted and inheritable.
///
/// # Errors
/// As `prctl(2)`: EPERM when it is not, or when a securebit forbids it; EINVAL before Linux 4.3.
pub fn raise_ambient(capability: u32) -> io::Result<()> {
    ambient(libc::PR_CAP_AMBIENT_RAISE, capability).map(drop)
}

/// Empties the ambient set. Kernels before 4.3 have none, which is as good.
///
/// # Errors
/// As for `bounding_set`.
pub fn clear_ambient() -> io::Result<()> {
    known(ambient(libc::PR_CAP_AMBIENT_CLEAR_ALL, 0)).map(drop)
}

fn ambient(operation: c_int, capability: u32) -> io::Result<c_int> {
    prctl(libc::PR_CAP_AMBIENT, operation.cast_unsigned(), capability)
}

/// Every capability for which `is_set` answers 1.
fn set(is_set: impl Fn(u32) -> io::Result<c_int>) -> io::Result<u64> {
    (0..64).try_fold(0, |set, capability| {
        let is_set = known(is_set(capability))? == 1;
        Ok(set | u64::from(is_set) << capability)
    })
}

/// What the kernel does not know, it does not have: 0 (`prctl(2)`, EINVAL).
fn known(answer: io::Result<c_int>) -> io::Result<c_int> {
    match answer {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(0),
        answer => answer,
    }
}

/// `prctl(2)` with an operation on capabilities; what it does not use must be 0.
fn prctl(operation: c_int, second: u32, third: u32) -> io::Result<c_int> {
    let (second, third) = (c_ulong::from(second), c_ulong::from(third));
    // SAFETY: these operations of prctl take integers only.
    match unsafe { libc::prctl(operation, second, third, 0, 0) } {
        answer @ 0.. => Ok(answer),
        _ => Err(io::Error::last_os_error()),
    }
}

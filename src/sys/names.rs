//! getaddrinfo(3) of one family; std asks for both at once.

use std::ffi::{CStr, c_int};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::{mem, ptr};

/// Which addresses are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A records.
    V4,
    /// AAAA records.
    V6,
}

/// Why there are none (`getaddrinfo(3)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAddress {
    /// There is no such name, or it has no such address: `EAI_NONAME`, `EAI_NODATA`.
    NotFound,
    /// It is not known whether there are any: the name server's failure, or portero's own.
    Failed,
}

/// The addresses of `name`, however long that takes. With `numeric` it must be an address in itself, as `127.1` is, and
/// nobody is asked.
///
/// # Errors
/// Why there are none.
pub fn addresses(name: &CStr, family: Family, numeric: bool) -> Result<Vec<IpAddr>, NoAddress> {
    // SAFETY: integers and pointers, for which zero is a value.
    let mut hints: libc::addrinfo = unsafe { mem::zeroed() };
    hints.ai_family = match family {
        Family::V4 => libc::AF_INET,
        Family::V6 => libc::AF_INET6,
    };
    hints.ai_socktype = libc::SOCK_STREAM;
    hints.ai_flags = if numeric { libc::AI_NUMERICHOST } else { 0 };
    let mut list = ptr::null_mut();
    // SAFETY: a string that ends in NUL, hints that are whole, and a pointer for the answer; all outlive the call.
    let code =
        unsafe { libc::getaddrinfo(name.as_ptr(), ptr::null(), &raw const hints, &raw mut list) };
    if code != 0 {
        return Err(meaning(code));
    }
    let mut found = Vec::new();
    let mut next: *const libc::addrinfo = list;
    // SAFETY: the answer is a list that ends in a null pointer; it is ours until it is freed below.
    while let Some(entry) = unsafe { next.as_ref() } {
        found.extend(address(entry));
        next = entry.ai_next;
    }
    // SAFETY: what getaddrinfo made, once; nothing points into it any more.
    unsafe { libc::freeaddrinfo(list) };
    Ok(found)
}

fn meaning(code: c_int) -> NoAddress {
    match code {
        libc::EAI_NONAME | libc::EAI_NODATA => NoAddress::NotFound,
        _ => NoAddress::Failed,
    }
}

fn address(entry: &libc::addrinfo) -> Option<IpAddr> {
    match entry.ai_family {
        libc::AF_INET => {
            // SAFETY: of this family the address is a sockaddr_in, which may lie anywhere.
            let address = unsafe { entry.ai_addr.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from(address.sin_addr.s_addr.to_ne_bytes()).into())
        }
        libc::AF_INET6 => {
            // SAFETY: of this family the address is a sockaddr_in6, which may lie anywhere.
            let address = unsafe { entry.ai_addr.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(address.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

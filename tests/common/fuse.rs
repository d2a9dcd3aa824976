//! A file system that never answers.

use std::fs;

use super::Run;

/// Mounts a FUSE file system, whose server never says a word, on `point`: every look at it waits, as on a network file
/// system whose server has gone.
pub fn dead_mount(run: Run, point: &str) -> Run {
    assert!(
        fs::exists("/dev/fuse").unwrap(),
        "there is no /dev/fuse: modprobe fuse"
    );
    run.mounts(&format!(
        "mkdir -p {point}; exec 9<>/dev/fuse; \
         mount -i -t fuse -o fd=9,rootmode=40000,user_id=0,group_id=0 dead {point}"
    ))
}

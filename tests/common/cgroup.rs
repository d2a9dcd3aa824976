//! Real control groups, version 2 or 1, whichever has the controller here.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{DEADLINE, Run, poll_until};

/// A group of its own, removed with the value.
#[derive(Debug)]
pub struct ControlGroup {
    directory: PathBuf,
    pub is_v2: bool,
}

impl ControlGroup {
    /// Of this controller, at the hierarchy's top.
    pub fn new(controller: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "portero-test-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let v1 = PathBuf::from("/sys/fs/cgroup").join(controller);
        let is_v2 = !v1.join("cgroup.procs").exists();
        let top = if is_v2 {
            PathBuf::from("/sys/fs/cgroup")
        } else {
            v1
        };
        if is_v2 {
            // What is there already is no error.
            let _ = fs::write(top.join("cgroup.subtree_control"), format!("+{controller}"));
        }
        Self::make(top.join(name), is_v2)
    }

    /// Below this one.
    pub fn child(&self) -> Self {
        Self::make(self.directory.join("child"), self.is_v2)
    }

    fn make(directory: PathBuf, is_v2: bool) -> Self {
        fs::create_dir(&directory).unwrap_or_else(|error| {
            panic!("no control group {}: {error}: run the tests as root, where /sys/fs/cgroup is writable", directory.display())
        });
        Self { directory, is_v2 }
    }

    #[track_caller]
    pub fn set(&self, file: &str, value: &str) -> &Self {
        let path = self.directory.join(file);
        fs::write(&path, value).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self
    }

    /// At most so many bytes.
    pub fn limit_memory(&self, bytes: u64) -> &Self {
        let bytes = bytes.to_string();
        if self.is_v2 {
            // Else it is moved to the disk.
            self.set("memory.max", &bytes).set("memory.swap.max", "0")
        } else {
            self.set("memory.limit_in_bytes", &bytes)
        }
    }

    /// So many microseconds of each 100 ms.
    pub fn limit_processors(&self, quota: u64) -> &Self {
        if self.is_v2 {
            self.set("cpu.max", &format!("{quota} 100000"))
        } else {
            self.set("cpu.cfs_period_us", "100000")
                .set("cpu.cfs_quota_us", &quota.to_string())
        }
    }

    /// Puts what follows into it.
    pub fn enter(&self) -> [String; 4] {
        let script = format!(
            "echo $$ > {}/cgroup.procs; exec \"$@\"",
            self.directory.display()
        );
        ["/bin/sh", "-c", &script, "sh"].map(str::to_owned)
    }

    /// Lets the run happen in it.
    pub fn run(&self, run: Run) -> Run {
        run.via(self.enter())
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // It is busy until the last process that was in it has been reaped.
        poll_until(DEADLINE, || fs::remove_dir(&self.directory).ok());
    }
}

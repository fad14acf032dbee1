//! Network namespaces, used as separate machines.

use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// The directory of `ip netns`.
const DIRECTORY: &str = "/run/netns";
/// The directory of the BPF file systems, one for each of our namespaces.
const BPF_DIRECTORY: &str = "/run/floodgate-lab";
/// The prefix of our names.
const PREFIX: &str = "fg-";

static COUNTER: AtomicU32 = AtomicU32::new(0);
static SWEEP: Once = Once::new();

/// A network namespace with its loopback interface up.
///
/// Dropping it ends the processes that still run in it and removes it, with its interfaces and
/// filters.
#[derive(Debug)]
pub struct Netns {
    name: String,
    file: OwnedFd,
    bpf: PathBuf,
}

impl Netns {
    /// Makes a namespace. The label is part of its name, to be recognised in `ip netns` and in
    /// logs; the rest of the name makes it unique.
    ///
    /// # Errors
    /// The process is not root, or the kernel lacks namespaces.
    pub fn new(label: &str) -> Result<Self> {
        SWEEP.call_once(sweep);
        let name = format!("{PREFIX}{}-{}-{label}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let path = Path::new(DIRECTORY).join(&name);
        let bpf = Path::new(BPF_DIRECTORY).join(&name);
        let opened = fs::create_dir_all(&bpf).and_then(|()| File::open(&path));
        let file = opened.with_context(|| format!("open {}", path.display())).inspect_err(|_| remove(&name))?;
        let netns = Self { name, file: file.into(), bpf };
        mount_bpf(&netns.bpf);
        netns.ip(&["link", "set", "lo", "up"])?;
        Ok(netns)
    }

    /// The name in `ip netns`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` with these arguments inside and returns what it prints.
    ///
    /// # Errors
    /// `ip` failed; with its output.
    pub fn ip(&self, arguments: &[&str]) -> Result<String> {
        run(Command::new("ip").args(["-n", &self.name]).args(arguments))
    }

    /// Runs a program inside to its end and returns what it printed on standard output.
    ///
    /// # Errors
    /// It cannot be started or fails; with its standard error.
    pub fn exec(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Result<String> {
        run(self.command(program)?.args(arguments))
    }

    /// A command that will run inside, with a /sys that shows this namespace's interfaces, as with
    /// `ip netns exec`, and with the namespace's own BPF file system on /sys/fs/bpf: what one
    /// program pins there the next one finds.
    ///
    /// # Errors
    /// The path of the program or of the namespace cannot be passed to the kernel.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command> {
        let mut command = Command::new(program);
        let file = self.file.try_clone()?;
        let bpf = CString::new(self.bpf.as_os_str().as_bytes())?;
        // SAFETY: between fork and exec only system calls are made, on values prepared before.
        unsafe { command.pre_exec(move || enter(&file).and_then(|()| own_sys(&bpf))) };
        Ok(command)
    }

    /// Runs `work` on a thread of its own that is inside, and returns its result. Sockets opened
    /// there stay inside wherever they are used later.
    ///
    /// # Panics
    /// `work` panics, or the thread cannot enter the namespace.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                enter(&self.file).expect("root may enter a namespace that exists");
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Starts a thread that runs inside.
    ///
    /// # Errors
    /// The namespace's descriptor cannot be copied, or the thread cannot be started. The thread
    /// panics if it cannot enter.
    pub fn spawn_thread<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>> {
        let file = self.file.try_clone()?;
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            enter(&file).expect("root may enter a namespace that exists");
            work()
        })?;
        Ok(thread)
    }

    /// Sets a kernel variable such as `net.ipv4.ip_forward`.
    ///
    /// # Errors
    /// There is no such variable, or it rejects the value.
    pub fn sysctl(&self, variable: &str, value: &str) -> Result<()> {
        // Interface names with dots are written with slashes, as sysctl(8) accepts them.
        let path = Path::new("/proc/sys").join(if variable.contains('/') {
            variable.to_owned()
        } else {
            variable.replace('.', "/")
        });
        self.run(|| fs::write(&path, value)).with_context(|| format!("write {value} to {}", path.display()))
    }

    /// Enables forwarding of both address families between its interfaces.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn forward(&self) -> Result<()> {
        self.sysctl("net.ipv4.ip_forward", "1")?;
        self.sysctl("net.ipv6.conf.all.forwarding", "1")
    }

    /// Makes `gateway` the next hop of all destinations of its family.
    ///
    /// # Errors
    /// The gateway is not reachable through an interface.
    pub fn default_route(&self, gateway: IpAddr) -> Result<()> {
        let family = if gateway.is_ipv4() { "-4" } else { "-6" };
        self.ip(&[family, "route", "add", "default", "via", &gateway.to_string()]).map(drop)
    }

    /// The hardware address of an interface inside.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn mac(&self, interface: &str) -> Result<[u8; 6]> {
        let line = self.ip(&["-o", "link", "show", "dev", interface])?;
        let text = line.split_whitespace().skip_while(|word| *word != "link/ether").nth(1);
        let octets: Option<Vec<u8>> =
            text.and_then(|text| text.split(':').map(|octet| u8::from_str_radix(octet, 16).ok()).collect());
        match octets.and_then(|octets| octets.try_into().ok()) {
            Some(mac) => Ok(mac),
            None => bail!("{interface} in {} has no Ethernet address: {line}", self.name),
        }
    }

    /// The path, outside of the namespace, of the BPF file system that is /sys/fs/bpf inside.
    #[must_use]
    pub fn bpf_directory(&self) -> &Path {
        &self.bpf
    }

    /// The ids of the processes inside.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        processes(&self.name)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Runs a command to its end and returns its standard output; an error has the command and all its
/// output.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{command:?}: {}\n{printed}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(printed)
}

fn enter(namespace: &OwnedFd) -> io::Result<()> {
    Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}

/// Mounts a new BPF file system. A kernel without it is not an error: only programs that pin
/// something notice.
fn mount_bpf(directory: &Path) {
    let _ = mount("bpf", directory, "bpf", MountFlags::empty(), None);
}

/// Gives the calling process a /sys that shows its network namespace, with this directory as
/// /sys/fs/bpf. If mounting is forbidden, the old one stays.
fn own_sys(bpf: &CStr) -> io::Result<()> {
    // SAFETY: the process has one thread, so no other thread's file system view changes.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    mount_change(c"/", MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM)?;
    if mount(c"sysfs", c"/sys", c"sysfs", MountFlags::empty(), None).is_ok() {
        let _ = mount_bind(bpf, c"/sys/fs/bpf");
    }
    Ok(())
}

fn processes(name: &str) -> Vec<u32> {
    let listed = Command::new("ip").args(["netns", "pids", name]).output();
    let text = listed.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Ends what runs in the namespace and deletes it. Failures are not reported: the namespace may be
/// half made, and the value is going away.
fn remove(name: &str) {
    let own = std::process::id();
    for pid in processes(name).into_iter().filter(|&pid| pid != own) {
        // It was listed as a process inside a namespace of ours.
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let _ = Command::new("ip").args(["netns", "delete", name]).output();
    let bpf = Path::new(BPF_DIRECTORY).join(name);
    let _ = unmount(&bpf, UnmountFlags::DETACH);
    let _ = fs::remove_dir(bpf);
}

/// Removes the namespaces of test processes that were killed and have left them.
fn sweep() {
    let entries: Vec<PathBuf> =
        fs::read_dir(DIRECTORY).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    for name in entries.iter().filter_map(|path| path.file_name()?.to_str()) {
        if owner(name).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            remove(name);
        }
    }
}

/// The process that made the namespace of this name, if the name is one of ours.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_have_an_owner() {
        assert_eq!(owner("fg-123-0-victim"), Some(123));
        assert_eq!(owner("fg-xdp-victim"), None);
        assert_eq!(owner("blue"), None);
    }

    #[test]
    fn is_a_network_of_its_own_and_goes_away() -> Result<()> {
        crate::needs!(root, "ip");
        let netns = Netns::new("own")?;
        netns.ip(&["link", "add", "only-here", "type", "veth", "peer", "name", "its-peer"])?;
        assert!(netns.exec("ls", &["/sys/class/net"])?.contains("only-here"));
        assert!(!Path::new("/sys/class/net/only-here").exists());
        let names = netns.run(|| fs::read_to_string("/proc/thread-self/net/dev"))?;
        assert!(names.contains("only-here"), "{names}");
        assert!(netns.exec("false", &[]).is_err());
        netns.exec("mkdir", &["/sys/fs/bpf/pinned"])?;
        assert!(netns.bpf_directory().join("pinned").exists());

        let (name, bpf) = (netns.name().to_owned(), netns.bpf_directory().to_owned());
        let mut sleeping = netns.command("sleep")?.arg("60").spawn()?;
        assert_eq!(netns.processes(), [sleeping.id()]);
        drop(netns);
        assert!(!sleeping.wait()?.success(), "a process inside ends with the namespace");
        assert!(!Path::new(DIRECTORY).join(name).exists() && !bpf.exists());
        Ok(())
    }

    #[test]
    fn goes_away_in_a_panic() {
        crate::needs!(root, "ip");
        let mut name = String::new();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let netns = Netns::new("panic").unwrap();
            name = netns.name().to_owned();
            netns.run(|| panic!("inside"));
        }));
        assert!(caught.is_err());
        assert!(!name.is_empty() && !Path::new(DIRECTORY).join(name).exists());
    }

    #[test]
    fn what_a_killed_test_left_is_swept() -> Result<()> {
        crate::needs!(root, "ip");
        // A process that has ended and been waited for: its id is free.
        let mut gone = Command::new("true").spawn()?;
        gone.wait()?;
        let name = format!("{PREFIX}{}-0-left", gone.id());
        run(Command::new("ip").args(["netns", "add", &name]))?;
        sweep();
        assert!(!Path::new(DIRECTORY).join(name).exists());
        Ok(())
    }
}

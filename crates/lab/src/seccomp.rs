//! Runs programs with fewer kernel features.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The command's process and its children may load no BPF program: the kernel answers as if the
/// verifier rejected them.
pub fn without_bpf_programs(command: &mut Command) {
    // SAFETY: between fork and exec only system calls are made, on values on the stack.
    unsafe { command.pre_exec(refuse_bpf_programs) };
}

fn refuse_bpf_programs() -> io::Result<()> {
    const BPF_PROG_LOAD: u32 = 5;
    // Offsets in struct seccomp_data: the call's number, and the low half of its first argument.
    let (number, argument) = (0, if cfg!(target_endian = "little") { 16 } else { 20 });
    let load = |at| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at, 0);
    let unless_skip = |value, skip| statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, skip);
    let answer = |value| statement(libc::BPF_RET | libc::BPF_K, value, 0);
    let mut filter = [
        load(number),
        unless_skip(libc::SYS_bpf as u32, 3),
        load(argument),
        unless_skip(BPF_PROG_LOAD, 1),
        answer(libc::SECCOMP_RET_ERRNO | libc::EACCES as u32),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as libc::c_ushort, filter: filter.as_mut_ptr() };
    // SAFETY: plain numbers, and a program that lives until the call returns; the kernel copies it.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// One instruction; a failed comparison skips this many.
const fn statement(code: u32, k: u32, skip: u8) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: skip, k }
}

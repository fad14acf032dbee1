//! Tables that the program reads while we write them: memory-mapped BPF arrays.

use crate::DataplaneError;
use std::fs::File;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::{io, ptr};

/// A type for which any octets are a valid value.
///
/// # Safety
/// `repr(C)`, of integers only, without padding.
pub(super) unsafe trait Plain: Copy {}

/// A mapped array of `T`. Every access goes to the shared memory itself.
#[derive(Debug)]
pub(super) struct Table<T> {
    base: NonNull<u8>,
    octets: usize,
    entries: usize,
    _type: PhantomData<T>,
}

// SAFETY: it owns its mapping; nothing in it is bound to a thread.
unsafe impl<T> Send for Table<T> {}

impl<T: Plain> Table<T> {
    /// Maps the array behind `fd`, which has `entries` values of the size of `T`.
    pub(super) fn map(fd: BorrowedFd<'_>, entries: usize, name: &str) -> Result<Self, DataplaneError> {
        let octets = (entries * size_of::<T>()).next_multiple_of(4096);
        // SAFETY: a new mapping at an address of the kernel's choice. The kernel refuses one that
        // is larger than the array.
        let base = unsafe {
            libc::mmap(ptr::null_mut(), octets, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, fd.as_raw_fd(), 0)
        };
        match NonNull::new(base.cast::<u8>()).filter(|_| base != libc::MAP_FAILED) {
            Some(base) => Ok(Table { base, octets, entries, _type: PhantomData }),
            None => {
                Err(DataplaneError::Io { context: format!("map the table {name}"), source: io::Error::last_os_error() })
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries
    }

    fn at(&self, index: usize) -> *mut T {
        assert!(index < self.entries, "index {index} of a table of {}", self.entries);
        // SAFETY: within the mapping, as just asserted.
        unsafe { self.base.as_ptr().cast::<T>().add(index) }
    }

    /// A copy of an entry. The program may be writing it; words are never torn on the machines that
    /// Linux runs on.
    pub(super) fn read(&self, index: usize) -> T {
        // SAFETY: `at` gives an aligned pointer into the mapping, and any octets are a `T`.
        unsafe { self.at(index).read_volatile() }
    }

    /// Writes an entry, not atomically: only for entries that no packet can reach yet, or that are
    /// monotone.
    pub(super) fn write(&self, index: usize, value: T) {
        // SAFETY: as above; there is no reference into the mapping.
        unsafe { self.at(index).write_volatile(value) }
    }

    /// One word of an entry, `offset` octets after its start.
    pub(super) fn word(&self, index: usize, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= size_of::<T>());
        // SAFETY: aligned, within the mapping, which lives as long as `self`; atomics allow
        // concurrent access.
        unsafe { AtomicU64::from_ptr(self.at(index).cast::<u8>().add(offset).cast()) }
    }

    /// The same for half a word.
    pub(super) fn half_word(&self, index: usize, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= size_of::<T>());
        // SAFETY: as for `word`.
        unsafe { AtomicU32::from_ptr(self.at(index).cast::<u8>().add(offset).cast()) }
    }
}

impl<T> Drop for Table<T> {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and no reference into it outlives `self`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.octets) };
    }
}

/// A release fence: whoever sees later writes also sees earlier ones.
pub(super) fn publish() {
    fence(Ordering::SeqCst);
}

/// A random number that an attacker cannot know, for hash functions.
pub(super) fn random_seed() -> u64 {
    let mut seed = [0u8; 8];
    let read = File::open("/dev/urandom").and_then(|mut file| io::Read::read_exact(&mut file, &mut seed));
    // Without it the table still works, only its layout can be predicted.
    if read.is_err() {
        return u64::from(std::process::id()) << 32 | 0x5bd1_e995;
    }
    u64::from_ne_bytes(seed)
}

//! What decoding allocates, counted: nothing while it borrows, and the octets of the rule when it
//! is kept.

use flowspec::{Action, Communities, Component, Family, Nlri, NlriIter};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting the octets that this thread asks for.
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; the counter neither allocates nor
// unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // The counter may be gone while the thread ends.
        let _ = ALLOCATED.try_with(|sum| sum.set(sum.get() + layout.size()));
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocated<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = ALLOCATED.get();
    let result = work();
    (ALLOCATED.get() - before, result)
}

/// Random octets, mixed so that many fields get past the first checks.
fn fields() -> impl Iterator<Item = Vec<u8>> {
    let mut seed = flowspec::testing::Seed::new(1);
    let mut next = move || seed.next_u64();
    (0..20_000).map(move |_| {
        let len = next() as usize % 200;
        (0..len)
            .map(|_| match next() % 4 {
                0 => next() as u8 % 14,
                1 => 0x80 | (next() as u8 % 32),
                _ => next() as u8,
            })
            .collect()
    })
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocated(|| vec![0u8; 100]).0, 100);
}

#[test]
fn walking_and_reading_allocate_nothing() {
    let mut accepted = 0;
    for field in fields() {
        for family in Family::ALL {
            let (octets, ok) = allocated(|| {
                let mut ok = 0;
                for nlri in NlriIter::new(family, false, &field).filter_map(|entry| entry.nlri.ok()) {
                    ok += 1;
                    for component in nlri.components() {
                        match component {
                            Component::Prefix(..) => {}
                            Component::Numeric(_, ops) => assert!(ops.count() > 0),
                            Component::Bitmask(_, ops) => assert!(ops.count() > 0),
                        }
                    }
                }
                for communities in [Communities::extended(&field), Communities::ipv6(&field)].into_iter().flatten() {
                    communities.filter_map(|community| Action::decode(community).ok()).for_each(|action| {
                        std::hint::black_box(action.encode());
                    });
                }
                ok
            });
            assert_eq!(octets, 0, "{field:02x?}");
            accepted += ok;
        }
    }
    assert!(accepted > 100, "only {accepted} of the random rules were valid");
}

#[test]
fn keeping_a_rule_allocates_its_octets() {
    for field in fields() {
        for nlri in NlriIter::new(Family::Ipv6, false, &field).filter_map(|entry| entry.nlri.ok()) {
            let (octets, kept): (usize, Nlri) = allocated(|| nlri.to_canonical());
            assert_eq!(octets, nlri.as_bytes().len());
            drop(kept);
        }
    }
}

//! Deeds that use memory up, or look at what should not be there.

use std::arch::wasm32::{memory_grow, memory_size};
use std::hint::black_box;
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};

const PAGE: usize = 64 << 10;
/// How many pages of fresh memory `remember` looks at and leaves its traces in.
const FRESH: usize = 64;

pub fn eat() {
    let mut eaten = Vec::new();
    loop {
        eaten.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Page by page until it is refused; then everything that was given is used.
pub fn grow() {
    let first = memory_size(0);
    while memory_grow(0, 1) != usize::MAX {}
    let pages = memory_size(0);
    page_range(first, pages - first).iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    println!("grow: {pages} pages");
}

/// Instructions that work on a lot of memory at once are interrupted only between two of them.
pub fn fill() {
    let mut memory = vec![0_u8; 16 << 20];
    for turn in (0..=u8::MAX).cycle() {
        black_box(&mut memory).fill(turn);
        black_box(&mut memory).copy_within(..8 << 20, 8 << 20);
    }
}

pub fn reserve() {
    let refused = Vec::<u8>::new().try_reserve(i32::MAX as usize).is_err();
    println!("reserve: {}", if refused { "refused" } else { "given" });
}

pub fn far_read() {
    let far = black_box(usize::MAX - 7) as *const u64;
    black_box(unsafe { far.read_unaligned() });
}

/// Says what an earlier call left behind, in a variable and in memory that is fresh to this one, and leaves traces.
pub fn remember() {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let earlier = CALLS.fetch_add(1, Ordering::Relaxed);
    let first = memory_grow(0, FRESH);
    let fresh = page_range(first, FRESH);
    let dirty = fresh.iter().filter(|byte| **byte != 0).count();
    fresh.fill(0xA5);
    println!("remember: {earlier} calls, {dirty} dirty bytes");
}

fn page_range(first: usize, pages: usize) -> &'static mut [u8] {
    // Nobody else has these pages: they were given just now, and the allocator knows nothing of them.
    unsafe { slice::from_raw_parts_mut((first * PAGE) as *mut u8, pages * PAGE) }
}

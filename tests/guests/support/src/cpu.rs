//! Deeds that compute, or stop computing.

use std::arch::wasm32;
use std::hint::black_box;
use std::process;

pub fn spin() {
    let mut turns: u64 = 0;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// With nothing that would have to be in the guest's own memory.
#[inline(never)]
fn descend(depth: u64) -> u64 {
    if depth == u64::MAX { 0 } else { descend(depth + 1).rotate_left(3) ^ depth }
}

/// Past the end of the stack that the host keeps for a call.
pub fn recurse() {
    black_box(descend(black_box(0)));
}

#[expect(unconditional_recursion, reason = "exhausting the stack is the point")]
fn descend_with_luggage(depth: u64) -> u64 {
    black_box([depth; 512]);
    1 + black_box(descend_with_luggage(depth + 1))
}

/// Past the end of the stack that the guest keeps in its own memory.
pub fn recurse_wide() {
    descend_with_luggage(0);
}

/// `(a+)+$` as a naive matcher tries it: twice the work for each letter.
pub fn backtrack() {
    let text = [b"a".repeat(64), b"b".to_vec()].concat();
    black_box(groups_match(&text));
}

fn groups_match(text: &[u8]) -> bool {
    let run = text.iter().take_while(|letter| **letter == b'a').count();
    (1..=run).rev().any(|taken| black_box(taken == text.len() || groups_match(&text[taken..])))
}

pub fn trap() {
    panic!("trapping as asked");
}

/// A panic whose message has several lines.
pub fn assert() {
    assert_eq!(black_box(1), 2, "counting");
}

pub fn unreachable() {
    wasm32::unreachable();
}

pub fn abort() {
    process::abort();
}

pub fn exit_0() {
    process::exit(0);
}

pub fn exit_1() {
    process::exit(1);
}

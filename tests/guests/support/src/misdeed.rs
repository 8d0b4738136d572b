//! What a plugin can do wrong by itself, whatever its role.

/// Does what `what` names, and returns only if that is none of these.
pub fn commit(what: &str) {
    match what {
        "trap" => panic!("trapping as asked"),
        "spin" => spin(),
        "eat" => eat(),
        "recurse" => drop(recurse(0)),
        "chatter" => (0..20_000).for_each(|line| println!("line {line} of far too many")),
        _ => {}
    }
}

fn spin() {
    let mut turns: u64 = 0;
    loop {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
}

fn eat() {
    let mut eaten = Vec::new();
    loop {
        eaten.push(std::hint::black_box(vec![1u8; 1 << 20]));
    }
}

#[expect(unconditional_recursion, reason = "exhausting the stack is the point")]
fn recurse(depth: u64) -> u64 {
    std::hint::black_box([depth; 512]);
    1 + std::hint::black_box(recurse(depth + 1))
}

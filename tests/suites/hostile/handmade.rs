//! Components that no compiler makes, called and loaded.

use futures::StreamExt;
use futures::stream::iter;
use harness::alerts::alert;
use harness::process::holdings;
use harness::{Plugin, Receiver, Settings};
use serde_json::json;

use super::crafted::{change, change_of, processor, with_imports, with_instances, with_nested};
use super::deeds::End;
use super::loading::{Expected, fault, settled};
use super::{LIMITS, assert_none, step};
use End::{Deadline, Memory, Trap, Unusable, Well};

/// What is wrong, how a call ends, where in the processor, and what stands there.
fn called() -> Vec<(&'static str, End, &'static str, String)> {
    let text = |text: &str| text.to_owned();
    vec![
        ("nothing", Well, "PROCESS", text("nop")),
        ("realloc-loop", Deadline, "REALLOC", text("(loop $l (br $l))")),
        ("realloc-far", Unusable("realloc"), "REALLOC", text("(return (i32.const -8))")),
        ("realloc-odd", Unusable("realloc"), "REALLOC", text("(return (i32.const 65537))")),
        ("realloc-trap", Trap("unreachable"), "REALLOC", text("unreachable")),
        (
            "realloc-grow",
            Memory,
            "REALLOC",
            text("(loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable"),
        ),
        ("post-loop", Deadline, "POST", text("(loop $l (br $l))")),
        ("post-trap", Trap("unreachable"), "POST", text("unreachable")),
        ("divide", Trap("divide by zero"), "PROCESS", text("(drop (i32.div_s (i32.const 1) (i32.const 0)))")),
        ("null-read", Well, "PROCESS", text("(drop (i32.load (i32.const 0)))")),
        (
            "null-call",
            Trap("uninitialized element"),
            "PROCESS",
            text("(call_indirect (type $nothing) (i32.const 0))"),
        ),
        (
            "far-call",
            Trap("out of bounds"),
            "PROCESS",
            text("(call_indirect (type $nothing) (i32.const 99))"),
        ),
        ("answer-odd", Unusable("aligned"), "PROCESS", text("(return (i32.const 2049))")),
        ("answer-far", Unusable("out of bounds"), "PROCESS", text("(return (i32.const -8))")),
        (
            "answer-unknown",
            Unusable("discriminant"),
            "PROCESS",
            text("(i32.store8 (i32.const 2048) (i32.const 7))"),
        ),
        ("text-far", Unusable("out of bounds"), "PROCESS", change(-8, 4)),
        ("text-huge", Unusable("out of bounds"), "PROCESS", change(0, 1 << 30)),
        (
            "text-large",
            Unusable("it passed more than 4 MiB"),
            "PROCESS",
            format!("(drop (memory.grow (i32.const 130))) {}", change(0, 8 << 20)),
        ),
        ("text-invalid", Unusable("utf-8"), "PROCESS", change_of(0xffff_ffff)),
        ("text-surrogate", Unusable("utf-8"), "PROCESS", change_of(0x2080_a0ed)),
        ("table-grow", Well, "PROCESS", text(TABLE_GROW)),
        (
            "branches",
            Deadline,
            "PROCESS",
            format!("(loop $l (br_table {} (i32.const 7)))", "$l ".repeat(50_000)),
        ),
        ("bulk", Deadline, "PROCESS", text(FILL)),
    ]
}

/// A thousand entries at a time until no more are given; a crash if that were more than the pool has.
const TABLE_GROW: &str = "(loop $l (br_if $l (i32.ne (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1)))) \
    (if (i32.gt_u (table.size $table) (i32.const 100000)) (then unreachable))";

/// All of the memory at once, again and again.
const FILL: &str = "(drop (memory.grow (i32.const 400))) (loop $l \
    (memory.fill (i32.const 65536) (i32.const 7) (i32.const 26214400)) \
    (memory.copy (i32.const 65537) (i32.const 65536) (i32.const 26214400)) (br $l))";

/// The names of all of these.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let called = called().into_iter().map(|(name, ..)| name);
    called.chain(["realloc-calls", "memories"]).chain(spoiled().into_iter().map(|(name, ..)| name))
}

/// A call to the host from within the allocator, which the host called to hand something over.
fn calls_from_realloc() -> Vec<(&'static str, String)> {
    let import =
        r#"(import "wasi:logging/logging@0.1.0-draft" "log" (func $log (param i32 i32 i32 i32 i32)))"#;
    let call = "(call $log (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))";
    vec![("TOP", import.to_owned()), ("REALLOC", call.to_owned())]
}

#[tokio::test(flavor = "multi_thread")]
async fn handmade_components_that_can_be_loaded_end_as_they_must() {
    let receiver = Receiver::start().await;
    let mut plugins: Vec<_> = called()
        .into_iter()
        .map(|(name, end, place, wrong)| (name, end, processor(&[(place, wrong)])))
        .collect();
    plugins.push(("realloc-calls", Trap("leave"), processor(&calls_from_realloc())));
    // Seven memories of five MiB, each below the limit of the call.
    plugins.push(("memories", Memory, with_instances(processor(&[("PAGES", "80".to_owned())]), 6)));
    let mut settings = Settings::new().plugin(Plugin::recorder("canary", &receiver, ""));
    for (name, _, component) in &plugins {
        let sidecar = format!("when = 'alert.title == \"{name}\"'\n{LIMITS}");
        settings = settings.plugin(Plugin::new(name, component.clone()).sidecar(&sidecar));
    }
    let host = settings.start().await;
    assert_eq!(host.plugins().await["refused"], json!([]));
    let asked = iter(plugins).map(async |(name, end, _)| {
        let ledger = host.ledger(alert(name)).await;
        assert_eq!(step(&ledger, "canary")["result"], "ok", "{name}: {ledger}");
        end.fault(step(&ledger, name)).map(|fault| format!("{name}: {fault}"))
    });
    let faults: Vec<_> = asked.buffer_unordered(3).collect().await;
    assert_none(faults.into_iter().flatten().collect());
}

/// What is wrong, the words of the refusal, where in the processor, and what stands there.
fn refused() -> Vec<(&'static str, &'static str, &'static str, String)> {
    let text = |text: &str| text.to_owned();
    vec![
        ("start-loop", "within 5s", "BOTTOM", text("(func $s (loop $l (br $l))) (start $s)")),
        ("start-trap", "unreachable", "BOTTOM", text("(func $s unreachable) (start $s)")),
        ("describe-loop", "within 5s", "DESCRIBE", text("(loop $l (br $l))")),
        ("describe-far", "out of bounds", "DESCRIBE", text("(return (i32.const -8))")),
        (
            "describe-list",
            "out of bounds",
            "DESCRIBE",
            text("(i32.store (i32.const 1060) (i32.const 10000000))"),
        ),
        ("memory-minimum", "memory limit 128 MiB reached", "PAGES", text("3000")),
        ("memory-huge", "memory", "PAGES", text("20000")),
        ("memory-wide", "wasm32-wasip2, not wasm64", "BOTTOM", text("(memory i64 1)")),
        ("memory-shared", "no -pthread", "BOTTOM", text("(memory 1 1 shared)")),
        ("memories-many", "memories", "BOTTOM", "(memory 1)".repeat(20)),
        ("table-huge", "table", "BOTTOM", text("(table 10000000 funcref)")),
        ("tables-many", "tables", "BOTTOM", "(table 1 funcref)".repeat(90)),
        ("data-far", "out of bounds", "BOTTOM", text("(data (i32.const 10000000) \"x\")")),
        ("elements-far", "out of bounds", "BOTTOM", text("(elem (i32.const 10000000) func 0)")),
        (
            "structs",
            "there is no flag without",
            "BOTTOM",
            text("(type $s (struct (field i32))) (func (drop (struct.new_default $s)))"),
        ),
        ("exceptions", "-fno-exceptions", "BOTTOM", text("(tag $e) (func (throw $e))")),
        (
            "stack-switching",
            "stack switching",
            "BOTTOM",
            text("(type $c (cont $nothing)) (func (drop (ref.null $c)))"),
        ),
    ]
}

/// Components that are refused, by name, with the words of the refusal.
fn spoiled() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let mut all: Vec<_> = refused()
        .into_iter()
        .map(|(name, words, place, wrong)| (name, words, processor(&[(place, wrong)])))
        .collect();
    all.push(("instances", "instances", with_instances(processor(&[]), 100)));
    all.push(("nested", "components within each other", with_nested(processor(&[]), 10_000)));
    all.push(("imports", "which this host does not offer", with_imports(20_000)));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn handmade_components_that_cannot_be_run_are_refused_with_the_reason() {
    let host = Settings::new().start().await;
    let spoiled = spoiled();
    for (name, _, component) in &spoiled {
        host.drop_plugin(&Plugin::new(name, component.clone()));
    }
    let expected: Vec<Expected> =
        spoiled.iter().map(|(name, words, _)| ((*name).to_owned(), Some(*words))).collect();
    let inventory = settled(&host, &expected).await;
    assert_none(expected.iter().filter_map(|(name, words)| fault(&inventory, name, *words)).collect());
    assert_eq!(host.ledger(alert("afterwards")).await["outcome"], "unrouted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_too_large_is_not_read() {
    let settings = Settings::new();
    let file = std::fs::File::create(settings.plugins().join("large.wasm")).expect("writable");
    file.set_len(500 << 20).expect("a sparse file");
    let host = settings.start().await;
    let refused = host.refused("large.wasm").await;
    assert_eq!(refused["reason"], "it cannot be read: it is larger than 64 MiB");
    let used = holdings(host.process().id()).memory;
    assert!(used < 1_024, "{used} MiB for a file that is refused");
}

/// One function whose many values are all alive to its end: compiling it takes far more memory than the file has bytes.
fn compile_bomb() -> Vec<u8> {
    let values = 60_000;
    let function = format!(
        "(func (param i32) (result i32) {} {})",
        "(i32.load (i32.load (local.get 0)))".repeat(values),
        "(i32.xor)".repeat(values - 1)
    );
    processor(&[("BOTTOM", function)])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compile_bomb_refuses_that_plugin_and_nothing_else_happens() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().plugin(Plugin::recorder("canary", &receiver, ""));
    let host = settings.and_config("[compilation]\nmemory = \"192MiB\"\n").start().await;
    let before = holdings(host.process().id());
    host.drop_plugin(&Plugin::new("bomb", compile_bomb()));
    let refused = host.refused("bomb.wasm").await;
    assert_eq!(refused["reason"], "compiling it takes more memory than 192 MiB ([compilation] memory)");
    let after = holdings(host.process().id());
    assert!(after.memory <= before.memory + 64, "the host itself took it: {before:?}, {after:?}");
    assert_eq!(host.ledger(alert("afterwards")).await["outcome"], "delivered");
}

//! How the end of a compiling process is understood.

use super::*;
use std::os::unix::process::ExitStatusExt;

fn compiler() -> Compiler {
    Compiler {
        engine: engine::open(1).unwrap(),
        executable: "/nowhere".into(),
        config: CompilationConfig::default(),
        cache: None,
        places: Semaphore::new(1),
    }
}

fn judge(status: i32, said: &str, code: Vec<u8>) -> Result<(), CompileError> {
    let status = ExitStatus::from_raw(status);
    compiler().judge(Output { status, code, said: said.into() }).map(drop)
}

#[tokio::test]
async fn the_end_of_the_process_is_explained_in_the_operators_words() {
    let (exit, signal) = (|code: i32| code << 8, |signal: Signal| signal.as_raw());
    let table = [
        (exit(1), "error: it does not compile: type mismatch\n", "it does not compile: type mismatch", false),
        (
            signal(Signal::ABORT),
            "memory allocation of 16 bytes failed\nnote: run with",
            "compiling it takes more memory than 2 GiB ([compilation] memory)",
            true,
        ),
        (signal(Signal::XCPU), "", "compiling it takes longer than 60s ([compilation] timeout)", true),
        (
            signal(Signal::KILL),
            "",
            "the compiling process was killed: by an operator, or by the system when memory runs out",
            true,
        ),
        (
            exit(101),
            "panicked at\nThreadPoolBuildError { message: \"Resource temporarily unavailable\" }\nnote: run with",
            "no compiler could be started: Resource temporarily unavailable (os error 11)",
            true,
        ),
        (
            exit(101),
            "panicked at\nindex out of bounds",
            "the compiler crashed over it: index out of bounds",
            false,
        ),
    ];
    for (status, said, expected, can_pass) in table {
        let error = judge(status, said, Vec::new()).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.can_pass()), (expected, can_pass));
    }
    assert!(judge(0, "", Vec::new()).is_ok());
}

#[tokio::test]
async fn whoever_ends_the_process_says_nothing_about_the_component() {
    for signal in KILLING {
        let error = judge(signal.as_raw(), "", Vec::new()).unwrap_err();
        assert!(matches!(error, CompileError::Killed) && error.can_pass(), "{signal:?}: {error}");
    }
    // What a component makes the compiler say is no lack of threads.
    let said = "error: it does not compile: Resource temporarily unavailable\n";
    assert!(!judge(1 << 8, said, Vec::new()).unwrap_err().can_pass());
}

#[test]
fn code_that_the_system_has_no_room_for_is_worth_another_attempt() {
    let of_system = [wasmtime::Error::new(Errno::NOMEM), io::Error::from(Errno::AGAIN).into()];
    for error in of_system.map(|error| error.context("mmap failed")) {
        let error = not_loaded(&error);
        assert!(error.can_pass() && error.to_string().contains("mapped: mmap failed: "), "{error}");
    }
    assert!(!not_loaded(&wasmtime::Error::msg("another engine")).can_pass());
}

#[tokio::test]
async fn machine_code_without_end_is_refused() {
    let endless = vec![0; usize::try_from(MOST_CODE).unwrap() + 1];
    let error = judge(0, "", endless).unwrap_err();
    assert_eq!(error.to_string(), "it becomes more than 256 MiB of machine code");
    let read = read(Some(tokio::io::repeat(1)), 9).await.unwrap();
    assert_eq!(read.len(), 9);
}

#[tokio::test]
async fn a_compiler_that_cannot_be_started_is_worth_another_attempt() {
    let error = compiler().compile("sha256:00", b"").await.err().unwrap();
    assert!(error.to_string().starts_with("no compiler could be started: "), "{error}");
    assert!(error.can_pass());
}

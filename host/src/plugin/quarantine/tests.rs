//! What opens the breaker, and what does not.

use super::*;

const CRASH: Conduct<'static> = Conduct::Failed { why: "it crashed", by_input: true };

fn sender(name: &str) -> Sender {
    Sender::new(Some(name), None, None)
}

fn input(number: u32) -> Input {
    Input::of(&[&number.to_le_bytes()])
}

/// One call; the sample, if it has to be tried, behaves as `sample` says.
fn call(
    breaker: &Breaker,
    number: u32,
    from: &str,
    conduct: Conduct<'_>,
    sample: Conduct<'_>,
) -> Result<(), CallError> {
    let permit = breaker.enter(input(number), &sender(from))?;
    if let Some(trial) = permit.conclude("alert-1", conduct) {
        trial.conclude(sample);
    }
    Ok(())
}

fn notifier(after: u32) -> Breaker {
    Breaker::new("p", after, false)
}

/// The breaker of a notifier that has just opened, and may have its trial.
fn ready_for_trial() -> Breaker {
    let breaker = notifier(3);
    (0..3).for_each(|number| call(&breaker, number, "a", CRASH, CRASH).unwrap());
    expire(&breaker);
    breaker
}

fn expire(breaker: &Breaker) {
    match &mut breaker.inner.lock().state {
        State::Open(until, _) => *until = Instant::now(),
        _ => panic!("it is not open"),
    }
}

fn is_open(breaker: &Breaker) -> bool {
    breaker.status().is_some()
}

#[test]
fn only_different_inputs_in_a_row_open_it() {
    let breaker = notifier(3);
    for (number, conduct) in [(1, CRASH), (2, CRASH), (2, CRASH), (3, Conduct::Good), (4, CRASH), (4, CRASH)]
    {
        call(&breaker, number, "a", conduct, CRASH).unwrap();
    }
    call(&breaker, 5, "a", Conduct::Unknown, CRASH).unwrap();
    call(&breaker, 6, "a", CRASH, CRASH).unwrap();
    assert!(!is_open(&breaker));
    call(&breaker, 7, "a", CRASH, CRASH).unwrap();
    let error = call(&breaker, 8, "a", Conduct::Good, CRASH).unwrap_err();
    assert_eq!(error.reason, Reason::Quarantined);
    assert!(error.retry.delay().unwrap() > Duration::from_secs(29), "{error:?}");
    assert!(error.message.contains("failed on 3 different inputs in a row, at last: it crashed"), "{error}");
}

#[test]
fn one_sender_alone_does_not_open_it_while_the_hosts_sample_passes() {
    let breaker = Breaker::new("p", 5, true);
    for number in 0..1_000 {
        call(&breaker, number, "bad", CRASH, Conduct::Good).unwrap();
    }
    assert!(!is_open(&breaker));
    for number in 1_000..1_005 {
        call(&breaker, number, "bad", CRASH, CRASH).unwrap();
    }
    assert!(breaker.status().unwrap().0.contains("and on the host's own: it crashed"));
}

#[test]
fn two_senders_open_it() {
    let breaker = Breaker::new("p", 5, true);
    for number in 0..4 {
        call(&breaker, number, "a", CRASH, Conduct::Good).unwrap();
    }
    assert!(!is_open(&breaker));
    call(&breaker, 4, "b", CRASH, Conduct::Good).unwrap();
    assert!(is_open(&breaker));
}

#[test]
fn one_sender_does_not_keep_it_open_either() {
    let breaker = Breaker::new("p", 3, true);
    (0..3).for_each(|number| call(&breaker, number, "a", CRASH, CRASH).unwrap());
    expire(&breaker);
    call(&breaker, 7, "a", CRASH, CRASH).unwrap();
    assert!(is_open(&breaker), "the sample failed, too");
    expire(&breaker);
    call(&breaker, 8, "a", CRASH, Conduct::Good).unwrap();
    assert!(!is_open(&breaker));
}

#[test]
fn an_input_that_failed_twice_is_refused_by_itself() {
    let breaker = Breaker::new("p", 5, true);
    for _ in 0..2 {
        call(&breaker, 1, "a", CRASH, Conduct::Good).unwrap();
    }
    let error = call(&breaker, 1, "b", Conduct::Good, Conduct::Good).unwrap_err();
    assert_eq!((error.reason, error.code.as_str()), (Reason::FailingInput, "failing-input"));
    assert!(error.message.starts_with("p failed 2 times on this very input, at last: it crashed"), "{error}");
    call(&breaker, 2, "a", Conduct::Good, Conduct::Good).unwrap();
    let listed = &breaker.failing_inputs()[0];
    assert_eq!((&listed.sender, &*listed.about), (&sender("a"), "alert-1"));
    assert!(!breaker.release());
    call(&breaker, 1, "b", Conduct::Good, Conduct::Good).unwrap();
}

#[test]
fn a_slow_service_is_not_the_inputs_fault() {
    let (breaker, slow) = (Breaker::new("p", 5, true), Conduct::Failed { why: "it waited", by_input: false });
    for _ in 0..10 {
        call(&breaker, 1, "a", slow, Conduct::Good).unwrap();
    }
}

#[test]
fn one_call_is_tried_and_closes_it() {
    let breaker = ready_for_trial();
    let trial = breaker.enter(input(9), &sender("a")).unwrap();
    assert_eq!(
        breaker.enter(input(9), &sender("a")).err().unwrap().reason,
        Reason::Quarantined,
        "one at a time"
    );
    assert!(trial.conclude("", Conduct::Good).is_none());
    assert!(!is_open(&breaker) && breaker.enter(input(9), &sender("a")).is_ok());
}

#[test]
fn a_failed_trial_doubles_the_time_up_to_a_bound() {
    let breaker = ready_for_trial();
    for seconds in [60, 120, 240, 480, 900, 900] {
        expire(&breaker);
        call(&breaker, seconds, "a", CRASH, CRASH).unwrap();
        let left = breaker.status().unwrap().1.as_secs_f64().ceil();
        assert_eq!(left, f64::from(seconds));
    }
}

#[test]
fn a_trial_that_ends_without_an_answer_makes_room_for_another() {
    let breaker = ready_for_trial();
    drop(breaker.enter(input(1), &sender("a")).unwrap());
    breaker.enter(input(1), &sender("a")).unwrap().conclude("", Conduct::Unknown);
    assert!(breaker.enter(input(1), &sender("a")).is_ok());
    let fed = Breaker::new("p", 3, true);
    (0..3).for_each(|number| call(&fed, number, "a", CRASH, CRASH).unwrap());
    expire(&fed);
    drop(fed.enter(input(4), &sender("a")).unwrap().conclude("", CRASH).expect("the sample has to be tried"));
    assert!(fed.enter(input(5), &sender("a")).is_ok());
}

#[test]
fn it_can_be_released_by_hand_and_switched_off() {
    let breaker = ready_for_trial();
    assert!(breaker.release() && !breaker.release());
    assert!(breaker.enter(input(1), &sender("a")).is_ok());
    let never = notifier(0);
    (0..100).for_each(|number| call(&never, number, "a", CRASH, CRASH).unwrap());
}

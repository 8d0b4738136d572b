use serde_json::json;

use super::*;

const NOW: &str = "2026-11-27T10:00:00Z";

fn load(toml: &str) -> Result<(Router, Vec<String>), Vec<String>> {
    let config: RoutesConfig = toml::from_str(toml).unwrap();
    let has_plugin = |name: &str| ["log", "slack"].contains(&name);
    let said = |faults: Vec<crate::fault::Fault>| faults.iter().map(ToString::to_string).collect::<Vec<_>>();
    match Router::load(&config, &has_plugin, true, NOW.parse().unwrap()) {
        Ok((router, odd)) => Ok((router, said(odd))),
        Err(faults) => Err(said(faults)),
    }
}

const TREE: &str = r#"
routing.catch-all = ["log"]
windows.office = { times = [{ days = ["mon", "tue", "wed", "thu"], from = "09:00", until = "17:00" }] }

[receivers.team-a]
plugin = "slack"
[receivers.night]
plugin = "slack"
fallback = ["log"]

[[routes]]
name = "archive"
when = "alert.severity != 'low'"
receivers = ["log"]
continue = true

[[routes]]
name = "shop"
when = "alert.labels.team == 'shop'"
receivers = ["slack"]
  [[routes.routes]]
  name = "shop critical"
  when = "alert.severity == 'critical'"
  receivers = ["team-a", "night"]

[[routes]]
name = "by day"
when = "alert.type == 'database'"
receivers = ["team-a"]
active = ["office"]
"#;

fn routed(toml: &str, alert: Value) -> Routed {
    load(toml).unwrap().0.route(&alert, NOW.parse().unwrap()).0
}

fn receivers(alert: Value) -> Vec<String> {
    routed(TREE, alert).receivers
}

#[test]
fn the_first_route_takes_an_alert_unless_it_lets_it_go_on_and_a_route_below_takes_its_place() {
    let team = json!({"team": "shop"});
    assert_eq!(receivers(json!({"severity": "low", "labels": team, "type": "custom"})), ["slack"]);
    assert_eq!(receivers(json!({"severity": "high", "labels": team, "type": "custom"})), ["log", "slack"]);
    let critical = json!({"severity": "critical", "labels": team, "type": "custom"});
    assert_eq!(receivers(critical), ["log", "team-a", "night"]);
}

#[test]
fn what_nobody_takes_goes_to_the_catch_all_and_says_so() {
    let routed = routed(TREE, json!({"severity": "low", "labels": {"team": "x"}, "type": "custom"}));
    assert!(routed.unrouted);
    assert_eq!(routed.receivers, ["log"]);
}

#[test]
fn a_condition_that_cannot_be_evaluated_takes_the_alert() {
    let (router, _) = load(TREE).unwrap();
    let (routed, visits) = router.route(&json!({"severity": "low", "labels": {}}), NOW.parse().unwrap());
    assert_eq!(
        routed.receivers,
        ["slack", "team-a"],
        "those after it are asked, too, and no window hides it"
    );
    let said: Vec<String> = visits.iter().map(ToString::to_string).collect();
    assert_eq!(said[0], "route archive: leaves it: alert.severity != 'low' is false");
    assert!(
        said[1].starts_with("route shop: takes it, although its `when` could not be evaluated: No such key")
    );
}

#[test]
fn a_route_that_names_nobody_is_no_answer() {
    let routed = routed("routing.catch-all = ['log']\n[[routes]]\nupdaters = ['slack']", json!({}));
    assert!(routed.unrouted && routed.muted.is_none(), "{routed:?}");
    assert_eq!((routed.receivers, routed.updaters), (vec!["log".to_owned()], vec!["slack".to_owned()]));
}

#[test]
fn a_window_and_a_mute_tell_nobody_and_say_why() {
    // A Friday.
    let by_day = json!({"severity": "low", "labels": {"team": "x"}, "type": "database"});
    let routed_then = routed(TREE, by_day.clone());
    assert_eq!(routed_then.receivers, [""; 0]);
    assert_eq!(routed_then.muted.as_deref(), Some("route by day tells nobody now: window office"));
    let on_thursday = load(TREE).unwrap().0.route(&by_day, "2026-11-26T10:00:00Z".parse().unwrap()).0;
    assert_eq!(on_thursday.receivers, ["team-a"]);

    let mute =
        "[[mutes]]\nwhen = \"alert.severity == 'low'\"\nuntil = '2026-11-27T11:00:00Z'\nreason = 'a move'\n";
    let muted = routed(&format!("{TREE}\n{mute}"), by_day);
    assert_eq!(muted.muted.as_deref(), Some("muted until 2026-11-27T11:00:00.000000Z: a move"));
}

/// Conditions that go over one budget for [`large`] and stay within the other, and what is said of them.
const COSTLY: [(&str, &str); 2] = [
    (
        "alert.links.exists(a, alert.links.exists(b, b == \"\"))",
        "takes more than 150000 steps, the budget of one evaluation",
    ),
    (
        "alert.links.exists(a, a + alert.description == \"\")",
        "makes more than 1024 KiB, the budget of one evaluation",
    ),
];

fn large() -> Value {
    let links: Vec<String> = (0..400).map(|number| format!("https://run.example/{number}")).collect();
    json!({"links": links, "description": "a".repeat(10_000)})
}

#[test]
fn a_route_over_its_budget_takes_the_alert_and_says_so() {
    for (when, why) in COSTLY {
        let toml = format!(
            "[[routes]]\nname = 'costly'\nwhen = '{when}'\nreceivers = ['log']\n[[routes]]\nreceivers = ['slack']"
        );
        let (router, _) = load(&toml).unwrap();
        let alert = large();
        let (routed, visits) = router.route(&alert, NOW.parse().unwrap());
        assert_eq!(routed.receivers, ["log", "slack"]);
        let expected = format!("route costly: takes it, although its `when` could not be evaluated: {why}");
        assert_eq!(visits[0].to_string(), expected);
    }
}

#[test]
fn a_mute_over_its_budget_mutes_nothing_and_says_so() {
    for (when, why) in COSTLY {
        let mute = format!("[[mutes]]\nwhen = '{when}'\nuntil = '2026-11-27T11:00:00Z'\nreason = 'a move'");
        let routed = routed(&format!("[[routes]]\nreceivers = ['log']\n{mute}"), large());
        assert_eq!(
            (routed.muted.as_deref(), routed.receivers.as_slice()),
            (None, ["log".to_owned()].as_slice())
        );
        let [said] = routed.failed_mutes.as_slice() else { panic!("{routed:?}") };
        let begin = "mute until 2026-11-27T11:00:00.000000Z (a move): mutes nothing, its `when` could not be evaluated";
        assert_eq!(said, &format!("{begin}: {why}"));
        assert!(routed.to_string().ends_with(said), "{routed}");
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_its_place() {
    let said = load(
        "[[routes]]\nwhen = 'alert.severity'\nreceivers = ['nobody']\nactive = ['never']\n\
         [[routes.routes]]\nwhen = 'severity ='\nupdaters = ['none']\n\
         [receivers.a]\nfallback = ['a', 'b']\nretry.timeout = '0s'\n\
         [windows.w]\ntime-zone = 'Berlin'\ntimes = []",
    )
    .err()
    .unwrap()
    .join("\n");
    for part in [
        "routes[0].when: gives string, not true or false",
        "routes[0].receivers[0]: nobody is neither [receivers.nobody] nor a plugin",
        "routes[0].active[0]: there is no window never",
        "routes[0].routes[0].when: is not a CEL expression",
        "routes[0].routes[0].updaters[0]: none is neither [updaters.none] nor a plugin",
        "receivers.a.fallback[0]: is the receiver itself",
        "receivers.a.fallback[1]: b is neither",
        "receivers.a.retry.timeout: 0s is not longer than 0s",
        "windows.w.time-zone: \"Berlin\" is not a time zone",
    ] {
        assert!(said.contains(part), "{part} is missing in:\n{said}");
    }
}

#[test]
fn what_works_but_is_odd_is_told() {
    let (_, odd) = load(
        "[receivers.unused]\nplugin = 'slack'\n[[routes]]\nreceivers = ['log']\n[[routes]]\nreceivers = ['slack']\n\
         [[mutes]]\nwhen = 'true'\nuntil = '2020-01-01T00:00:00Z'\nreason = 'x'",
    )
    .unwrap();
    let expected = [
        "routes[1]: is never reached: routes[0] takes every alert, and does not `continue`",
        "mutes[0]: has ended, at 2020-01-01T00:00:00.000000Z: it can be removed",
        "receivers.unused: is in no route, no fallback and not the catch-all",
    ];
    assert_eq!(odd, expected);
}

#[test]
fn a_route_behind_one_that_takes_the_same_is_told() {
    let route =
        |when: &str, more: &str| format!("[[routes]]\nwhen = '{when}'\nreceivers = ['slack']\n{more}\n");
    let is_low = "alert.severity == \"low\"";
    let text = [
        route(is_low, "continue = true"),
        route(is_low, ""),
        route("alert.severty == \"high\"", ""),
        route(is_low, ""),
        route(" true ", ""),
        route("alert.title == \"t\"", ""),
    ];
    let (_, odd) = load(&text.concat()).unwrap();
    let [same, all, mistyped] = odd.as_slice() else { panic!("{odd:?}") };
    assert!(mistyped.starts_with("routes[2].when: reads alert.severty"), "{mistyped}");
    assert!(
        same.starts_with(
            "routes[3]: is reached only if its condition cannot be evaluated: routes[1] has the same"
        ),
        "{same}"
    );
    assert!(all.starts_with("routes[5]: is never reached: routes[4] takes every alert"), "{all}");
}

#[test]
fn two_receivers_of_one_task_queue_have_one_limit() {
    let toml = "[receivers.a]\nplugin = 'slack'\nrate-limit = 1\n[receivers.b]\nplugin = 'log'\ntask-queue = 'receiver-a'";
    let said = load(toml).err().unwrap().join("\n");
    assert!(said.contains("receivers.b.rate-limit: a has the same task queue receiver-a"), "{said}");
    assert_eq!(routed("[[routes]]\nreceivers = ['log']", json!({})).receivers, ["log"]);
}

/// The first example of the guide.
fn guide() -> Router {
    let text = include_str!("../../../docs/delivery.md");
    let toml = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let config: RoutesConfig = toml::from_str(toml).unwrap();
    let (router, odd) = Router::load(&config, &|_| true, true, NOW.parse().unwrap()).unwrap();
    assert!(odd.is_empty(), "{odd:?}");
    router
}

#[test]
fn the_guides_example_pages_at_every_hour() {
    let router = guide();
    let [office, night] = ["2026-11-27T10:00:00Z", "2026-11-27T23:00:00Z"].map(|at| at.parse().unwrap());
    for (severity, at, expected) in [
        ("critical", office, vec!["payments"]),
        ("critical", night, vec!["email-oncall", "payments"]),
        ("high", night, vec!["payments"]),
        ("low", office, vec!["email-oncall"]),
    ] {
        let alert =
            json!({"severity": severity, "labels": {"team": "payments"}, "source": {"name": "prometheus"}});
        let (routed, _) = router.route(&alert, at);
        assert_eq!(routed.receivers, expected, "{severity} at {at}");
        assert_eq!(routed.updaters, ["http-status"]);
    }
}

#[test]
fn the_tree_is_shown() {
    let shown = load(TREE).unwrap().0.to_string();
    assert_eq!(
        shown,
        "archive  alert.severity != 'low' → log  continue\n\
         shop  alert.labels.team == 'shop' → slack\n  \
         shop critical  alert.severity == 'critical' → team-a, night\n\
         by day  alert.type == 'database' → team-a  active office\n\
         else → log\n"
    );
}

#[test]
fn routes_that_give_an_alert_too_many_receivers_are_refused() {
    let load = |receivers| {
        let config = RoutesConfig { limits: PlanLimits { receivers }, ..toml::from_str(TREE).unwrap() };
        let loaded = Router::load(&config, &|_| true, true, NOW.parse().unwrap());
        loaded.err().map(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(load(4), None);
    let faults = load(3).unwrap();
    let expected = "routes: one alert can have 4 receivers, fallbacks counted, more than the 3 of [limits] receivers: log, night, team-a";
    assert_eq!(faults, [expected]);
}

#[test]
fn routes_that_give_an_alert_too_many_updaters_are_refused() {
    let names: Vec<String> = (0..9).map(|number| format!("u{number}")).collect();
    let toml = format!("[[routes]]\nreceivers = ['log']\nupdaters = {names:?}");
    let config: RoutesConfig = toml::from_str(&toml).unwrap();
    let faults = Router::load(&config, &|_| true, true, NOW.parse().unwrap()).err().unwrap();
    assert!(faults[0].to_string().starts_with("routes: one alert can have 9 updaters, more than 8: u0, u1"));
}

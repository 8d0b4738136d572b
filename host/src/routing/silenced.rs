//! Routes that keep an alert from the receivers of the route above them. What a route below takes, the one above does not deliver, also
//! while the one below is silent, or if it names no receiver.

use super::config::RouteConfig;
use crate::fault::Fault;

/// The route above, with what it stands below itself.
#[derive(Clone, Default)]
struct Above<'a> {
    path: String,
    receivers: &'a [String],
    /// The windows of each route on the way, of which one has to be open.
    active: Vec<&'a [String]>,
    /// The windows on the way of which none may be open.
    mute: Vec<&'a String>,
}

/// When a route tells no receiver, although the one above it would.
#[derive(Clone, Debug, Default, PartialEq)]
struct Silence<'a> {
    /// While one of these is open.
    inside: Vec<&'a String>,
    /// While none of these is.
    outside: &'a [String],
}

/// A warning for each such route.
pub(super) fn silenced(routes: &[RouteConfig]) -> Vec<Fault> {
    let mut found = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        below(&Above::default().then(format!("routes[{index}]"), route), &route.routes, &mut found);
    }
    found
}

fn below<'a>(above: &Above<'a>, routes: &'a [RouteConfig], found: &mut Vec<Fault>) {
    for (index, route) in routes.iter().enumerate() {
        let path = format!("{}.routes[{index}]", above.path);
        let receivers = route.receivers.as_deref().unwrap_or(above.receivers);
        if !above.receivers.is_empty() && !is_made_up_for(routes, index, above) {
            let message = match (above.silence(route), receivers.is_empty() && route.routes.is_empty()) {
                (_, true) => Some("names no receiver: what it takes goes to the catch-all".to_owned()),
                (Some(silence), false) => Some(format!("notifies no receiver {silence}")),
                (None, false) => None,
            };
            found.extend(message.map(|what| above.kept_from(path.clone(), &what)));
        }
        below(&above.then(path, route), &route.routes, found);
    }
}

impl<'a> Above<'a> {
    /// The same for the routes below `route`.
    fn then(&self, path: String, route: &'a RouteConfig) -> Self {
        let mut then = self.clone();
        then.path = path;
        then.receivers = route.receivers.as_deref().unwrap_or(self.receivers);
        then.active.extend((!route.active.is_empty()).then_some(route.active.as_slice()));
        then.mute.extend(&route.mute);
        then
    }

    /// When a route is silent, while those above it are not.
    fn silence(&self, route: &'a RouteConfig) -> Option<Silence<'a>> {
        let inside = route.mute.iter().filter(|name| !self.mute.contains(name)).collect();
        // Where one of these windows is open whenever the way to the route is.
        let is_open = |active: &&[String]| active.iter().all(|name| route.active.contains(name));
        let outside: &[String] = if self.active.iter().any(is_open) { &[] } else { route.active.as_slice() };
        Some(Silence { inside, outside }).filter(|silence| *silence != Silence::default())
    }

    fn kept_from(&self, path: String, what: &str) -> Fault {
        let (above, receivers) = (&self.path, self.receivers.join(", "));
        let message = format!(
            "{what}, and then {above} does not notify {receivers} of it either. If it is to, put this route beside {above}, in front \
             of it, with `continue = true`"
        );
        Fault { path, value: None, message }
    }
}

/// Whether another route beside this one takes its alerts, too, whenever this one is silent.
fn is_made_up_for<'a>(routes: &'a [RouteConfig], index: usize, above: &Above<'a>) -> bool {
    let (route, silence) = (&routes[index], above.silence(&routes[index]).unwrap_or_default());
    let takes_the_same = |other: &RouteConfig| {
        other.when.as_deref().is_none_or(|when| when.trim() == "true" || Some(when) == route.when.as_deref())
    };
    let notifies =
        |other: &RouteConfig| other.receivers.as_ref().is_none_or(|receivers| !receivers.is_empty());
    routes.iter().enumerate().any(|(place, other)| {
        let is_asked = if place < index { other.goes_on } else { place > index && route.goes_on };
        is_asked && takes_the_same(other) && notifies(other) && is_open(other, &silence)
    })
}

/// Whether a route notifies its receivers all through the silence of another.
fn is_open(route: &RouteConfig, silence: &Silence<'_>) -> bool {
    let Silence { inside, outside } = silence;
    match (route.active.as_slice(), route.mute.as_slice()) {
        ([], []) => true,
        (active, []) if outside.is_empty() && !inside.is_empty() => {
            inside.iter().all(|name| active.contains(name))
        }
        ([], mute) if inside.is_empty() => mute.iter().all(|name| outside.contains(name)),
        _ => false,
    }
}

impl std::fmt::Display for Silence<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.inside.iter().map(|name| name.as_str()).collect();
        match (names.is_empty(), self.outside) {
            (false, []) => write!(f, "in window {}", names.join(", ")),
            (true, outside) => write!(f, "outside window {}", outside.join(", ")),
            (false, outside) => {
                write!(f, "in window {} and outside window {}", names.join(", "), outside.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::RoutesConfig;

    /// What is said of routes below one that notifies `chat`; `above` is what else that has.
    fn said(above: &str, below: &str) -> Vec<String> {
        let toml = format!("[[routes]]\nreceivers = ['chat']\n{above}\n{below}")
            .replace("[below]", "[[routes.routes]]");
        let config: RoutesConfig = toml::from_str(&toml).unwrap();
        silenced(&config.routes).iter().map(ToString::to_string).collect()
    }

    const ADVICE: &str = ", and then routes[0] does not notify chat of it either. If it is to, put this route beside \
                          routes[0], in front of it, with `continue = true`";

    #[test]
    fn a_silent_route_keeps_alerts_from_the_receivers_above_it() {
        for (below, what) in [
            ("[below]\nmute = ['office']", "notifies no receiver in window office"),
            ("[below]\nactive = ['night', 'sunday']", "notifies no receiver outside window night, sunday"),
            (
                "[below]\nmute = ['a']\nactive = ['b']",
                "notifies no receiver in window a and outside window b",
            ),
            ("[below]\nmute = ['office']\ncontinue = true", "notifies no receiver in window office"),
            ("[below]\nreceivers = []", "names no receiver: what it takes goes to the catch-all"),
        ] {
            assert_eq!(said("", below), [format!("routes[0].routes[0]: {what}{ADVICE}")], "{below}");
        }
        let deep = said("", "[below]\nwhen = 'true'\n[[routes.routes.routes]]\nmute = ['office']");
        assert!(deep[0].starts_with("routes[0].routes[0].routes[0]: notifies no receiver"), "{deep:?}");
    }

    #[test]
    fn what_is_silent_above_as_well_keeps_nothing_back() {
        for (above, below) in [
            ("", "[below]\nreceivers = ['mail']"),
            ("mute = ['office']", "[below]\nmute = ['office']"),
            ("active = ['office']", "[below]\nactive = ['office', 'night']"),
        ] {
            assert_eq!(said(above, below), [""; 0], "{above} {below}");
        }
        assert_eq!(said("mute = ['office']", "[below]\nmute = ['office', 'lunch']").len(), 1);
        assert_eq!(said("active = ['office', 'night']", "[below]\nactive = ['office']").len(), 1);
    }

    #[test]
    fn another_route_can_make_up_for_the_silence() {
        let night = "[below]\nwhen = 'x'\nreceivers = ['mail']\nmute = ['office']\ncontinue = true\n";
        for other in ["", "when = 'true'", "when = 'x'", "when = 'x'\nactive = ['office', 'lunch']"] {
            assert_eq!(said("", &format!("{night}[below]\n{other}")), [""; 0], "{other}");
        }
        for other in ["when = 'y'", "receivers = []", "mute = ['lunch']", "active = ['lunch']"] {
            let said = said("", &format!("{night}[below]\n{other}"));
            assert!(
                said[0].starts_with("routes[0].routes[0]: notifies no receiver in window office"),
                "{said:?}"
            );
        }
        let both = "[below]\nmute = ['office']\ncontinue = true\n[below]\nactive = ['office']";
        assert_eq!(said("", both), [""; 0], "each is open while the other is silent");
    }
}

//! How many receivers and updaters the routes can give to one alert, which Temporal's limits bound. What a condition that fails
//! lets through comes on top, and is bounded when the alert is planned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Receiver, Route};

type Names<'a> = BTreeSet<&'a str>;

/// The most receivers that one alert gets from these routes.
pub(super) fn receivers<'a>(
    routes: &'a [Route],
    known: &BTreeMap<String, Arc<Receiver>>,
) -> (Names<'a>, usize) {
    let weight = |names: &Names<'a>| count(names.iter().copied(), known);
    let names = along(routes, |route| &route.receivers, &weight);
    let count = weight(&names);
    (names, count)
}

/// The most updaters that one alert gets from these routes.
pub(super) fn updaters(routes: &[Route]) -> Names<'_> {
    along(routes, |route| &route.updaters, &BTreeSet::len)
}

/// How many these are, their fallbacks counted.
pub(super) fn count<'a>(
    names: impl Iterator<Item = &'a str>,
    known: &BTreeMap<String, Arc<Receiver>>,
) -> usize {
    names.map(|name| 1 + known.get(name).map_or(0, |receiver| receiver.fallback.len())).sum()
}

/// An alert goes along the routes that `continue`, up to the first that takes it and does not.
fn along<'a>(
    routes: &'a [Route],
    names: fn(&'a Route) -> &'a Vec<String>,
    weight: &dyn Fn(&Names<'a>) -> usize,
) -> Names<'a> {
    let heavier = |one: Names<'a>, other: Names<'a>| if weight(&other) > weight(&one) { other } else { one };
    let (mut most, mut so_far) = (Names::new(), Names::new());
    for route in routes {
        // The first of those below that takes the alert takes the place of the route itself.
        let own = names(route).iter().map(String::as_str).collect();
        let taken = heavier(own, along(&route.routes, names, weight));
        let with: Names<'a> = so_far.union(&taken).copied().collect();
        match route.goes_on {
            true => so_far = with,
            false => most = heavier(most, with),
        }
    }
    heavier(most, so_far)
}

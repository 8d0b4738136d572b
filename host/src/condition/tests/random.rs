//! Random conditions that mostly fit together, and random alerts.

use arbitrary::Unstructured;
use serde_json::{Value as Json, json};

/// An alert: fields are absent, or of another type, now and then.
pub(super) fn alert(random: &mut Unstructured<'_>) -> Json {
    let mut alert = json!({
        "title": "Pool is full", "severity": "high", "labels": {"team": "shop", "a": "b"}, "links": ["x", "y", "z"],
        "data": {"n": 3, "list": [1, 2.5, "a", null, [1]], "map": {"a": 1}, "big": 18_446_744_073_709_551_615_u64},
        "metrics": {"cpu": 95.5, "n": -3},
    });
    let odd = [json!(null), json!(7), json!("text"), json!([1, [2]]), json!(false), json!(0.5)];
    for field in ["title", "severity", "labels", "links", "data", "metrics"] {
        match random.int_in_range(0..=7_usize).unwrap_or(0) {
            6 => _ = alert.as_object_mut().map(|fields| fields.remove(field)),
            7 => alert[field] = random.choose(&odd).cloned().unwrap_or_default(),
            _ => {}
        }
    }
    alert
}

/// A condition, at most so deep.
pub(super) fn condition(random: &mut Unstructured<'_>, depth: usize) -> String {
    Random { random, variables: 0 }.holds(depth)
}

struct Random<'r, 'b> {
    random: &'r mut Unstructured<'b>,
    /// How many comprehensions are around: `v0`, `v1`, …
    variables: usize,
}

impl Random<'_, '_> {
    fn pick(&mut self, most: usize) -> usize {
        self.random.int_in_range(0..=most).unwrap_or(0)
    }

    fn of(&mut self, texts: &[&str]) -> String {
        let picked = self.pick(texts.len() - 1);
        texts[picked].to_owned()
    }

    fn holds(&mut self, depth: usize) -> String {
        let Some(depth) = depth.checked_sub(1) else {
            return self.of(&[
                "true",
                "false",
                "alert.severity == 'high'",
                "has(alert.labels.team)",
                "alert.nothing",
            ]);
        };
        match self.pick(15) {
            0 => format!("({} && {})", self.holds(depth), self.holds(depth)),
            1 => format!("({} || {})", self.holds(depth), self.holds(depth)),
            2 => format!("!{}", self.in_brackets(Self::holds, depth)),
            3 => format!("({} ? {} : {})", self.holds(depth), self.holds(depth), self.holds(depth)),
            4 | 5 => {
                let sign = self.of(&["==", "!=", "<", "<=", ">", ">="]);
                format!("({} {sign} {})", self.number(depth), self.number(depth))
            }
            6 => {
                let sign = self.of(&["==", "!=", "<", ">="]);
                format!("({} {sign} {})", self.text(depth), self.text(depth))
            }
            7 => format!("({} in {})", self.any(depth), self.list(depth)),
            8 => {
                let method = self.of(&["contains", "startsWith", "endsWith"]);
                format!("{}.{method}({})", self.in_brackets(Self::text, depth), self.text(depth))
            }
            9 | 10 => {
                let name = self.of(&["all", "exists", "exists_one"]);
                let range = if self.pick(4) == 0 { Self::map } else { Self::list };
                self.each(&name, range, Self::holds, depth)
            }
            11 => format!("({} == {})", self.list(depth), self.list(depth)),
            12 => format!("({} == {})", self.any(depth), self.any(depth)),
            13 => format!("({} == {})", self.map(depth), self.map(depth)),
            14 => format!("({} in {})", self.any(depth), self.map(depth)),
            _ => self.holds(0),
        }
    }

    fn in_brackets(&mut self, part: fn(&mut Self, usize) -> String, depth: usize) -> String {
        format!("({})", part(self, depth))
    }

    fn each(
        &mut self,
        name: &str,
        range: fn(&mut Self, usize) -> String,
        body: fn(&mut Self, usize) -> String,
        depth: usize,
    ) -> String {
        let range = range(self, depth);
        let variable = self.variables;
        self.variables += 1;
        let body = body(self, depth);
        self.variables = variable;
        format!("({range}).{name}(v{variable}, {body})")
    }

    fn variable(&mut self) -> String {
        match self.variables {
            0 => "alert.data.n".to_owned(),
            count => format!("v{}", self.pick(count - 1)),
        }
    }

    fn any(&mut self, depth: usize) -> String {
        match self.pick(5) {
            0 => self.text(depth),
            1 => self.list(depth),
            2 => self.holds(depth),
            3 => self.variable(),
            4 => self.of(&["null", "{'a': 1}.a", "{1: 'a'}[1]", "alert.data.map['a']"]),
            _ => self.number(depth),
        }
    }

    fn number(&mut self, depth: usize) -> String {
        let Some(depth) = depth.checked_sub(1) else {
            return self.of(&[
                "0",
                "1",
                "-7",
                "1.5",
                "3u",
                "alert.data.n",
                "alert.metrics.cpu",
                "9223372036854775807",
            ]);
        };
        match self.pick(8) {
            0..=2 => {
                let sign = self.of(&["+", "-", "*", "/", "%"]);
                format!("({} {sign} {})", self.number(depth), self.number(depth))
            }
            3 => format!("size({})", self.list(depth)),
            4 => format!("size({})", self.text(depth)),
            5 => format!("-{}", self.in_brackets(Self::number, depth)),
            6 => format!("({})[{}]", self.list(depth), self.number(depth)),
            7 => format!("int({})", self.any(depth)),
            _ => self.variable(),
        }
    }

    fn text(&mut self, depth: usize) -> String {
        let Some(depth) = depth.checked_sub(1) else {
            return self.of(&[
                "''",
                "'a'",
                "'shop'",
                "alert.title",
                "alert.labels.team",
                "alert.severity",
                "alert.links[0]",
            ]);
        };
        match self.pick(5) {
            0 => format!("({} + {})", self.text(depth), self.text(depth)),
            1 => format!("string({})", self.number(depth)),
            2 => format!("({} ? {} : {})", self.holds(depth), self.text(depth), self.text(depth)),
            3 => self.variable(),
            _ => self.text(0),
        }
    }

    /// Not where lists are joined: the interpreter of the crate takes a map for a list there.
    fn map(&mut self, depth: usize) -> String {
        match self.pick(4) {
            0 => format!("{{'a': {}, 'b': {}}}", self.any(depth), self.any(depth)),
            _ => self.of(&["{}", "{'a': 1}", "alert.labels", "alert.data.map", "alert.context"]),
        }
    }

    fn list(&mut self, depth: usize) -> String {
        let Some(depth) = depth.checked_sub(1) else {
            return self.of(&["[]", "[1, 2]", "['a', 'b']", "alert.links", "alert.data.list", "[[1], []]"]);
        };
        match self.pick(6) {
            0 => format!("({} + {})", self.list(depth), self.list(depth)),
            1 => format!("[{}, {}]", self.any(depth), self.any(depth)),
            2 => self.each("map", Self::list, Self::any, depth),
            3 => self.each("filter", Self::list, Self::holds, depth),
            4 => self.variable(),
            _ => self.list(0),
        }
    }
}

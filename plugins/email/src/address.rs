//! The recipients as the operator wrote them: one text, separated by commas.

use campanile_guest::failure::permanent;
use campanile_guest::types::Failure;

/// The recipients, at least one. A comma within `"…"` belongs to a name.
pub(crate) fn list(text: &str) -> Result<Vec<String>, Failure> {
    let mut quoted = false;
    let parts = text.split(|character| {
        quoted ^= character == '"';
        character == ',' && !quoted
    });
    let addresses: Vec<_> = parts.map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    if addresses.is_empty() {
        let message = format!(
            "the configuration's `to` is {text:?}: it names nobody; such as to = \"ops@example.com\""
        );
        return Err(permanent("config-invalid", message));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_are_separated_by_commas_outside_of_quotes() {
        assert_eq!(list("a@x.example").unwrap(), ["a@x.example"]);
        assert_eq!(
            list(" \"Ops, Berlin\" <a@x.example>,b@x.example, ").unwrap(),
            ["\"Ops, Berlin\" <a@x.example>", "b@x.example"]
        );
    }

    #[test]
    fn nobody_is_a_permanent_failure() {
        assert_eq!(list(" , ").unwrap_err().code, "config-invalid");
    }
}

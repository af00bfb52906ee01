//! Which credential serves which VAT.

use std::collections::HashMap;

use super::activity::Vat;

/// From each VAT to the credential that names it, and from every other VAT to the credential that names none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Serving {
    by_vat: HashMap<Vat, String>,
    default: Option<String>,
}

impl Serving {
    /// From each credential's name and VATs; one without VATs serves all that no other one names.
    pub fn new<'a>(credentials: impl IntoIterator<Item = (&'a str, &'a [Vat])>) -> Self {
        let mut serving = Self::default();
        for (name, vats) in credentials {
            if vats.is_empty() {
                serving.default = Some(name.to_owned());
            }
            serving.by_vat.extend(vats.iter().map(|vat| (vat.clone(), name.to_owned())));
        }
        serving
    }

    /// The credential that serves this VAT; `None` if none does.
    pub fn credential_of(&self, vat: &Vat) -> Option<&str> {
        self.by_vat.get(vat).or(self.default.as_ref()).map(String::as_str)
    }

    /// The VATs that a credential names, each with it.
    pub fn named(&self) -> impl Iterator<Item = (&Vat, &str)> {
        self.by_vat.iter().map(|(vat, credential)| (vat, credential.as_str()))
    }

    /// The credential that serves every VAT that none names.
    pub fn default_credential(&self) -> Option<&str> {
        self.default.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vat(text: &str) -> Vat {
        Vat::parse(text).unwrap()
    }

    #[test]
    fn a_vat_is_served_by_the_credential_that_names_it_or_else_by_the_one_that_names_none() {
        let (north, south) = ([vat("1"), vat("2")], [vat("3")]);
        let check = |credentials: Vec<(&str, &[Vat])>, expected: [(&str, Option<&str>); 3]| {
            let serving = Serving::new(credentials);
            for (text, credential) in expected {
                assert_eq!(serving.credential_of(&vat(text)), credential, "{text}");
            }
        };
        check(
            vec![("north", &north), ("rest", &[]), ("south", &south)],
            [("2", Some("north")), ("3", Some("south")), ("4", Some("rest"))],
        );
        check(
            vec![("south", &south), ("north", &north)],
            [("1", Some("north")), ("3", Some("south")), ("4", None)],
        );
        check(vec![("all", &[])], [("1", Some("all")), ("3", Some("all")), ("4", Some("all"))]);
        check(vec![], [("1", None), ("3", None), ("4", None)]);
    }
}

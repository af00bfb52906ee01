//! Which credential serves which VAT.

use std::collections::HashMap;

use super::activity::Vat;

/// The credentials' VATs, turned round: each VAT to the credential that names it, every other VAT to the one
/// that names none.
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

    /// The credential that serves this VAT; `None` where none does.
    pub fn credential_of(&self, vat: &Vat) -> Option<&str> {
        self.by_vat.get(vat).or(self.default.as_ref()).map(String::as_str)
    }
}

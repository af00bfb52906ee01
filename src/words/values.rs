//! Values in the words that people use: states, statuses, owners, types of events, checks.

use super::{Said, Words};
use crate::domain::activity::State;
use crate::domain::catalogue::Owner;
use crate::domain::routing::DeliveryStatus;

impl Words {
    /// A state in the words that people use.
    pub(crate) fn state_word(self, state: State) -> Said<'static> {
        match state {
            State::Pending => self.state_pending(),
            State::InProgress => self.state_in_progress(),
            State::Succeeded => self.state_succeeded(),
            State::Failed => self.state_failed(),
            State::Rejected => self.state_rejected(),
            State::Expired => self.state_expired(),
            State::Cancelled => self.state_cancelled(),
        }
    }

    /// Who must act, in the words that people use.
    pub(crate) fn owner_word(self, owner: Owner) -> Said<'static> {
        match owner {
            Owner::Registration => self.owner_registration(),
            Owner::Device => self.owner_device(),
            Owner::Cleartax => self.owner_cleartax(),
            Owner::Zatca => self.owner_zatca(),
        }
    }

    /// The status of a delivery in the words that people use.
    pub(crate) fn delivery_word(self, status: DeliveryStatus) -> Said<'static> {
        match status {
            DeliveryStatus::Pending => self.delivery_pending(),
            DeliveryStatus::Delivered => self.delivery_delivered(),
            DeliveryStatus::Dead => self.delivery_dead(),
        }
    }

    /// An event's type in the words that people use; one that is not known is shown as it is.
    pub(crate) fn event_word(self, kind: &str) -> String {
        match kind {
            "pcsid.generation.succeeded" => self.event_succeeded(),
            "pcsid.generation.failed" => self.event_failed(),
            "pcsid.activity.rejected" => self.event_rejected(),
            "pcsid.activity.expired" => self.event_expired(),
            "pcsid.activity.cancelled" => self.event_cancelled(),
            "pcsid.activity.stalled" => self.event_stalled(),
            "upstream.credential.held" => self.event_credential_held(),
            "upstream.credential.restored" => self.event_credential_restored(),
            "upstream.vat.held" => self.event_vat_held(),
            "upstream.vat.restored" => self.event_vat_restored(),
            "pcsid.certificate.renewal_due" => self.event_renewal_due(),
            "pcsid.certificate.expired" => self.event_certificate_expired(),
            other => return other.to_owned(),
        }
        .to_string()
    }

    /// A check by its public name, in the words that people use.
    pub(crate) fn check_word(self, name: &str) -> Option<Said<'static>> {
        match name {
            "StandardTaxInvoice" => Some(self.check_standard_invoice()),
            "StandardTaxInvoiceCredit" => Some(self.check_standard_credit()),
            "StandardTaxInvoiceDebit" => Some(self.check_standard_debit()),
            "SimplifiedTaxInvoice" => Some(self.check_simplified_invoice()),
            "SimplifiedTaxInvoiceCredit" => Some(self.check_simplified_credit()),
            "SimplifiedTaxInvoiceDebit" => Some(self.check_simplified_debit()),
            // Where reports count entries of ErrorList beside the checks.
            "ErrorList" => Some(self.check_listed()),
            _ => None,
        }
    }
}

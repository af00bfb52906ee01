//! Which of several activities with one id is meant?

use maud::{Markup, html};

use super::marks::chip_of;
use super::rows::{Row, text, text_of, time};
use super::words::{counted, moment_stacked, theirs};
use super::{Frame, Here, layout, path_of};

/// The page for an id that is registered for several VATs; `activities` as the store tells their histories, at
/// least with the columns of `report_activities`.
pub fn choose_vat(frame: &Frame<'_>, activities: &[Row]) -> Markup {
    let id = activities.first().map_or("", |activity| text_of(activity, "activity_id"));
    let main = html! {
        h1 { "Which " code { (theirs(id)) } "?" }
        p.lead { "This id is registered for " (counted(activities.len() as u64, "VAT", "VATs")) "." }
        table.folds {
            caption.unseen { "Activities with this id" }
            thead {
                tr {
                    @for title in ["VAT", "State", "Device", "Reference", "Registered"] { th scope="col" { (title) } }
                }
            }
            tbody {
                @for activity in activities {
                    @let vat = text_of(activity, "vat");
                    tr {
                        th scope="row" { a href=(path_of(vat, id)) { code { (theirs(vat)) } } }
                        td data-label="State" { (chip_of(text_of(activity, "state"))) }
                        td data-label="Device" { @if let Some(device) = text(activity, "device_id") { (theirs(device)) } }
                        td data-label="Reference" { @if let Some(own) = text(activity, "reference") { (theirs(own)) } }
                        td data-label="Registered" {
                            @if let Some(at) = time(activity, "registered_at") { (moment_stacked("", frame.now, at)) }
                        }
                    }
                }
            }
        }
    };
    layout(frame, &format!("Which {id}?"), Here::Elsewhere, None, &main)
}

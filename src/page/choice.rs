//! Which of several activities with one id is meant?

use maud::{Markup, html};

use super::marks::chip_of;
use super::rows::{Row, text, text_of, time};
use super::text::{code, cut, moment_stacked, theirs};
use super::{Frame, Here, layout, path_of};

/// The page for an id that is registered for several VATs; `activities` as the store tells their histories, at
/// least with the columns of `report_activities`.
pub fn choose_vat(frame: &Frame<'_>, activities: &[Row]) -> Markup {
    let words = frame.words;
    let id = activities.first().map_or("", |activity| text_of(activity, "activity_id"));
    let (state, device, reference, added) =
        (words.col_state(), words.col_device(), words.col_reference(), words.col_added());
    let main = html! {
        h1 { (words.choice_title(code(id))) }
        p.lead { (words.choice_lead(activities.len() as u64)) }
        table.folds {
            caption.unseen { (words.choice_caption()) }
            thead {
                tr {
                    @for title in [&words.col_vat(), &state, &device, &reference, &added] { th scope="col" { (title) } }
                }
            }
            tbody {
                @for activity in activities {
                    @let vat = text_of(activity, "vat");
                    tr {
                        th scope="row" { a href=(path_of(vat, id)) { (code(vat)) } }
                        td data-label=(state) { (chip_of(frame, text_of(activity, "state"))) }
                        td data-label=(device) {
                            @if let Some(device) = text(activity, "device_id") { (theirs(&cut(device, 64))) }
                        }
                        td data-label=(reference) {
                            @if let Some(own) = text(activity, "reference") { (theirs(&cut(own, 64))) }
                        }
                        td data-label=(added) {
                            @if let Some(at) = time(activity, "registered_at") { (moment_stacked(frame, at)) }
                        }
                    }
                }
            }
        }
    };
    layout(frame, &words.choice_title(id).to_string(), Here::Elsewhere, &main)
}

//! The page that asks which of several activities with one id is meant.

use maud::{Markup, html};

use super::marks::chip;
use super::text::{code, cut, moment_stacked, theirs};
use super::{Frame, Here, layout, path_of};
use crate::store::ActivityRow;

/// The page for an id that is registered for several VATs.
pub fn choose_vat(frame: &Frame<'_>, activities: &[ActivityRow]) -> Markup {
    let words = frame.words;
    let id = activities.first().map_or("", |activity| activity.activity_id.as_str());
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
                    tr {
                        th scope="row" { a href=(path_of(&activity.vat, id)) { (code(&activity.vat)) } }
                        td data-label=(state) { (chip(frame, activity.state)) }
                        td data-label=(device) {
                            @if let Some(device) = &activity.device_id { (theirs(&cut(device, 64))) }
                        }
                        td data-label=(reference) {
                            @if let Some(own) = &activity.reference { (theirs(&cut(own, 64))) }
                        }
                        td data-label=(added) { (moment_stacked(frame, activity.registered_at)) }
                    }
                }
            }
        }
    };
    layout(frame, &words.choice_title(id).to_string(), Here::Elsewhere, &main)
}

//! The pages' routes: what `page` draws, and the forms that act.
//!
//! A form acts only with the token that this run of the daemon put into it, so that no other site's form does. Every
//! action answers with a redirect, so that reloading a page repeats nothing.

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequest, FromRequestParts as _, Request, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, REFRESH};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use jiff::civil::Date;
use maud::Markup;
use subtle::ConstantTimeEq;
use url::form_urlencoded;

use super::Api;
use super::activities::{cancel_now, history, poll_now, retry_now};
use super::admission::Received;
use super::events::redeliver_now;
use super::page_request::PageRequest;
use super::parameters::Parameters;
use super::path::PathName;
use super::problem::Problem;
use super::streaming::{BodySender, streamed};
use crate::domain::activity::{ActivityId, State as ActivityState, Vat};
use crate::domain::catalogue::Owner;
use crate::domain::preflight::{self, Device, FIELDS};
use crate::domain::routing::DeliveryStatus;
use crate::domain::text::{typed, with_ascii_digits};
use crate::evidence::{self, Bundle, Material};
use crate::page::{self, Done, FoundActivities, Frame, Outbox, OutboxPart, Refresh, Search, Sort};
use crate::spreadsheet::{self, Part};
use crate::store::{
    ActivityFilter, ActivityPosition, ActivityRef, ActivityRow, DeliveryFilter, DeliveryPosition, History,
    Redelivery, Reports, Slice, StoreError, TimeRange, Total,
};
use crate::words::Words;

/// Longest form.
const MAX_FORM_BYTES: usize = 64 * 1024;

/// Rows on a page of a list.
const ROWS: u32 = 50;

/// Rows of each status on the page that shows all of them.
const ROWS_OF_PART: u32 = 20;

/// Most rows in a downloaded CSV file, and how many are read at a time.
const MAX_CSV_ROWS: usize = 50_000;
const CSV_SLICE: u32 = 1_000;

pub(super) fn router() -> Router<Arc<Api>> {
    Router::new()
        .route("/", get(overview))
        .route("/activities", get(activities))
        .route("/activities.csv", get(activities_csv))
        .route("/deliveries", get(deliveries))
        .route("/deliveries/redeliver", post(redeliver_all))
        .route("/activities/{activity_id}", get(activity))
        .route("/activities/{activity_id}/poll", post(poll))
        .route("/activities/{activity_id}/cancel", post(cancel))
        .route("/activities/{activity_id}/retry", post(retry))
        .route("/activities/{activity_id}/evidence", get(evidence))
        .route("/events/{event_id}/redeliver", post(redeliver))
        .route("/renewals", get(renewals))
        .route("/preflight", get(preflight_form).post(preflight))
        .route("/style.css", get(style))
}

async fn style() -> impl IntoResponse {
    ([(CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8"))], page::CSS)
}

/// Draws a page, or the refusal of one.
fn drawn(
    api: &Api,
    request: &PageRequest,
    draw: impl FnOnce(&Frame<'_>) -> Result<Markup, Problem>,
) -> Response {
    let troubles = api.monitor.troubles();
    let outage = api.monitor.outage();
    let frame = Frame {
        now: api.clock.now(),
        version: env!("CARGO_PKG_VERSION"),
        upstream: &api.base_url,
        last_answer_at: api.monitor.last_answer_at(),
        outage: outage.as_ref(),
        troubles: &troubles,
        form_token: &api.form_token,
        stalled_after: api.stalled_after,
        catalogue: &api.catalogue,
        words: Words::of(request.language),
        zone: &api.zone,
        other_language_at: &request.other_language_at,
    };
    let mut response = match draw(&frame) {
        Ok(page) => Html(page.into_string()).into_response(),
        Err(problem) => {
            let page = page::refusal(&frame, problem.title(), problem.detail());
            let mut response = (problem.status(), Html(page.into_string())).into_response();
            problem.add_headers(&mut response);
            response
        }
    };
    request.keep(&mut response);
    response
}

async fn overview(State(api): State<Arc<Api>>, request: PageRequest) -> Response {
    let read = async {
        Parameters::new(Some(&request.query)).finish()?;
        let now = api.clock.now();
        Ok((api.reports.overview(now).await?, api.reports.statistics(now, &api.zone).await?))
    };
    let read: Result<_, Problem> = read.await;
    let mut response = drawn(&api, &request, |frame| {
        let (overview, statistics) = read?;
        Ok(page::overview(frame, &overview, &statistics, request.refresh))
    });
    if request.refresh == Refresh::On {
        // A header, so that the page itself contains nothing that reloads it.
        response.headers_mut().insert(REFRESH, HeaderValue::from(page::REFRESH_S));
    }
    response
}

/// A form's parameter has a value that its list does not offer.
fn not_listed() -> Problem {
    Problem::bad_parameter("There is no such choice; choose one from the list.")
}

/// The search in a form's query. A field is empty if nothing was chosen in it.
fn search(api: &Api, request: &PageRequest) -> Result<(Search, ActivityFilter), Problem> {
    let mut parameters = Parameters::new(Some(&request.query));
    let mut chosen = |name| -> Result<Option<String>, Problem> {
        Ok(parameters.one(name)?.map(|text| typed(&text).trim().to_owned()).filter(|text| !text.is_empty()))
    };
    let q = chosen("q")?.unwrap_or_default();
    let states = match chosen("state")? {
        Some(label) => Search::states_from_label(&label).ok_or_else(not_listed)?,
        None => Vec::new(),
    };
    // Arabic keyboards have other digits.
    let vat = chosen("vat")?.map(|text| Vat::parse(&with_ascii_digits(&text))).transpose()?;
    let owner = match chosen("owner")? {
        Some(label) => Some(Owner::from_label(&label).ok_or_else(not_listed)?),
        None => None,
    };
    let rule = chosen("rule")?.unwrap_or_default();
    let date = |text: Option<String>| -> Result<Option<Date>, Problem> {
        let parsed = text.map(|text| text.parse::<Date>()).transpose();
        parsed.map_err(|_| Problem::bad_parameter("A date is written as 2026-05-26."))
    };
    let (from, until) = (date(chosen("from")?)?, date(chosen("until")?)?);
    let sort = match chosen("sort")? {
        Some(label) => Sort::from_label(&label).ok_or_else(not_listed)?,
        None => Sort::default(),
    };
    let after = parameters.cursor()?;
    parameters.finish()?;
    let filter = ActivityFilter {
        states: states.clone(),
        vat: vat.clone(),
        search: Some(q.clone()).filter(|q| !q.is_empty()),
        owner,
        // Codes are stored in their official spelling.
        rule: Some(rule.as_str())
            .filter(|rule| !rule.is_empty())
            .map(|rule| api.catalogue.codes().official(rule).unwrap_or(rule).to_owned()),
        registered: TimeRange {
            from: from.and_then(|date| api.zone.start_of(date)),
            until: until.and_then(|date| api.zone.start_of(date.tomorrow().ok()?)),
        },
        order: sort.0,
        after,
        ..ActivityFilter::default()
    };
    let vat = vat.map(|vat| vat.to_string()).unwrap_or_default();
    let search = Search { q, states, vat, owner, rule, from, until, sort, is_continued: after.is_some() };
    Ok((search, filter))
}

async fn activities(State(api): State<Arc<Api>>, request: PageRequest) -> Response {
    let read = async {
        let (search, filter) = search(&api, &request)?;
        let filter = ActivityFilter { limit: Some(ROWS), ..filter };
        let slice = api.reports.list_activities(&filter).await?;
        let total = match slice.has_more || search.is_continued {
            true => api.reports.count_activities(&filter).await?,
            false => Total::Exactly(slice.table.rows.len() as u64),
        };
        let activities: Vec<_> = slice.table.read("report_activities")?;
        let failures = match search.states.as_slice() {
            [ActivityState::Failed] => api.reports.failures(&activities).await?,
            _ => Vec::new(),
        };
        let next = slice.last.filter(|_| slice.has_more).map(|last| last.to_string());
        Ok((search, FoundActivities { activities, failures, total, next }))
    };
    let read: Result<_, Problem> = read.await;
    drawn(&api, &request, |frame| {
        let (search, found) = read?;
        Ok(page::activities(frame, &search, &found))
    })
}

/// The search's result as a CSV file: the columns of `report_activities`, at most [`MAX_CSV_ROWS`] rows. It is sent
/// slice by slice, to save memory.
async fn activities_csv(State(api): State<Arc<Api>>, request: PageRequest) -> Response {
    let read = async {
        let (_, filter) = search(&api, &request)?;
        let filter = ActivityFilter { limit: Some(CSV_SLICE), ..filter };
        let turn = api.admission.heavy().await?;
        Ok((turn, api.reports.list_activities(&filter).await?, filter))
    };
    let read: Result<_, Problem> = read.await;
    let (turn, first, filter) = match read {
        Ok(read) => read,
        Err(problem) => return drawn(&api, &request, |_| Err(problem)),
    };
    let (parts, body) = streamed();
    let reports = api.reports.clone();
    tokio::spawn(async move {
        let _turn = turn;
        if let Err(err) = send_csv(&reports, first, filter, &parts).await {
            tracing::debug!(error = &*err, "a download broke off");
            // The file is incomplete. Breaking the connection shows that; a proper end would make it look complete.
            let _ = parts.send(Err(err)).await;
        }
    });
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8"),
        (CONTENT_DISPOSITION, "attachment; filename=\"activities.csv\""),
    ];
    (headers, body).into_response()
}

async fn send_csv(
    reports: &Reports,
    mut slice: Slice<ActivityPosition>,
    mut filter: ActivityFilter,
    parts: &BodySender,
) -> Result<(), axum::BoxError> {
    let mut n_rows = 0;
    loop {
        let mut bytes = Vec::new();
        match (n_rows, slice.has_more) {
            (0, false) => spreadsheet::write_csv(&mut bytes, &slice.table)?,
            (0, true) => {
                spreadsheet::write_csv_part(&mut bytes, &slice.table, Part::First { has_mark: true })?;
            }
            _ => spreadsheet::write_csv_part(&mut bytes, &slice.table, Part::Later)?,
        }
        n_rows += slice.table.rows.len();
        drop(slice.table);
        // This fails if the client has gone.
        parts.send(Ok(bytes.into())).await?;
        if !slice.has_more || n_rows >= MAX_CSV_ROWS {
            return Ok(());
        }
        filter.after = slice.last;
        slice = reports.list_activities(&filter).await?;
    }
}

/// Deliveries with one status, or all of them, the failed ones first.
async fn deliveries(State(api): State<Arc<Api>>, request: PageRequest) -> Response {
    let read = async {
        let mut parameters = Parameters::new(Some(&request.query));
        let chosen = |text: Option<String>| text.filter(|text| !text.is_empty());
        let status = chosen(parameters.one("status")?)
            .map(|label| DeliveryStatus::from_label(&label).ok_or_else(not_listed))
            .transpose()?;
        let sink = chosen(parameters.one("sink")?);
        let said = parameters.one("said")?.and_then(|label| Done::from_label(&label));
        let after: Option<DeliveryPosition> = parameters.cursor()?;
        parameters.finish()?;
        let mut parts = Vec::new();
        for one in DeliveryStatus::ALL.into_iter().filter(|one| status.is_none_or(|status| status == *one)) {
            let filter = DeliveryFilter {
                status: Some(one),
                sink: sink.clone(),
                after: after.clone(),
                limit: Some(if status.is_some() { ROWS } else { ROWS_OF_PART }),
                ..DeliveryFilter::default()
            };
            let slice = api.reports.list_deliveries(&filter).await?;
            let next = slice.last.filter(|_| slice.has_more).map(|last| last.to_string());
            parts.push(OutboxPart { status: one, rows: slice.table.read("report_deliveries")?, next });
        }
        let undelivered = api.reports.overview(api.clock.now()).await?.outbox;
        let mut sinks = api.sinks.clone();
        sinks.extend(
            undelivered.iter().map(|sink| sink.sink.clone()).filter(|sink| !api.sinks.contains(sink)),
        );
        Ok((Outbox { status, sink, sinks, undelivered, parts, is_continued: after.is_some() }, said))
    };
    let read: Result<_, Problem> = read.await;
    drawn(&api, &request, |frame| {
        let (outbox, said) = read?;
        Ok(page::outbox(frame, &outbox, said))
    })
}

/// The activity that an id stands for.
enum Meant {
    This(Box<History>),
    /// It is registered for several VATs.
    OneOf(Vec<ActivityRow>),
}

async fn activity(
    State(api): State<Arc<Api>>,
    PathName(activity_id): PathName,
    request: PageRequest,
) -> Response {
    let read = async {
        let mut parameters = Parameters::new(Some(&request.query));
        let vat = parameters.vat()?;
        let said = parameters.one("said")?.and_then(|label| Done::from_label(&label));
        parameters.finish()?;
        let wanted = ActivityRef { activity_id: ActivityId::parse(&activity_id)?, vat };
        match api.reports.activities_named(&wanted).await? {
            several if several.len() > 1 => Ok((Meant::OneOf(several), said)),
            _ => Ok((Meant::This(Box::new(history(&api, &wanted).await?)), said)),
        }
    };
    let read: Result<_, Problem> = read.await;
    drawn(&api, &request, |frame| {
        let (meant, said) = read?;
        Ok(match meant {
            Meant::This(history) => page::activity(frame, &history, said),
            Meant::OneOf(several) => page::choose_vat(frame, &several),
        })
    })
}

async fn renewals(State(api): State<Arc<Api>>, request: PageRequest) -> Response {
    let read = async {
        Parameters::new(Some(&request.query)).finish()?;
        let now = api.clock.now();
        Ok(api.reports.ending(now, api.zone.offset_ms(now)).await?)
    };
    let read: Result<_, Problem> = read.await;
    drawn(&api, &request, |frame| Ok(page::renewals(frame, &read?)))
}

async fn preflight_form(State(api): State<Arc<Api>>, request: PageRequest) -> Response {
    let read = Parameters::new(Some(&request.query)).finish();
    drawn(&api, &request, |frame| {
        read?;
        Ok(page::preflight(frame, &page::Entered::default(), &page::Outcome::Empty))
    })
}

/// Checks the values of the form and draws it again. It changes nothing, so it needs no token. It does not redirect,
/// because values must not get into an address.
async fn preflight(State(api): State<Arc<Api>>, request: PageRequest, form: Form) -> Response {
    // A pasted file may have thousands of devices, and what is found about each takes much more memory.
    let _turn = match api.admission.heavy().await {
        Ok(turn) => turn,
        Err(problem) => return drawn(&api, &request, |_| Err(problem)),
    };
    let mut entered = page::Entered::default();
    for (name, value) in form.values() {
        match name.as_str() {
            "text" => entered.text = value,
            name if FIELDS.iter().any(|spec| spec.path == name) => {
                entered.values.insert(name.to_owned(), value);
            }
            _ => {}
        }
    }
    let devices = match entered.text.trim().is_empty() {
        true => {
            let pairs = entered.values.iter().map(|(path, value)| (path.as_str(), value.as_str()));
            Ok(vec![Device::from_pairs(pairs)])
        }
        false => preflight::from_text(entered.text.as_bytes()),
    };
    let outcome = match devices {
        Ok(devices) => super::preflight::checked(&api, devices).await.map(page::Outcome::Checked),
        Err(err) => Ok(page::Outcome::Unreadable(err.to_string())),
    };
    drawn(&api, &request, |frame| Ok(page::preflight(frame, &entered, &outcome?)))
}

/// The evidence as a file to keep: json, or html to be read and printed.
async fn evidence(
    State(api): State<Arc<Api>>,
    PathName(activity_id): PathName,
    request: PageRequest,
) -> Response {
    let read = async {
        let mut parameters = Parameters::new(Some(&request.query));
        let vat = parameters.vat()?;
        let is_html = match parameters.one("format")?.as_deref() {
            None | Some("json") => false,
            Some("html") => true,
            Some(_) => return Err(Problem::bad_parameter("The format must be json or html.")),
        };
        parameters.finish()?;
        let wanted = ActivityRef { activity_id: ActivityId::parse(&activity_id)?, vat };
        let material = Material {
            history: history(&api, &wanted).await?,
            final_answer: api.reports.final_answer(&wanted).await?,
            base_url: api.base_url.clone(),
        };
        let bundle = Bundle::new(material, api.clock.now()).map_err(StoreError::Encode)?;
        Ok((wanted, bundle, is_html))
    };
    let read: Result<_, Problem> = read.await;
    let (wanted, bundle, is_html) = match read {
        Ok(read) => read,
        Err(problem) => return drawn(&api, &request, |_| Err(problem)),
    };
    let (text, media_type, ending) = match is_html {
        true => (
            evidence::render(&bundle, Words::of(request.language), &api.zone).into_string(),
            "text/html; charset=utf-8",
            "html",
        ),
        false => (bundle.json().to_string(), "application/json", "json"),
    };
    // An id is made of characters that a file's name may hold.
    let name = format!("attachment; filename=\"evidence-{}.{ending}\"", wanted.activity_id);
    ([(CONTENT_TYPE, media_type.to_owned()), (CONTENT_DISPOSITION, name)], text).into_response()
}

/// A form that a page has sent. One that can't be read is answered with a page that says why.
#[derive(Debug)]
struct Form(Received);

impl Form {
    fn values(&self) -> impl Iterator<Item = (String, String)> {
        form_urlencoded::parse(&self.0.bytes).into_owned()
    }
}

impl FromRequest<Arc<Api>> for Form {
    type Rejection = Response;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let Ok(page) = PageRequest::from_request_parts(&mut parts, api).await;
        api.admission.read_body(body, MAX_FORM_BYTES).await.map(Self).map_err(|problem| {
            let problem = match problem.status() {
                StatusCode::PAYLOAD_TOO_LARGE => Problem::form_too_large(MAX_FORM_BYTES),
                _ => problem,
            };
            drawn(api, &page, |_| Err(problem))
        })
    }
}

/// The fields that the forms of pages send.
#[derive(Debug, Default)]
struct Action {
    form_token: String,
    vat: Option<String>,
    activity_id: String,
    webhook: Option<String>,
    back_to_deliveries: bool,
}

impl Action {
    /// Whether a page of this daemon made the form.
    fn is_ours(&self, api: &Api) -> bool {
        self.form_token.as_bytes().ct_eq(api.form_token.as_bytes()).into()
    }

    fn read(form: &Form) -> Self {
        let mut action = Self::default();
        for (name, value) in form.values() {
            match name.as_str() {
                "form_token" => action.form_token = value,
                "vat" => action.vat = Some(value),
                "activity_id" => action.activity_id = value,
                "webhook" => action.webhook = Some(typed(&value)),
                "back" => action.back_to_deliveries = value == "deliveries",
                _ => {}
            }
        }
        action
    }
}

async fn poll(
    api: State<Arc<Api>>,
    request: PageRequest,
    PathName(activity_id): PathName,
    form: Form,
) -> Response {
    act(&api, &request, &activity_id, &Action::read(&form), Done::Due, async |wanted| {
        poll_now(&api, wanted).await.map(drop)
    })
    .await
}

async fn cancel(
    api: State<Arc<Api>>,
    request: PageRequest,
    PathName(activity_id): PathName,
    form: Form,
) -> Response {
    let action = Action::read(&form);
    act(&api, &request, &activity_id, &action, Done::Cancelled, async |wanted| {
        cancel_now(&api, wanted).await.map(drop)
    })
    .await
}

async fn retry(
    api: State<Arc<Api>>,
    request: PageRequest,
    PathName(activity_id): PathName,
    form: Form,
) -> Response {
    let action = Action::read(&form);
    act(&api, &request, &activity_id, &action, Done::Retried, async |wanted| {
        retry_now(&api, wanted).await.map(drop)
    })
    .await
}

/// Sends one event again, from an activity's page or from the list of deliveries.
async fn redeliver(
    api: State<Arc<Api>>,
    request: PageRequest,
    PathName(event_id): PathName,
    form: Form,
) -> Response {
    let action = Action::read(&form);
    let which = Redelivery::Event { event_id, sink: action.webhook.clone() };
    let again = async || redeliver_now(&api, &which).await.map(drop);
    match action.back_to_deliveries {
        true => act_on_deliveries(&api, &request, &action, again).await,
        false => {
            act(&api, &request, &action.activity_id, &action, Done::Redelivered, async |_| again().await)
                .await
        }
    }
}

/// Sends all events again that were given up.
async fn redeliver_all(api: State<Arc<Api>>, request: PageRequest, form: Form) -> Response {
    let action = Action::read(&form);
    let which = Redelivery::Dead { sink: action.webhook.clone(), since: None };
    act_on_deliveries(&api, &request, &action, async || redeliver_now(&api, &which).await.map(drop)).await
}

/// Does what a form on the list of deliveries asks for, if its token is right, and redirects to the failed deliveries.
async fn act_on_deliveries(
    api: &Api,
    request: &PageRequest,
    action: &Action,
    what: impl AsyncFnOnce() -> Result<(), Problem>,
) -> Response {
    let done = match action.is_ours(api) {
        true => what().await,
        false => Err(Problem::stale_form()),
    };
    match done {
        Ok(()) => Redirect::to("/deliveries?said=redelivered").into_response(),
        Err(problem) => drawn(api, request, |_| Err(problem)),
    }
}

/// Does what a form asks for, if its token is right, and redirects to the activity.
async fn act(
    api: &Api,
    request: &PageRequest,
    activity_id: &str,
    action: &Action,
    said: Done,
    what: impl AsyncFnOnce(&ActivityRef) -> Result<(), Problem>,
) -> Response {
    let done = async {
        if !action.is_ours(api) {
            return Err(Problem::stale_form());
        }
        let vat = action.vat.as_deref().map(Vat::parse).transpose()?;
        let wanted = ActivityRef { activity_id: ActivityId::parse(activity_id)?, vat };
        what(&wanted).await?;
        Ok(wanted)
    };
    let done: Result<_, Problem> = done.await;
    match done {
        Ok(wanted) => {
            let mut query = form_urlencoded::Serializer::new(String::new());
            if let Some(vat) = &wanted.vat {
                query.append_pair("vat", vat.as_str());
            }
            query.append_pair("said", said.label());
            Redirect::to(&format!("/activities/{}?{}", wanted.activity_id, query.finish())).into_response()
        }
        Err(problem) => drawn(api, request, |_| Err(problem)),
    }
}

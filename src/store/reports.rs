//! The interface for reading: reports, lists, the overview, one activity's history.

use super::activities::ActivityRef;
use super::certificates::{EndingCertificate, EndingCertificates};
use super::error::StoreError;
use super::failures::Failure;
use super::history::{ActivityRow, FinalAnswer, FormerAttempt, History};
use super::lists::{
    ActivityFilter, ActivityPosition, DeliveryFilter, DeliveryPosition, EventFilter, EventPosition, Slice,
    Total,
};
use super::overview::Overview;
use super::statistics::Statistics;
use super::views::{ActivityView, ReportSlice, ReportView, Table};
use super::{Backend, history, on};
use crate::domain::activity::Vat;
use crate::domain::preflight::{Device, Known};
use crate::domain::time::Timestamp;
use crate::domain::zone::Zone;

/// Reads what people and programs ask for. However long that takes, no poll waits for it.
#[derive(Debug, Clone)]
pub struct Reports(pub(super) Backend);

impl Reports {
    /// The rows of a view that belong to an activity; to each activity with its id if no VAT is named.
    pub async fn rows_of(&self, view: ActivityView, activity: &ActivityRef) -> Result<Table, StoreError> {
        on!(&self.0, store => store.rows_of(view, activity).await)
    }

    /// The activities with this id, one for each VAT if no VAT is named.
    pub async fn activities_named(&self, activity: &ActivityRef) -> Result<Vec<ActivityRow>, StoreError> {
        self.rows_of(ActivityView::Activity, activity).await?.read("report_activities")
    }

    /// A report of the command line as one table: the rows of at most `limit` keys.
    pub async fn report(&self, report: ReportView, limit: Option<u32>) -> Result<Table, StoreError> {
        let mut whole = Table::default();
        for slice in self.report_slices(report, limit).await? {
            let Table { columns, rows } = self.report_slice(report, &slice).await?;
            whole.columns = columns;
            whole.rows.extend(rows);
        }
        Ok(whole)
    }

    /// What to read of a report, one slice after another: at least one slice, of at most `limit` keys in all. A report
    /// that may have any number of rows has a slice for each thousand keys, so that nobody needs to hold it whole.
    pub async fn report_slices(
        &self,
        report: ReportView,
        limit: Option<u32>,
    ) -> Result<Vec<ReportSlice>, StoreError> {
        let at_most = limit.map_or(i64::MAX, i64::from);
        on!(&self.0, store => store.report_slices(report, at_most).await)
    }

    /// The rows of a slice that are still in the report.
    pub async fn report_slice(&self, report: ReportView, slice: &ReportSlice) -> Result<Table, StoreError> {
        on!(&self.0, store => store.report_slice(report, slice).await)
    }

    /// How many activities match a filter, ignoring its limit and position.
    ///
    /// # Errors
    /// As [`Reports::list_activities`].
    pub async fn count_activities(&self, filter: &ActivityFilter) -> Result<Total, StoreError> {
        on!(&self.0, store => store.count_activities(filter).await)
    }

    /// Why these activities failed, in their order.
    pub async fn failures(&self, activities: &[ActivityRow]) -> Result<Vec<Failure>, StoreError> {
        on!(&self.0, store => store.failures(activities).await)
    }

    /// Rows of `report_activities` in the order asked for.
    ///
    /// # Errors
    /// [`StoreError::TooSlow`] if a search takes too long.
    pub async fn list_activities(
        &self,
        filter: &ActivityFilter,
    ) -> Result<Slice<ActivityPosition>, StoreError> {
        on!(&self.0, store => store.list_activities(filter).await)
    }

    /// Rows of `report_events` in the order in which they were recorded.
    pub async fn list_events(&self, filter: &EventFilter) -> Result<Slice<EventPosition>, StoreError> {
        on!(&self.0, store => store.list_events(filter).await)
    }

    /// Rows of `report_deliveries` with their events' types, VATs and activities, the latest event first.
    pub async fn list_deliveries(
        &self,
        filter: &DeliveryFilter,
    ) -> Result<Slice<DeliveryPosition>, StoreError> {
        on!(&self.0, store => store.list_deliveries(filter).await)
    }

    /// Reads the overview. Its cost does not grow with the concluded activities. A pause that ended before `now` is not
    /// shown.
    pub async fn overview(&self, now: Timestamp) -> Result<Overview, StoreError> {
        on!(&self.0, store => store.overview(now).await)
    }

    /// Reads the statistics. Their cost does not grow with the activities.
    pub async fn statistics(&self, now: Timestamp, zone: &Zone) -> Result<Statistics, StoreError> {
        on!(&self.0, store => store.statistics(now, zone).await)
    }

    /// The row of `report_activities` of this activity, with its `transitions`, `checks` (each with its `errors`),
    /// `errors`, `events`, `deliveries` and `attempts` below it, and the device's `former_attempt`. A bounded number of
    /// each is read; of those that can grow without end, the latest.
    ///
    /// # Errors
    /// [`StoreError::UnknownActivity`] if there is none, [`StoreError::AmbiguousActivity`] if there are several and no
    /// VAT is named.
    pub async fn history(&self, wanted: &ActivityRef) -> Result<History, StoreError> {
        history::history(self, wanted).await
    }

    /// The same of each activity with this id, one a VAT.
    ///
    /// # Errors
    /// [`StoreError::UnknownActivity`] if there is none.
    pub async fn histories(&self, wanted: &ActivityRef) -> Result<Vec<History>, StoreError> {
        history::histories(self, wanted).await
    }

    /// Upstream's final answer about an activity of this VAT, if one concluded it.
    pub async fn final_answer(&self, activity: &ActivityRef) -> Result<Option<FinalAnswer>, StoreError> {
        on!(&self.0, store => store.final_answer(activity).await)
    }

    /// What ends when, for people. Their clocks are `utc_offset_ms` ahead of UTC.
    pub async fn ending(&self, now: Timestamp, utc_offset_ms: i64) -> Result<EndingCertificates, StoreError> {
        on!(&self.0, store => store.ending(now, utc_offset_ms).await)
    }

    /// The current certificates that end after this time, of one VAT or of all, for a calendar: a bounded number, the
    /// first to end first.
    pub async fn calendar(
        &self,
        from: Timestamp,
        vat: Option<&Vat>,
    ) -> Result<Vec<EndingCertificate>, StoreError> {
        on!(&self.0, store => store.calendar(from, vat).await)
    }

    /// What is known of each of these devices: certificates that have not ended, and activities that are being watched.
    pub async fn known_devices(
        &self,
        devices: &[Device],
        now: Timestamp,
    ) -> Result<Vec<Vec<Known>>, StoreError> {
        on!(&self.0, store => store.known_devices(devices, now).await)
    }

    /// The upstream that this database belongs to; `None` before its first use.
    pub async fn upstream(&self) -> Result<Option<String>, StoreError> {
        on!(&self.0, store => store.upstream().await)
    }

    /// The device's attempt before this one; `None` if there is none.
    pub(super) async fn former_attempt(
        &self,
        vat: &str,
        activity_id: &str,
    ) -> Result<Option<FormerAttempt>, StoreError> {
        on!(&self.0, store => store.former_attempt(vat, activity_id).await)
    }
}

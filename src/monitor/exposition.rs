//! Writes the metrics: the counters, and what is read at the scrape from the database, the files and the process.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::counters::{ByCredential, ByPiece, BySink, BySinkAndOutcome, ByState, ByTask, ByTime};
use super::{Monitor, PREFIX};
use crate::domain::activity::State;
use crate::domain::time::Timestamp;
use crate::process::Usage;
use crate::store::{Blocked, Footprint, Overview, Piece, WITHIN_DAYS};

impl Monitor {
    /// All metrics in the OpenMetrics text format, those of the process first. `overview` is what the database knows,
    /// `footprints` what the file system says. If one of them can't be read, its series are missing.
    ///
    /// # Errors
    /// If the library can't write the text.
    pub fn metrics(
        &self,
        overview: Option<&Overview>,
        footprints: &[Footprint],
        now: Timestamp,
    ) -> Result<String, std::fmt::Error> {
        let mut seen = Registry::with_prefix(PREFIX);
        let ready = f64::from(u8::from(self.troubles().is_empty()));
        gauge(&mut seen, "ready", "1 while the database is writable and the poller runs", ready);
        if let Some(at) = self.last_answer_at() {
            let name = "last_answer_timestamp_seconds";
            gauge(&mut seen, name, "When upstream last gave an activity's status", epoch_seconds(at));
        }
        let outage = f64::from(u8::from(self.outage().is_some()));
        let help = "1 during an outage of upstream, while only probes are sent";
        gauge(&mut seen, "upstream_outage", help, outage);
        let started = epoch_seconds(self.started_at);
        gauge(&mut seen, "start_timestamp_seconds", "When the daemon started", started);
        self.add_idle_times(&mut seen);
        self.add_pieces(&mut seen);
        for Footprint { name, help, bytes } in footprints {
            gauge(&mut seen, name, help, *bytes as f64);
        }
        if let Some(overview) = overview {
            self.add_overview(&mut seen, overview, now);
        }
        // These have the same names for all programs, so they get no prefix.
        let mut process = Registry::default();
        if let Some(usage) = Usage::read() {
            self.add_usage(&mut process, usage);
        }
        let mut text = String::new();
        encode_registry(&mut text, &process)?;
        encode_registry(&mut text, &seen)?;
        encode_registry(&mut text, &self.registry)?;
        encode_eof(&mut text)?;
        Ok(text)
    }

    fn add_usage(&self, process: &mut Registry, usage: Usage) {
        let cpu = Counter::<f64, AtomicU64>::default();
        cpu.inc_by(usage.cpu_seconds);
        process.register("process_cpu_seconds", "Processor time that the process has used", cpu);
        let started = epoch_seconds(self.started_at);
        gauge(process, "process_start_time_seconds", "When the process started, since 1970", started);
        let bytes = usage.resident_bytes as f64;
        gauge(process, "process_resident_memory_bytes", "Memory that is resident", bytes);
        let bytes = usage.virtual_bytes as f64;
        gauge(process, "process_virtual_memory_bytes", "Address space", bytes);
        gauge(process, "process_threads", "Threads", usage.threads as f64);
        if let Some(n) = usage.open_descriptors {
            gauge(process, "process_open_fds", "Descriptors that are open", n as f64);
        }
        if let Some(n) = usage.max_descriptors {
            gauge(process, "process_max_fds", "Descriptors that may be open", n as f64);
        }
    }

    fn add_idle_times(&self, seen: &mut Registry) {
        let idle = Family::<ByTask, Gauge<f64, AtomicU64>>::default();
        let (poller_at, recorder_at) = {
            let health = self.health();
            (health.poller_at, health.recorder_at)
        };
        for (task, at) in [("poller", poller_at), ("recorder", recorder_at)] {
            idle.get_or_create(&ByTask { task }).set(at.elapsed().as_secs_f64());
        }
        seen.register("task_idle_seconds", "Time since the task last made progress", idle);
    }

    /// Each piece that is configured, held or not.
    fn add_pieces(&self, seen: &mut Registry) {
        let family = Family::<ByPiece, Gauge>::default();
        let held = self.health().held.clone();
        let add = |kind, name: &str, is_this: &dyn Fn(&Piece) -> bool| {
            let labels = ByPiece { kind, name: name.to_owned() };
            family.get_or_create(&labels).set(i64::from(held.iter().any(is_this)));
        };
        for name in &self.credentials {
            let polls = |piece: &Piece| matches!(piece, Piece::Polling { credentials, .. } if credentials.contains(name));
            add("credential", name, &polls);
        }
        for name in &self.sinks {
            add("sink", name, &|piece| matches!(piece, Piece::Sink(sink) if sink == name));
        }
        add("upkeep", "", &|piece| *piece == Piece::Upkeep);
        seen.register(
            "piece_held",
            "1 while this daemon works on the credential, the sink or the upkeep",
            family,
        );
    }

    fn add_overview(&self, seen: &mut Registry, overview: &Overview, now: Timestamp) {
        let activities = Family::<ByState, Gauge>::default();
        for state in State::ALL {
            let n = i64::try_from(overview.in_state(state)).unwrap_or(i64::MAX);
            activities.get_or_create(&ByState { state: state.label() }).set(n);
        }
        seen.register("activities", "Activities in the database, by state", activities);
        let oldest =
            overview.oldest_waiting.as_ref().map_or(Duration::ZERO, |oldest| now.since(oldest.since));
        gauge(
            seen,
            "oldest_waiting_seconds",
            "Age of the activity that has waited longest, from its last registration or retry; 0: none waits",
            oldest.as_secs_f64(),
        );
        let behind = overview.due_since.map_or(Duration::ZERO, |due| now.since(due));
        gauge(
            seen,
            "schedule_behind_seconds",
            "For how long the longest due activity has been due, of those that no hold or pause keeps back",
            behind.as_secs_f64(),
        );

        let (held, paused) =
            (Family::<ByCredential, Gauge>::default(), Family::<ByCredential, Gauge>::default());
        for credential in &self.credentials {
            let of = |gate: &&Blocked| gate.credential.as_deref() == Some(credential);
            let gate = overview.closed.iter().find(of);
            let is_held = gate.is_some_and(|gate| gate.reason.is_some());
            let labels = ByCredential { credential: credential.clone() };
            held.get_or_create(&labels).set(i64::from(is_held));
            paused.get_or_create(&labels).set(i64::from(gate.is_some() && !is_held));
        }
        seen.register("credential_held", "1 while upstream refuses the credential's token", held);
        seen.register("credential_paused", "1 while upstream has asked the credential to pause", paused);
        let vats = overview.closed.iter().filter(|gate| gate.vat.is_some()).count();
        gauge(seen, "vats_held", "VATs that upstream refuses", vats as f64);

        Self::add_certificates(seen, overview);

        let undelivered = Family::<BySinkAndOutcome, Gauge>::default();
        let oldest = Family::<BySink, Gauge<f64, AtomicU64>>::default();
        let is_unknown = |sink: &&String| !self.sinks.contains(sink);
        let orphans = overview.outbox.iter().map(|of| &of.sink).filter(is_unknown);
        for sink in self.sinks.iter().chain(orphans) {
            let of = overview.outbox.iter().find(|of| of.sink == *sink);
            let tried_for = of.and_then(|of| of.tried_since).map_or(Duration::ZERO, |since| now.since(since));
            oldest.get_or_create(&BySink { sink: sink.clone() }).set(tried_for.as_secs_f64());
            for (outcome, n) in [("pending", of.map(|of| of.pending)), ("dead", of.map(|of| of.dead))] {
                let labels = BySinkAndOutcome { sink: sink.clone(), outcome };
                undelivered.get_or_create(&labels).set(i64::try_from(n.unwrap_or(0)).unwrap_or(i64::MAX));
            }
        }
        seen.register(
            "undelivered_events",
            "Events that a sink has not taken; pending ones are tried again, dead ones are not",
            undelivered,
        );
        seen.register(
            "oldest_undelivered_seconds",
            "Age of the oldest pending delivery, counted from its first try; 0: none is pending",
            oldest,
        );
    }

    fn add_certificates(seen: &mut Registry, overview: &Overview) {
        let ending = Family::<ByTime, Gauge>::default();
        for (days, n) in WITHIN_DAYS.into_iter().zip(overview.ending.within) {
            let labels = ByTime { within: format!("{days}d") };
            ending.get_or_create(&labels).set(i64::try_from(n).unwrap_or(i64::MAX));
        }
        seen.register(
            "certificates_expiring",
            "Certificates that end within so many days and that no later success has replaced",
            ending,
        );
        let expired = overview.ending.expired as f64;
        let help = "Certificates that have ended and that no later success has replaced";
        gauge(seen, "certificates_expired", help, expired);
    }
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: f64) {
    let gauge = Gauge::<f64, AtomicU64>::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

fn epoch_seconds(at: Timestamp) -> f64 {
    at.as_millis() as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_configured_piece_is_told_whether_it_is_held_or_not() {
        let names = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        let monitor = Monitor::new(names(["a", "b"]), names(["log", "erp"]), Timestamp::from_millis(0));
        monitor.holds(&Piece::Polling { credentials: vec!["b".to_owned()], has_unserved: false }, true);
        monitor.holds(&Piece::Sink("log".to_owned()), true);
        let told = |monitor: &Monitor| {
            let text = monitor.metrics(None, &[], Timestamp::from_millis(0)).unwrap();
            let of_pieces = text.lines().filter(|line| line.starts_with("pcsid_watch_piece_held{"));
            let mut lines: Vec<String> = of_pieces.map(str::to_owned).collect();
            lines.sort();
            lines.iter().map(|line| if line.ends_with(" 1") { '1' } else { '0' }).collect::<String>()
        };
        // Credentials a and b, sinks erp and log, upkeep.
        assert_eq!(told(&monitor), "01010");
        monitor.holds(&Piece::Upkeep, true);
        monitor.holds(&Piece::Sink("log".to_owned()), false);
        assert_eq!(told(&monitor), "01001");
    }
}

"""Drives a running daemon through the client that was generated from its description.

python drive.py http://127.0.0.1:8088 TOKEN
"""

import sys
import time

from pcsid_watch_client import AuthenticatedClient
from pcsid_watch_client.api.activities import (
    cancel_activity,
    list_activities,
    poll_activity,
    register_activities,
    retry_activity,
    show_activity,
)
from pcsid_watch_client.api.events import list_deliveries, list_events, redeliver_event
from pcsid_watch_client.api.probes import ready
from pcsid_watch_client.models import (
    Activities,
    Activity,
    ActivityEvent,
    CheckOutcome,
    Deliveries,
    Events,
    Health,
    History,
    NewActivity,
    Problem,
    Redelivered,
    Registered,
    RegisteredActivity,
    State,
)

VAT = "310122393500003"
client = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2])


def instance(kind, thing):
    assert isinstance(thing, kind), thing
    return thing


def until(what, look):
    deadline = time.monotonic() + 60
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within a minute: {what}"
        time.sleep(0.1)
    return found


instance(Health, ready.sync(client=client))
one = NewActivity(vat=VAT, activity_id="failed-client", device_id="till 1", reference="PO-1")
activity = instance(RegisteredActivity, register_activities.sync(client=client, body=one))
assert (activity.reference, activity.counts.total) == ("PO-1", None)
many = [NewActivity(vat=VAT, activity_id=id) for id in ["success-client", "never-client"]]
registered = instance(Registered, register_activities.sync(client=client, body=many))
assert (registered.new, registered.known) == (2, 0)


def concluded():
    listed = instance(Activities, list_activities.sync(client=client, vat=VAT, state=[State.FAILED, State.SUCCEEDED]))
    mine = {item.activity_id: item for item in listed.items if item.activity_id.endswith("-client")}
    return mine if len(mine) == 2 else None


activities = until("two have concluded", concluded)
assert activities["success-client"].state == State.SUCCEEDED
history = instance(History, show_activity.sync("failed-client", client=client))
failed = [check for check in history.checks if check.outcome == CheckOutcome.FAILED]
assert failed and failed[0].errors[0].message and history.next_step.en, history

instance(Activity, poll_activity.sync("never-client", client=client))
assert instance(Activity, cancel_activity.sync("never-client", client=client)).state == State.CANCELLED
assert instance(Activity, retry_activity.sync("never-client", client=client)).state == State.PENDING

# The same names in an event as in the activity that it was about.
events = instance(Events, list_events.sync(client=client, activity_id="failed-client")).items
event = instance(ActivityEvent, events[0])
assert event.type_.value == "pcsid.generation.failed" and event.id == history.events[0].id
assert event.data.counts == history.counts and event.data.polls == history.polls
assert [check.name for check in event.data.checks] == [check.name for check in history.checks]
assert event.data.next_step.en == history.next_step.en

instance(Redelivered, redeliver_event.sync(str(event.id), client=client))
deliveries = instance(Deliveries, list_deliveries.sync(client=client, event_id=str(event.id)))
assert deliveries.items[0].sink == "log", deliveries
problem = instance(Problem, show_activity.sync("unknown-client", client=client))
assert (problem.status, problem.type_) == (404, "urn:pcsid-watch:problem:unknown-activity")
print("clients: the generated Python client registered, listed, followed and acted")

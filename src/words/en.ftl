# Everything that pages and terminal say in English, in the syntax of Fluent (https://projectfluent.org).
# ar.ftl has the same messages with the same arguments; a test compares the two. docs/glossary.md has the terms.
# In "stored-" and "complaint-" messages the text must stay word for word what the database holds, or the program says.

## Numbers and times

short-milliseconds = { $n } ms
short-seconds = { $n } s
short-minutes = { $n } min
short-hours = { $n } h
short-days = { $n } d
span-under-a-second = less than 1 s
span-seconds = { $n } s
span-minutes = { $n } min
span-hours = { $n } h
span-days = { $n ->
    [one] { $n } day
   *[other] { $n } days
}
just-now = just now
ago = { $span } ago
in-span = in { $span }
as-of = As of { $time }, { $zone }
zone-riyadh = Riyadh time ({ $offset })
zone-other = { $name } ({ $offset })
month-1 = Jan
month-2 = Feb
month-3 = Mar
month-4 = Apr
month-5 = May
month-6 = Jun
month-7 = Jul
month-8 = Aug
month-9 = Sep
month-10 = Oct
month-11 = Nov
month-12 = Dec
list-comma = ,
list-and = { $first } and { $last }
and-more = and { $n } more
none = none
any = Any
n-activities = { $n ->
    [one] { $n } activity
   *[other] { $n } activities
}
more-than-n-activities = More than { $n ->
    [one] { $n } activity
   *[other] { $n } activities
}
n-ended = { $n ->
    [one] { $n } activity ended
   *[other] { $n } activities ended
}
n-days = { $n ->
    [one] { $n } day
   *[other] { $n } days
}
n-attempts = { $n ->
    [one] { $n } attempt
   *[other] { $n } attempts
}
n-of = { $part } of { $whole }
after-span = after { $span }

## States, in the words that people use

state-pending = Waiting
state-in-progress = In progress
state-succeeded = PCSID issued
state-failed = Failed
state-rejected = ID refused
state-expired = Timed out
state-cancelled = Stopped
state-open = Not ended yet
late = late

## Whose data it is about

owner-registration = Your registration details
owner-device = The device
owner-cleartax = ClearTax
owner-zatca = ZATCA

## Checks

check-listed = Listed error
check-standard-invoice = Standard invoice
check-standard-credit = Standard credit note
check-standard-debit = Standard debit note
check-simplified-invoice = Simplified invoice
check-simplified-credit = Simplified credit note
check-simplified-debit = Simplified debit note
standard-invoice = Standard tax invoice
simplified-invoice = Simplified tax invoice
document-invoice = Invoice
document-credit = Credit
document-debit = Debit
kind-standard = Standard: { $documents }
kind-simplified = Simplified: { $documents }
outcome-succeeded = passed
outcome-failed = failed
outcome-unknown = not known yet
not-reported = not reported

## Events and deliveries

event-succeeded = PCSID issued
event-failed = Failed
event-rejected = ID refused
event-expired = Timed out
event-cancelled = Stopped
event-stalled = Late
event-credential-held = Token refused
event-credential-restored = Token accepted again
event-vat-held = VAT on hold
event-vat-restored = VAT released
event-renewal-due = Certificate ends soon
event-certificate-expired = Certificate has ended
delivery-pending = Being sent
delivery-delivered = Delivered
delivery-dead = Not delivered
delivery-to = { $status } to { $sink }
delivery-target = to { $sink }
next-try = next try { $when }
n-pending = { $n } being sent
n-dead = { $n } not delivered

## The frame of every page

skip-to-content = Skip to the content
nav-pages = Pages
nav-overview = Overview
nav-activities = Activities
nav-deliveries = Notifications
find-label = Part of an activity id, device, reference or VAT number
find-placeholder = Activity, device, reference or VAT
find-button = Find
banner-ill = The service is not working: see the { $overview }.
first-title = Nothing is watched yet. What to do first:
first-register = Register the device at ClearTax. Its answer has an activity id ({ $field }).
first-add = Add that id here with the VAT number that it belongs to:
first-many = For many at once use { $command }; from another program, { $request }.
first-then = Come back to this page: it shows how each one ends, why one failed and what to do then.

## Health

health-ill = Not working: see below what stops the service.
health-empty = Ready. There is nothing to watch yet.
health-all-ended = All is well. Every activity has ended.
health-watching = All is well. { $n ->
    [one] { $n } activity is being watched.
   *[other] { $n } activities are being watched.
}
health-attention = { $n ->
    [one] { $n } thing needs your attention.
   *[other] { $n } things need your attention.
}
concerns-label = What needs attention
concerns-more = { $n } more
concern-more-holds = { $n ->
    [one] { $n } more token or VAT is on hold.
   *[other] { $n } more tokens and VATs are on hold.
}
concern-paused = { $whose }: ClearTax asked us to slow down.
concern-held = { $whose } is on hold: { $reason }
concern-unserved = No token serves VAT { $vat }, so it is not watched.
concern-unserved-many = No token serves VAT { $vat } and { $n ->
    [one] { $n } other
   *[other] { $n } others
}, so they are not watched.
concern-silence = ClearTax has given no usable answer for { $span }.
concern-outage = No usable answer from ClearTax; this began { $since }: { $cause }
concern-dead = { $n ->
    [one] { $n } notification
   *[other] { $n } notifications
} could not be delivered to { $sink }.
concern-late = { $id } has been waiting for { $span }.
whose-credential = Token { $name }
whose-vat = VAT { $vat }
todo-see-log = The log says why
todo-list-by = { $command } lists all
todo-nothing = Nothing to do
todo-nothing-until = Nothing to do: goes on { $when }
todo-replace-token = Replace the token file
todo-grant-admin = Make the token’s user Admin at ClearTax
todo-configure = Add it to { $setting }
todo-check-connection = Check the connection to { $url }
todo-resend = See and resend
todo-show-late = Show the oldest
tried-again = tried again { $when }

## The overview

counts-title = Activities by state
days-title = Ended per day
days-none = Nothing ended in the last { $days }.
days-note = { $conclusions } in { $days }, including today
days-summary = Bars: { $conclusions } in { $days }, at most { $most } a day. The table below has the numbers.
days-bar = { $date }: { $n } { $state }
durations-title = Time to the PCSID
durations-none = No PCSID was issued in the last three months.
durations-note = From adding to PCSID, { $activities } of this month and the two before
durations-legend = Half within { $median }, 95% within { $p95 }
durations-summary = Histogram: half took at most { $median }, 95% at most { $p95 }. The table below has the numbers.
durations-bar = { $from } to { $until }: { $activities }
plot-median = half within
plot-p95 = 95% within
as-a-table = As a table
failures-title = Latest failures
failures-all = All failures
latest-title = Latest ended
latest-all = All ended
latest-none = Nothing has ended yet.
checks-title = Failed checks by VAT
checks-none = ClearTax has not reported on any check yet.
checks-note = Share of the reported checks that failed, the VATs with the most failed checks first.
checks-more = { $n ->
    [one] { $n } more VAT has failed checks
   *[other] { $n } more VATs have failed checks
}: { $command } lists all.
shade-none = none
shade-under = under { $share }
shade-from = from { $share }
rules-title = Rules that fail most
rules-none = No check has failed by a rule yet.
rules-note = Failed checks that name the rule.
rules-more = { $n ->
    [one] { $n } more rule fails
   *[other] { $n } more rules fail
}: { $command } lists all.
now-title = Right now
now-last-answer = Last good answer of ClearTax
now-no-answer = none since the start
now-oldest = Waiting longest
now-none-waits = nothing waits
now-due = Due since
now-none-due = nothing is due
now-undelivered = Undelivered notifications
refresh-is-on = Refreshes every { $n } s.
refresh-switch-off = Stop refreshing
refresh-switch-on = Refresh every { $n } s
refresh-now = Refresh

## Columns

col-activity = Activity
col-activities = Activities
col-added = Added
col-all = All
col-code = Code
col-day = Day
col-device = Device
col-ended = Ended
col-error = Error
col-event = Notification
col-failed-checks = Failed checks
col-from = From
col-in = In
col-message = Message
col-owner = Whose data
col-reference = Reference
col-rule = Rule
col-severity = Severity
col-sink = Receiver
col-source = Source
col-standing = Progress
col-state = State
col-to = To
col-to-less-than = To less than
col-todo = What to do
col-took = Took
col-tried = Tried
col-vat = VAT number
col-when = When
col-why = Why

## Lists

activities-in = Activities: { $state }
nothing-found = Nothing found.
show-all = Show all activities
clear = Clear
as-csv = Download as CSV
pages-of-list = Pages of the list
page-first = First page
page-next = Next page
sort-label = Order
sort-newest = latest added first
sort-oldest = first added first
sort-ended = latest ended first
sort-ended-first = first ended first
more-filters = More filters
added-from = Added from
added-until = Added until
watch-began = watch began { $when }
added-when = added { $when }
ended-when = ended { $when }
next-poll-when = asked again { $when }
due-now = due now
deliveries-lead = Notifications to your systems, failed ones first. Sending one again is safe: the receiver knows each by its id.
deliveries-none = There is nothing here.
deliveries-dead = { $n ->
    [one] { $n } notification was not delivered. Fix the receiver, then:
   *[other] { $n } notifications were not delivered. Fix the receiver, then:
}
any-failed-first = Any, failed first
choice-title = Which { $id }?
choice-lead = This id is registered for { $n ->
    [one] { $n } VAT number.
   *[other] { $n } VAT numbers.
}
choice-caption = Activities with this id

## An activity

vat-named = VAT { $vat }
vat-shape-short = not 15 digits between two 3s (BR-KSA-40)
headline-pending = ClearTax has not reported on it yet; added { $when }.
headline-in-progress = ClearTax is working on it; added { $when }.
headline-succeeded = the device has its PCSID, { $span } after it was added.
headline-failed = ended without a PCSID, { $span } after it was added.
headline-failed-checks = { $n } of 6 checks failed; ended { $span } after it was added.
headline-rejected = ClearTax knows no such activity of this VAT; given up after { $span }.
headline-expired = ClearTax did not conclude it in time; given up after { $span }.
headline-cancelled = somebody stopped watching it after { $span }.
next-step-title = What to do next
advice-failed = This is ClearTax’s last word on it. Correct what the checks below name, register the device again, and add the new activity.
advice-rejected = Compare id and VAT number with what ClearTax answered the registration with.
advice-ended = Nothing more is asked or announced until it is watched again.
do-poll = Ask now
do-cancel-first = Stop watching…
do-cancel-warning = It ends as stopped, and that is announced. Its result will not be recorded.
do-cancel = Stop watching it
do-retry = Watch again
do-redeliver = Resend
do-redeliver-all = Resend all
said-due = It is due now, and ClearTax is asked as soon as holds and limits allow. Reload to see the answer.
said-cancelled = It is no longer watched.
said-retried = It is watched again, as if it were added now.
said-redelivered = It is sent again. Reload to see the result.
facts-title = Facts
fact-status = ClearTax says
fact-pcsid = PCSID
fact-counts = Checks, as ClearTax counts
fact-created = Created at ClearTax
fact-updated = Updated at ClearTax
fact-completed = Completed at ClearTax
fact-polls = Times asked
fact-first-poll = First asked
fact-last-poll = Last asked
fact-next-poll = Asked next
fact-http-status = Last HTTP status
fact-bad-answers = Unusable answers in a row
fact-last-error = Last error
count-total = { $n } in all
count-succeeded = { $n } passed
count-failed = { $n } failed
timeline-title = Timeline
step-added = Added
step-stalled = Not ended by then; watching goes on
step-transition = { $from } → { $to }
step-polled = { $n ->
    [one] Asked once so far
   *[other] Asked { $n } times so far
}
step-due = Due to be asked now
findings-title = The six checks
findings-later = ClearTax reports on them at the end.
no-rule-code = no rule code
no-message = Without a message.
more-errors = And { $n ->
    [one] { $n } more error
   *[other] { $n } more errors
} in the text.
message-as-written = The message as ClearTax wrote it
former-title = The device’s previous attempt
rules-fixed = No longer broken
rules-remaining = Still broken
rules-new = Newly broken
listed-errors-title = Errors that ClearTax listed
events-title = Notifications
events-none = Nothing has been announced yet.
no-sink = No receiver was configured for it.
each-attempt = Each attempt
latest-of = The latest { $shown } of { $total }.
evidence-title = Evidence
evidence-lead = All of this in one file, with ClearTax’s final answer as it came and a checksum, for a ticket or an auditor:
evidence-html = To read and print
evidence-json = For programs

## The evidence sheet

sheet-title = Evidence on PCSID activity { $id }
sheet-zone = Times are { $zone }.
sheet-request = The request
sheet-total = Checks at ClearTax
sheet-succeeded = Passed there
sheet-failed = Failed there
sheet-answer = ClearTax’s final answer, as it came
sheet-no-answer = It was not ended by an answer of ClearTax.
sheet-cut = its end is cut off
sheet-proof = Proof
sheet-hash = SHA-256 of the canonical content (RFC 8785):
sheet-made = Made { $time } by { $program }, format { $format }.
sheet-bundle = The bundle for programs

## The terminal

more-rows = { $n ->
    [one] Only the first row is shown; --limit shows more.
   *[other] Only the first { $n } rows are shown; --limit shows more.
}
story-head = { $id } of VAT { $vat }: { $word } ({ $label })
new-database = warning: database { $database } did not exist: a new one is created
vat-shape = warning: VAT { $vat } is not 15 digits between two 3s, as Saudi VAT numbers are (ZATCA’s rule BR-KSA-40)
vat-shape-rule = VAT { $vat } is not 15 digits between two 3s, as Saudi VAT numbers are (ZATCA’s rule BR-KSA-40).
nothing-to-explain = The text is empty: there is nothing to explain.
col-activity-id = Activity id
col-attempts = Attempts
col-credentials = Credentials
col-daemon = Daemon
col-last-sign = Last sign of life
col-since = Since
col-sinks = Receivers
col-upkeep = Upkeep
col-version = Version
yes = yes
no = no
col-attempts-until-pcsid = Attempts until the PCSID
col-check = Check
col-event-id = Notification id
col-first-attempt = First attempt
col-held-reason = On hold because
col-last-seen = Last seen
col-late-since = Late since
col-latest-attempt = Latest attempt
col-meaning = Meaning
col-next-attempt = Next try
col-oldest = Oldest
col-succeeded = Succeeded
col-vats = VATs
demo-begin = A sandbox of ClearTax on { $upstream }, a daemon, and { $n ->
    [one] { $n } device to watch.
   *[other] { $n } devices to watch.
}
demo-summary = How they ended, by VAT
demo-checks = The six compliance checks, by VAT: ✔ passed, ✘ failed, – not reported
demo-end = That was the sandbox. For the real thing see { $file }, then run { $program }.

add-new = { $id } of VAT { $vat } is watched from now on
add-known = { $id } of VAT { $vat } was known already, nothing changed
poll-due = { $id } of VAT { $vat } is due now
cancel-done = { $id } of VAT { $vat } is cancelled
retry-done = { $id } of VAT { $vat } was: { $from }. It is watched again
nothing-until-it-runs = no daemon runs on this database: nothing is asked or announced until { $command } does
redeliver-done = { $n ->
    [one] { $n } delivery is due now
   *[other] { $n } deliveries are due now
}
import-encoding = { $file } is read as { $encoding }
import-ignored = { $file }: columns that are not used: { $columns }
import-refused = { $file }: nothing was imported, because these rows can’t be used:
import-line = line { $line }: { $problem }
import-too-long = { $file } is longer than { $mib } MiB: divide it, each part with the header row
import-row-too-long = it is longer than { $kib } KiB: is a quotation mark not closed?
import-header = the header must have the columns vat, activity_id and, optionally, device_id and reference, separated by commas or semicolons
import-certificates-header = the header must have the columns vat, device_id, and obtained_at or expires_at, separated by commas or semicolons
import-certificates-done = { $new } certificates are new, { $changed } have other times now, { $known } were known already
import-device-twice = the same VAT and device are on line { $line } already
certificate-ended = has ended
certificate-ending = ends soon
col-obtained = Obtained
col-expires = Ends
col-days-left = Days left
col-reminded = Reminded
import-column-twice = column { $column } is given twice
import-fields = it has { $count } fields, the header has { $header }
import-also = { $problem }; { $also }
import-shortened = a spreadsheet has shortened the number: format the column as text
import-progress = { $done } of { $total } rows
import-came-so-far = { $done } of { $total } rows were imported before it failed; import the file again to take the rest
import-done = { $new ->
    [one] { $new } activity is
   *[other] { $new } activities are
} watched from now on, { $known ->
    [one] { $known } was
   *[other] { $known } were
} known already

## Sentences that the database, the service and the API say in English

stored-in-progress = upstream reports IN_PROGRESS
stored-succeeded = upstream reports that the PCSID was generated
stored-failed-without-pcsid = upstream reports SUCCEEDED, but no PCSID was generated
stored-failed = upstream reports FAILED
stored-refused-in-a-row = upstream refused the id { $times } times in a row: { $detail }
stored-refused = refused: { $detail }
stored-no-reason = no reason given
stored-not-concluded = not concluded { $span } after watching began
stored-cancelled = cancelled by an operator
stored-watched-again = watched again by an operator
stored-unauthorized = unauthorized: upstream refused the token (HTTP 401)
stored-forbidden = forbidden: the token's user is not Admin for this VAT (HTTP 403)
stored-throttled-for = throttled: upstream asks to wait { $span }
stored-throttled = throttled: upstream asks to slow down
stored-no-reply = no_reply: { $detail }
stored-gateway = gateway: { $detail }
stored-server-error = server_error: { $detail }
stored-invalid-response = invalid_response: { $detail }
stored-unexpected-status = unexpected_status: { $detail }
stored-body-starts = { $detail }; body starts { $excerpt }
stored-not-utf8 = the body is not UTF-8
stored-gzip = the body is compressed (gzip)
stored-wrong-type = a field has a wrong type or stands twice, near column { $column }
stored-empty-body = the body is empty
stored-not-json = the body is not JSON
stored-other-type = ActivityType is { $excerpt }
stored-no-status = Status is missing
stored-unknown-status = Status { $excerpt } is not known
stored-http-400 = HTTP 400 without a readable ErrorList: { $excerpt }
stored-http-500 = HTTP 500 with a body whose Status is not FAILED: { $excerpt }
stored-redirect = HTTP { $status }: a redirect, which is never followed; check upstream.base_url
stored-webhook-redirect = HTTP { $status }: a redirect, which is never followed; check the webhook's url
stored-webhook-gone = HTTP 410: the receiver is gone for good
stored-http = HTTP { $status }: { $excerpt }
stored-http-alone = HTTP { $status }
stored-no-connection-in-time = no connection in time: { $detail }
stored-no-answer-in-time = no answer in time: { $detail }
stored-no-answer-within = no answer within { $span } (webhooks.timeout)
stored-no-complete-answer = no complete answer within { $span } (upstream.request_timeout)
stored-name-not-resolved = the host's name could not be resolved: { $detail }
stored-tls-failed = TLS failed: { $detail }
stored-too-few-descriptors = this process has too few file descriptors (`ulimit -n`, LimitNOFILE): { $detail }
stored-no-http-1 = the other side does not speak HTTP/1.1, which is needed; perhaps it takes HTTP/2 alone: { $detail }
stored-no-proxy = no connection to the proxy { $address } ({ $variable }): { $detail }
stored-proxy-refuses = the proxy { $address } ({ $variable }) refuses the connection: { $detail }
stored-proxy-password = the proxy { $address } ({ $variable }) wants a user name and a password: { $detail }
stored-no-connection = no connection: { $detail }
stored-broke-within = the connection broke within the answer: { $detail }
stored-broke-before = the connection broke before an answer: { $detail }
stored-too-long = the answer's body is longer than { $size } KiB
stored-stdout = standard output can't be written: { $detail }
stored-no-credential = no configured credential serves this VAT
stored-vat-restored = upstream answers for this VAT again
stored-database-unwritable = the database can't be written; the log says why, and it is tried until it works
stored-database-unreadable = the database can't be read; the log says why, and it is tried until it works
stored-poller-stuck = the poller has not moved for { $seconds } s
stored-recorder-stuck = the recorder has not moved for { $seconds } s
stored-title-too-large = The body is too large
stored-title-busy = There are too many requests
stored-title-parameter = A parameter can't be used
stored-title-nothing-here = There is nothing here
stored-title-method = The method is not allowed
stored-title-no-activity = There is no such activity
stored-title-ambiguous = The activity is registered for several VATs
stored-title-state = The activity's state forbids it
stored-title-no-event = There is no such event
stored-title-unavailable = The database can't be used
stored-title-slow = The request took too long
stored-title-search = The search takes too long
stored-title-stale = The form is out of date
stored-detail-form-too-large = The form is longer than { $size } KiB. `pcsid-watch preflight FILE` checks longer files.
stored-detail-busy = There are too many requests at the same time. Nothing was done; send it again later.
stored-detail-no-path = There is nothing at this path. /openapi.json describes what there is.
stored-detail-method = This path has no such method; the Allow header names those it has.
stored-detail-no-activity-of = Activity { $id } is not known for VAT { $vat }.
stored-detail-no-activity = Activity { $id } is not known.
stored-detail-state = Activity { $id } of VAT { $vat } is { $state }: { $detail }.
stored-rule-poll = only one that is being watched can be polled
stored-rule-cancel = only one that is being watched can be cancelled
stored-rule-retry = only one that was rejected, expired or cancelled can be retried
stored-detail-no-event-for = Event { $id } is not known for webhook { $sink }.
stored-detail-no-event = Event { $id } is not known.
stored-detail-unavailable = The database can't be used right now; the daemon's log says why. Try again later.
stored-detail-slow = It took too long. What was asked for may have been done; ask again to see.
stored-detail-search = The search takes too long. Narrow it by VAT, state or dates.
stored-detail-choice = There is no such choice; choose one from the list.
stored-detail-date = A date is written as 2026-05-26.
stored-detail-activity-id = activity id { $value } is not usable: it must be 1 to 64 characters out of A-Z, a-z, 0-9, `_` and `-`.
stored-detail-vat = VAT { $value } is not usable: it must be 1 to 32 characters out of A-Z, a-z, 0-9 and `-`.
stored-advice-no-reply = check network, DNS and proxy, and that upstream.base_url names the right host
stored-advice-gateway = ClearTax or a proxy before it is in trouble: check the proxy, and ask ClearTax if it lasts
stored-advice-server-error = ClearTax is in trouble: ask it if this lasts, and check that upstream.base_url is right
stored-advice-invalid = check that upstream.base_url is the API itself and that no login page or proxy answers in its place
stored-advice-unexpected = check host and path of upstream.base_url, and that no login page or proxy answers in its place
stored-cli-no-activity-of = activity `{ $id }` is not known for VAT { $vat }: `pcsid-watch list` shows what is
stored-cli-no-activity = activity `{ $id }` is not known: `pcsid-watch list` shows what is
stored-cli-no-event-for = event `{ $id }` is not known for webhook { $sink }: `pcsid-watch deliveries` shows what is
stored-cli-no-event = event `{ $id }` is not known: `pcsid-watch deliveries` shows what is
stored-cli-ambiguous = activity `{ $id }` is registered for several VATs ({ $vats }): name one with --vat
stored-cli-state = activity `{ $id }` of VAT { $vat } is { $state }: { $detail }
stored-detail-ambiguous = Activity { $id } is registered for several VATs ({ $vats }): name one by the parameter `vat`.
stored-detail-stale = The form is not from this run of the daemon. Go back, reload the page and try again.

## Certificates

nav-certificates = Certificates
certificates-lead = A device invoices for as long as its certificate (PCSID) is valid. A later success of the same device replaces it.
certificates-ended = Ended
certificates-within = Within { $n ->
    [one] { $n } day
   *[other] { $n } days
}
certificates-soon = Ends in the next 90 days
certificates-none = None has ended, and none ends soon.
certificates-more = And { $n } more: { $command }
certificates-year = The next twelve months
certificates-by-day = Certificates that end, by day.
certificates-subscribe = Subscribe as a calendar
certificates-calendar = Calendar: { $n ->
    [one] { $n } certificate ends
   *[other] { $n } certificates end
} in the next twelve months. The table below has the numbers.
certificate-ends = Ends
certificate-from = Obtained by
certificate-reminded = Reminded
certificate-imported = imported
certificate-day = Day
concern-certificates-ended = { $n ->
    [one] { $n } certificate has ended: its device no longer invoices.
   *[other] { $n } certificates have ended: their devices no longer invoice.
}
concern-certificates-soon = { $n ->
    [one] { $n } certificate ends within 14 days.
   *[other] { $n } certificates end within 14 days.
}
todo-see-certificates = Show them

## Preflight

nav-preflight = Check a registration
preflight-lead = Before a one-time password is spent: are the details as ClearTax and ZATCA want them? Nothing is sent or stored.
preflight-found = What was found
preflight-nothing = Nothing is wrong with these details.
preflight-errors = { $n ->
    [one] { $n } error
   *[other] { $n } errors
}
preflight-warnings = { $n ->
    [one] { $n } warning
   *[other] { $n } warnings
}
finding-error = Error
finding-warning = Warning
finding-note = Note
preflight-more = And { $n } more devices: { $command }
preflight-details = The details
preflight-not-given = Not given
preflight-paste = Or paste a file, JSON or CSV
preflight-paste-note = If something is here, the fields above are ignored.
preflight-check = Check
preflight-keys = Keys recognised: { $n }; not recognised: { $unknown }
preflight-device = Device or line { $line }
preflight-given-as = Given as { $key }

## What is wrong with a file, a setting or an argument

place-whole-file = the whole file
place-standard-input = standard input
place-line = line { $line }
place-line-column = line { $line }, column { $column }
complaint-file-json = not valid JSON: { $reason }
complaint-no-file = No such file or directory (os error 2)
complaint-no-permission = Permission denied (os error 13)
complaint-is-folder = Is a directory (os error 21)
complaint-json-end-list = EOF while parsing a list
complaint-json-end-object = EOF while parsing an object
complaint-json-end-string = EOF while parsing a string
complaint-json-end-value = EOF while parsing a value
complaint-json-colon = expected `:`
complaint-json-list = expected `,` or `]`
complaint-json-object = expected `,` or `{"}"}`
complaint-json-word = expected ident
complaint-json-value = expected value
complaint-json-quote = expected `"`
complaint-json-key = key must be a string
complaint-json-comma = trailing comma
complaint-json-more = trailing characters
complaint-json-escape = invalid escape
complaint-json-control = control character (\u0000-\u001F) found while parsing a string
complaint-json-number = invalid number
complaint-json-number-range = number out of range
complaint-json-code-point = invalid unicode code point
complaint-json-surrogate = lone leading surrogate in hex escape
complaint-json-hex = unexpected end of hex escape
complaint-json-depth = recursion limit exceeded
complaint-file-csv = not valid CSV
complaint-file-not-utf8 = field { $nth } is not UTF-8 text
complaint-file-fields = it has { $count } fields, the header has { $header }
complaint-file-long = it is longer than { $size } MiB
complaint-file-empty = it is empty
complaint-file-no-device = there is no device in it
complaint-file-devices = { $most } devices are the most for one file
complaint-file-object = a device is an object with DeviceDetails and OrganizationDetails
complaint-file-foreign = none of its keys is a detail of a registration (`{ $key }` is the first); --example prints a file that is right
complaint-preflight-one = 1 error; correct it before a one-time password is spent
complaint-preflight-many = { $n } errors; correct them before a one-time password is spent
complaint-cannot-be-read = { $file } can't be read: { $reason }
complaint-config-cannot-be-read = configuration file `{ $file }` can't be read: { $reason }; name another with --config
complaint-number-range = { $n } is not in { $range }
complaint-number-digit = invalid digit found in string
complaint-number-large = number too large to fit in target type
complaint-number-empty = cannot parse integer from empty string
complaint-time-such-as = it must be a time such as 12h or 90d
complaint-device-id = device id { $value } is not usable: it must be at most { $n } characters without control characters
complaint-reference = reference { $value } is not usable: it must be at most { $n } characters without control characters
complaint-file-exists = `{ $file }` exists already: name another file
complaint-no-webhook = webhook `{ $name }` is not configured in { $file }: { $known }
complaint-no-webhooks = webhook `{ $name }` is not configured in { $file }: there is none
complaint-no-daemon = no daemon answers: { $reason }; is it running?
complaint-no-time = `{ $text }` is no time: write it as 2026-05-26 or 2026-05-26T10:00:00Z
complaint-set-range = `{ $value }` is not usable: it must be from { $from } to { $until }
complaint-set-number-range = { $value } is not usable: it must be from { $from } to { $until }
complaint-set-below-one = { $value } is not usable: it must be from 0 to below 1
complaint-set-one-or-more = 0 is not usable: it must be 1 or more
complaint-set-unknown = this key is not known
complaint-set-unknown-expected = this key is not known, expected { $known }
complaint-set-unknown-one-of = this key is not known, expected one of { $known }
complaint-set-whole-number = `{ $value }` is not usable: it must be a whole number, 0 or more
complaint-set-number = `{ $value }` is not usable: it must be a number
complaint-set-boolean = `{ $value }` is not usable: it must be true or false
complaint-set-text = `{ $value }` is not usable: it must be text in quotes
complaint-set-duration = `{ $value }` is not usable: it must be a duration such as "5ms", "5s", "10m", "72h" or "400d"
complaint-set-section = { $found } is not usable: it must be a section with keys of its own
complaint-set-list = { $found } is not usable: it must be a list in brackets
complaint-set-name = `{ $value }` is not usable: it must be 1 to 64 characters out of A-Z, a-z, 0-9, `_`, `-` and `.`
complaint-set-twice = `{ $value }` stands twice: names must differ
complaint-set-secret-empty = it is empty: name the file that holds the secret
complaint-set-secret-both = { $one } and { $other } exclude each other: keep one
complaint-set-secret-missing = { $key } is missing: name the file that holds the secret
complaint-set-secret-unreadable = `{ $file }` can't be read: put the secret there and make it readable for this user
complaint-set-secret-no-folder = `{ $file }` can't be read, because CREDENTIALS_DIRECTORY is not set: systemd sets it for its services alone; for a command set it to the folder with the secrets
complaint-set-public = `{ $address }` is reachable from other machines: set http.token_file, or listen on 127.0.0.1
complaint-set-address = `{ $value }` is not usable: it must be an address and a port, such as 127.0.0.1:8088, or empty
complaint-set-zone = `{ $value }` is not usable: it must be a name of the IANA time zone database, such as Asia/Riyadh
complaint-set-language = `{ $value }` is not usable: it must be en or ar
complaint-set-log-format = `{ $value }` is not usable: it must be text or json
complaint-set-log-level = `{ $value }` is not usable: it must be error, warn, info, debug or trace
complaint-set-toml = not valid TOML at { $place }: { $reason }
complaint-set-toml-place = not valid TOML at { $place }
complaint-set-toml-alone = not valid TOML
complaint-set-variable = environment variable { $name } names no key of the configuration

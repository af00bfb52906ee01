"""Compares the metrics in both formats with each other, and with those that alerts and dashboard name."""

import re
import sys

import prometheus_client.openmetrics.parser
import prometheus_client.parser


def series(parser, path):
    families = parser.text_string_to_metric_families(open(path).read())
    return {f"{sample.name} {sorted(sample.labels.items())}" for family in families for sample in family.samples}


text = series(prometheus_client.parser, sys.argv[1])
open_metrics = series(prometheus_client.openmetrics.parser, sys.argv[2])
assert text == open_metrics, text ^ open_metrics
names = {one.split(" ")[0] for one in text}
# There was no answer yet.
names.add("pcsid_watch_last_answer_timestamp_seconds")
for file in ["alerts.yml", "dashboard.json"]:
    missing = set(re.findall(r"pcsid_watch_[a-z_]+", open(f"deploy/monitoring/{file}").read())) - names
    assert not missing, f"{file}: {missing}"
print(f"metrics: {len(text)} series are the same in both formats, and alerts and dashboard name no others")

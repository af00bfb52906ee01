"""Checks the rendered objects of an overlay against schemas and against what they must contain."""

import json
import sys
import tomllib

import kubernetes_validate
import yaml

overlay, path = sys.argv[1:]
objects = [document for document in yaml.safe_load_all(open(path)) if document]
by_kind = {}
for thing in objects:
    by_kind.setdefault(thing["kind"], []).append(thing)


def one(kind):
    (thing,) = by_kind[kind]
    return thing


# Every object is one that a cluster of this version takes, without unknown fields. ServiceMonitor and PrometheusRule are no
# part of Kubernetes: their shape is checked below.
for thing in objects:
    if thing["apiVersion"] != "monitoring.coreos.com/v1":
        kubernetes_validate.validate(thing, "1.33", strict=True)

rule = one("PrometheusRule")["spec"]
alerts = yaml.safe_load(open("deploy/monitoring/alerts.yml"))
assert rule == alerts, "prometheus-rule.yaml is older than alerts.yml: run deploy/monitoring/update"
monitor = one("ServiceMonitor")["spec"]
assert set(monitor) == {"selector", "endpoints"}, monitor
(endpoint,) = monitor["endpoints"]
assert set(endpoint) <= {"port", "path", "interval", "scrapeTimeout"} and endpoint["path"] == "/metrics", endpoint

is_replicated = overlay == "replicated"
workload = one("Deployment" if is_replicated else "StatefulSet")
assert ("StatefulSet" in by_kind) != is_replicated
pod = workload["spec"]["template"]["spec"]
(container,) = pod["containers"]
labels = workload["spec"]["template"]["metadata"]["labels"]

if is_replicated:
    # Several pods without a volume, on different machines, of which an update takes one at a time.
    assert workload["spec"]["replicas"] == 3 and "volumeClaimTemplates" not in workload["spec"]
    assert workload["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 1
    assert all(
        spread["labelSelector"]["matchLabels"].items() <= labels.items() for spread in pod["topologySpreadConstraints"]
    )
else:
    # One pod, one volume.
    assert workload["spec"]["replicas"] == 1
    (claim,) = workload["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
# Time to end in.
assert pod["terminationGracePeriodSeconds"] > 10, "the daemon is promised ten seconds"

# Restricted Pod Security, and more than it asks for.
security, inner = pod["securityContext"], container["securityContext"]
assert security["runAsNonRoot"] and security["runAsUser"] > 0
assert security["seccompProfile"] == {"type": "RuntimeDefault"}
assert inner["allowPrivilegeEscalation"] is False and inner["readOnlyRootFilesystem"] is True
assert inner["capabilities"] == {"drop": ["ALL"]} and "privileged" not in inner
assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
assert all(set(volume) - {"name"} <= {"configMap", "secret", "emptyDir"} for volume in pod["volumes"])
namespace = one("Namespace")
assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
assert all(
    thing["metadata"]["namespace"] == namespace["metadata"]["name"] for thing in objects if thing["kind"] != "Namespace"
)
assert pod["automountServiceAccountToken"] is False
assert container["resources"]["limits"]["memory"] and container["resources"]["requests"]["cpu"]

# Everything that is named exists.
names = {(thing["kind"], thing["metadata"]["name"]) for thing in objects}
assert ("ConfigMap", container["envFrom"][0]["configMapRef"]["name"]) in names
for volume in pod["volumes"]:
    if "configMap" in volume:
        configuration = next(
            thing for thing in by_kind["ConfigMap"] if thing["metadata"]["name"] == volume["configMap"]["name"]
        )
    if "secret" in volume:
        secret = one("Secret")
        assert secret["metadata"]["name"] == volume["secret"]["secretName"]
mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
assert set(mounts) == {volume["name"] for volume in pod["volumes"]} | (set() if is_replicated else {"data"})
ports = {port["name"]: port["containerPort"] for port in container["ports"]}
for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
    assert container[probe]["httpGet"]["port"] == "metrics", "probes ask for no token there"
assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items()
for service in by_kind["Service"]:
    selector = service["spec"]["selector"]
    assert selector and selector.items() <= labels.items(), selector
    assert all(port["targetPort"] in ports for port in service["spec"]["ports"])
wanted = monitor["selector"]["matchLabels"].items()
assert ("app.kubernetes.io/name", "pcsid-watch") in wanted, "it would take services of others"
monitored = [service for service in by_kind["Service"] if wanted <= service["metadata"]["labels"].items()]
assert len(monitored) == 1 and endpoint["port"] in {port["name"] for port in monitored[0]["spec"]["ports"]}
policy = one("NetworkPolicy")["spec"]
assert policy["podSelector"]["matchLabels"].items() <= labels.items() and len(policy["policyTypes"]) == 2
assert all(port["port"] in ports for rule in policy["ingress"] for port in rule["ports"])
# Whom it talks with, exactly: a label more and it would be nobody.
(client,), (scraper,) = (rule["from"] for rule in policy["ingress"])
assert client == {"podSelector": {"matchLabels": {"pcsid-watch/client": "yes"}}}, client
assert scraper == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}, scraper
(resolver,) = next(rule["to"] for rule in policy["egress"] if rule["ports"][0]["port"] == 53)
assert resolver == {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
    "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
}, resolver
assert one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items() <= labels.items()

# The configuration goes with the pod's ports, mounts and secrets.
settings = tomllib.loads(configuration["data"]["pcsid-watch.toml"])
assert settings["http"]["listen"].endswith(f":{ports['http']}")
assert settings["http"]["metrics_listen"].endswith(f":{ports['metrics']}")
if is_replicated:
    variables = {variable["name"]: variable for variable in container["env"]}
    url = variables["PCSID_WATCH__DATABASE__URL"]["valueFrom"]["secretKeyRef"]
    assert url["name"] == one("Secret")["metadata"]["name"] and url["key"] in one("Secret")["data"]
    database = next(rule["to"] for rule in policy["egress"] if rule["ports"][0]["port"] == 5432)
    assert database == [{"podSelector": {"matchLabels": {"cnpg.io/cluster": "pcsid-watch-db"}}}], database
else:
    assert settings["database"]["url"].removeprefix("sqlite://").startswith(mounts["data"] + "/")
for file in [settings["http"]["token_file"], settings["credentials"][0]["token_file"]]:
    folder, name = file.rsplit("/", 1)
    assert folder == mounts["secrets"] and name in secret["data"], file
by_name = {thing["metadata"]["name"]: thing for thing in by_kind["ConfigMap"]}
environment = by_name[container["envFrom"][0]["configMapRef"]["name"]]["data"]
if is_replicated:
    for key in ("PASSWORD_FILE", "CA_FILE"):
        folder, name = environment[f"PCSID_WATCH__DATABASE__{key}"].rsplit("/", 1)
        assert folder == mounts["secrets"] and name in secret["data"], key
upstream = environment["PCSID_WATCH__UPSTREAM__BASE_URL"]
assert ("api-sandbox" in upstream) == (overlay == "sandbox"), upstream
# The daemon answers to every name of the service.
service, where = monitored[0]["metadata"]["name"], namespace["metadata"]["name"]
hosts = environment["PCSID_WATCH__HTTP__HOSTS"].split()
assert hosts == [service + end for end in ["", f".{where}", f".{where}.svc", f".{where}.svc.cluster.local"]], hosts

# The image names its registry: a bare name would be Docker Hub's.
registry, _, rest = container["image"].partition("/")
assert "." in registry and ":" in rest, container["image"]

dashboard = by_name["pcsid-watch-dashboard"]
assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
assert json.loads(dashboard["data"]["pcsid-watch.json"]) == json.load(open("deploy/monitoring/dashboard.json"))
print(f"kubernetes: {overlay}: {len(objects)} objects are as they have to be")

"""A real Prometheus scrapes real engines: what it answers to the dashboard, the rules and the docs.

One scenario for all tests of this module, also where pytest-xdist hands them to several processes:
engines under load, then slow for a while, then well again. Nothing here measures how long that
takes; each step is waited for, and all of them together have an end.
"""

import faulthandler
import fcntl
import json
import math
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from bisect import bisect_left
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from graceline.telemetry.shipping import export
from graceline.telemetry.stats import BUCKETS

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "objective.md"
OBJECTIVE = 0.98
PERIOD = "19h12m"
"""For which the windows of the alert that fires first are 96 s and 8 s."""
ALERT = "GracelineBudgetBurnsFast"
STEP = 75
"""Seconds for which the scenario waits for one thing."""
FAILSAFE = 180
"""Seconds for all of its waits; it takes 35, on a machine that is not busy."""


class Server:
    """Asks a Prometheus server."""

    def __init__(self, port):
        self._address = f"http://127.0.0.1:{port}"
        direct = urllib.request.ProxyHandler({})
        self._opener = urllib.request.build_opener(direct)
        self._end = time.monotonic() + FAILSAFE

    def _get(self, path, **words):
        asked = urllib.parse.urlencode(words)
        try:
            with self._opener.open(f"{self._address}{path}?{asked}", timeout=30) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{words}: {error.read().decode()}") from None

    def ready(self):
        try:
            return bool(self._get("/-/ready"))
        except (OSError, AssertionError):
            return False

    def api(self, path, **words):
        return json.loads(self._get(f"/api/v1/{path}", **words))["data"]

    def values(self, expr):
        """The series of an expression, with their value: those that say something."""
        found = self.api("query", query=expr)["result"]
        return [
            (one["metric"], float(one["value"][1])) for one in found if one["value"][1] != "NaN"
        ]

    def alerts(self, pipeline):
        """The names of the alerts that fire for a pipeline."""
        return {
            alert["labels"]["alertname"]
            for alert in self.api("alerts")["alerts"]
            if alert["state"] == "firing" and alert["labels"].get("pipeline") == pipeline
        }

    def wait(self, condition):
        """Ask until a condition holds, or the time is over; returns whether it holds."""
        end = min(self._end, time.monotonic() + STEP)
        while not condition():
            if time.monotonic() > end:
                return False
            time.sleep(0.25)
        return True

    def wait_for_data(self, queries):
        """Ask all queries until each has had data; returns those that never had any."""
        silent = dict(queries)

        def all_have():
            for name, expr in list(silent.items()):
                if self.values(expr):
                    del silent[name]
            return not silent

        self.wait(all_have)
        return sorted(silent.items())


@contextmanager
def running(*words, **options):
    """A process that ends with the block."""
    with subprocess.Popen(words, **options) as process:  # noqa: S603
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def configure(folder, target):
    """Write what Prometheus needs to know; returns the path of that, and that of the dashboard."""
    dashboard, *rules = export(folder / "rules", objective=OBJECTIVE, period=PERIOD)
    settings = {
        "global": {
            "scrape_interval": "2s",
            "scrape_timeout": "2s",
            "evaluation_interval": "1s",
        },
        "rule_files": [str(path) for path in rules],
        "scrape_configs": [{"job_name": "engines", "static_configs": [{"targets": [target]}]}],
    }
    path = folder / "prometheus.yml"
    path.write_text(json.dumps(settings))  # which is YAML as well
    return path, dashboard


def chosen(server, dashboard):
    """The values of the variables of a dashboard, as Grafana writes several of them."""
    words = {"objective": str(OBJECTIVE), "__rate_interval": "16s", "__range": "1m"}
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            what, label = re.fullmatch(
                r"label_values\((.*), (\w+)\)", variable["definition"]
            ).groups()
            words[label] = ".*"
            found = server.api(f"label/{label}/values", **{"match[]": put(what, words)})
            words[label] = f"({'|'.join(found)})"
    return words


def put(expr, words):
    return re.sub(r"\$(\w+)", lambda found: words[found[1]], expr)


def panel_queries(server, path):
    dashboard = json.loads(path.read_text("utf-8"))
    words = chosen(server, dashboard)
    return {
        f"{panel['title']} {target['refId']}": put(target["expr"], words)
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    }


def rule_queries(server):
    groups = server.api("rules")["groups"]
    return {
        f"{group['name']} {rule['name']}": rule["query"]
        for group in groups
        for rule in group["rules"]
    }


def page_queries():
    """Every query on the page: the blocks, and the last column of the table of older names."""
    text = PAGE.read_text("utf-8")
    blocks = re.findall(r"^```promql\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    table = text.partition("## Names of earlier systems")[2].replace("\\|", "¦")
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    cells = [row[-1].strip("`").replace("¦", "|") for row in rows[1:]]
    return {f"query {number}": expr for number, expr in enumerate(blocks + cells)}


def scenario(folder):
    """What was seen, as plain data."""
    seen = {}
    with ExitStack() as stack:
        log = stack.enter_context((folder / "load.log").open("w"))
        load = stack.enter_context(
            running(
                sys.executable, str(HERE / "load.py"),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )
        )  # fmt: skip
        first = load.stdout.readline()
        assert first, (folder / "load.log").read_text()
        settings, dashboard = configure(folder, json.loads(first)["target"])
        port = free_port()
        log = stack.enter_context((folder / "prometheus.log").open("w"))
        stack.enter_context(
            running(
                shutil.which("prometheus"), f"--config.file={settings}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
                stdout=log, stderr=log,
            )
        )  # fmt: skip
        server = Server(port)
        assert server.wait(server.ready), (folder / "prometheus.log").read_text()
        assert server.wait(lambda: server.values('graceline_pipelines_total{pipeline="shop"} > 20'))
        seen["healthy"] = sorted(server.alerts("shop"))
        priced = json.loads(load.stdout.readline())["priced"]
        ended = 'sum(graceline_pipelines_total{pipeline="priced"})'
        assert server.wait(lambda: server.values(f"{ended} == {len(priced)}"))
        buckets = 'graceline_pipeline_duration_seconds_bucket{pipeline="priced"}'
        quantile = f"histogram_quantile(0.95, sum by (le) ({buckets}))"
        ((_, seen["p95"]),) = server.values(quantile)
        seen["priced"] = priced
        seen["silent panels"] = server.wait_for_data(panel_queries(server, dashboard))
        seen["silent on the page"] = server.wait_for_data(page_queries())
        tell(load, "slow")
        seen["fires"] = server.wait(lambda: ALERT in server.alerts("shop"))
        seen["silent rules"] = server.wait_for_data(rule_queries(server))
        tell(load, "fast")
        record = 'lane_pipeline:graceline_pipelines_bad:ratio_rate8s{pipeline="shop"}'
        seen["clears"] = server.wait(
            lambda: server.values(f"{record} < 0.1") and ALERT not in server.alerts("shop")
        )
        seen["health of rules"] = sorted(
            rule["lastError"]
            for group in server.api("rules")["groups"]
            for rule in group["rules"]
            if rule["health"] != "ok"
        )
    return seen


def tell(load, word):
    load.stdin.write(f"{word}\n")
    load.stdin.flush()


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What the scenario has shown; whoever comes first plays it, the others wait for that."""
    missing = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
    if missing:
        said = f"{' and '.join(missing)} not installed: apt-get install prometheus"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)
    # pytest ends the whole run once a test has taken two minutes; this one has its own, later end,
    # which may be that of another process that plays first.
    faulthandler.dump_traceback_later(3 * FAILSAFE, exit=True, file=sys.__stderr__)
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder /= "prometheus"
    folder.mkdir(exist_ok=True)
    kept = folder / "seen.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            kept.write_text(json.dumps(scenario(folder)))
    return json.loads(kept.read_text())


def test_every_query_of_the_dashboard_has_data(seen):
    """No panel is empty under a load that has everything, whatever lanes and pipelines are chosen."""
    assert seen["silent panels"] == []


def test_every_rule_has_data(seen):
    """Each recording rule gives series, and each alert's condition can be met."""
    assert seen["silent rules"] == []
    assert seen["health of rules"] == []


def test_every_query_of_the_page_has_data(seen):
    """The queries of the page, those for the names of earlier systems included, have an answer."""
    assert len(page_queries()) > 20
    assert seen["silent on the page"] == []


def test_a_slowdown_fires_the_alert_and_recovery_clears_it(seen):
    """All are silent while all is well; one pages when no run is in time, and clears when all is well again."""
    assert seen["healthy"] == []
    assert seen["fires"]
    assert seen["clears"]


def test_the_p95_is_that_of_the_runs(seen):
    """By the histogram it is at most one bucket from the exact one; the runs that were cut count."""
    durations = seen["priced"]
    exact = durations[math.ceil(0.95 * len(durations)) - 1]
    cut = [one for one in durations if one >= 0.4]
    assert len(cut) > 0.05 * len(durations)
    assert exact in cut
    assert abs(bisect_left(BUCKETS, seen["p95"]) - bisect_left(BUCKETS, exact)) <= 1

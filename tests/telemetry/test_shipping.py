import json
import math
import os
import re
import shutil
import subprocess
from datetime import timedelta
from importlib import resources
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from graceline import DefinitionError
from graceline.telemetry.prometheus.families import Families
from graceline.telemetry.shipping import export
from graceline.telemetry.stats import BUCKETS

HERE = Path(__file__).parent
SHIPPED = resources.files("graceline.telemetry") / "shipped"
UNITS = {"bool", "none", "ops", "percentunit", "reqps", "s", "short"}
"""Units that Grafana knows, of those that fit here."""


def shipped(name):
    return (SHIPPED / name).read_text("utf-8")


def dashboard(text=None):
    return json.loads(text or shipped("dashboard.json"))


def panels(page):
    return [panel for panel in page["panels"] if panel["type"] != "row"]


def rules(text):
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def promtool(*words, cwd):
    if shutil.which("promtool") is None:
        missing = "promtool is not installed: apt-get install prometheus"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    done = subprocess.run(  # noqa: S603
        ["promtool", *words],  # noqa: S607
        cwd=cwd, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class TestExport:
    def test_writes_what_is_shipped_as_it_is(self, tmp_path):
        """Without another word the files are those in the package, to the byte."""
        written = export(tmp_path / "new" / "directory")
        assert [path.name for path in written] == [
            "graceline-dashboard.json",
            "graceline-objective.rules.yml",
            "graceline-engine.rules.yml",
        ]
        for path in written:
            name = path.name.removeprefix("graceline-")
            assert path.read_text("utf-8") == shipped(name)

    @pytest.mark.parametrize("prefix", ["shop", "graceline_shop", "my_graceline", "_x9", "a" * 40])
    def test_gives_all_metrics_another_prefix_once(self, tmp_path, prefix):
        """Each name gets the new prefix once, even if that contains the old one; nothing else changes."""
        for path in export(tmp_path, prefix=prefix):
            text = path.read_text("utf-8")
            names = set(re.findall(r"\w*graceline_\w*", text)) - {prefix}
            assert all(name.startswith(f"{prefix}_") for name in names)
            back = re.sub(rf"\b{prefix}_(?=[a-z])", "graceline_", text)
            name = path.name.removeprefix(f"{prefix}-")
            if name == "dashboard.json":
                page = dashboard(back)
                assert page.pop("uid") == prefix
                assert page.pop("title") == f"{prefix}: latency objective"
                assert page == {
                    key: value for key, value in dashboard().items() if key not in ("uid", "title")
                }
            else:
                assert back == shipped(name)

    def test_asks_for_another_objective_everywhere(self, tmp_path):
        """Alerts and panels compare with the objective that was asked for; quantiles stay."""
        page, objective, engine = (
            path.read_text("utf-8") for path in export(tmp_path, objective=0.999)
        )
        assert objective.count("(1 - 0.999)") == shipped("objective.rules.yml").count("(1 - 0.99)")
        assert "0.99)" not in objective
        assert engine == shipped("engine.rules.yml")
        (variable,) = (v for v in dashboard(page)["templating"]["list"] if v["name"] == "objective")
        shown = {"text": "0.999", "value": "0.999"}
        assert variable["query"] == "0.999"
        assert variable["current"] == {"selected": False, **shown}
        assert variable["options"] == [{"selected": True, **shown}]
        assert page.count("histogram_quantile(0.99,") == shipped("dashboard.json").count(
            "histogram_quantile(0.99,"
        )

    @pytest.mark.parametrize(
        ("period", "windows", "wait"),
        [
            ("30d", ["5m", "30m", "1h", "6h", "3d"], "2m"),
            ("7d", ["1m10s", "7m", "14m", "1h24m", "16h48m"], "28s"),
            (timedelta(days=60), ["10m", "1h", "2h", "12h", "6d"], "4m"),
            ("2h24m", ["1s", "6s", "12s", "1m12s", "14m24s"], "0s"),
        ],
    )
    def test_keeps_windows_in_proportion_to_the_period(self, tmp_path, period, windows, wait):
        """The windows of the burn rates follow the period wherever they are named, others do not.

        So does the time for which their alerts wait.
        """
        page, objective, engine = (
            path.read_text("utf-8") for path in export(tmp_path, period=period)
        )
        records = [rule for rule in rules(objective) if "record" in rule]
        assert [rule["record"].partition("ratio_rate")[2] for rule in records] == windows
        for rule, window in zip(records, windows, strict=True):
            assert set(re.findall(r"\[(\w+)\]", rule["expr"])) == {window}
        names = {rule["record"] for rule in records}
        used = re.findall(r"\w+:graceline_pipelines_bad:\w+", objective + page)
        assert set(used) == names
        for rule in rules(objective):
            if "alert" in rule:
                named = re.findall(r"ratio_rate(\w+)", rule["expr"])
                said = re.findall(r"last (\w+)", rule["annotations"]["description"])
                assert said == named
                assert rule["for"] == wait
        assert engine == shipped("engine.rules.yml")

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ({"prefix": "9lives"}, "begin with no digit, not '9lives'"),
            ({"prefix": "a-b"}, "letters, digits and underscores"),
            ({"prefix": "a\n"}, "prefix= must be"),
            ({"prefix": ""}, "prefix= must be"),
            ({"prefix": "a" * 41}, "at most 40"),
            ({"prefix": "a:b"}, "not 'a:b'"),
            ({"prefix": None}, "not None"),
            ({"objective": 99}, "such as 0.99 for 99 %, not 99"),
            ({"objective": 1}, "below 1"),
            ({"objective": 0.9}, "at least 0.94"),
            ({"objective": math.nan}, "not nan"),
            ({"objective": True}, "a share such as 0.99, not True"),
            ({"objective": "0.99"}, "not '0.99'"),
            ({"period": "2h"}, "at least 2h24m, not '2h'"),
            ({"period": math.inf}, "must be finite"),
            ({"period": "a while"}, "period="),
        ],
    )
    def test_says_what_cannot_be(self, tmp_path, words, message):
        """A bad word is an error that says what would be right, and nothing is written."""
        with pytest.raises(DefinitionError, match=re.escape(message)):
            export(tmp_path / "there", **words)
        assert not (tmp_path / "there").exists()

    def test_replaces_nothing_unless_it_is_told_to(self, tmp_path):
        """If one of the files is there none is written, unless by force."""
        edited = tmp_path / "graceline-engine.rules.yml"
        edited.write_text("mine")
        with pytest.raises(
            FileExistsError, match=r"there already: .*graceline-engine\.rules\.yml$"
        ):
            export(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [edited.name]
        assert edited.read_text() == "mine"
        export(tmp_path, force=True)
        assert edited.read_text("utf-8") == shipped("engine.rules.yml")

    @pytest.mark.parametrize("force", [False, True])
    def test_says_what_is_in_its_way(self, tmp_path, force):
        """A file in the place of the directory, or the reverse, is told as such; nothing is written."""
        file = tmp_path / "file"
        file.write_text("mine")
        with pytest.raises(DefinitionError, match=r"file is a file, and a directory is wanted"):
            export(file, force=force)
        (tmp_path / "nowhere").symlink_to(tmp_path / "not there")
        with pytest.raises(DefinitionError, match=r"nowhere is a file"):
            export(tmp_path / "nowhere", force=force)
        folder = tmp_path / "folder"
        (folder / "graceline-engine.rules.yml").mkdir(parents=True)
        with pytest.raises(DefinitionError, match=r"engine\.rules\.yml is a directory"):
            export(folder, force=force)
        assert [path.name for path in folder.iterdir()] == ["graceline-engine.rules.yml"]
        assert file.read_text() == "mine"

    def test_the_lowest_objective_can_still_be_missed(self):
        """For each objective that is allowed the steepest burn rate is less than all runs."""
        factors = re.findall(r"> ([0-9.]+) \* \(1 - 0\.99\)", shipped("objective.rules.yml"))
        assert max(map(float, factors)) * (1 - 0.94) < 1


class TestRules:
    @pytest.mark.parametrize(
        "words",
        [{}, {"prefix": "shop", "objective": 0.9995, "period": "7d"}],
        ids=["as is", "other"],
    )
    def test_promtool_accepts_them(self, tmp_path, words):
        """`promtool check rules` finds nothing wrong in what is written."""
        files = [path.name for path in export(tmp_path, **words) if path.suffix == ".yml"]
        said = promtool("check", "rules", "--lint=all", "--lint-fatal", *files, cwd=tmp_path)
        assert said.count("SUCCESS") == 2

    @pytest.mark.parametrize("name", ["objective", "engine"])
    def test_they_fire_and_clear(self, tmp_path, name):
        """`promtool test rules`: alerts fire for what they are about, clear, and ignore a blip."""
        export(tmp_path)
        shutil.copy(HERE / f"{name}.test.yml", tmp_path)
        promtool("test", "rules", f"{name}.test.yml", cwd=tmp_path)

    @pytest.mark.parametrize("name", ["objective.rules.yml", "engine.rules.yml"])
    def test_every_alert_says_what_is_the_matter_and_what_to_do(self, name):
        """Summary, description and a sentence to go by, without a link that dies; page or ticket."""
        alerts = [rule for rule in rules(shipped(name)) if "alert" in rule]
        assert alerts
        for rule in alerts:
            said = rule["annotations"]
            assert set(said) == {"summary", "description", "runbook"}
            assert all(len(text) > 20 and "://" not in text for text in said.values())
            assert "{{ $" in said["summary"]
            assert said["runbook"].endswith(".")
            assert rule["labels"]["severity"] in ("page", "ticket")

    def test_only_the_objective_pages(self):
        """What wakes people is what users feel; causes make tickets."""
        engine = [rule for rule in rules(shipped("engine.rules.yml")) if "alert" in rule]
        assert {rule["labels"]["severity"] for rule in engine} == {"ticket"}
        objective = [rule for rule in rules(shipped("objective.rules.yml")) if "alert" in rule]
        assert [rule["labels"]["severity"] for rule in objective] == ["page", "page", "ticket"]

    def test_they_are_those_of_the_workbook(self):
        """1 h and 5 min by 14.4, 6 h and 30 min by 6, 3 d and 6 h by 1."""
        objective = [rule for rule in rules(shipped("objective.rules.yml")) if "alert" in rule]
        said = [re.findall(r"rate(\w+) > ([\d.]+) ", rule["expr"]) for rule in objective]
        assert said == [
            [("1h", "14.4"), ("5m", "14.4")],
            [("6h", "6"), ("30m", "6")],
            [("3d", "1"), ("6h", "1")],
        ]

    def test_the_windows_differ_in_nothing_else(self):
        """All burn rates count the same runs as good and as bad."""
        found = [rule["expr"] for rule in rules(shipped("objective.rules.yml")) if "record" in rule]
        assert len(found) == len(set(found)) == 5
        assert len({re.sub(r"\[\w+\]", "[window]", expr) for expr in found}) == 1


class TestDashboard:
    def test_has_the_rows_that_were_promised(self):
        """What an operator looks for has a row, in the order of the questions."""
        titles = [panel["title"] for panel in dashboard()["panels"] if panel["type"] == "row"]
        assert titles == [
            "Objective",
            "Latency",
            "Timeouts and blame",
            "Degraded",
            "Retries, hedges, breakers",
            "Queue and admission",
            "Cleanup and grace",
            "Loop, threads and stuck nodes",
            "Alternatives and learned limits",
        ]

    def test_every_panel_has_an_id_and_a_name_of_its_own(self):
        """Grafana finds panels by their id, people by their title."""
        page = dashboard()
        ids = [panel["id"] for panel in page["panels"]]
        titles = [panel["title"] for panel in page["panels"]]
        assert len(ids) == len(set(ids))
        assert all(isinstance(one, int) and one > 0 for one in ids)
        assert len(titles) == len(set(titles))
        assert all(titles)

    def test_no_panel_lies_on_another(self):
        """Panels fill a grid of 24 columns without overlap, each below its row."""
        places = []
        for panel in dashboard()["panels"]:
            place = panel["gridPos"]
            assert place["w"] > 0
            assert place["h"] > 0
            assert place["x"] >= 0
            assert place["x"] + place["w"] <= 24
            places.append((panel["title"], place))
        for (one, a), (other, b) in combinations(places, 2):
            apart = (
                a["x"] + a["w"] <= b["x"]
                or b["x"] + b["w"] <= a["x"]
                or a["y"] + a["h"] <= b["y"]
                or b["y"] + b["h"] <= a["y"]
            )
            assert apart, f"{one} and {other} overlap"
        tops = [place["y"] for _, place in places]
        assert tops == sorted(tops)

    def test_every_panel_has_a_unit_and_a_legend(self):
        """Axes say what they count, and series who they are."""
        for panel in panels(dashboard()):
            assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
            assert panel["targets"], panel["title"]
            refs = [target["refId"] for target in panel["targets"]]
            assert len(refs) == len(set(refs))
            for target in panel["targets"]:
                assert target["legendFormat"], panel["title"]
                assert target["instant"] is not target["range"]
                asked = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                known = set(re.findall(r"\w+", target["expr"])) | {"instance"}
                assert asked <= known, panel["title"]

    def test_asks_one_source_that_is_chosen_above(self):
        """Each panel and each variable takes the data source of the variable."""
        page = dashboard()
        source = {"type": "prometheus", "uid": "${datasource}"}
        kinds = {v["name"]: v["type"] for v in page["templating"]["list"]}
        assert kinds == {
            "datasource": "datasource",
            "lane": "query",
            "pipeline": "query",
            "objective": "constant",
        }
        for panel in panels(page):
            assert panel["datasource"] == source
            assert all(target["datasource"] == source for target in panel["targets"])
        asking = [v for v in page["templating"]["list"] if v["type"] == "query"]
        assert all(variable["datasource"] == source for variable in asking)
        used = set(re.findall(r"\$\{?(\w+)", json.dumps(page)))
        assert used == {*kinds, "__rate_interval", "__range"} | {"__all"}

    def test_filters_by_lane_and_pipeline(self):
        """The choice above holds for each query about something that has these labels."""
        unlabelled = ("loop_blocked", "abandoned_threads", "stuck_nodes", "vector(")
        by_lane = ("breaker", "queue_", "rejections", "mode_info")
        for panel in panels(dashboard()):
            for target in panel["targets"]:
                expr = target["expr"]
                if any(name in expr for name in unlabelled):
                    continue
                assert 'lane=~"$lane"' in expr
                assert ('pipeline=~"$pipeline"' in expr) is not any(n in expr for n in by_lane)

    def test_asks_for_the_quantile_that_it_names(self):
        """Who reads p95 in a legend, a title or a description looks at the p95."""
        for panel in panels(dashboard()):
            asked = {}
            for target in panel["targets"]:
                legend = target["legendFormat"]
                texts = (legend, panel["title"], panel.get("description", ""))
                named = next(
                    (found for text in texts if (found := re.findall(r"\bp(\d+)\b", text))), []
                )
                quantiles = re.findall(r"histogram_quantile\(([^,]+),", target["expr"])
                assert len(quantiles) <= 1
                if quantiles:
                    asked[legend] = float(quantiles[0])
                    assert [asked[legend]] == [int(one) / 100 for one in named], panel["title"]
                else:
                    assert not re.search(r"\bp\d", legend), panel["title"]
            assert asked or not re.search(r"\bp\d", panel["title"]), panel["title"]

    def test_durations_leave_out_what_is_no_latency_and_nothing_else(self):
        """Timed-out runs and parts are in every quantile; what was cancelled or refused is in none."""
        text = json.dumps([panel["targets"] for panel in panels(dashboard())]).replace('\\"', '"')
        selectors = re.findall(r"_duration_seconds_bucket\{?([^}]*)\}", text)
        assert len(selectors) == text.count("_duration_seconds_bucket") > 9
        filters = {tuple(re.findall(r'status\W+"[^"]*"', found)) for found in selectors}
        assert filters == {('status!~"cancelled|rejected|skipped"',)}

    def test_the_objective_is_that_of_the_alerts(self):
        """The panels on the objective count the same runs as good, and as any, as the rules do."""
        (rule, *_) = (one for one in rules(shipped("objective.rules.yml")) if "record" in one)
        good, _, counted = re.findall(r"graceline_pipelines_total(?:\{(.*?)\})?\[", rule["expr"])
        assert good
        assert counted
        exprs = {panel["title"]: panel["targets"][0]["expr"] for panel in panels(dashboard())}
        chosen = 'lane=~"$lane", pipeline=~"$pipeline"'
        total = "sum by (lane, pipeline) (increase(graceline_pipelines_total{{{}, {}}}[$__range]))"
        share = f"{total.format(chosen, good)} / ({total.format(chosen, counted)} > 0)"
        assert exprs["Share within budget"] == share
        assert exprs["Error budget left"] == f"1 - (1 - {share}) / (1 - $objective)"
        moment = share.replace("increase", "rate").replace("$__range", "$__rate_interval")
        assert exprs["Share within budget over time"] == moment

    def test_names_the_states_of_breakers(self):
        """The worst state is shown as it is, under the name that the metric gives to its number."""
        (panel,) = (panel for panel in panels(dashboard()) if panel["title"] == "Breakers")
        (target,) = panel["targets"]
        worst = 'max by (lane, breaker) (graceline_breaker_state{lane=~"$lane"})'
        assert target["expr"] == worst
        (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
        names = {value: shown["text"] for value, shown in mapping["options"].items()}
        assert names == {"0": "closed", "1": "half open", "2": "open"}

    def test_shows_every_metric(self):
        """Nothing is measured that no panel shows."""
        exprs = " ".join(t["expr"] for panel in panels(dashboard()) for t in panel["targets"])
        names = {family.name for family in Families("graceline", BUCKETS).empty()}
        assert len(names) >= 30
        hidden = {
            name
            for name in names
            if not re.search(rf"\b{name}(_bucket|_sum|_total|_info)?(?!\w)", exprs)
        }
        assert hidden == set()

    def test_is_explained_panel_by_panel(self):
        """The page on objectives has a line for each panel, in order."""
        text = (HERE.parents[1] / "docs" / "objective.md").read_text("utf-8")
        table = text.partition("## What each panel means")[2].partition("##")[0]
        told = [line.split(" | ")[1] for line in table.splitlines() if line.startswith("| ")]
        assert told[1:] == [panel["title"] for panel in panels(dashboard())]

    def test_says_so_in_a_schema_that_grafana_10_reads(self):
        """The version of the schema is that of Grafana 10; the uid is short enough."""
        page = dashboard()
        assert 38 <= page["schemaVersion"] <= 39
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", page["uid"])
        assert page["panels"][0]["type"] == "row"

"""The report opens in a real browser, shows what was recorded, and lets nothing that data says act."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from mdlake.statistics import record
from mdlake.statistics.figures import gather
from mdlake.statistics.report import report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr"),
)
HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)>'
MODELS = (("teacher", 4_000_000, 0.80), ("student alone", 50_000, 0.78), ("artifact", 8_000, 0.79))
MODEL_ROW = {"parameters": 1000, "nonzero": 900, "bits": 32.0, "split": "test", "macs": 7_654, "latency_ms": 0.0321}


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    stats = str(tmp_path / "stats")
    chain = "dictionary[3](rans, lengths(plain, plain))"
    block = {"archive": "a", "file": "f", "row_group": 0, "type": "int64", "chain": chain, "rows": 1000}
    columns = (("plain_column", 900), (HOSTILE, 500), ("größe (cm)", 40))
    spent = {"table_bytes": 17, "exception_bytes": 4}
    runner_up = {"runner_up": "fields[9](zstd)", "runner_up_bytes": 1234, "runner_up_estimated": True}
    relation = {"parents": HOSTILE, "relation": f"lookup[3] by {HOSTILE}", "alone_bytes": 4321}
    why = {"plain_column": spent, HOSTILE: {**spent, **runner_up, **relation}}  # nothing is known of the third
    profile = {"dataset": "d", "type": "bigint", "rows": 1000, "nulls": 3, "bad_values": 7, "distinct": 12}
    whole = {"stage": "ingest", "rows": 1000, "parquet_snappy_bytes": 4000, "parquet_zstd9_bytes": 3000}
    record(
        stats,
        "blocks",
        [
            {**block, "column": name, "position": i, "raw_bytes": 8000, "encoded_bytes": size, **why.get(name, {})}
            for i, (name, size) in enumerate(columns)
        ],
        run="encode",
    )
    record(
        stats,
        "profile",
        [
            {
                **profile,
                "column": name,
                "position": i,
                "min": HOSTILE,
                "entropy": 3.25,
                "profiled_rows": 1000,
                "shard_bytes": 2 * size,
            }
            for i, (name, size) in enumerate(columns)
        ],
        run="ingest",
    )
    record(stats, "tables", [whole], run="ingest")
    record(stats, "tables", [{"stage": "encode", "rows": 1000, "archive_bytes": 1500}], run="encode")
    tried = {**MODEL_ROW, "model": "candidate", "split": "validation"}
    for run, scores in (("before", (0.1,)), ("compress", (0.6, 0.9, 0.7, 0.95))):
        rows = [
            {**tried, "stage": HOSTILE if at == 1 else f"way {at}", "bytes": 1000 * (at + 1), "accuracy": score}
            for at, score in enumerate(scores)
        ]
        record(stats, "models", rows, run=run)
    record(
        stats,
        "models",
        [
            {**MODEL_ROW, "model": name, "stage": "s", "bytes": size, "auc": auc, "accuracy": auc}
            for name, size, auc in MODELS
        ],
        run="evaluate",
    )
    curves = [
        {
            "model": name,
            "epoch": epoch,
            "step": epoch,
            "split": split,
            "loss": 1 / epoch,
            "auc": 0.7 if split == "validation" else None,
        }
        for name in ("teacher", "student alone")
        for epoch in (1, 2, 3)
        for split in ("train", "validation")
    ]
    record(stats, "training", curves, run="train")
    record(stats, "stages", [{"stage": "encode", "seconds": 12.5, "skipped": False}], run="encode")
    layer = {"layer": HOSTILE, "parameters": 640, "nonzero": 320, "bits": 4.0, "bytes": 777, "score": None}
    record(stats, "layers", [{**layer, "stage": "dense", "score": 0.8125}, {**layer, "stage": "cut 0.5"}], run="c")
    return tmp_path


class Page(HTMLParser):
    """The text, the tags and the attributes of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_it_needs_no_network_and_runs_nothing(lake: Path) -> None:
    html = report(str(lake))
    page = Page(html)
    assert "script" not in page.tags and "link" in page.tags and "iframe" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    fetched = [value for name, value in page.attributes if name in ("src", "href", "xlink:href") and value]
    assert fetched == ["data:,"]
    assert not re.search(r"url\((?!#)", html)
    assert len(html.encode()) < 3_000_000


def test_it_shows_the_figures(lake: Path) -> None:
    text = Page(report(str(lake))).text
    for shown in (
        "plain_column",
        "cut 0.5",
        "777",
        "0.8125",
        HOSTILE,
        "größe (cm)",
        "dictionary(rans, lengths(plain, plain))",
        "3.25",
        "4,000,000",
        "7,654",
        "0.032",
    ):
        assert shown in text
    for shown in ("17 B", "4 B", "\u2248 1.23 kB", "fields(zstd)", "\u2248 3.82 kB", f"lookup[3] by {HOSTILE}"):
        assert shown in text
    assert "2.00\u00d7" in text  # the archive beside Parquet, zstd-9
    assert "500\u00d7" in text  # the artifact beside the teacher


def test_the_front_is_what_nothing_smaller_beats(lake: Path) -> None:
    found = gather(str(lake / "stats")).candidates
    assert [row["score"] for row in found] == [0.6, 0.9, 0.7, 0.95]
    assert [row["front"] for row in found] == [True, True, False, True]
    page = report(str(lake))
    assert "Candidates" in page and "way 0" in page and "way 2" not in page


def test_the_same_statistics_give_the_same_page(lake: Path) -> None:
    assert report(str(lake)) == report(str(lake))


def test_parts_without_statistics_are_left_out(tmp_path: Path) -> None:
    assert "No statistics were found" in Page(report(str(tmp_path))).text
    record(str(tmp_path / "stats"), "stages", [{"stage": "encode", "seconds": 1.0, "skipped": False}], run="r")
    page = Page(report(str(tmp_path)))
    assert "svg" not in page.tags and "encode" in page.text
    rows = {"archive": "a", "file": "f", "row_group": 0, "type": "int64", "chain": "plain", "rows": 9, "column": "c"}
    record(str(tmp_path / "stats"), "blocks", [{**rows, "raw_bytes": 72, "encoded_bytes": 72}], run="r")
    page = Page(report(str(tmp_path)))
    assert "What each column takes" in page.text and "Why it takes that" not in page.text


def test_a_model_that_was_not_measured_leaves_a_gap(lake: Path) -> None:
    row = {**MODEL_ROW, "model": "teacher", "stage": "s", "bytes": 10, "auc": None, "accuracy": None, "bits": math.pi}
    record(str(lake / "stats"), "models", [row], run="later")
    assert "\u2013" in Page(report(str(lake))).text


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
def test_it_opens_in_chromium(lake: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(report(str(lake)), "utf-8")
    dom = _chromium(tmp_path, "--dump-dom", page.as_uri())
    assert "CONSOLE" not in dom.stderr, dom.stderr
    found = Page(dom.stdout)
    assert found.tags.count("figure") == 5 and "script" not in found.tags
    for name in ("bytes per column", "bytes per step", "size against quality", "candidates", "training curves"):
        assert ("aria-label", name) in found.attributes
    bars = [value for name, value in found.attributes if name == "aria-roledescription" and value == "bar"]
    assert len(bars) == 2 * 3 + 3, "two bars a column, one a step"
    assert "größe (cm)" in found.text and HOSTILE in found.text

    picture = tmp_path / "report.png"
    _chromium(tmp_path, f"--screenshot={picture}", "--window-size=1280,2400", page.as_uri())
    colors = Image.open(picture).convert("RGB").getcolors(1 << 24) or []
    accent = [count for count, color in colors if color == (0x1F, 0x6F, 0xEB)]
    assert accent and accent[0] > 2000, "the bars have no colour"


def _chromium(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [str(CHROMIUM), *FLAGS, profile, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done

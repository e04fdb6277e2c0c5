"""Plans, searches, tables from records, and making the runs."""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from dhida_lib import experiments
from dhida_lib.__main__ import main
from dhida_lib._files import write_card
from dhida_lib.data import DATASETS
from dhida_lib.experiments import (
    BEYOND,
    METHODS,
    MODELS,
    RATES,
    base,
    find,
    missing,
    paired,
    plan,
    scores,
    tuned,
)
from dhida_lib.losses import LOSSES, build_loss
from dhida_lib.models import HashNetwork
from dhida_lib.records import Record, load_records, save_record, weights_name

TINY = {"width": 2, "epochs": 1, "batch_size": 100, "augment": "none"}
SET = [part for name, value in TINY.items() for part in ("--set", f"{name}={value}")]


def record(config, score=0.5):
    """What a run of this configuration might have left; the score is made up."""
    config = json.loads(json.dumps(config.as_dict()))
    return Record(config, {}, {"map": score}, [], 1.0, {}, "0", note="")


def test_every_method_has_a_search_over_a_setting_of_its_own():
    for method in {*METHODS, *BEYOND}:
        name, values = LOSSES[method].search
        assert len(set(values)) == 2  # five trials for every method
        if name in LOSSES[method].options():
            for value in values:
                build_loss(method, 16, 20, 10, **{name: value})


def test_every_model_can_be_built():
    for job in plan("table4"):
        c = job.config.network
        model = HashNetwork(
            c.backbone, c.attention, 16, in_channels=1, reduce=c.reduce, fusion=c.fusion, width=2
        )
        assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 16)
    assert [job.row for job in plan("table4")] == list(MODELS)
    full = {job.row: job.config for job in plan("table4", "cifar10")}
    assert full["DHIDA-A"].network.backbone == "alexnet"  # narrow ones are for small images


def test_rows_of_one_seed_share_split_start_and_order():
    jobs = plan("table4", seeds=(0, 3))
    assert len(jobs) == 2 * len(MODELS)
    for job in jobs:
        assert job.config.data.split_seed == job.config.training.seed
    assert [job.config.training.seed for job in jobs] == [0] * len(MODELS) + [3] * len(MODELS)
    assert len({job.name for job in jobs}) == len(jobs)


def test_sets_with_lists_keep_their_split():
    for dataset in ("nus-wide-21", "imagenet100"):
        jobs = plan("table3", dataset, seeds=(0, 2), rows=["DHIDA"])
        assert [job.config.training.seed for job in jobs] == [0, 2]
        assert [job.config.data.split_seed for job in jobs] == [0, 0]
        assert jobs[0].config.training.augment == "crop-flip"


def test_only_dhida_has_attention_and_the_classifier_one_length():
    jobs = plan("table3", bits=(16, 64))
    attention = {job.row: job.config.network.attention for job in jobs}
    assert attention.pop("DHIDA") == "ida"
    assert set(attention.values()) == {"none"}
    assert len(jobs) == 2 * len(METHODS) - 1
    shared = [job for job in plan("table4") if job.row == "DHIDA"]
    assert shared[0].config == jobs[0].config  # one record serves both tables


def test_the_search_goes_on_from_its_best_rate_and_the_tables_take_what_it_found():
    start = base("fashion-mnist")
    first = plan("tune", rows=["DSH"])
    assert [job.config.training.lr for job in first] == [start.training.lr * f for f in RATES]
    assert all(job.config.data.held_out > 0 for job in first)
    known = [record(job.config, score) for job, score in zip(first, (0.5, 0.7, 0.6), strict=True)]
    second = plan("tune", rows=["DSH"], records=known)
    assert second[:3] == first
    name, values = LOSSES["dsh"].search
    assert [job.config.loss.options for job in second[3:]] == [{name: v} for v in values]
    assert all(job.config.training.lr == first[1].config.training.lr for job in second[3:])
    known += [record(second[3].config, 0.65), record(second[4].config, 0.8)]
    assert plan("tune", rows=["DSH"], records=known) == second
    found = tuned("dsh", "fashion-mnist", known)
    assert found["options"] == {name: values[1]}
    assert found["lr"] == first[1].config.training.lr
    for dataset in ("fashion-mnist", "fashion-multi", "cifar10-fifth"):  # all take the first's settings
        config = plan("table3", dataset, rows=["DSH"], records=known)[0].config
        assert (config.loss.options, config.training.lr) == (found["options"], found["lr"])
        assert config.data.held_out == 0
    untouched = plan("table3", rows=["DHN"], records=known)[0].config
    assert untouched.training.lr == start.training.lr


def test_a_grid_goes_on_while_its_best_value_is_at_an_end():
    def scored(jobs, of):
        return [record(job.config, of(job.config)) for job in jobs]

    def lowest(config):
        return 1 - config.training.lr

    jobs, ground = plan("tune", "cifar10-frozen", rows=["DSH"]), base("cifar10-frozen")
    assert len(jobs) == len(RATES)
    for _ in range(DATASETS["cifar10-frozen"].widens):  # the best is the lowest: half of it is tried
        jobs = plan("tune", "cifar10-frozen", rows=["DSH"], records=scored(jobs, lowest))
        assert jobs[-1].config.training.lr == min(job.config.training.lr for job in jobs)
    rates = sorted(job.config.training.lr for job in jobs)
    assert rates == [ground.training.lr * factor for factor in (0.125, 0.25, 0.5, 1, 2)]
    values = LOSSES["dsh"].search.values

    def weighed(config):  # the lowest rate, and then the largest weight
        return 1 - config.training.lr + config.loss.options.get("alpha", 0.01) / 1e6

    for _ in range(3):
        jobs = plan("tune", "cifar10-frozen", rows=["DSH"], records=scored(jobs, weighed))
    own = [job.config.loss.options["alpha"] for job in jobs if job.config.loss.options]
    assert own == [*values, 10.0, 100.0]
    assert len({job.name for job in jobs}) == len(jobs) == 9
    known = scored(jobs, weighed)
    assert plan("tune", "cifar10-frozen", rows=["DSH"], records=known) == jobs
    assert tuned("dsh", "cifar10-frozen", known)["options"] == {"alpha": 100.0}
    assert plan("edge", "cifar10-frozen", rows=["DSH"], records=known) == []


def test_a_setting_of_the_optimizer_can_be_searched_too():
    first = plan("tune", rows=["Classifier"])
    known = [record(job.config) for job in first]
    second = plan("tune", rows=["Classifier"], records=known)
    values = LOSSES["classifier"].search.values
    assert [job.config.training.weight_decay for job in second[3:]] == list(values)
    known += [record(second[3].config, 0.9)]
    assert tuned("classifier", "fashion-mnist", known)["weight_decay"] == values[0]


def test_the_ablation_keeps_what_was_found_and_changes_one_thing():
    known = [record(job.config) for job in plan("tune", rows=["DHIDA"])]
    known += [record(plan("tune", rows=["DHIDA"], records=known)[4].config, 0.9)]
    jobs = {job.row: job.config for job in plan("table4", records=known, init_std=[0.3])}
    gamma = LOSSES["dhida"].search.values[1]
    assert jobs["DHIDA-A"].loss.options == {"gamma": gamma, "activation": "identity"}
    assert jobs["DHIDA-I"].loss.options == {"gamma": gamma}
    assert {config.network.init_std for config in jobs.values()} == {0.3}
    assert jobs["DHIDA, row"] == jobs["DHIDA"].change(reduce="row")


def test_records_are_found_by_their_whole_configuration():
    jobs = plan("table3", bits=(16, 32), rows=["DSH", "DHN"], seeds=(0, 1))
    known = [record(job.config, 0.1 * i) for i, job in enumerate(jobs)]
    assert find(jobs[2].config, known) is known[2]
    assert find(jobs[2].config.change(lr=9.0), known) is None
    table = scores(plan("table3", rows=["DSH", "DHN", "DFH"], seeds=(0, 1)), known)
    assert list(table) == ["DHN", "DFH", "DSH"]  # in the order of Table 3
    assert table["DFH"] == {}
    assert sorted(table["DSH"]) == [0, 1]


def test_paired_differences_by_hand():
    config = base("fashion-mnist")
    a = {seed: record(config, score) for seed, score in ((0, 0.75), (1, 0.5), (2, 0.875), (7, 0.25))}
    b = {seed: record(config, score) for seed, score in ((0, 0.5), (1, 0.5), (2, 0.75), (5, 0.25))}
    d = paired(a, b)
    assert d.values == {0: 0.25, 1: 0.0, 2: 0.125}
    assert d.mean == pytest.approx(0.125)
    assert d.error == pytest.approx(0.125 / math.sqrt(3))
    assert math.isnan(paired({0: a[0]}, b).error)
    with pytest.raises(ValueError, match=r"`b` .*seeds \[5\]"):
        paired(a, {5: b[5]})


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"table": "table5"}, "`table` must be one of"),
        ({"dataset": "mnist"}, "`dataset` must be one of"),
        ({"rows": ["DHIDA-A"]}, "`rows` must be one of"),
        ({"bits": (0,)}, "`bits`"),
        ({"change": {"epoch": 3}}, "`setting`"),
    ],
)
def test_a_wrong_plan_is_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        plan(**{"table": "table3", **arguments})
    with pytest.raises(ValueError, match="`method` must be one of"):
        tuned("dhidah", "fashion-mnist", [])


# ---- making the runs ----


def command(folder, *more):
    where = [
        "--records",
        str(folder / "records"),
        "--work",
        str(folder / "work"),
        "--dataset",
        "fashion-mini",
    ]
    return ["reproduce", "table3", *where, "--rows", "DSH", "OrthoHash", *SET, *more]


def test_weights_are_known_by_their_content(tmp_path):
    """A record that was made from a file of weights is found again, wherever the file lies."""
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "start.pt").write_bytes(b"weights")
    jobs = [
        plan("table4", "cifar10", change={"weights": str(tmp_path / place / "start.pt")})
        for place in ("here", "there")
    ]
    assert [a.name for a in jobs[0]] == [b.name for b in jobs[1]]
    said = weights_name(jobs[0][0].config.network.weights)
    made = record(jobs[0][0].config.change(weights=said))  # as `run` writes it
    assert find(jobs[1][0].config, [made]) is made
    asked = plan("table4", "cifar10", change={"weights": said})  # as a chapter asks, without the file
    assert find(asked[0].config, [made]) is made
    assert find(plan("table4", "cifar10")[0].config, [made]) is None
    (tmp_path / "there" / "start.pt").write_bytes(b"other weights")
    assert find(jobs[1][0].config, [made]) is None
    with pytest.raises(FileNotFoundError, match="no weights at"):
        weights_name(str(tmp_path / "none.pt"))


def test_a_search_with_the_same_change_comes_first(tmp_path):
    change = {"width": 8}
    usual = plan("tune", rows=["DSH"])
    other = plan("tune", rows=["DSH"], change=change)
    known = [record(job.config, score) for job, score in zip(usual, (0.5, 0.7, 0.6), strict=True)]
    assert (
        plan("table3", rows=["DSH"], records=known, change=change)[0].config.training.lr
        == usual[1].config.training.lr
    )
    known += [record(job.config, score) for job, score in zip(other, (0.5, 0.6, 0.7), strict=True)]
    assert (
        plan("table3", rows=["DSH"], records=known, change=change)[0].config.training.lr
        == other[2].config.training.lr
    )
    assert plan("table3", rows=["DSH"], records=known)[0].config.training.lr == usual[1].config.training.lr


@pytest.mark.parametrize(
    ("values", "factor"), [((0.5, 0.6, 0.7), 4), ((0.5, 0.7, 0.6), 0.25), ((0.7, 0.5, 0.6), None)]
)
def test_one_rate_further_where_the_search_took_the_last(values, factor):
    rate = base("fashion-mnist").training.lr
    assert RATES == (1.0, 0.5, 2.0)
    assert plan("edge", rows=["DSH"]) == []  # the search comes first
    known = [record(job.config, score) for job, score in zip(plan("tune", rows=["DSH"]), values, strict=True)]
    jobs = plan("edge", rows=["DSH"], records=known)
    assert [job.config.training.lr for job in jobs] == ([] if factor is None else [rate * factor])
    if jobs:  # what it finds is looked at, never taken
        before = tuned("dsh", "fashion-mnist", known)
        assert tuned("dsh", "fashion-mnist", [*known, record(jobs[0].config, 1.0)]) == before
        assert jobs[0].config.data.held_out > 0


def test_reproduce_makes_what_is_missing_once(tmp_path, capsys):
    assert main(command(tmp_path, "--dry-run")) == 0
    assert "2 runs left" in capsys.readouterr().out
    assert main(command(tmp_path, "--jobs", "2")) == 0
    out = capsys.readouterr().out
    assert "2 runs made" in out
    assert "0 left, about 0 min" in out
    records = load_records(tmp_path / "records" / "fashion-mini")
    assert [r.note for r in records] == ["DSH", "OrthoHash"]
    assert records[0].protocol["query"] == 1000
    assert not list((tmp_path / "work").iterdir())  # states go once the records are safe
    assert main(command(tmp_path)) == 0
    assert "0 runs made" in capsys.readouterr().out
    assert main(command(tmp_path, "--dry-run")) == 0
    assert "0 runs left" in capsys.readouterr().out


def test_a_record_repeats_from_its_configuration(tmp_path, capsys):
    assert main(command(tmp_path)) == 0
    paths = sorted((tmp_path / "records" / "fashion-mini").glob("*.json"))
    capsys.readouterr()
    assert main(["repeat", *map(str, paths)]) == 0
    out = capsys.readouterr().out
    assert out.count("every number the same") == len(paths) == 2
    assert main(["repeat", str(paths[0]), "--set", "seed=1", "--out", str(tmp_path / "again")]) == 1
    out = capsys.readouterr().out
    assert "NOT the same" in out
    assert "no difference that a record knows" in out
    before = paths[0].read_bytes()
    assert main(["repeat", str(paths[0]), "--out", str(paths[0].parent)]) == 2  # a record is never replaced
    assert "`out` must be another folder" in capsys.readouterr().err
    assert paths[0].read_bytes() == before
    (kept,) = load_records(tmp_path / "again")
    assert kept.config["training"]["seed"] == 1
    old = json.loads(paths[0].read_text(encoding="utf-8"))
    del old["machine"]["instructions"]
    old["machine"]["torch"] = "0.1"
    old["metrics"]["map"] = 0.0
    write_card(paths[0], old)
    assert main(["repeat", str(paths[0])]) == 1
    out = capsys.readouterr().out
    assert "torch 0.1 → " in out
    assert "instructions not recorded → " in out
    assert main(["repeat", str(tmp_path / "nothing.json")]) == 2
    assert "nothing.json" in capsys.readouterr().err


def test_a_budget_begins_no_run_that_would_not_end_in_it(tmp_path, capsys):
    assert main(command(tmp_path, "--budget", "1e-6")) == 0
    out = capsys.readouterr().out
    assert "2 runs left" in out
    assert "0 runs made" in out
    folder = tmp_path / "records" / "fashion-mini"
    known = replace(record(base("fashion-mini")), seconds=1000.0, machine={})
    save_record(known, folder / "known.json")
    assert main(command(tmp_path, "--budget", "900")) == 0  # the record tells how long a run takes
    assert "0 runs made" in capsys.readouterr().out
    (folder / "known.json").unlink()
    assert main(command(tmp_path, "--budget", "900", "--jobs", "2")) == 0  # one first, to see, then the other
    assert "2 runs made" in capsys.readouterr().out


def test_wrong_input_is_one_line(tmp_path, capsys):
    for more, what in (
        (["--rows", "DHIDA-A"], "`rows`"),
        (["--bits", "0"], "`bits`"),
        (["--jobs", "0"], "`jobs`"),
        (["--budget", "-1"], "`budget`"),
        (["--set", "widht=3"], "`setting`"),
        (["--set", "batch_size=1.5"], "`batch_size`"),
    ):
        assert main(command(tmp_path, *more)) == 2, what
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert what in error
        assert error.count("\n") == 1
    records = tmp_path / "records" / "fashion-mini"
    (records / "broken.json").write_text("{", encoding="utf-8")
    assert main(command(tmp_path)) == 2
    assert "broken.json is damaged" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_killed_reproduce_goes_on(tmp_path):
    """Killed with -9 after an epoch, all its processes: the next call makes the same record."""
    slow = ["--set", "epochs=6", "--set", "width=4", "--rows", "OrthoHash"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert main(command(whole, *slow)) == 0
    line = [sys.executable, "-m", "dhida_lib", *command(cut, *slow)]
    process = subprocess.Popen(line, start_new_session=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(cut.glob("work/*/*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(cut.glob("records/*/*.json")), "the run was over before it could be killed"
    assert list(cut.glob("work/*/*.json"))
    assert main(command(cut, *slow)) == 0
    first, second = (load_records(folder / "records" / "fashion-mini")[0] for folder in (whole, cut))
    assert first.metrics == second.metrics
    assert len(second.history) == 6


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_the_workers_end_with_a_killed_reproduce(tmp_path):
    """Only the parent gets -9. Its workers hold the other end of the pipe, so the pipe ends when they do."""
    slow = ["--set", "epochs=10000", "--jobs", "2"]  # two workers, each busy for an hour
    line = [sys.executable, "-m", "dhida_lib", *command(tmp_path, *slow)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            deadline = time.monotonic() + 120
            while len(list(tmp_path.glob("work/*/*.json"))) < 2 and time.monotonic() < deadline:
                time.sleep(0.05)
            assert len(list(tmp_path.glob("work/*/*.json"))) == 2, "the workers did not begin"
            os.kill(process.pid, signal.SIGKILL)
            process.communicate(timeout=30)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("work/*/*")}
    time.sleep(1)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.glob("work/*/*")}


def test_a_failing_run_stops_the_rest(tmp_path, monkeypatch):
    """An error in a process of the pool comes back as itself."""
    assert main(command(tmp_path, "--set", "width=0")) == 2
    assert missing(lambda known: plan("table3", "fashion-mini", rows=["DSH"], change=TINY), tmp_path)
    assert experiments.reproduce(lambda known: [], tmp_path / "none") == 0

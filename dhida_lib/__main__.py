"""The command line, ``python -m dhida_lib COMMAND``.

The commands: train, pretrain, evaluate, reproduce, repeat, encode, search. An error is one line on standard
error; with DHIDA_TRACEBACK=1 in the environment, the place in the code where it arose stands above it. Used
in Chapters 11 and 13.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import traceback
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

from safetensors.torch import save_file

from dhida_lib._distributed import begin, rank, world
from dhida_lib._files import sha256, write_atomic
from dhida_lib._validate import bad
from dhida_lib.config import PROFILES, RunConfig
from dhida_lib.data import DATASETS, load_dataset
from dhida_lib.experiments import TABLES, Job, missing, plan, repeat, reproduce
from dhida_lib.models import HashNetwork
from dhida_lib.records import Record, load_record, load_records, save_record
from dhida_lib.runs import measure, run
from dhida_lib.search.photos import encode_folder, encode_to_store, find_in_store, find_similar
from dhida_lib.training import Callback, CsvLog, Progress, TensorBoardLog, pick_device

__all__ = ["main"]

_LONGEST = 1000  # characters of an error; torch lists every tensor, and a path may be longer than a page


def _setting(text: str) -> tuple[str, Any]:
    """Read ``name=value``; the value is JSON, or else text."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not name=value, for example bits=32")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, lists in lists in lists
        raise argparse.ArgumentTypeError(f"the value of {name!r} cannot be read: {error}") from error


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(_harmless(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m dhida_lib", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    t = commands.add_parser("train", help="train a hash network; a run that was killed goes on")
    p = commands.add_parser("pretrain", help="train a backbone as a classifier, for those without weights")
    for made in (t, p):
        made.add_argument("--profile", choices=list(PROFILES), default="fast", help="settings to start from")
        made.add_argument("--out", required=True, type=Path, help="folder for all that is made")
        made.add_argument(
            "--log", choices=("csv", "tensorboard"), nargs="+", default=[], help="write each epoch's row"
        )
    e = commands.add_parser("evaluate", help="measure a trained network again")
    e.add_argument("model", type=Path, help="the model's JSON file")
    e.add_argument("--dataset", help="another data set than the one it was trained on")
    e.add_argument("--protocol", help="another protocol than the one it was trained with")
    e.add_argument("--device", default="auto", help="auto, cpu, cuda …")
    r = commands.add_parser("reproduce", help="make the runs behind a table, except those recorded")
    r.add_argument(
        "table",
        choices=TABLES,
        help="tune: a search; edge: one rate past it; table3: methods; table4: models; beyond: Chapter 19",
    )
    r.add_argument("--dataset", choices=list(DATASETS), default="fashion-mnist")
    r.add_argument("--bits", type=int, nargs="+", default=[16])
    r.add_argument("--seeds", type=int, nargs="+", default=[0])
    r.add_argument("--rows", nargs="+", help="only these rows of the table")
    r.add_argument("--init-std", type=float, nargs="+", help="starts of the hash layer, for table4")
    r.add_argument("--jobs", type=int, default=1, help="runs at a time, each in a process of its own")
    r.add_argument("--budget", type=float, metavar="SECONDS", help="begin no run that would not end in time")
    r.add_argument("--records", type=Path, default=Path("data/records"), help="parent of the records' folder")
    r.add_argument("--work", type=Path, default=Path("_build/runs"), help="states of unfinished runs")
    r.add_argument("--dry-run", action="store_true", help="list what is left, run nothing")
    a = commands.add_parser("repeat", help="make a record's run again, and compare every number")
    a.add_argument("record", type=Path, nargs="+", help="the record's JSON file")
    a.add_argument("--out", type=Path, metavar="FOLDER", help="keep the new records here")
    for made in (t, p, r, a):
        made.add_argument(
            "--set",
            type=_setting,
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="change one setting",
        )
    for made in (t, p, e, r, a):
        made.add_argument("--root", help="where the data set lies, if it does not ship")
    n = commands.add_parser("encode", help="encode the pictures in a folder; a second call reads what is new")
    n.add_argument("folder", type=Path, help="where the pictures are")
    f = commands.add_parser("search", help="find the pictures that are nearest to one")
    f.add_argument("image", type=Path, help="the question")
    f.add_argument("-k", type=int, default=10, help="how many at most")
    f.add_argument("--within", type=int, metavar="RADIUS", help="only within this Hamming radius")
    f.add_argument("--only", metavar="PATTERN", help="only files whose path fits, such as '*/holiday/*'")
    f.add_argument("--where", metavar="SQL", help="with --store: only rows that fit, over file and bytes")
    for command in (n, f):
        command.add_argument("--model", type=Path, required=True, help="the model's JSON file")
        place = command.add_mutually_exclusive_group(required=True)
        place.add_argument("--index", type=Path, help="the index, without suffix")
        place.add_argument("--store", metavar="URI", help="a LanceDB folder or address, past one machine")
        command.add_argument("--device", default="auto", help="auto, cpu, cuda …")
    return parser


def _folder(name: str, path: Path) -> None:
    """Make a folder before hours of work go into it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise bad(name, str(path), f"a folder, or one that can be made ({error.strerror})") from error


def _summary(metrics: dict[str, Any]) -> tuple[str, str]:
    """Two lines that say what was measured and under which rule."""
    k = "ALL" if metrics["k"] is None else metrics["k"]
    bounds = ""
    if metrics["map_pessimistic"] is not None:
        low, high = metrics["map_pessimistic"], metrics["map_optimistic"]
        bounds = f" ({low:.4f} to {high:.4f} by the order of ties)"
    return (
        f"mAP@{k} {metrics['map']:.4f}, expected under ties{bounds}; {metrics['bits']} bits, "
        f"{metrics['queries']:,} queries, {metrics['database']:,} images in the database",
        f"precision within Hamming radius 2: {metrics['precision_within_radius']:.4f} "
        f"({metrics['empty_balls']:.1%} of the balls are empty and count 0)",
    )


def _train(args: argparse.Namespace) -> None:
    config = PROFILES[args.profile].change(**dict(args.set))
    _folder("--out", args.out)
    begin()
    first = rank() == 0  # under torchrun the first process writes and speaks
    model, record = run(config, args.root, args.out, _watching(args, config) if first else [])
    if not first:
        return
    where = save_record(record, args.out / "record.json")
    saved = model.save(
        args.out / "model",
        record=where.name,
        record_sha256=sha256(where),
        config=record.config,
        data=record.protocol,
    )
    _say(*_summary(record.metrics))
    _say(f"model {saved}, record {where}; {record.seconds:.0f} s of training")


def _watching(args: argparse.Namespace, config: RunConfig) -> list[Callback]:
    """A progress bar, and the logs that were asked for."""
    watching: list[Callback] = [Progress(config.training.epochs)]
    if "csv" in args.log:
        watching.append(CsvLog(args.out / "log.csv"))
    if "tensorboard" in args.log:
        watching.append(TensorBoardLog(args.out / "tensorboard"))
    return watching


def _pretrain(args: argparse.Namespace) -> None:
    """A classifier without attention; its backbone is what `weights` of a later run takes."""
    start = {"method": "classifier", "attention": "none", "weights": None}
    config = PROFILES[args.profile].change(**{**start, **dict(args.set)})
    if config.data.protocol is None:
        config = config.change(protocol=DATASETS[config.data.dataset].to_pretrain)
    _folder("--out", args.out)
    begin()
    first = rank() == 0
    model, record = run(config, args.root, args.out, _watching(args, config) if first else [])
    if not first:
        return
    saved = args.out / "backbone.safetensors"
    tensors = {k: v.cpu().contiguous() for k, v in model.backbone.state_dict().items()}
    write_atomic(saved, lambda p: save_file(tensors, str(p)))
    where = save_record(record, args.out / "record.json")
    _say(*_summary(record.metrics))
    _say(f"backbone {saved} (weights=PATH takes it), record {where}; {record.seconds:.0f} s of training")


def _evaluate(args: argparse.Namespace) -> None:
    model = HashNetwork.load(args.model)
    own = RunConfig.from_dict(model.about.get("config", {})).data
    other = args.dataset is not None and args.dataset != own.dataset
    protocol = args.protocol or (None if other else own.protocol)
    size = None if other else own.image_size
    data = load_dataset(args.dataset or own.dataset, args.root, own.split_seed, protocol, size)
    if data.channels != model.config["in_channels"]:
        raise bad(
            "--dataset", data.name, f"images of {model.config['in_channels']} channels, as {args.model}"
        )
    model.to(pick_device(args.device))
    _say(*data.describe().splitlines())
    _say(*_summary(measure(model, data)))


def _reproduce(args: argparse.Namespace) -> None:
    folder = args.records / args.dataset
    source = args.records / (DATASETS[args.dataset].settings_from or args.dataset)

    def make_plan(records: list[Record]) -> list[Job]:
        searched = load_records(source) if source != folder and source.is_dir() else []
        known = [*records, *searched]
        change = dict(args.set)
        return plan(args.table, args.dataset, args.bits, args.seeds, known, args.rows, args.init_std, change)

    if args.dry_run:
        left = missing(make_plan, folder)
        for job in left:
            _say(f"{job.row:20s} {job.name}")
        _say(f"{len(left)} runs left in {folder}")
        return
    _folder("--records", folder)
    _folder("--work", args.work)
    made = reproduce(make_plan, folder, args.root, args.work, args.jobs, args.budget, _say)
    _say(f"{made} runs made, records in {folder}")


def _repeat(args: argparse.Namespace) -> int:
    """Status 1 if a number differs. It will, on another processor or with another version of torch."""
    if args.out:
        _folder("--out", args.out)
    for path in args.record:
        load_record(path)  # a wrong name is found before the first run
    differ = 0
    for path in args.record:
        again = repeat(path, args.root, dict(args.set), args.out)
        old, new = (record.metrics["map"] for record in (again.old, again.new))
        told = "every number the same" if again.same else f"now {new:.4f}: NOT the same"
        _say(f"{path.name}: mAP {old:.4f}, {told}")
        if not again.same:
            differ += 1
            odd = "; ".join(again.machines) or "no difference that a record knows"
            _say(f"  between the machines: {odd}")
    return int(differ > 0)


def _encode(args: argparse.Namespace) -> None:
    begin()
    if args.store:
        report = encode_to_store(args.folder, args.model, args.store, args.device, say=_say)
    elif world() > 1:
        raise bad("--index", str(args.index), "--store: several processes cannot write one index")
    else:
        report = encode_folder(args.folder, args.model, args.index, args.device, say=_say)
    if rank() > 0:
        return
    for reason in report.skipped.values():
        _say(f"skipped: {reason}", file=sys.stderr)
    where = f"table in {args.store}" if args.store else f"index {args.index}.json"
    changes = f"{report.encoded:,} pictures encoded, {report.kept:,} kept, {report.removed:,} removed"
    _say(f"{changes}, {len(report.skipped):,} skipped; {where}")


def _search(args: argparse.Namespace) -> None:
    if args.store:
        for name in ("within", "only"):
            if getattr(args, name) is not None:
                raise bad(f"--{name}", getattr(args, name), "left out with --store; --where takes conditions")
        matches = find_in_store(args.image, args.model, args.store, args.k, args.where, args.device)
    elif args.where is not None:
        raise bad("--where", args.where, "left out with --index; --only takes a pattern")
    else:
        matches = find_similar(
            args.image, args.model, args.index, args.k, args.within, args.only, args.device
        )
    for match in matches:
        _say(f"{match.distance:4d}  {match.file}")
    if not matches:
        _say("nothing found")


def _harmless(text: str) -> str:
    """The text with every character spelled out that steers a terminal or hides: file names may hold any."""
    return "".join(c if c.isprintable() or unicodedata.category(c) == "Zs" else repr(c)[1:-1] for c in text)


def _say(*lines: str, file: TextIO | None = None) -> None:
    """Print lines at once: a full disk is an error of the command, not a complaint after its end."""
    file = file or sys.stdout
    encoding = file.encoding or "utf-8"
    try:
        for line in lines:
            shown = _harmless(line).encode(encoding, "backslashreplace").decode(encoding)
            print(shown, file=file, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())  # Python would try once more when it ends
        if isinstance(error, BrokenPipeError):  # the reader has seen enough, as `head` has after ten lines
            raise SystemExit(141) from None  # 128 + SIGPIPE, as a shell has it
        raise


def _sentence(error: Exception) -> str:
    """An error in one line. Those that no check foresaw have their kind before them, and how to see more."""
    text = re.sub(r"\s*\n\s*", " ", str(error).strip())
    text = text if len(text) <= _LONGEST else text[:_LONGEST] + " …"
    if not isinstance(error, (ValueError, OSError, FloatingPointError, ImportError)):
        text = f"{type(error).__name__}: {text}".removesuffix(": ")
        text += " (with DHIDA_TRACEBACK=1 in the environment the same command says where)"
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the arguments; None takes those of the process.

    Returns:
        The exit status: 0; 1 if a record did not repeat, and for nothing else; 2 after an error, which is one
        line on standard error; 130 after Ctrl-C.
    """
    commands: dict[str, Callable[[argparse.Namespace], int | None]] = {
        "train": _train,
        "pretrain": _pretrain,
        "evaluate": _evaluate,
        "reproduce": _reproduce,
        "repeat": _repeat,
        "encode": _encode,
        "search": _search,
    }
    args = _parser().parse_args(argv)
    if args.command in ("encode", "search"):  # PIL warns of odd files that it reads all the same
        warnings.filterwarnings("ignore", module="PIL")
    try:
        return commands[args.command](args) or 0
    except Exception as error:  # whatever it is, a shell needs a status of its own for it
        if os.environ.get("DHIDA_TRACEBACK"):
            traceback.print_exc()
        print(f"error: {_harmless(_sentence(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last whole epoch", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())

"""A stage's summary for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from neglabel.pipeline.clock import shares


def show(stage: str, summary: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the summary of ``stage`` on stdout."""
    console = console or Console(highlight=False, soft_wrap=True)
    if "sources" in summary:
        _sources(summary, console)
        return
    for part in {"run": ("encode", "mine", "score", "report"), "quickstart": ("report",)}.get(stage, (stage,)):
        _PARTS[part](summary[part] if part != stage else summary, console)


def shorten(word: str, width: int) -> str:
    return word if len(word) <= width else word[: width - 1] + "…"


def _encode(summary: Mapping[str, Any], console: Console) -> None:
    from neglabel.pipeline.encode_summary import lines

    for line in lines(summary):
        console.print(line, markup=False)


def _mine(summary: Mapping[str, Any], console: Console) -> None:
    for one in summary.get("sets", ()):
        _mine({**one, "seconds": summary["seconds"]}, console)
    if summary.get("sets"):
        return
    counts = summary["counts"]
    dropped = ", ".join(f"{counts[k]:,} {k.replace('_', ' ')}" for k in ("duplicates", "id_names", "excluded"))
    drawn = f"{counts['sampled']:,} drawn from " if "sampled" in counts else ""
    console.print(
        f"{summary['out']}: {counts['kept']:,} negative labels of {drawn}{counts['candidates']:,} candidates "
        f"(dropped: {dropped}) in {summary['seconds']:.1f} s",
        markup=False,
    )
    drawn = "" if summary["random"] is None else f" of those drawn at random (seed {summary['random']})"
    for end in ("farthest", "nearest"):
        words = ", ".join(f"{shorten(word, 40)} {distance:.3f}" for word, distance in summary[end])
        console.print(f"  {end}{drawn}: {words}", markup=False)


def _score(summary: Mapping[str, Any], console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("data set", "role", "pictures", "unreadable", "mean ID share"):
        table.add_column(column, justify="left" if column in ("data set", "role") else "right")
    for row in summary["datasets"]:
        share = row["id_share"]
        table.add_row(
            str(row["name"]), str(row["role"]), f"{row['rows']:,}", f"{row['unreadable']:,}",
            "–" if not row["rows"] else "no evidence" if share is None else f"{share:.3f}",
        )  # fmt: skip
    console.print(table)
    cached = f", {summary['cached']:,} pictures from the cache" if summary.get("cached") else ""
    console.print(f"{summary['out']} in {summary['seconds']:.1f} s{cached}", markup=False)
    if any(summary["time"].values()):
        console.print(f"time of the pictures: {shares(summary['time'])}", markup=False)


def _sources(summary: Mapping[str, Any], console: Console) -> None:
    console.print(f"{summary['candidates']:,} candidates of each source", markup=False)
    for name, made in summary["sources"].items():
        console.print(f"{name}:", markup=False)
        if "encode" in made:
            _encode(made["encode"], console)
        _mine(made["mine"], console)
    # Scores without negatives are the same for every source; what pictures of each kind say is on the page.
    averages = [row for row in summary["report"]["rows"] if row["ood"] == "average" and "neglabel" in row["score"]]
    _report({**summary["report"], "rows": averages}, console)


def _report(summary: Mapping[str, Any], console: Console) -> None:
    against = [a for a in summary["against_random"] if a["ood"] == "average"]
    compared = {a["run"] for a in against}
    if summary["rows"]:
        table = Table(
            box=None, pad_edge=False, title=f"AUROC and FPR95 in percent ({summary['convention']})",
            title_justify="left",
        )  # fmt: skip
        for column in ("run", "score", "ID", "OOD", "AUROC", "FPR95"):
            table.add_column(column, justify="right" if column in ("AUROC", "FPR95") else "left")
        for row in summary["rows"]:
            if against and row["run"] not in compared:
                continue  # a random draw: summed up below
            table.add_row(
                *(str(row[k]) for k in ("run", "score", "id", "ood")), _percent(row["auroc"]), _percent(row["fpr95"])
            )
        console.print(table)
    for a in (a for a in against if a["metric"] in ("auroc", "fpr95")):
        spread = "" if a["deviation"] is None else f" ± {a['deviation']:.2f}"
        console.print(
            f"{a['score']} {a['metric'].upper()}, average: mined {a['value']:.2f}, random {a['mean']:.2f}{spread} "
            f"({a['seeds']} seeds): {a['verdict']}",
            markup=False,
        )
    for note in summary["notes"]:
        console.print(note, markup=False)
    console.print(f"page: {summary['page']}", markup=False)


def _leaderboard(summary: Mapping[str, Any], console: Console) -> None:
    lines, runs = summary["lines"], summary["runs"]
    console.print(f"{lines:,} line{'s' * (lines != 1)} of {runs:,} run{'s' * (runs != 1)}", markup=False)
    for note in summary["notes"]:
        console.print(note, markup=False)
    console.print(f"page: {summary['page']}", markup=False)


def _sweep(summary: Mapping[str, Any], console: Console) -> None:
    if summary.get("dry_run"):
        for row in summary["rows"]:
            console.print(row, markup=False)
        found = ((stage, summary[stage]) for stage in ("encode", "mine", "score"))
        steps = (f"{stage} {one['steps']:,} ({one['finished']:,} finished)" for stage, one in found)
        console.print(f"{summary['runs']:,} runs; steps: {', '.join(steps)}; nothing was written", markup=False)
        return
    for made in summary["files"]:
        console.print(f"{made['title']}: {made['folder']}/summary.md, page: {made['page'] or 'none'}", markup=False)
        for row in made["rows"]:
            if row["ood"] != "average" or row["metric"] not in ("auroc", "fpr95") or row["mean"] is None:
                continue
            spread = "" if row["sd"] is None else f" ± {row['sd']:.2f} ({row['n']})"
            theirs = "" if row["published"] is None else f", published {row['published']:.2f}"
            console.print(
                f"  {row['row']}: {row['score']} {row['metric'].upper()}, average: {row['mean']:.2f}{spread}{theirs}",
                markup=False,
            )


def _corpora(summary: Mapping[str, Any], console: Console) -> None:
    for corpus in summary["corpora"]:
        console.print(f"{corpus['name']}: {corpus['what']}", markup=False)
        for key in ("licence", "source", "typical_size", "how_to_get"):
            console.print(f"  {key.replace('_', ' ')}: {corpus[key]}", markup=False)
        for option in corpus["options"]:
            default = option["default"]
            written = str(default).lower() if isinstance(default, bool) else default
            after = " (required)" if option["required"] else "" if default is None else f" (default: {written})"
            console.print(f"    {option['name']}={option['type']}  {option['help']}{after}", markup=False)
        console.print()
    console.print("Write NAME or NAME:option=value,option=value; see docs/corpora.md.", markup=False)


def _datasets(summary: Mapping[str, Any], console: Console) -> None:
    from neglabel.pipeline.dataset_check import lines

    for line in lines(summary):
        console.print(line, markup=False)


def _percent(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else "no evidence"


#: What Ctrl-C leaves, by stage.
STOPPED = {
    "encode": "finished shards stay, the same command goes on from there",
    "score": "finished data sets and cached embeddings stay, the same command makes the rest",
    "run": "what is finished stays, the same command goes on from there",
    "sweep": "finished steps stay, the same command goes on from there",
    "quickstart": "what is finished stays, the same command goes on from there",
}
_PARTS = {
    "encode": _encode, "mine": _mine, "score": _score, "report": _report, "leaderboard": _leaderboard, "sweep": _sweep,
    "corpora": _corpora, "datasets": _datasets,
}  # fmt: skip

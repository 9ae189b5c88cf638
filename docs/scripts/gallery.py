"""The gallery of docs/gallery.md: `python -m docs.scripts.gallery [OUT]` runs its jobs and makes the page anew.

OUT (default: results/gallery) gets a results folder per job: the default job, a grid of 8 methods on 5 tasks, a stream
of tasks, an ablation; about half an hour on two cores. What is recorded there does not run again, so the same command
goes on after an interruption, and draws the page again when everything is recorded. Texts and models are fetched first,
once. `--task`, repeated, gives the grid other tasks, such as dir:FOLDER; `--only NAME` runs and draws some of the jobs.

Of each job it writes the report to docs/gallery/NAME.html, which is not under version control, because a report carries
third-party JavaScript: `mkdocs build` copies what is there into the site, so that the links of the page lead to it. To
commit, it writes docs/gallery.md and pictures of the first screen, docs/img/gallery-NAME.png and
gallery-NAME-narrow.png, by headless Chromium, as docs/scripts/pictures.py.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from docs.scripts.pictures import first_screen
from tests import ROOT
from tunefront.bench.records import load_records
from tunefront.bench.records.answers import AnswerFiles
from tunefront.reports import write
from tunefront.reports.formats import markdown
from tunefront.reports.sections.document import Page, compose

PAGE, PICTURES, REPORTS = ROOT / "docs" / "gallery.md", ROOT / "docs" / "img", ROOT / "docs" / "gallery"
SUITE = "docs/examples/gallery.toml"
SCREENS = {"": (1400, 900), "-narrow": (390, 844)}
"""The end of a picture's name -> width and height of its screen, in pixels."""
MOST_SAID = 4
"""The most paragraphs that a section quotes of what is said of studies."""
INTRO = (
    "# Gallery\n\n<!-- made by `python -m docs.scripts.gallery`: edit the script -->\n\n"
    "Four jobs, as anyone can run them in a clone on two CPU cores, and the first screen of the report of each. What a "
    "report says is quoted as it stands there; [Reading a report](report.md) explains it.\n"
)


@dataclass(frozen=True)
class Job:
    """A results folder of the gallery.

    Args: name, of the folder and the files; title and about, of its section; command, what one types, without --out.
    """

    name: str
    title: str
    about: str
    command: tuple[str, ...]


def jobs(tasks: Sequence[str] = ()) -> list[Job]:
    """The jobs in the order of the page; `tasks` take the place of the grid's own."""
    chosen = [part for task in tasks for part in ("--task", task)]
    return [
        Job(
            "default",
            "The default job",
            "`tunefront run` without arguments: six methods on an encoder, and training against prompting on a "
            "language model.",
            ("run",),
        ),
        Job(
            "grid",
            "A grid",
            "Eight methods on five tasks, with two draws of the training rows.",
            ("run", SUITE, *chosen),
        ),
        Job(
            "stream",
            "A stream of tasks",
            "Tasks that arrive one after another: parameters for each, or one model for all.",
            ("stream", "--orders", "0"),
        ),
        Job(
            "ablation",
            "An ablation",
            "One thing varied: the size of adapters.",
            ("ablate", "size", "--values", "1,8,64,256", "--shots", "300"),
        ),
    ]


def tunefront(*arguments: str) -> None:
    """Runs a command in the clone, whose output is shown. A cell that failed is in the report; a mistake ends the
    script."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", "tunefront", *arguments], cwd=ROOT, env=environment, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.returncode)


def draw(name: str, results: Path, reports: Path, pictures: Path) -> None:
    """Writes the report of a results folder to `reports`, and its first screens to `pictures`."""
    records = load_records(results)
    with tempfile.TemporaryDirectory() as folder:
        write(records, folder, ["html"], places=records.places)
        reports.mkdir(parents=True, exist_ok=True)
        report = reports / f"{name}.html"
        report.write_bytes(Path(folder, "report.html").read_bytes())
    for end, size in SCREENS.items():
        first_screen(report, pictures / f"gallery-{name}{end}.png", size)


def quote(results: Path) -> list[str]:
    """What the report of a results folder says on its first screen, and of studies, in Markdown."""
    records = load_records(results)
    report = compose(records, answers=AnswerFiles(records.places), places=records.places)
    said = [f"**{markdown.escape(report.title)}**"]
    for page in report.pages:
        said += [markdown.escape(page.title)] if len(report.pages) > 1 else []
        said += _answer(page)
    found = report.lead if not report.pages else [text for study in report.studies for text in study.intro][:MOST_SAID]
    return said + [markdown.escape(text) for text in found]


def _answer(page: Page) -> Iterator[str]:
    """The recommendation of a panel, then a list of the best within each budget."""
    yield from map(markdown.escape, page.answer.sentences)
    if page.answer.budgets:
        best = [f"{budget.words}: {budget.label}, {budget.rest}" for budget in page.answer.budgets]
        yield "\n".join(f"- {markdown.escape(line)}" for line in best)


def section(job: Job, said: Sequence[str]) -> str:
    """A job's part of the page; without pictures and a report if nothing was drawn. The link is HTML, since the site is
    also built where the report is not."""
    command = " ".join(("tunefront", *job.command, "--out", f"results/{job.name}"))
    parts = [f"## {job.title}", job.about, f"```bash\n{command}\n```"]
    if said:
        title = f"First screen of the report of {job.title[:1].lower()}{job.title[1:]}"
        width = f'{{ width="{SCREENS["-narrow"][0] // 2}" }}'
        parts += [
            f"![{title}, {SCREENS[''][0]} pixels wide](img/gallery-{job.name}.png)",
            f"![{title}, {SCREENS['-narrow'][0]} pixels wide](img/gallery-{job.name}-narrow.png){width}",
            f'<a href="gallery/{job.name}.html">The whole report</a> says:',
            "\n>\n".join("\n".join(f"> {line}" for line in text.splitlines()) for text in said),
        ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Runs the jobs, draws every one that has records, and writes the page."""
    known = jobs()
    parser = argparse.ArgumentParser(prog="python -m docs.scripts.gallery", description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, nargs="?", default=ROOT / "results" / "gallery")
    parser.add_argument("--task", action="append", default=[], metavar="T", help="a task of the grid; repeatable")
    parser.add_argument("--only", action="append", choices=[job.name for job in known], help="run these jobs alone")
    chosen = parser.parse_args()
    tunefront("fetch")
    sections = []
    for job in jobs(chosen.task):
        results = chosen.out.resolve() / job.name
        if chosen.only is None or job.name in chosen.only:
            tunefront(*job.command, "--out", str(results))
        recorded = bool(load_records(results))
        if recorded:
            draw(job.name, results, REPORTS, PICTURES)
        sections.append(section(job, quote(results) if recorded else []))
    PAGE.write_text("\n".join([INTRO, *sections]), encoding="utf-8")
    print(f"{PAGE}; the reports are in {REPORTS}, where `mkdocs build` finds them")


if __name__ == "__main__":
    main()

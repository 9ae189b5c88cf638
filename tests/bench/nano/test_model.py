"""The model that ships: its size, its card, and that it scores what the card says."""

import importlib.metadata
import json
from pathlib import Path

import pytest

from tunefront import run
from tunefront.bench.data.sources.harvest import harvest
from tunefront.bench.models import locate
from tunefront.bench.nano import FIGURES, FOLDER, card, holdout, trials
from tunefront.bench.nano.corpus import held_out_snippets
from tunefront.bench.nano.measuring import MEASURED
from tunefront.bench.nano.shipping import MOST_BYTES, facts


def measured() -> dict[str, object]:
    return json.loads((FIGURES / MEASURED).read_text("utf-8"))


def test_the_weights_are_small_enough_to_ship() -> None:
    assert (FOLDER / "model.safetensors").stat().st_size <= MOST_BYTES
    assert 3_000_000 <= facts()["params"] <= 12_000_000
    assert 4_000 <= facts()["vocabulary"] <= 8_000


def test_no_text_of_a_benchmark_was_read() -> None:
    training = json.loads((FIGURES / "training.json").read_text("utf-8"))
    assert training["benchmark_texts_read"] == 0 < training["benchmark_texts"]
    assert not set(holdout.LIBRARIES) & set(training["snippets_of_library"])


def test_the_card_shows_that_demonstrations_help_on_what_it_never_saw() -> None:
    """More of them help more; far above chance with 16."""
    trials_of = measured()["trials"]
    assert isinstance(trials_of, dict)
    for ways, target in (("2", 0.75), ("4", 0.50)):
        curve = {int(k): point["mean"] for k, point in trials_of[ways]["curve"].items()}
        assert curve[16] >= target
        assert curve[32] > curve[16] > curve[8] > curve[4] > curve[2] > 1 / int(ways)


def test_nano_is_found_without_a_network() -> None:
    assert Path(locate.locate("nano")) == FOLDER
    assert "nano" in locate.known_backbones()


def test_the_card_states_the_measurements() -> None:
    assert (FOLDER / card.CARD).read_text("utf-8") == card.render(FIGURES)


def test_the_figures_are_of_the_weights_that_ship() -> None:
    figures = measured()
    assert figures["backbone_fingerprint"] == locate.fingerprint("nano")
    assert {name: figures[name] for name in ("params", "vocabulary")} == facts()


def test_a_fixed_set_scores_as_it_was_measured(tmp_path: Path) -> None:
    """Two tasks of two classes and two of four, k = 0 and 16: up to a row more or less, since sums differ in
    their last bits from machine to machine."""
    figures = measured()
    versions = figures["versions"]
    assert isinstance(versions, dict)
    for library in holdout.LIBRARIES:
        if importlib.metadata.version(library) != versions[library]:
            pytest.skip(f"the tasks are made of {library} {versions[library]}, another version is installed")
    fixed = figures["fixed"]
    assert isinstance(fixed, dict)
    snippets = held_out_snippets()
    made = [trial for ways in (2, 4) for trial in trials.trials(snippets, ways, 2)]
    tasks = [f"dir:{trials.write(trial, tmp_path)}" for trial in made]
    suite = tmp_path / "fixed.toml"  # with the settings that a suite has by itself, as the card's have
    suite.write_text(f'methods = ["icl:k=0", "icl:k=16"]\nbackbones = ["nano"]\ntasks = {tasks}\nshots = [32]\n')
    records = run(str(suite), out=tmp_path / "out")
    assert len(records) == 8
    for record in records:
        name = f"{Path(record.task).name} {record.label}"
        assert record.score == pytest.approx(fixed[name], abs=1.5 / (record.data.n_test or 1)), name


def test_held_out_libraries_are_what_the_trials_are_made_of() -> None:
    assert {docstring.package for docstring in harvest(holdout.HELD_OUT)} == set(holdout.LIBRARIES)


def test_the_documents_tell_the_same_figures() -> None:
    figures = measured()["trials"]
    assert isinstance(figures, dict)
    two, four = (100 * figures[ways]["curve"]["16"]["mean"] for ways in ("2", "4"))
    told = f"in {two:.1f} % of the rows (chance 50 %), four in {four:.1f} % (chance 25 %)"
    assert told in (FOLDER.parent.parent.parent / "docs" / "models.md").read_text("utf-8")

"""Tasks made from fetched archives: what is a row, in which split, and with which class."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tunefront.bench.data.archives.cached import NotFetched
from tunefront.bench.data.archives.catalog import ARCHIVES
from tunefront.bench.data.hashing import normalised
from tunefront.bench.data.sources import PROMPTS, describe_tasks, known_tasks, load_task, news, preview_task, sentiment
from tunefront.bench.data.sources.news import TOPICS, Article
from tunefront.bench.data.sources.sentiment import CUT, Rated
from tunefront.bench.data.task import Row, Task
from tunefront.bench.templates import PLAIN, templates_of

FETCHED = [name for archive in ARCHIVES.values() for name in archive.tasks]


def all_rows(task: Task) -> list[Row]:
    return [row for rows in task.splits.values() for row in rows]


def sentences(count: int = 400) -> list[Rated]:
    """Of reviews with four sentences each, rated from -4 to 4."""
    return [
        Rated(f"{place // 4}_{place % 4}", f"sentence {place}", (place % 17 - 8) / 2, str(place // 4))
        for place in range(count)
    ]


def articles(count: int = 300) -> list[Article]:
    topics = list(TOPICS.values())
    return [Article(f"{place}", f"title {place}", f"text {place}", topics[place % 5]) for place in range(count)]


def test_a_sentence_near_zero_has_no_class_and_the_others_the_sign_of_their_rating() -> None:
    task = sentiment.build("movies", sentences())
    for row in all_rows(task):
        assert abs(float(str(row.fields["rating"]))) >= CUT
        assert task.label_names[int(row.label)] == ("positive" if float(str(row.fields["rating"])) > 0 else "negative")
    assert len(all_rows(task)) == sum(abs(one.rating) >= CUT for one in sentences())


def test_a_rating_is_the_label_of_every_sentence() -> None:
    task = sentiment.build("movies_rating", sentences())
    assert task.kind == "regression"
    assert len(all_rows(task)) == 400
    assert all(row.label == row.fields["rating"] for row in all_rows(task))


def test_no_review_is_in_two_splits() -> None:
    task = sentiment.build("products_rating", sentences())
    reviews = [{row.id.split("_")[0] for row in rows} for rows in task.splits.values()]
    assert all(reviews)
    assert sum(map(len, reviews)) == len(set.union(*reviews)) == 100


def test_copies_of_a_sentence_are_one_row_with_the_mean_of_their_ratings() -> None:
    copies = [Rated("1", "Good  film", 3.0, "1"), Rated("2", "good film", 2.0, "2"), Rated("3", "other", -2.0, "3")]
    task = sentiment.build("movies_rating", copies)
    assert {row.id: row.label for row in all_rows(task)} == {"1": 2.5, "3": -2.0}


def test_the_rating_is_no_input() -> None:
    task = sentiment.build("movies", sentences())
    assert task.input_fields == ("text",)


@pytest.mark.parametrize("name", ["topic", "article"])
def test_no_title_and_no_text_is_in_two_splits(name: str) -> None:
    same_title = Article("b", "Title 1", "another text", "politics")
    same_text = Article("c", "another title", "text 2", "sports")
    task = news.build(name, [*articles(), same_title, same_text])
    rows = all_rows(task)
    titles = [normalised(str(row.fields["title"])) for row in rows]
    assert len(titles) == len(set(titles))
    assert "title 1" not in titles  # it is a title of two topics
    assert "another title" not in titles
    if name == "article":
        assert len({normalised(str(row.fields["text"])) for row in rows}) == len(rows)


def test_a_file_that_is_not_utf8_is_read_as_latin1_and_named() -> None:
    task = news.build("topic", [*articles(), Article("sports/9", "£ 5", "text", "sports", is_utf8=False)])
    assert any("sports/9" in note and "Latin-1" in note for note in task.notes)


@pytest.mark.parametrize(
    "build", [lambda: sentiment.build("movies", sentences()), lambda: news.build("topic", articles())]
)
def test_the_same_rows_come_in_the_same_order(build: object) -> None:
    assert callable(build)
    assert build().fingerprint == build().fingerprint


def test_every_embedded_task_says_what_it_is_about() -> None:
    assert set(FETCHED) < set(known_tasks())
    assert all(entry.about and entry.source and entry.licence for entry in describe_tasks())


@pytest.mark.parametrize("name", known_tasks())
def test_every_embedded_task_with_answers_has_prompts_of_its_own(name: str) -> None:
    task = preview_task(name)
    if task.kind == "regression":
        assert task.templates is None
    else:
        assert task.templates is not None
        assert task.templates.parent == PROMPTS


def test_no_file_of_prompts_is_without_a_task() -> None:
    assert {file.stem for file in PROMPTS.glob("*.yaml")} <= {name.replace("/", "_") for name in known_tasks()}


@pytest.mark.parametrize("name", FETCHED)
def test_what_was_not_fetched_names_the_command(name: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path))
    group, _, rest = name.partition("/")
    with pytest.raises(NotFetched, match=f"tunefront fetch {group}"):
        {"sentiment": sentiment, "news": news}[group].load(rest)


@pytest.mark.parametrize("name", FETCHED)
def test_the_archive_gives_rows_of_every_class_in_every_split_and_each_prompt_renders(
    name: str, fetched: Callable[[str], None]
) -> None:
    fetched(next(archive.name for archive in ARCHIVES.values() if name in archive.tasks))
    task = load_task(name)
    for split, rows in task.splits.items():
        assert len(rows) > 150
        assert all(task.label_counts(split).values())
    for template_name, template in templates_of(task).items():
        for row in task.splits["test"][:50]:
            prompt = template.render(task, row)
            assert prompt.label == row.label
            assert template_name == PLAIN or not prompt.text.endswith(" ")

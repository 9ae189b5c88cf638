"""Tasks from the Hub, `datasets.load_dataset` replaced at its edge."""

import datasets
import pytest

from tunefront.bench.data.sources.hub import load, preview
from tunefront.bench.errors import UserError

FILM = {"text": ["a fine film", "a dull film"], "label": [1, 0]}
CLASSES = datasets.ClassLabel(names=["neg", "pos"])


def data(columns: dict[str, list[object]], **features: object) -> datasets.Dataset:
    made = datasets.Dataset.from_dict(columns)
    return made.cast(datasets.Features({**made.features, **features}))


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Dataset and configuration -> splits, or an error to raise; `requests` holds the requests."""
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path))
    holds: dict[tuple[str, str | None], object] = {}
    requests = []

    def load_dataset(path: str, name: str | None = None, **options: object) -> object:
        assert set(options) == {"cache_dir"}, "neither remote code nor anything else is requested"
        assert str(tmp_path) in str(options["cache_dir"])
        requests.append((path, name))
        actual = holds.get((path, name), datasets.exceptions.DatasetNotFoundError(f"Dataset '{path}' doesn't exist"))
        if isinstance(actual, Exception):
            raise actual
        return datasets.DatasetDict(actual)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    holds["requests", None] = requests
    return holds


def test_class_labels_name_the_classes_and_text_columns_are_read(hub):
    splits = {"train": data({**FILM, "idx": [4, 8]}, label=CLASSES), "test": data(FILM, label=CLASSES)}
    hub["imdb", None] = {**splits, "unsupervised": data({"text": ["x"], "label": [-1]})}
    task = load("imdb")
    assert (task.name, task.label_names, task.input_fields) == ("hub:imdb", ("neg", "pos"), ("text",))
    assert [(row.id, row.label) for row in task.splits["train"]] == [("4", 1), ("8", 0)]
    assert set(task.splits) == {"train", "test"}


def test_a_split_with_hidden_labels_is_left_out_and_dev_is_validation(hub):
    hidden = data({"text": ["x", "y"], "label": [-1, -1]}, label=CLASSES)
    hub["owner/glue", "sst2"] = {"train": data(FILM, label=CLASSES), "dev": data(FILM, label=CLASSES), "test": hidden}
    task = load("owner/glue/sst2")
    assert task.eval_split == "validation"
    assert hub["requests", None] == [("owner/glue", "sst2")]


def test_float_labels_make_a_regression_task(hub):
    rows = data({"sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": [0.5, 3.0]})
    hub["owner/pairs", None] = {"train": rows, "validation": rows}
    task = load("owner/pairs")
    assert (task.kind, task.input_fields, task.headline) == ("regression", ("sentence1", "sentence2"), "pearson")


def test_two_parts_are_owner_and_dataset_first_then_dataset_and_configuration(hub):
    hub["glue", "sst2"] = {"train": data(FILM, label=CLASSES), "test": data(FILM, label=CLASSES)}
    assert load("glue/sst2").name == "hub:glue/sst2"
    assert hub["requests", None] == [("glue/sst2", None), ("glue", "sst2")]


def test_a_loaded_task_is_cached_and_not_requested_again(hub):
    hub["imdb", None] = {"train": data(FILM, label=CLASSES), "test": data(FILM, label=CLASSES)}
    assert load("imdb") == load("imdb")
    assert len(hub["requests", None]) == 1


@pytest.mark.parametrize(
    ("actual", "says"),
    [
        (ConnectionError("Couldn't reach 'imdb' on the Hub (OfflineModeIsEnabled)"), r"unreachable .*dir:<path>"),
        (RuntimeError("Dataset scripts are no longer supported, but found imdb.py"), "never run"),
        (ValueError("Config name is missing. Please pick one among ['a', 'b']"), r"'a', 'b'.*last part"),
        (OSError("disk on fire"), r"OSError: disk on fire"),
        ({"train": data(FILM)}, "found: train"),
        ({"train": data({"text": ["x", "y"], "star": [1, 2]}), "test": data(FILM)}, "no label column 'label'"),
        ({"train": data({"text": ["x", ""], "label": [1, 0]}), "test": data(FILM)}, "train, row 1: 'text' is empty"),
    ],
)
def test_what_goes_wrong_is_explained(hub, actual, says):
    hub["imdb", None] = actual
    with pytest.raises(UserError, match=says):
        load("imdb")


def test_a_dataset_that_the_hub_does_not_know_is_explained(hub):
    with pytest.raises(UserError, match=r"no public dataset hub:no/such"):
        load("no/such")


@pytest.fixture
def working_folder(tmp_path, monkeypatch):
    """An empty working folder next to the cache."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.mark.parametrize("spelled", ["imdb", "owner/imdb", "owner/imdb/config"])
@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_lies_here_under_a_datasets_name_is_never_read(hub, working_folder, spelled, kind):
    dataset = spelled.removesuffix("/config")
    hub[dataset, "config" if spelled.endswith("config") else None] = {"train": data(FILM), "test": data(FILM)}
    local = working_folder / dataset
    local.parent.mkdir(exist_ok=True)
    if kind == "folder":
        local.mkdir()
    elif kind == "file":
        local.write_text("local")
    else:
        local.symlink_to("elsewhere")
    with pytest.raises(UserError) as caught:
        load(spelled)
    assert f"dir:{dataset}" in str(caught.value)
    with pytest.raises(UserError, match="dir:"):
        preview(spelled)
    assert hub["requests", None] == []
    assert not list(working_folder.parent.glob("tasks/*"))
    local.rename(working_folder / "another name")
    assert load(spelled).splits["train"][0].fields["text"] == "a fine film"


def test_a_folder_of_a_datasets_name_hinders_no_other_reading_of_the_spelling(hub, working_folder):
    hub["glue/sst2", None] = {"train": data(FILM), "test": data(FILM)}
    (working_folder / "glue").mkdir()
    assert load("glue/sst2").name == "hub:glue/sst2"


@pytest.mark.parametrize("reader", ["csv", "json", "parquet", "imagefolder", "text"])
def test_the_librarys_own_readers_of_local_files_are_no_datasets(hub, working_folder, reader):
    with pytest.raises(UserError, match=f"{reader}.*dir:"):
        load(reader)
    assert hub["requests", None] == []


def test_splits_left_out_are_noted_and_the_notes_are_kept(hub):
    hidden = data({"text": ["x", "y"], "label": [-1, -1]}, label=CLASSES)
    hub["imdb", None] = {"train": data(FILM, label=CLASSES), "dev": data(FILM, label=CLASSES), "test": hidden}
    notes = load("imdb").notes
    assert [note for note in notes if "test left out" in note]
    assert load("imdb").notes == notes
    assert len(hub["requests", None]) == 1


def test_an_index_is_no_input_and_images_are_left_out(hub):
    columns = {**FILM, "__index_level_0__": ["u", "v"], "Unnamed: 0": [0, 1], "image": [None, None]}
    rows = data(columns, image=datasets.Image())
    hub["films", None] = {"train": rows, "test": rows.select([1, 0])}
    task = load("films")
    assert set(task.splits["train"][0].fields) == {"text"}
    assert [row.fields["text"] for row in task.splits["test"]] == ["a dull film", "a fine film"]


def test_a_dataset_that_would_take_too_much_memory_is_refused(hub, monkeypatch):
    monkeypatch.setenv("TUNEFRONT_MAX_DATA_BYTES", "100000")
    rows = data({"text": ["x"] * 5000, "label": [0, 1] * 2500})
    hub["films", None] = {"train": rows, "test": rows}
    with pytest.raises(UserError, match="TUNEFRONT_MAX_DATA_BYTES"):
        load("films")


@pytest.mark.parametrize("spelled", ["a/b/c/d", "a//b", "/a", "../x", ".", "./x", "~/x", "a b", "..", "a/../b", "é"])
def test_a_spelling_that_can_mean_no_dataset_is_explained(hub, spelled):
    with pytest.raises(UserError, match="write hub:<dataset>"):
        load(spelled)

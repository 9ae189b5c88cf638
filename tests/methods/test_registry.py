"""Methods by name: what is found, what is refused with what words, and what a method's source is."""

from __future__ import annotations

import gc
import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest

from tests import ROOT
from tests.methods.users_files import WRITTEN, write
from tunefront.methods import registry
from tunefront.methods.base import Method
from tunefront.methods.houlsby import Houlsby
from tunefront.methods.registry import UnknownMethod, find, load_file, methods, source_file, source_fingerprint
from tunefront.methods.spelling import parse
from tunefront.methods.top_layers import TopLayers

pytestmark = pytest.mark.usefixtures("quick_garbage", "forgotten")
SHIPPED = {"features", "full", "houlsby", "ia3", "top_layers"}


def test_the_five_methods_are_known_by_name() -> None:
    assert set(methods()) >= SHIPPED
    assert all(cls.name == name for name, cls in methods().items())


def test_find_offers_the_nearest_name_and_lists_the_rest() -> None:
    with pytest.raises(UnknownMethod) as error:
        find("houlsbi")
    assert str(error.value).startswith("no method 'houlsbi'; did you mean 'houlsby'? Known: ")
    assert ", ".join(sorted(methods())) in str(error.value)
    with pytest.raises(UnknownMethod, match=r"no method 'zzzz'\. Known"):
        find("zzzz")


def test_two_methods_of_one_name_are_rejected_with_both_places() -> None:
    class Twin(Houlsby):
        name: ClassVar[str] = "full"

    with pytest.raises(ValueError, match=r"two methods are named 'full': .*; rename one") as error:
        methods()
    assert "tunefront.methods.full.Full" in str(error.value)
    assert "Twin" in str(error.value)
    del Twin, error
    gc.collect()
    assert "full" in methods()


def test_one_file_under_two_module_names_says_which_to_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shadow of the package on the path, say: every method in it would be there twice, as two classes."""
    package = tmp_path / "mine"
    package.mkdir()
    write(package, file="twice.py")
    for folder in (tmp_path, package):
        monkeypatch.syspath_prepend(folder)
    first, second = importlib.import_module("mine.twice"), importlib.import_module("twice")
    with pytest.raises(ValueError, match=r"twice\.py is imported under two names") as error:
        methods()
    assert "mine.twice" in str(error.value)
    for name in ("mine.twice", "twice", "mine"):
        del sys.modules[name]
    del first, second, error
    gc.collect()
    assert "mine" not in methods()


def test_a_file_given_by_its_path_may_be_imported_by_others_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its helper imports it, say, or a notebook does after it was named on the command line: the newest class is it."""
    path = write(tmp_path, name="by_path", file="by_path.py")
    (tmp_path / "helper.py").write_text("from by_path import Mine\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    parse(f"{path}:Mine")
    helper = importlib.import_module("helper")
    assert methods()["by_path"] is helper.Mine
    assert type(parse("full")).__name__ == "Full"
    for name in ("by_path", "helper"):
        del sys.modules[name]


def test_a_script_whose_helper_imports_it_is_no_mistake(tmp_path: Path) -> None:
    write(tmp_path, name="scripted", file="script.py")
    (tmp_path / "helper.py").write_text("import script\n", encoding="utf-8")
    main = "if __name__ == '__main__':\n    import helper\n    print(methods()['scripted'].__module__)\n"
    with (tmp_path / "script.py").open("a", encoding="utf-8") as file:
        file.write(f"from tunefront.methods.registry import methods\n{main}")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "script.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.stdout.split() == ["script"], done.stderr


def test_a_shipped_method_by_its_path_is_the_shipped_one() -> None:
    path = sys.modules[Houlsby.__module__].__file__
    assert type(parse(f"{path}:Houlsby:bottleneck=4")) is Houlsby


@pytest.mark.parametrize("name", ["Mine", "my-way", "2x", "_mine", "", "é", None])
def test_a_name_that_is_no_name_is_rejected(name: str | None) -> None:
    namespace = {"attach": lambda self, backbone: None} | ({} if name is None else {"name": name})
    odd = type("Odd", (Method,), namespace)
    with pytest.raises(ValueError, match=r"Odd needs a class attribute `name` in lower case"):
        methods()
    del odd
    gc.collect()


def test_an_abstract_subclass_is_no_method() -> None:
    class Family(Method):
        """Shared by several methods."""

    assert Family not in methods().values()


def test_a_users_file_is_imported_once(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert type(parse(f"{path}:Mine")) is type(parse(f"{path}:Mine:size=4"))
    assert load_file(path) is load_file(str(path))


def test_a_file_that_exits_ends_nothing_else(tmp_path: Path) -> None:
    tmp_path.joinpath("own.py").write_text("import sys; sys.exit(0)", encoding="utf-8")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"own\.py could not be imported: SystemExit: 0"):
            parse(f"{tmp_path}/own.py:Mine")


def test_an_interruption_of_a_files_import_comes_through(tmp_path: Path) -> None:
    tmp_path.joinpath("own.py").write_text("raise KeyboardInterrupt", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        parse(f"{tmp_path}/own.py:Mine")


def test_a_module_that_was_imported_before_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A conftest.py, say: its classes are not made a second time."""
    path = write(tmp_path, file="imported_before.py")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("imported_before")
    assert load_file(path) is module
    assert type(parse(f"{path}:Mine")) is module.Mine
    del sys.modules["imported_before"]


def test_workers_get_every_file_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker process starts without the parent's conftest.py: it has to import the file itself."""
    path = write(tmp_path, file="conftest_like.py")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("conftest_like")
    assert source_file(module.Mine()) == path
    assert source_file(Houlsby()) is None
    del sys.modules["conftest_like"], module


def test_entry_points_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    groups = []

    class Entry:
        value = "theirs:Mine"

        def load(self) -> type:
            return load_file(write(tmp_path, "theirs")).Mine  # type: ignore[no-any-return]

    def points(group: str) -> list[Entry]:
        groups.append(group)
        return [Entry()]

    monkeypatch.setattr(registry, "entry_points", points)
    registry._import_shipped.cache_clear()
    assert "theirs" in methods()
    assert groups == ["tunefront.methods"]


def test_the_source_fingerprint_changes_with_the_file_and_only_with_it(tmp_path: Path) -> None:
    def print_of(content: str, folder: str) -> str:
        tmp_path.joinpath(folder).mkdir()
        path = tmp_path / folder / "own.py"
        path.write_text(content, encoding="utf-8")
        return source_fingerprint(load_file(path).Mine())

    first = print_of(WRITTEN.format(name="mine"), "a")
    assert first == print_of(WRITTEN.format(name="mine"), "same")
    assert first != print_of(WRITTEN.format(name="mine") + "# changed\n", "changed")


def test_the_source_fingerprint_covers_the_shipped_methods_that_a_file_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of the shared layer is a change of whoever imports it, directly or through another."""
    package = tmp_path / "methods"
    package.mkdir()
    (package / "near.py").write_text("from tunefront.methods.far import Layer\n", encoding="utf-8")
    (package / "far.py").write_text("class Layer: ...\n", encoding="utf-8")
    monkeypatch.setattr(registry, "__file__", str(package / "registry.py"))
    actual: dict[str, str] = {}
    registry._add_imported("from tunefront.methods.base import Method\nfrom tunefront.methods.near import Near", actual)
    assert set(actual) == {"tunefront.methods.near", "tunefront.methods.far"}


def test_the_source_fingerprint_covers_base_classes_and_not_fields(tmp_path: Path) -> None:
    assert source_fingerprint(Houlsby(bottleneck=1)) == source_fingerprint(Houlsby(bottleneck=2))
    assert source_fingerprint(Houlsby()) != source_fingerprint(TopLayers())

    class Child(Houlsby):
        name: ClassVar[str] = "child"

    assert source_fingerprint(Child()) not in (source_fingerprint(Houlsby()), source_fingerprint(TopLayers()))
    del Child
    gc.collect()


def test_a_class_typed_at_a_prompt_has_a_fingerprint() -> None:
    module = ModuleType("prompt_of_a_user")
    sys.modules["prompt_of_a_user"] = module
    exec(WRITTEN.format(name="typed") + "\n", vars(module))
    assert len(source_fingerprint(module.Mine())) == 64
    assert source_file(module.Mine()) is None
    del sys.modules["prompt_of_a_user"], module

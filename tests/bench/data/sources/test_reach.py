"""An unreachable Hub: one request, quickly, and no output of other libraries."""

import logging
from types import SimpleNamespace

import datasets
import huggingface_hub
import pytest
from huggingface_hub import constants

from tunefront.bench.data.sources.hub import load
from tunefront.bench.data.sources.reach import hub_reachability
from tunefront.bench.errors import UserError


@pytest.fixture
def online(monkeypatch, tmp_path):
    """As with a network, in which there is no Hub."""
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path))
    for place in (constants, datasets.config):
        monkeypatch.setattr(place, "HF_HUB_OFFLINE", False)
    for place, name in ((constants, "ENDPOINT"), (datasets.config, "HF_ENDPOINT")):
        monkeypatch.setattr(place, name, "http://127.0.0.1:9")
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    )


@pytest.mark.parametrize("spelled", ["imdb", "some/data", "some/data/config"])
def test_an_unreachable_hub_is_requested_once_and_reported(spelled, online, monkeypatch):
    said, waited = list[str](), list[float]()
    listening = logging.Handler()
    listening.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("huggingface_hub").addHandler(listening)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", waited.append)
    try:
        with pytest.raises(UserError, match=f"hub:{spelled} cannot be loaded: the Hub is unreachable") as caught:
            load(spelled)
    finally:
        logging.getLogger("huggingface_hub").removeHandler(listening)
    assert (said, waited) == ([], [])
    assert "offline mode" not in str(caught.value), "which the user did not set"
    assert not constants.HF_HUB_OFFLINE
    assert not datasets.config.HF_HUB_OFFLINE


def test_a_hub_that_answers_is_left_to_datasets(online, monkeypatch):
    session = SimpleNamespace(head=lambda *_, **__: None)
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: session)
    with hub_reachability() as unreachable:
        assert unreachable is None
        assert not datasets.config.HF_HUB_OFFLINE

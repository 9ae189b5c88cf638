"""What a probe says of a model, against the model itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from tests.bench.models.families.test_logits import added_model
from tests.bench.models.others import OTHERS
from tests.toys import shipped
from tunefront import probe
from tunefront.bench.errors import UserError
from tunefront.bench.execution import capabilities
from tunefront.bench.models.sites_file import as_toml
from tunefront.bench.models.tiny import make_backbone
from tunefront.bench.probe import probing
from tunefront.methods.sites import SITES

pytestmark = pytest.mark.usefixtures("few_methods")


def test_facts_are_those_of_the_model(folders: dict[str, str]) -> None:
    for name, auto in (("bert", AutoModel), ("llama", AutoModelForCausalLM)):
        found, model = probe(folders[name]), auto.from_pretrained(folders[name])
        assert found.params == sum(parameter.numel() for parameter in model.parameters())
        assert found.model_class == type(model).__name__
        assert found.embeddings == model.get_input_embeddings().num_embeddings
        assert found.tokens == len(AutoTokenizer.from_pretrained(folders[name]))
        assert found.width == model.config.hidden_size
        assert found.weight_bytes == (Path(folders[name]) / "model.safetensors").stat().st_size
        assert found.dtypes == {"F32": len(model.state_dict())}
        assert found.sites is not None
        assert found.proposal is None
        assert found.methods_then == ()
        json.dumps(found.as_json())
    assert found.tied == (model.lm_head.weight is model.model.embed_tokens.weight)


def test_a_padded_vocabulary_shows(tmp_path: Path) -> None:
    from tunefront.bench.models.tiny import make_language_model

    found = probe(str(make_language_model(tmp_path / "gpt2", "gpt2", vocab_size=512)))
    assert found.embeddings == 512
    assert found.tokens is not None
    assert found.tokens < 512


def test_a_method_that_does_not_run_has_a_reason(folders: dict[str, str]) -> None:
    found = {tried.method: tried for tried in probe(folders["gpt2"]).methods}
    assert found["full"].trained_params == probe(folders["gpt2"]).params
    assert all(tried.runs == (tried.reason is None) for tried in found.values())
    assert found["icl"].runs
    encoder = {tried.method: tried for tried in probe(folders["bert"]).methods}
    assert not encoder["icl"].runs
    assert "encoder" in str(encoder["icl"].reason)


def test_a_model_without_an_embedding_of_tokens_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="CanineModel"):
        probe(str(make_backbone(tmp_path / "canine", "canine")))


def test_a_pass_that_depends_on_values_is_tried_on_the_weights(tmp_path: Path) -> None:
    """JetMoE splits its tokens by the sizes that its router finds; a router is no projection."""
    found = probe(added_model(tmp_path / "m", "jetmoe"))
    assert {"full", "icl", "features"} <= {tried.method for tried in found.methods if tried.runs}
    assert found.proposal is not None
    assert found.proposal.sites.query is None
    assert any("router" in path for path in found.proposal.unknown)


def test_every_method_is_tried(folders: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "default_methods", capabilities.default_methods)
    found = {tried.method.split(":")[0] for tried in probe(folders["bert"]).methods}
    assert {method.name for method in shipped()} <= found


@pytest.mark.parametrize("name", ["ernie", "stablelm", "marian"])
def test_a_proposal_lets_more_methods_run(name: str, others: dict[str, str]) -> None:
    before = dict(SITES)
    found = probe(others[name])
    assert dict(SITES) == before, "a proposal is only tried"
    assert found.sites is None
    assert found.proposal is not None
    assert found.family == OTHERS[name][0]
    now, then = ({tried.method for tried in methods if tried.runs} for methods in (found.methods, found.methods_then))
    assert now < then
    assert {"houlsby", "ia3", "lora", "layernorm", "scaling"} <= then - now
    assert "block" in as_toml(name, found.proposal.sites)


def test_the_file_of_a_proposal_is_used(others: dict[str, str], tmp_path: Path) -> None:
    found = probe(others["ernie"])
    assert found.proposal is not None
    file = tmp_path / "sites.toml"
    file.write_text(as_toml("ernie", found.proposal.sites), encoding="utf-8")
    with_file = probe(others["ernie"], sites=[str(file)])
    assert with_file.sites is not None
    assert with_file.methods == found.methods_then


def test_a_configuration_or_a_preset_is_enough(folders: dict[str, str]) -> None:
    preset = probe("bert-base")
    published = AutoModel.from_config(type(AutoModel.from_pretrained(folders["bert"]).config)())
    assert preset.params == published.num_parameters()
    assert preset.tokens is preset.dtypes is preset.weight_bytes is None
    alone = probe(f"{folders['llama']}/config.json")
    assert alone.params == probe(folders["llama"]).params


def test_methods_of_your_own_are_tried(folders: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from tunefront import Method\n"
        "class Probed(Method):\n"
        "    name = 'probed_by_a_test'\n"
        "    def attach(self, backbone): backbone.freeze(keep=[backbone.head, backbone.sites.norms])\n",
        encoding="utf-8",
    )
    found = {tried.method: tried for tried in probe(folders["bert"], methods=[str(file)]).methods}
    assert found["probed_by_a_test"].trained_params == found["layernorm"].trained_params
    with pytest.raises(UserError):
        probe(folders["bert"], methods=[str(tmp_path / "absent.py")])

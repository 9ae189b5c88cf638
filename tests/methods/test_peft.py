"""The method `peft`: spelling, errors, finished adapters against peft's own forward pass, faults of its defaults."""

from __future__ import annotations

import importlib.util
import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from docs.scripts import peft_types
from tests.bench.checkpoints.kept import ran, record_path, scored_rows
from tests.bench.execution.streams import alone, toy_tasks
from tests.toys import encode, fit_without_steps, fresh_copy, harness, shake, toy_task
from tunefront import export, plan
from tunefront.bench.checkpoints.loading import open_checkpoint
from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.execution.identity import label_of
from tunefront.bench.execution.places import Missing, Places
from tunefront.bench.execution.predictions import digest_of
from tunefront.bench.models import checkpoints
from tunefront.bench.models.families import Backbone
from tunefront.bench.models.tiny import make_backbone, make_language_model
from tunefront.bench.suites.sweeps import swept_methods
from tunefront.bench.suites.validate import check_files
from tunefront.methods.base import Batch, Unsupported
from tunefront.methods.peft import Lead, Peft
from tunefront.methods.spelling import label, parse, spell
from tunefront.reports.compare.entries import family_of
from tunefront.reports.plots.style import STYLES, place_of

installed = pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="peft is not installed")
TASK = toy_task(rows=(16, 8))
TOKENS = [[5, 6, 7, 8, 9], [9, 4, 6, 5, 5]]


def messages(*methods: Peft) -> list[str]:
    """What is wrong with methods, before anything runs."""
    wrong = ErrorCollector()
    check_files(methods, [], wrong)
    return wrong.messages


@pytest.fixture
def quiet() -> Iterator[None]:
    """peft uses deprecated names of transformers in many calls."""
    with warnings.catch_warnings(action="ignore"):
        yield


@pytest.mark.parametrize(
    "text",
    [
        'peft:type=LORA,config="{\\"target_modules\\":[\\"q_proj\\",\\"v_proj\\"],\\"r\\":4}"',
        'peft:type=lora,config={"r": 4, "target_modules": ["v_proj", "q_proj"]}',
        """peft(config='{"target_modules":["v_proj","q_proj"],"r":4}')""",
        'peft:config={"r":4,"target_modules":["q_proj","v_proj"],"peft_type":"LORA","peft_version":"0.1"},type=LORA',
    ],
)
def test_spellings_of_one_configuration_are_one_method(text: str) -> None:
    method = parse(text)
    assert method == Peft(type="LORA", config='{"r":4,"target_modules":["q_proj","v_proj"]}')
    assert parse(spell(method)) == method
    (swept,) = swept_methods({"name": "peft", "config": '{"r":4,"target_modules":["q_proj","v_proj"]}'}, Path())
    assert swept == method


def test_an_empty_configuration_is_none_and_lora_is_the_type() -> None:
    assert Peft(config="{}") == Peft() == Peft(type="LORA")
    assert spell(Peft()) == "peft:type=LORA,config=none,folder=none"


def test_texts_in_a_configuration_are_no_lists_to_sweep() -> None:
    method = Peft(config=json.dumps({"target_modules": 'a=[1,2],"b)'}))
    assert swept_methods(spell(method), Path()) == [method]


def test_labels_are_short() -> None:
    assert label(Peft(type="VERA")) == "peft:type=VERA"
    assert label(parse('peft:config={"r":4}')) == "peft:type=LORA,config={r:4}"
    long = [label(Peft(config=json.dumps({"target_modules": ["x" * 60, str(place)]}))) for place in range(2)]
    assert max(map(len, long)) < 40
    assert long[0] != long[1]


def test_types_have_the_colours_of_their_methods() -> None:
    assert place_of(family_of("peft:type=VERA,config={r:4}, shots 8")) == STYLES["vera"]
    assert place_of(family_of("peft:type=LORA"))[0] == STYLES["lora"][0]
    assert place_of(family_of("peft:type=LORA")) != STYLES["lora"]
    assert place_of(family_of(label(Peft(config='{"use_dora":true}')))) == STYLES["dora"]
    assert family_of("peft:folder=mine@12345678") == "peft"


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ('{"r":4', "character 7"),
        ("{r:4}", "character 2"),
        ('{"r":NaN}', "NaN"),
        ('{"r":1,"r":2}', "'r' twice"),
        ("[1]", "JSON object"),
        ('{"peft_type":"IA3"}', "another type"),
    ],
)
def test_json_that_is_none_says_where(config: str, found: str) -> None:
    with pytest.raises(ValueError, match="config") as error:
        Peft(config=config)
    assert found in str(error.value)


def test_a_folder_has_its_own_type() -> None:
    with pytest.raises(ValueError, match="type and config"):
        Peft(type="LORA", config='{"r":2}', folder="x")
    assert not Peft(folder="x").trains
    assert Peft(folder="x").search is None
    assert Peft().search is not None
    assert Peft(folder="x").fewest_rows == 0
    assert Peft().trains


def test_without_the_package_one_paragraph_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "peft" else found(name, *rest))
    (message,) = messages(Peft())
    assert "pip install 'tunefront[peft]'" in message


@installed
@pytest.mark.parametrize(
    ("method", "found"),
    [
        (Peft(type="LROA"), "did you mean 'LORA'"),
        (Peft(config='{"lora_alhpa":4}'), "did you mean 'lora_alpha'"),
        (Peft(type="PROMPT_TUNING", config='{"tokenizer_name_or_path":"x"}'), "tokenizer_name_or_path"),
        (Peft(type="XLORA", config='{"adapters":{"0":"x"}}'), "adapters"),
        (Peft(type="IA3", config='{"feedforward_modules":["b"],"target_modules":["a"]}'), "peft refuses"),
    ],
)
def test_what_peft_does_not_know_is_wrong_before_anything_runs(method: Peft, found: str) -> None:
    (message,) = messages(method)
    assert found in message


@installed
def test_what_is_right_has_no_message() -> None:
    assert not messages(Peft(), Peft(type="ADALORA"), Peft(type="PROMPT_TUNING"), Peft(type="LORA", config='{"r":2}'))


# Finished adapters, made with peft itself.

FINISHED: dict[str, dict[str, Any]] = {
    "LORA": {"target_modules": ["q_proj", "v_proj"]},
    "IA3": {"target_modules": ["k_proj", "v_proj", "down_proj"], "feedforward_modules": ["down_proj"]},
    "PROMPT_TUNING": {"num_virtual_tokens": 3},
    "PREFIX_TUNING": {"num_virtual_tokens": 3, "prefix_projection": True, "encoder_hidden_size": 16},
    "P_TUNING": {"num_virtual_tokens": 3, "encoder_hidden_size": 16, "encoder_reparameterization_type": "LSTM"},
    "MULTITASK_PROMPT_TUNING": {"num_virtual_tokens": 3, "num_tasks": 1, "num_ranks": 2},
    "CARTRIDGE": {"num_virtual_tokens": 4},
    "CPT": {
        "cpt_token_ids": [5, 6, 7],
        "cpt_mask": [1, 1, 1],
        "cpt_tokens_type_mask": [1, 2, 4],
        "num_virtual_tokens": 3,
    },
    "VERA": {"target_modules": ["q_proj", "v_proj"], "r": 8},
    "ADALORA": {"target_modules": ["q_proj", "v_proj"], "total_step": 10},
    "LN_TUNING": {"target_modules": ["input_layernorm"]},
    "TRAINABLE_TOKENS": {"token_indices": [28, 335], "target_modules": ["embed_tokens"]},
}


def finish(model: Any, kind: str, folder: Path, task_type: str | None = "CAUSAL_LM", **config: Any) -> Path:
    """Saves an adapter of this type with random values, as `save_pretrained` of peft writes it."""
    import peft
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    torch.manual_seed(3)
    arguments = {**FINISHED.get(kind, {}), **config}
    wrapped = peft.get_peft_model(
        model, PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(kind)](task_type=task_type, **arguments)
    )
    shake({name: value for name, value in wrapped.named_parameters() if value.requires_grad}, 0.3)
    wrapped.save_pretrained(str(folder))
    return folder


def language_model(folder: str) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder)


def logprobs(model: Any, batch: Batch, **inputs: Any) -> Tensor:
    """(rows, choices) mean log-probabilities of the tokens of every choice, each after its prompt in a plain row, by
    the model's own logits."""
    scores = torch.zeros(batch.inputs["choice_mask"].shape[:2])
    for row, (ids, mask) in enumerate(zip(batch.inputs["input_ids"], batch.inputs["attention_mask"], strict=True)):
        for place, real in enumerate(batch.inputs["choice_mask"][row]):
            choice = batch.inputs["choice_ids"][row, place][real.bool()]
            text = torch.cat([ids[mask.bool()], choice[:-1]])[None]
            with torch.no_grad():
                logits = model(input_ids=text, attention_mask=torch.ones_like(text), **inputs).logits[0]
            picked = logits[-len(choice) :].log_softmax(-1).gather(1, choice[:, None])
            scores[row, place] = picked.mean()
    return scores


def scored(method: Peft, model: str) -> tuple[Tensor, Batch, Backbone]:
    """Scores of rows as a cell makes them, the rows, and the backbone."""
    backbone = fresh_copy(model, TASK)
    method.attach(backbone)
    rows = encode(backbone, TASK, "test")
    scorer = method.fit(backbone, encode(backbone, TASK), harness(backbone, method, counted=False))
    batch = rows.batch(range(4))
    backbone.model.eval()
    with torch.no_grad():
        return scorer(batch), batch, backbone


@installed
@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("kind", FINISHED)
def test_a_finished_adapter_scores_as_pefts_own_forward(
    kind: str, language_models: dict[str, str], tmp_path: Path
) -> None:
    from peft import PeftModel

    folder = finish(language_model(language_models["llama"]), kind, tmp_path / "adapter")
    ours, batch, backbone = scored(Peft(folder=str(folder)), language_models["llama"])
    theirs = PeftModel.from_pretrained(language_model(language_models["llama"]), str(folder)).eval()
    tasks = {"task_ids": torch.zeros(1, dtype=torch.long)} if kind == "MULTITASK_PROMPT_TUNING" else {}
    assert torch.allclose(ours, logprobs(theirs, batch, **tasks), atol=1e-5)
    plain = logprobs(language_model(language_models["llama"]), batch)
    assert (ours - plain).abs().max() > 1e-3
    stored = load_file(folder / "adapter_model.safetensors")
    trained = sum(parameter.numel() for parameter in backbone.trainable().values())
    assert trained <= sum(tensor.numel() for tensor in stored.values())
    assert trained > 0


@installed
@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("kind", ["LORA", "IA3", "LN_TUNING", "PREFIX_TUNING"])
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_finished_classifier_brings_its_head(
    kind: str, family: str, backbones: dict[str, str], tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    def classifier() -> Any:
        torch.manual_seed(1)
        return AutoModelForSequenceClassification.from_pretrained(backbones[family], num_labels=2)

    targets = {
        "LORA": {"target_modules": ["query", "value"]},
        "IA3": {"target_modules": ["key", "value"], "feedforward_modules": []},
        "LN_TUNING": {"target_modules": ["LayerNorm"]},
        "PREFIX_TUNING": {"num_virtual_tokens": 3},
    }
    folder = finish(classifier(), kind, tmp_path / "adapter", "SEQ_CLS", **targets[kind])
    ours, batch, _ = scored(Peft(folder=str(folder)), backbones[family])
    theirs = PeftModel.from_pretrained(classifier(), str(folder)).eval()
    with torch.no_grad():
        assert torch.allclose(ours, theirs(**batch.inputs).logits, atol=1e-5)


def refused(method: Peft, model: str) -> str:
    with pytest.raises(Unsupported) as reason:
        method.attach(fresh_copy(model, TASK))
    return str(reason.value)


@installed
@pytest.mark.usefixtures("quiet")
def test_an_adapter_of_another_architecture_is_refused_by_name(
    language_models: dict[str, str], backbones: dict[str, str], tmp_path: Path
) -> None:
    folder = str(finish(language_model(language_models["llama"]), "LORA", tmp_path / "mine"))
    for name in ("gpt2", "opt"):
        reason = refused(Peft(folder=folder), language_models[name])
        assert "LORA" in reason or folder in reason
    wider = make_language_model(tmp_path / "wider", "llama", num_hidden_layers=3)
    reason = refused(Peft(folder=folder), str(wider))
    assert folder in reason
    assert "lacks 4 tensors" in reason
    assert "LlamaForCausalLM" in reason
    prefix = finish(language_model(language_models["llama"]), "PREFIX_TUNING", tmp_path / "prefix")
    assert "2 blocks, and LlamaForCausalLM has 3" in refused(Peft(folder=str(prefix)), str(wider))
    assert "classification head" in refused(Peft(folder=str(prefix)), backbones["bert"])
    prompt = finish(language_model(language_models["llama"]), "PROMPT_TUNING", tmp_path / "prompt")
    assert "virtual token" in refused(Peft(folder=str(prompt)), backbones["bert"])


@installed
@pytest.mark.usefixtures("quiet")
def test_a_classifier_of_a_language_model_is_refused(language_models: dict[str, str], tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(language_models["llama"], num_labels=2)
    folder = finish(model, "LORA", tmp_path / "adapter", "SEQ_CLS")
    assert "classification head" in refused(Peft(folder=str(folder)), language_models["llama"])


@installed
@pytest.mark.usefixtures("quiet")
def test_files_that_are_no_adapter_are_wrong_before_anything_runs(
    language_models: dict[str, str], tmp_path: Path
) -> None:
    folder = finish(language_model(language_models["llama"]), "LORA", tmp_path / "adapter")
    assert not messages(Peft(folder=str(folder)))
    pickled, empty, torn, short = (tmp_path / name for name in ("pickled", "empty", "torn", "short"))
    for copy in (pickled, torn, short):
        shutil.copytree(folder, copy)
    whole = (folder / "adapter_model.safetensors").read_bytes()
    (short / "adapter_model.safetensors").write_bytes(whole[:-10])
    (pickled / "adapter_model.safetensors").rename(pickled / "adapter_model.bin")
    (torn / "adapter_config.json").write_text('{"peft_type": "LORA", ', encoding="utf-8")
    empty.mkdir()
    found = messages(*(Peft(folder=str(path)) for path in (pickled, empty, torn, short, tmp_path / "none")))
    parts = ("pickle", "adapter_config.json", "no JSON", "not a complete safetensors file", "no folder")
    for message, part in zip(found, parts, strict=True):
        assert part in message


@installed
@pytest.mark.usefixtures("quiet")
def test_code_that_a_configuration_names_is_never_run(language_models: dict[str, str], tmp_path: Path) -> None:
    folder = finish(language_model(language_models["llama"]), "LORA", tmp_path / "adapter")
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    hostile = {"auto_mapping": {"base_model_class": "x", "parent_library": "antigravity"}, "a_newer_field": 1}
    hostile |= {"megatron_config": {"x": 1}, "megatron_core": "antigravity"}
    (folder / "adapter_config.json").write_text(json.dumps(config | hostile), encoding="utf-8")
    ours, _, _ = scored(Peft(folder=str(folder)), language_models["llama"])
    assert ours.isfinite().all()


@installed
@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    "hostile",
    [
        {"target_modules": r"((\w+)\.?)+x"},
        {"exclude_modules": r"(a|a)*x", "target_modules": "all-linear"},
        {"rank_pattern": {r"(\w+\.)+x": 4}},
        {"layers_pattern": [r"(\w*\w*)*x"]},
    ],
)
def test_a_regex_that_could_be_matched_for_ever_is_refused(
    hostile: dict[str, Any], language_models: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="for ever"):
        Peft(config=json.dumps(hostile)).check()
    folder = finish(language_model(language_models["llama"]), "LORA", tmp_path / "adapter")
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    (folder / "adapter_config.json").write_text(json.dumps(config | hostile), encoding="utf-8")
    with pytest.raises(ValueError, match="for ever"):
        Peft(folder=str(folder)).check()


@installed
@pytest.mark.usefixtures("quiet")
def test_an_adapter_is_identified_by_its_content(language_models: dict[str, str], tmp_path: Path) -> None:
    folder = finish(language_model(language_models["llama"]), "LORA", tmp_path / "adapter")
    moved = tmp_path / "elsewhere" / "adapter"
    shutil.copytree(folder, moved)
    (moved / "README.md").write_text("other words", encoding="utf-8")
    digests = [checkpoints.digests(Peft(folder=str(path))) for path in (folder, moved)]
    assert digests[0] == digests[1]
    assert label_of(Peft(folder=str(folder))) == f"peft:folder=adapter@{digests[0]['folder'][:8]}"
    tensors = load_file(moved / "adapter_model.safetensors")
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, moved / "adapter_model.safetensors")
    assert checkpoints.digests(Peft(folder=str(moved))) != digests[0]


@installed
@pytest.mark.usefixtures("quiet")
def test_the_folder_of_a_record_is_found_from_its_results(language_models: dict[str, str], tmp_path: Path) -> None:
    names = Peft.folders["folder"]
    folder = finish(language_model(language_models["llama"]), "LORA", tmp_path / "run" / "adapter")
    places = Places(tmp_path / "run" / "results")
    assert Path(places.file("adapter", checkpoints.folder_digest(str(folder), names), names)) == folder
    with pytest.raises(Missing, match="folder elsewhere"):
        places.file("elsewhere", None, names)


@installed
@pytest.mark.usefixtures("quiet")
def test_a_folder_of_a_suite_is_relative_to_the_suite(tmp_path: Path) -> None:
    (method,) = swept_methods("peft:folder=adapter", tmp_path)
    assert method == Peft(folder=str(tmp_path / "adapter"))


# What peft computes in its wrapper of a model, against the same in the backbone.


def as_in_peft(kind: str, model: str, task_type: str, **config: Any) -> tuple[Backbone, Any]:
    """A backbone with a prompt encoder of peft, and peft's own model with the same values."""
    import peft
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    method = Peft(type=kind, config=json.dumps(config))
    backbone = fresh_copy(model, TASK)
    method.attach(backbone)
    shake({name: value for name, value in backbone.trainable().items() if name.startswith("lead.")}, 0.3)
    auto = {"CAUSAL_LM": AutoModelForCausalLM, "SEQ_2_SEQ_LM": AutoModelForSeq2SeqLM}.get(task_type, AutoModel)
    cls = peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(kind)]
    length = backbone.model.lead.length
    arguments = {"num_virtual_tokens": length, **config}
    wrapped = peft.get_peft_model(auto.from_pretrained(model), cls(task_type=task_type, **arguments)).eval()
    wrapped.prompt_encoder["default"].load_state_dict(backbone.model.lead.encoder.state_dict())
    backbone.model.eval()
    return backbone, wrapped


@installed
@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("kind", ["PROMPT_TUNING", "P_TUNING"])
@pytest.mark.parametrize("name", ["t5", "bart"])
def test_a_prompt_is_that_of_peft_in_encoder_decoders(kind: str, name: str, language_models: dict[str, str]) -> None:
    backbone, wrapped = as_in_peft(
        kind, language_models[name], "SEQ_2_SEQ_LM", **({"encoder_hidden_size": 16} if kind == "P_TUNING" else {})
    )
    assert torch.allclose(*of_choices(backbone, wrapped), atol=1e-5)


def of_choices(backbone: Any, wrapped: Any) -> tuple[Tensor, Tensor]:
    """Scores of the choices of an encoder-decoder, ours and by the logits of peft's model."""
    batch = encode(backbone, TASK, "test").batch(range(3))
    theirs = torch.zeros(batch.inputs["choice_mask"].shape[:2])
    with torch.no_grad():
        ours = backbone.score(batch)
        for row, (ids, mask) in enumerate(zip(batch.inputs["input_ids"], batch.inputs["attention_mask"], strict=True)):
            for place, real in enumerate(batch.inputs["choice_mask"][row]):
                choice = batch.inputs["choice_ids"][row, place][real.bool()]
                decoder = torch.cat([torch.tensor([backbone.start]), choice[:-1]])[None]
                text = ids[mask.bool()][None]
                logits = wrapped(
                    input_ids=text, attention_mask=torch.ones_like(text), decoder_input_ids=decoder
                ).logits[0]
                theirs[row, place] = logits.log_softmax(-1).gather(1, choice[:, None]).mean()
    return ours, theirs


@installed
@pytest.mark.usefixtures("quiet")
def test_a_prefix_is_that_of_peft_where_positions_are_absolute(
    language_models: dict[str, str], backbones: dict[str, str]
) -> None:
    backbone, wrapped = as_in_peft("PREFIX_TUNING", language_models["bart"], "SEQ_2_SEQ_LM", num_virtual_tokens=3)
    assert torch.allclose(*of_choices(backbone, wrapped), atol=1e-5)
    encoder, wrapped = as_in_peft("PREFIX_TUNING", backbones["bert"], "FEATURE_EXTRACTION", num_virtual_tokens=3)
    ids = torch.tensor(TOKENS)
    batch = Batch({"input_ids": ids, "attention_mask": torch.ones_like(ids)}, ids[:, 0], ids[:, 0])
    with torch.no_grad():
        theirs = wrapped(**batch.inputs).pooler_output
        assert torch.allclose(encoder.features(batch), theirs, atol=1e-5)


@installed
@pytest.mark.usefixtures("quiet")
def test_a_prefix_of_t5_has_a_position_bias_in_peft_and_is_refused(language_models: dict[str, str]) -> None:
    assert "position bias" in refused(Peft(type="PREFIX_TUNING"), language_models["t5"])
    import peft
    from transformers import AutoModelForSeq2SeqLM

    config = peft.PrefixTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=3)
    wrapped = peft.get_peft_model(AutoModelForSeq2SeqLM.from_pretrained(language_models["t5"]), config).eval()
    backbone = fresh_copy(language_models["t5"], TASK)
    backbone.freeze()
    attentions = backbone.stacks[-1].of_kind("self")
    backbone.lead(Lead(wrapped.prompt_encoder["default"], wrapped.peft_config["default"], "", attentions))
    backbone.model.eval()
    ours, theirs = of_choices(backbone, wrapped)
    assert (ours - theirs).abs().max() > 1e-3


@installed
@pytest.mark.usefixtures("quiet")
def test_prompts_of_several_tasks_give_no_answers_in_encoder_decoders(language_models: dict[str, str]) -> None:
    assert "no answers" in refused(
        Peft(type="MULTITASK_PROMPT_TUNING", config='{"num_tasks":1,"num_ranks":2}'), language_models["t5"]
    )
    import peft
    from transformers import AutoModelForSeq2SeqLM

    config = peft.MultitaskPromptTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=3, num_tasks=1, num_ranks=2)
    wrapped = peft.get_peft_model(AutoModelForSeq2SeqLM.from_pretrained(language_models["t5"]), config)
    ids = torch.tensor(TOKENS)
    with pytest.raises(TypeError):
        wrapped(input_ids=ids, decoder_input_ids=ids, task_ids=torch.zeros(2, dtype=torch.long))


# Known faults of peft's own defaults: a configuration that names no modules gets those of our sites instead.


def by_default(kind: str, model: Any) -> list[str]:
    """Names of the parameters that peft trains with its own target modules."""
    import peft
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    wrapped = peft.get_peft_model(model, PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(kind)]())
    return [name for name, parameter in wrapped.named_parameters() if parameter.requires_grad]


def trained(kind: str, model: str) -> dict[str, Tensor]:
    backbone = fresh_copy(model, TASK)
    Peft(type=kind).attach(backbone)
    return {name: value for name, value in backbone.trainable().items() if not name.startswith("head.")}


@installed
@pytest.mark.usefixtures("quiet")
def test_by_default_ia3_of_peft_also_rescales_what_attention_puts_out_in_bert(tmp_path: Path) -> None:
    from transformers import AutoModel

    folder = str(make_backbone(tmp_path / "bert", "bert", hidden_size=64, intermediate_size=128))
    model = AutoModel.from_pretrained(folder)
    names = by_default("IA3", model)
    theirs = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    ours = trained("IA3", folder)
    assert sum(".attention.output.dense" in name for name in names) == 2
    assert not [name for name in ours if ".attention.output.dense" in name]
    assert (theirs, sum(tensor.numel() for tensor in ours.values())) == (640, 512)


@installed
@pytest.mark.usefixtures("quiet")
def test_by_default_ia3_of_peft_rescales_queries_and_not_keys_in_qwen2(language_models: dict[str, str]) -> None:
    names, ours = by_default("IA3", language_model(language_models["qwen2"])), trained("IA3", language_models["qwen2"])
    assert sum(".q_proj." in name for name in names) == 2
    assert not [name for name in names if ".k_proj." in name]
    assert sum(".k_proj." in name for name in ours) == 2
    assert not [name for name in ours if ".q_proj." in name]


@installed
@pytest.mark.usefixtures("quiet")
def test_a_pooler_of_peft_reads_a_virtual_token(backbones: dict[str, str]) -> None:
    backbone, wrapped = as_in_peft("PROMPT_TUNING", backbones["bert"], "FEATURE_EXTRACTION", num_virtual_tokens=3)
    ids = torch.tensor(TOKENS)
    batch = Batch({"input_ids": ids, "attention_mask": torch.ones_like(ids)}, ids[:, 0], ids[:, 0])
    with torch.no_grad():
        output = wrapped(**batch.inputs)
        pooler = backbone.model.pooler
        skipping = output.last_hidden_state
        assert torch.allclose(output.pooler_output, pooler.activation(pooler.dense(skipping[:, 0])), atol=1e-5)
        assert torch.allclose(backbone.features(batch), pooler.activation(pooler.dense(skipping[:, 3])), atol=1e-5)


# What is special to types.


@installed
def test_adalora_ends_with_the_budget_of_its_configuration(language_models: dict[str, str]) -> None:
    method = Peft(type="ADALORA", config='{"deltaT":1,"init_r":6,"target_r":2,"tfinal":2,"tinit":1}')
    backbone = fresh_copy(language_models["llama"], TASK)
    method.attach(backbone)
    factors = {name: value for name, value in backbone.trainable().items() if "lora_E" in name}
    shake(factors)
    method.fit(backbone, encode(backbone, TASK), harness(backbone, method, counted=False, steps=8, learning_rate=0.01))
    kept = sum(int((factor != 0).sum()) for factor in factors.values())
    assert kept == 2 * len(factors)
    short = harness(backbone, method, counted=False, steps=3)
    with pytest.raises(ValueError, match="tinit"):
        method.fit(backbone, encode(backbone, TASK), short)


@installed
def test_adalora_adds_the_regularization_of_peft(language_models: dict[str, str]) -> None:
    from peft import PeftModel

    method = Peft(type="ADALORA", config='{"orth_reg_weight":0.7}')
    backbone = fresh_copy(language_models["llama"], TASK)
    method.attach(backbone)
    rows, losses = encode(backbone, TASK), []
    trainer = harness(backbone, method, counted=False, steps=1)
    trainer.train = lambda parameters, loss, *_: losses.append(loss)  # type: ignore[method-assign,assignment]
    method.fit(backbone, rows, trainer)
    wrapper: PeftModel = backbone.model.peft.wrapper  # type: ignore[union-attr,assignment]
    batch = rows.batch(range(4))
    backbone.model.eval()
    ids = batch.inputs["input_ids"]
    with torch.no_grad():
        plain = wrapper.get_base_model()(input_ids=ids, labels=ids).loss
        more = wrapper.base_model(input_ids=ids, labels=ids).loss - plain
        assert torch.allclose(losses[0](batch) - backbone.loss(batch), more, atol=1e-4)
    assert more > 0


@installed
@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"init_lora_weights": "eva"}, "rows"),
        ({"init_lora_weights": "corda"}, "corda"),
        ({"init_lora_weights": "lora_ga"}, "rows"),
        ({"alora_invocation_tokens": [5]}, "alora"),
        ({"target_modules": ["nothing_here"]}, "nothing_here"),
        ({"r": 0}, "positive"),
    ],
)
def test_what_cannot_start_is_refused_with_the_reason(
    config: dict[str, Any], found: str, language_models: dict[str, str]
) -> None:
    assert found in refused(Peft(config=json.dumps(config)), language_models["llama"])


@installed
@pytest.mark.parametrize("kind", ["POLY", "XLORA", "SHADOW"])
def test_a_type_that_computes_outside_its_layers_is_refused(kind: str, language_models: dict[str, str]) -> None:
    assert f"{kind} computes more" in refused(Peft(type=kind), language_models["llama"])


@installed
def test_a_part_of_a_configuration_without_effect_is_said(
    language_models: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING", logger="tunefront"):
        Peft(config='{"rank_pattern":{"nothing_here":2}}').attach(fresh_copy(language_models["llama"], TASK))
    assert "nothing_here" in caplog.text


@installed
def test_chosen_layers_go_with_the_targets_of_our_sites(language_models: dict[str, str]) -> None:
    backbone = fresh_copy(language_models["llama"], TASK)
    Peft(config='{"layers_to_transform":[1]}').attach(backbone)
    assert {name.split(".")[2] for name in backbone.trainable()} == {"1"}


@installed
def test_closed_forms_are_null_and_counts_are_there(language_models: dict[str, str]) -> None:
    for kind in ("LORA", "P_TUNING"):
        backbone = fresh_copy(language_models["gpt2"], TASK)
        method = Peft(type=kind)
        method.attach(backbone)
        trainer = harness(backbone, method, steps=1)
        value = trainer.score(method.fit(backbone, encode(backbone, TASK), trainer), encode(backbone, TASK, "test"))
        assert value.entry is not None
        assert value.entry.analytic is None
        assert value.entry.counted > 0
        assert trainer.cost.flops > 0


@installed
def test_frozen_tensors_of_peft_are_part_of_a_checkpoint(language_models: dict[str, str]) -> None:
    for kind, part in (("CARTRIDGE", "frozen_embedding"), ("VERA", "vera_A")):
        backbone = fresh_copy(language_models["llama"], TASK)
        method = Peft(type=kind)
        method.attach(backbone)
        fit_without_steps(method, backbone, encode(backbone, TASK))
        assert [name for name in checkpoints.shipped(backbone.model, backbone.published_buffers) if part in name]
        assert not [name for name in backbone.trainable() if part in name]


@installed
def test_a_start_by_chance_is_made_again_from_the_seed(language_models: dict[str, str]) -> None:
    """PiSSA by randomised SVD changes frozen weights, which are no part of a checkpoint."""
    method = Peft(config='{"init_lora_weights":"pissa_niter_1"}')

    def frozen(seed: int) -> Tensor:
        backbone = fresh_copy(language_models["llama"], TASK, seed=seed)
        torch.rand(3)  # what else is drawn before changes nothing
        method.attach(backbone)
        assert checkpoints.seeds_of(backbone.model) == {"peft": seed}
        return backbone.model.get_parameter("model.layers.0.self_attn.q_proj.base_layer.weight").detach().clone()

    assert torch.equal(frozen(2), frozen(2))
    assert not torch.equal(frozen(2), frozen(3))


# The table of types.


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return peft_types.make_models(tmp_path_factory.mktemp("peft_types"))


@installed
@pytest.mark.parametrize("kind", ["LORA", "LN_TUNING", "SHADOW", "OSF"])
def test_the_table_of_types_is_what_is_found(kind: str, models: dict[str, str]) -> None:
    """A few types; the slow test below tries all."""
    outcomes = {name: peft_types.probe(kind, model) for name, model in models.items()}
    written = peft_types.TABLE.read_text(encoding="utf-8").splitlines()
    assert [peft_types.row(kind, outcomes), *peft_types.reasons(kind, outcomes)] == [
        line for line in written if line.startswith(f"| `{kind}` |")
    ]


@installed
@pytest.mark.slow
def test_the_whole_table_of_types_is_what_is_found() -> None:
    assert peft_types.TABLE.read_text(encoding="utf-8") == peft_types.table(), "python -m docs.scripts.peft_types"


@installed
def test_the_table_has_every_type() -> None:
    written = peft_types.TABLE.read_text(encoding="utf-8")
    kinds: Callable[[], list[str]] = peft_types.kinds
    assert not [kind for kind in kinds() if f"| `{kind}` |" not in written]


TYPES = ("LORA", "ADALORA", "VERA", "OFT", "LOHA", "IA3", "LN_TUNING", "PREFIX_TUNING", "PROMPT_TUNING", "DELORA")


@installed
@pytest.mark.parametrize("family", ["bert", "llama"])
@pytest.mark.parametrize("kind", TYPES)
def test_what_was_trained_is_an_adapter_of_peft_again(
    kind: str, family: str, folders: dict[str, str], tmp_path: Path
) -> None:
    """Loaded by peft and compared before the export succeeds; what peft would compute otherwise is refused."""
    tasks = toy_tasks(tmp_path / "data", 1)
    (cell,) = alone(folders[family], tasks, (f"peft:type={kind}",), template=None if family == "bert" else "plain")
    store, (record,) = ran([cell], tmp_path / "out")
    assert record.status == "ok", record.reason
    refused = kind == "VERA" or (kind == "PROMPT_TUNING" and family == "bert")
    assert ("peft" in (record.servable or ())) != refused
    if refused:
        with pytest.raises(UserError, match="--to safetensors"):
            export(record_path(store, record), "peft", tmp_path / "adapter")
        return
    export(record_path(store, record), "peft", tmp_path / "adapter")
    again = replace(cell, method=parse(f'peft:folder="{tmp_path / "adapter"}"'))
    other, (scored,) = ran([again], tmp_path / "again")
    assert scored.status == "ok", scored.reason
    first, second = store.predictions(record.key), other.predictions(scored.key)
    for column in ("score_0", "score_1"):
        assert second[column].tolist() == pytest.approx(first[column].tolist(), abs=1e-4)


@installed
def test_a_finished_adapter_is_in_its_checkpoint_and_can_be_planned(
    language_models: dict[str, str], tmp_path: Path
) -> None:
    tasks = toy_tasks(tmp_path / "data", 1)
    (cell,) = alone(language_models["llama"], tasks, ("peft:type=LORA",), template="plain")
    store, (record,) = ran([cell], tmp_path / "out")
    folder = tmp_path / "adapter"
    export(record_path(store, record), "peft", folder)
    again = replace(cell, method=parse(f'peft:folder="{folder}"'))
    store, (scored,) = ran([again], tmp_path / "again")
    (planned,) = plan(methods=[again.method], backbones=[cell.backbone], tasks=tasks, shots=[8]).records
    assert planned.status == "planned", planned.reason
    shutil.rmtree(folder)
    stored, fitted = open_checkpoint(record_path(store, scored))
    assert digest_of(fitted.scores(fitted.encode(scored_rows(again)))) == scored.scores.sha256
    assert "folder=none" in stored.manifest.method


@installed
@pytest.mark.parametrize("kind", ["PREFIX_TUNING", "LORA"])
def test_prompts_before_pairs_that_peft_would_not_tell_apart_are_not_exported(
    kind: str, backbones: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "pairs"
    folder.mkdir()
    rows = [{"first": "good film", "second": "bad book", "label": number % 2} for number in range(16)]
    for split in ("train", "test"):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    meta = {"task_type": "classification", "input_fields": ["first", "second"], "label_names": ["a", "b"]}
    (folder / "meta.json").write_text(json.dumps(meta))
    cells = alone(backbones["bert"], [f"dir:{folder}"], (f"peft:type={kind}",))
    _, (record,) = ran(cells, tmp_path / "out")
    assert ("peft" in (record.servable or ())) == (kind == "LORA")

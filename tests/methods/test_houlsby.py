"""Houlsby adapters: where they sit, what they compute, and the paper's parameter counts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, PreTrainedTokenizerBase

from tests.toys import encode, fresh_copy, shake, toy_task
from tunefront.bench.data.task import MetricSpec, Task
from tunefront.bench.meters.parameters import count_parameters
from tunefront.bench.models.families.encoder import Encoder
from tunefront.bench.models.tiny import FAMILIES
from tunefront.methods.base import Method
from tunefront.methods.houlsby import Bottleneck, Houlsby
from tunefront.methods.sites import SITES

BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
SIZES = {"base": (BASE, 109_482_240, 38_400), "large": (LARGE, 335_141_888, 100_352)}
ADAPTERS = {  # bottleneck -> parameters of all adapters of BERT-base and BERT-large, from the papers' architectures
    2: (92_208, 245_856),
    4: (165_984, 442_560),
    8: (313_536, 835_968),
    16: (608_640, 1_622_784),
    32: (1_198_848, 3_196_416),
    64: (2_379_264, 6_343_680),
    128: (4_740_096, 12_638_208),
    256: (9_461_760, 25_227_264),
    512: (18_905_088, 50_405_376),
    1024: (37_791_744, 100_761_600),
}
WITH_NORMS = {
    2: (130_608, 346_208),
    4: (204_384, 542_912),
    8: (351_936, 936_320),
    16: (647_040, 1_723_136),
    32: (1_237_248, 3_296_768),
    64: (2_417_664, 6_444_032),
    128: (4_778_496, 12_738_560),
    256: (9_500_160, 25_327_616),
    512: (18_943_488, 50_505_728),
    1024: (37_830_144, 100_861_952),
}


def bert_without_weights(size: dict[str, int], method: Method, classes: int = 2) -> Encoder:
    """A method on the published architecture (vocabulary 30 522, 512 positions), on the meta device: shapes only."""
    task = Task("toy", "classification", {}, ("text",), tuple(map(str, range(classes))), (MetricSpec("accuracy"),))
    with torch.device("meta"):
        model = BertModel(BertConfig(**size)).eval()
        backbone = Encoder(model, PreTrainedTokenizerBase(), SITES["bert"], "pooler", task, None)
        method.attach(backbone)
    return backbone


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bottleneck", ADAPTERS)
def test_counts_on_published_bert_equal_the_papers(size: str, bottleneck: int) -> None:
    config, backbone_params, norms = SIZES[size]
    backbone = bert_without_weights(config, Houlsby(bottleneck=bottleneck), classes=3)
    counts = count_parameters(backbone.model, backbone.head, backbone_params)
    assert counts.total - counts.inserted - counts.head == backbone_params
    assert sum(p.numel() for n, p in backbone.model.named_parameters() if ".adapter." not in n) == (
        backbone_params + 3 * (config["hidden_size"] + 1)
    )
    which = list(SIZES).index(size)
    assert counts.inserted == ADAPTERS[bottleneck][which]
    assert counts.trainable - counts.head == WITH_NORMS[bottleneck][which] == ADAPTERS[bottleneck][which] + norms
    assert counts.head == 3 * (config["hidden_size"] + 1)


@pytest.mark.parametrize(("size", "bottleneck"), [("base", 8), ("base", 64), ("large", 8), ("large", 256)])
def test_counts_equal_the_closed_formula(size: str, bottleneck: int) -> None:
    config, _, _ = SIZES[size]
    d, blocks, m, classes = config["hidden_size"], config["num_hidden_layers"], bottleneck, 5
    backbone = bert_without_weights(config, Houlsby(bottleneck=bottleneck), classes)
    formula = 2 * blocks * (2 * m * d + m + d) + 2 * d * (2 * blocks + 1) + classes * (d + 1)
    assert sum(p.numel() for p in backbone.trainable().values()) == formula


@pytest.mark.parametrize("family", FAMILIES)
def test_two_adapters_a_block_and_every_norm_and_the_head_are_trained(family: str, backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones[family])
    model = backbone.model
    norms = [path for path, module in model.named_modules() if isinstance(module, nn.LayerNorm)]
    Houlsby(bottleneck=4).attach(backbone)
    assert sum(isinstance(module, Bottleneck) for module in model.modules()) == 2 * 2
    expected = {f"{path}.{name}" for path in norms for name in ("weight", "bias")}
    expected |= {name for name in model.state_dict() if ".adapter." in name or name.startswith("head.")}
    assert set(backbone.trainable()) == expected


def test_layer_norms_may_stay_frozen(backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"])
    Houlsby(bottleneck=4, norms=False).attach(backbone)
    adapters = {name for name in backbone.model.state_dict() if ".adapter." in name}
    assert {name for name in backbone.trainable() if not name.startswith("head.")} == adapters


def test_a_fresh_adapter_is_truncated_normal_with_zero_biases() -> None:
    torch.manual_seed(0)
    adapter = Bottleneck(512, 64, std=1e-2)
    for layer in (adapter.down, adapter.up):
        assert not layer.bias.any()
        assert layer.weight.abs().max() <= 2e-2
        # A normal cut at two of its deviations keeps 0.8796 of one.
        assert layer.weight.std().item() == pytest.approx(0.8796e-2, rel=0.02)
    assert sum(p.numel() for p in adapter.parameters()) == 2 * 64 * 512 + 512 + 64


def _gelu_tanh(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))


def _norm(x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + epsilon).sqrt() * weight + bias


def _bert_block(x: Tensor, w: dict[str, Tensor], heads: int, epsilon: float) -> Tensor:
    """One BERT block with adapters before both residual sums, in plain tensor algebra; x is (batch, seq, width)."""

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def split(x: Tensor) -> Tensor:
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)

    def adapter(x: Tensor, name: str) -> Tensor:
        return x + linear(_gelu_tanh(linear(x, f"{name}.down")), f"{name}.up")

    query, key, value = (split(linear(x, f"attention.self.{name}")) for name in ("query", "key", "value"))
    weights = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1)
    attended = linear((weights @ value).transpose(1, 2).flatten(2), "attention.output.dense")
    attended = adapter(attended, "attention.output.dropout.adapter")
    x = _norm(x + attended, *(w[f"attention.output.LayerNorm.{n}"] for n in ("weight", "bias")), epsilon)
    inner = linear(x, "intermediate.dense")
    inner = inner * (1 + torch.erf(inner / 2**0.5)) / 2
    fed = adapter(linear(inner, "output.dense"), "output.dropout.adapter")
    return _norm(x + fed, *(w[f"output.LayerNorm.{n}"] for n in ("weight", "bias")), epsilon)


def test_adapters_sit_after_each_projection_and_before_the_residual_sum(backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"])
    Houlsby(bottleneck=6).attach(backbone)
    shake(backbone.trainable())
    model = backbone.model.eval()
    batch = encode(backbone, toy_task(words=(7, 7))).batch(range(4))  # one length: nothing is masked
    with torch.no_grad():
        states = model(**batch.inputs, output_hidden_states=True).hidden_states
        for number, layer in enumerate(model.encoder.layer):
            ours = _bert_block(states[number], dict(layer.state_dict()), heads=2, epsilon=model.config.layer_norm_eps)
            assert torch.allclose(ours, states[number + 1], rtol=1e-4, atol=1e-5)


def test_adapters_see_the_dropped_out_projection(backbones: dict[str, str]) -> None:
    """In training the adapter's input is the projection after dropout: zeros where it dropped, scaled elsewhere."""
    backbone = fresh_copy(backbones["bert"], dropout=0.5)
    Houlsby(bottleneck=6).attach(backbone)
    output = backbone.model.train().encoder.layer[0].attention.output
    seen: dict[str, Tensor] = {}
    output.dense.register_forward_hook(lambda module, args, out: seen.update(projected=out))
    output.dropout.adapter.register_forward_pre_hook(lambda module, args: seen.update(entered=args[0]))
    batch = encode(backbone).batch(range(8))
    backbone.loss(batch)
    dropped = seen["entered"] == 0
    assert 0.4 < dropped.double().mean() < 0.6
    assert torch.allclose(seen["entered"], torch.where(dropped, 0.0, seen["projected"] / 0.5))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bottleneck": 0}, "bottleneck must be at least 1, got 0"),
        ({"bottleneck": 1_000_001}, "bottleneck must be at most 1,000,000, got 1000001"),
        ({"std": float("inf")}, "std must be at most .*, got inf"),
        ({"std": 10**400}, "std must be at most"),
        ({"std": -1.0}, "std must be at least 0, got -1"),
        ({"std": float("nan")}, "got nan"),
    ],
)
def test_impossible_sizes_are_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Houlsby(**fields)  # type: ignore[arg-type]

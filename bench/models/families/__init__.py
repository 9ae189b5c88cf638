"""The families of pretrained models; `tunefront.bench.models.pretrained` makes them."""

from tunefront.bench.models.families.decoder import Decoder
from tunefront.bench.models.families.encoder import Encoder
from tunefront.bench.models.families.language import LanguageModel, Prompting
from tunefront.bench.models.families.seq2seq import Seq2Seq

Backbone = Encoder | Decoder | Seq2Seq

LANGUAGE_MODELS: dict[str, type[Decoder | Seq2Seq]] = {"decoder": Decoder, "seq2seq": Seq2Seq}
"""The families that read prompts, by their name in `Sites.family`."""

__all__ = ["LANGUAGE_MODELS", "Backbone", "Decoder", "Encoder", "LanguageModel", "Prompting", "Seq2Seq"]

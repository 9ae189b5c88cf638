"""The families of pretrained models; `bench.backbones` makes them."""

from bench.families.decoder import Decoder
from bench.families.encoder import Encoder
from bench.families.language import LanguageModel, Prompting
from bench.families.seq2seq import Seq2Seq

Backbone = Encoder | Decoder | Seq2Seq

__all__ = ["Backbone", "Decoder", "Encoder", "LanguageModel", "Prompting", "Seq2Seq"]

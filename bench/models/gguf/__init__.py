"""Backbones from GGUF files, which are dequantised once into a model folder of the cache."""

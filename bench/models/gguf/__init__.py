"""Backbones from GGUF files: read, dequantised once into a model folder of the cache, used from there."""

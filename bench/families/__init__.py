"""The backbone protocol, implemented once per family of architectures."""

"""The harness that methods train under: steps, optimisers, demonstrations, cached features."""

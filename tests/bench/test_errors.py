"""Messages for unknown names."""

from tunefront.bench.errors import MOST_KNOWN, unknown


def test_of_many_known_names_the_first_and_the_nearest_are_listed() -> None:
    said = unknown("label", "n998", [f"n{number}" for number in range(1000)])
    assert "did you mean 'n998'" in said
    assert f"and {1000 - MOST_KNOWN} more" in said
    assert len(said) < 500
    assert "more" not in unknown("label", "x", ["a", "b"])

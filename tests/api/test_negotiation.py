"""Which of the offered answers a client gets."""

import pytest

from service.api.negotiation import accepts_gzip, preferred_type

OFFERED = ("application/json", "image/svg+xml", "image/png")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("image/svg+xml", "image/svg+xml"),
        ("IMAGE/PNG", "image/png"),
        ("image/*", "image/svg+xml"),
        ("image/*;q=0.5, image/png", "image/png"),
        ("image/svg+xml;q=0.2, image/png;q=0.8, */*;q=0.1", "image/png"),
        ("image/png; q=0.9 , application/json", "application/json"),
        ("image/*, image/svg+xml;q=0", "image/png"),
        (
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
            OFFERED[0],
        ),
        ("image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5", "image/svg+xml"),
        ("text/html", None),
        ("image/png;q=0", None),
        ("image/png;q=many", None),
        (";;,,=", None),
    ],
)
def test_the_media_type_that_weighs_most_is_chosen_and_the_first_of_equals(accept: str, chosen: str | None) -> None:
    assert preferred_type(accept, OFFERED) == chosen


@pytest.mark.parametrize(
    ("accept_encoding", "wanted"),
    [
        ("", False), ("gzip", True), ("br, GZIP", True), ("*", True), ("br", False), ("gzip;q=0", False),
        ("*;q=0", False), ("gzip;q=0, *", False), ("identity;q=1, gzip;q=0.001", True),
    ],
)  # fmt: skip
def test_gzip_is_sent_to_who_takes_it(accept_encoding: str, wanted: bool) -> None:
    assert accepts_gzip(accept_encoding) is wanted

"""Both readers of forms agree with each other and with what was written, however the body is cut into chunks."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.bodies import at_once
from service.api.multipart import REMEMBERED_BYTES, Form, Part, boundary_of, plain_parts
from service.api.reply import Inbound, receive_nothing
from service.errors import MalformedRequest, ServiceError, TooLarge

BOUNDARY = b"----WebKitFormBoundaryX"
names = st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters='"\\%'), min_size=1, max_size=20)


def written(parts: list[Part]) -> bytes:
    body = b""
    for part in parts:
        filename = b"" if part.filename is None else b'; filename="' + part.filename.encode() + b'"'
        body += (
            b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="' + part.name.encode() + b'"' + filename
            + b"\r\nContent-Type: image/png\r\n\r\n" + bytes(part.content) + b"\r\n"
        )  # fmt: skip
    return body + b"--" + BOUNDARY + b"--\r\n"


def parsed(body: bytes, cuts: list[int]) -> list[Part]:
    form = Form(BOUNDARY, "file", 100)
    places = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    for start, end in pairwise(places):
        form.write(body[start:end])
    return form.finish()


parts = st.builds(Part, names, st.none() | names, st.binary(max_size=60).map(bytearray))


@given(st.lists(parts, min_size=1, max_size=4), st.lists(st.integers(0, 10_000), max_size=6))
def test_what_was_written_is_read_however_it_is_cut(form: list[Part], cuts: list[int]) -> None:
    assert parsed(written(form), cuts) == form


@given(st.lists(parts, min_size=1, max_size=4))
def test_plainly_written_forms_are_read_without_the_parser(form: list[Part]) -> None:
    assert plain_parts(written(form), BOUNDARY) == form


@pytest.mark.parametrize("length", [100, REMEMBERED_BYTES, 3000])
def test_a_name_too_long_to_be_remembered_is_read_all_the_same(length: int) -> None:
    form = [Part("file", letter * length, b"picture") for letter in "aba"]
    assert plain_parts(written(form), BOUNDARY) == form


@pytest.mark.parametrize("header", [b"X-Long: " + b"a" * 5000, b'Content-Disposition: form-data; name="' + b"a" * 5000])
def test_a_head_that_is_too_long_is_refused_however_it_comes(header: bytes) -> None:
    body = b"--" + BOUNDARY + b"\r\n" + header + b"\r\n\r\npicture\r\n--" + BOUNDARY + b"--\r\n"
    assert plain_parts(body, BOUNDARY) is None
    with pytest.raises(MalformedRequest, match="header size"):
        parsed(body, [])


def test_a_file_that_was_not_chosen_does_not_count() -> None:
    pictures = [Part("file", "a.png", b"a"), Part("file", None, b"b")]
    for form in ([*pictures, Part("file", "", b"")], [Part("file"), *pictures]):
        reader = Form(BOUNDARY, "file", 2)
        reader.write(written(form))
        assert [part.is_file("file") for part in reader.finish()] == [part in pictures for part in form]
        body = at_once(request(), written(form), "form", wanted="file", max_bytes=1000, max_files=2)
        assert body is not None
    with pytest.raises(TooLarge):
        Form(BOUNDARY, "file", 1).write(written(pictures))


def request() -> Inbound:
    return Inbound("POST", b"/", b"", {b"content-type": b"multipart/form-data; boundary=" + BOUNDARY}, receive_nothing)


@given(st.lists(parts, min_size=1, max_size=3), st.data())
def test_a_damaged_form_is_never_read_differently(form: list[Part], data: st.DataObject) -> None:
    body = bytearray(written(form))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    quick = plain_parts(bytes(body), BOUNDARY)
    if quick is None:
        return
    try:
        carefully = parsed(bytes(body), [])
    except ServiceError:  # the parser is stricter about what stands in headers that we do not read
        return
    assert [part.content for part in quick] == [part.content for part in carefully]


def test_boundaries_are_read_in_every_spelling() -> None:
    for header in (b'multipart/form-data; boundary="a b"', b"multipart/form-data; charset=utf-8; BOUNDARY=ab"):
        assert boundary_of(header) in (b"a b", b"ab")

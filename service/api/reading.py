"""Submitted pictures to what the networks see: light ones at once on the event loop, all others in a thread.

A hop to a thread costs more than reading a light picture does, and a heavy one would hold everybody up (docs/log.md).
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple, TypeVar

from service.api import submitted
from service.api.bodies import Body
from service.api.submitted import Submitted
from service.errors import DeadlineExceeded, Overloaded, ServiceError
from service.imaging import png
from service.imaging.decode import LIGHT_PIXELS, Picture, decode, decode_plain, from_pixels
from service.imaging.normalise import Normalised, already_mnist, exact, in_convention, normalise
from service.settings import Settings

LIGHT_BODY_BYTES = 4096  # of one picture
LIGHT_BATCH_BYTES = 65_536  # 200 light pictures, which take 2 ms
MAX_WAITING = 256
SEVERAL = 7  # pictures that are looked at together sooner than one after another (docs/log.md)
PNG_HEADER = struct.Struct(">8s8xIIH")  # signature, width, height, depth and colour type (PNG specification, 11.2.2)
GREY_8 = 0x0800
T = TypeVar("T")


class Preprocess(NamedTuple):
    """What makes 28 x 28 of a picture. `quick` takes microseconds and gives None where it is not enough; `together`
    gives the same for many at once, or None where `quick` is to be asked.
    """

    quick: Callable[[Picture], Normalised | None]
    thorough: Callable[[Picture], Normalised]
    reduce: bool
    together: Callable[[Sequence[Picture | None]], list[Normalised | None]] | None = None


PREPROCESS = {
    "auto": Preprocess(in_convention, normalise, True, already_mnist),
    "none": Preprocess(exact, exact, False),
}


class Reader:
    """Reads the pictures of all requests."""

    def __init__(self, settings: Settings, executor: Executor) -> None:
        self._max_pixels = settings.max_image_pixels
        self._light_pixels = min(LIGHT_PIXELS, settings.max_image_pixels)
        self._max_images = settings.max_batch_images
        self._timeout_s = settings.request_timeout_s
        self._executor = executor
        self._waiting = 0

    async def one(self, body: Body, preprocess: Preprocess) -> Normalised:
        """The picture of a request that holds one.

        Raises:
            MalformedRequest, InvalidValue, InvalidImage, TooLarge: what is wrong with it.
            Overloaded, DeadlineExceeded: too many pictures wait for a thread, or this one waited too long.
        """
        if body.size <= LIGHT_BODY_BYTES:
            picture = submitted.one_picture(body)
            if (image := self._quick(picture, self._plain(picture), preprocess)) is not None:
                return image
        return await self.in_thread(lambda: self._read(submitted.one_picture(body), preprocess))

    async def many(self, body: Body, preprocess: Preprocess) -> tuple[list[Submitted], list[Normalised | ServiceError]]:
        """The pictures of a batch, each with what the network sees of it or what is wrong with it. Raises as `one`."""
        if body.size > LIGHT_BATCH_BYTES:
            return await self.in_thread(lambda: self._all_of(body, preprocess))
        pictures = submitted.many_pictures(body, self._max_images)
        images = self.light(pictures, preprocess)
        if None in images:
            heavy = [index for index, image in enumerate(images) if image is None]
            read = await self.in_thread(lambda: [_tried(self._read, pictures[index], preprocess) for index in heavy])
            for index, image in zip(heavy, read, strict=True):
                images[index] = image
        return pictures, [image for image in images if image is not None]

    def light(self, pictures: list[Submitted], preprocess: Preprocess) -> list[Normalised | ServiceError | None]:
        """What the network sees of each, or what is wrong with it; None where telling takes nearly a millisecond."""
        plain = [self._plain(picture) for picture in pictures]
        images: list[Normalised | ServiceError | None] = [None] * len(plain)
        if preprocess.together is not None and len(plain) >= SEVERAL:
            images[:] = preprocess.together(plain)
        for index, image in enumerate(images):
            if image is None:
                images[index] = _tried(self._quick, pictures[index], plain[index], preprocess)
        return images

    def _plain(self, picture: Submitted) -> Picture | None:
        content = picture.content
        return decode_plain(content, max_pixels=self._light_pixels) if isinstance(content, bytes) else None

    def _quick(self, picture: Submitted, plain: Picture | None, preprocess: Preprocess) -> Normalised | None:
        if plain is not None:
            return preprocess.quick(plain)
        return preprocess.quick(self._decode(picture, preprocess)) if _is_light(picture.content) else None

    def _read(self, picture: Submitted, preprocess: Preprocess) -> Normalised:
        return preprocess.thorough(self._decode(picture, preprocess))

    def _all_of(self, body: Body, preprocess: Preprocess) -> tuple[list[Submitted], list[Normalised | ServiceError]]:
        pictures = submitted.many_pictures(body, self._max_images)
        return pictures, self._all(pictures, preprocess)

    def _all(self, pictures: list[Submitted], preprocess: Preprocess) -> list[Normalised | ServiceError]:
        return [
            _tried(self._read, picture, preprocess) if image is None else image
            for picture, image in zip(pictures, self.light(pictures, preprocess), strict=True)
        ]

    def _decode(self, picture: Submitted, preprocess: Preprocess) -> Picture:
        content = picture.content
        if isinstance(content, (bytes, bytearray)):
            return decode(content, max_pixels=self._max_pixels, reduce=preprocess.reduce)
        if isinstance(content, ServiceError):
            raise content
        return from_pixels(content, max_pixels=self._max_pixels)

    async def files(self, files: list[bytes], preprocess: Preprocess) -> list[Normalised | ServiceError]:
        """Encoded pictures that came without a form around them. Raises as `one`."""
        return await self.in_thread(lambda: self._all([Submitted(file) for file in files], preprocess))

    async def in_thread(self, work: Callable[[], T]) -> T:
        """What `work` gives. Raises `Overloaded` where too much waits, `DeadlineExceeded` for what waited too long."""
        if self._waiting >= MAX_WAITING:
            raise Overloaded(
                f"{self._waiting} requests with large pictures wait to be read. Ask again after Retry-After.",
                retry_after_s=1.0,
            )
        asked = time.perf_counter()

        def in_time() -> T:
            if (waited_s := time.perf_counter() - asked) > self._timeout_s:
                raise DeadlineExceeded(
                    f"The picture waited {waited_s:.3f} s to be read, longer than DIGITS_REQUEST_TIMEOUT_S. "
                    "Ask again later, or send smaller pictures."
                )
            return work()

        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, in_time)
        finally:
            self._waiting -= 1


def _tried(read: Callable[..., T], *arguments: Any) -> T | ServiceError:
    try:
        return read(*arguments)
    except ServiceError as error:
        return error


def _is_light(content: object) -> bool:
    """Few bytes may be a picture of millions of pixels; and all but 8-bit grey is Pillow's, which holds a lock."""
    if not isinstance(content, (bytes, bytearray)):
        return True
    if len(content) < PNG_HEADER.size:
        return False
    signature, width, height, kind = PNG_HEADER.unpack_from(content)
    return bool(kind == GREY_8 and width * height <= LIGHT_PIXELS and signature == png.SIGNATURE)

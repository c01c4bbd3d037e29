"""Everything that can go wrong on purpose. No HTTP in here: `api/problems.py` turns codes into statuses.

ServiceError
├── MalformedRequest        malformed_request       broken JSON or multipart, no image in it
├── Unauthorized            unauthorized            an API key is set and the request lacks it
├── ModelNotFound           model_not_found         no such model or version
├── TooLarge                too_large               body, pixels or number of images over a limit
├── UnsupportedMediaType    unsupported_media_type  a content type we do not read
├── InvalidImage            invalid_image           not an image, truncated, or of the wrong size
├── InvalidValue            validation_error        a query or field out of its range
├── Unsupported             unsupported             nothing that this service does, though others of its kind do
├── Overloaded              overloaded              the queue is full
├── NotReady                not_ready               still loading, or draining
├── DeadlineExceeded        deadline_exceeded       waited longer than the request may
└── StartupError            startup                 the service cannot start as it is configured
"""

from __future__ import annotations

from typing import ClassVar


class ServiceError(Exception):
    """A failure with a code that clients can rely on and a detail that says how to mend it."""

    code: ClassVar[str] = "internal"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class MalformedRequest(ServiceError):
    code = "malformed_request"


class Unauthorized(ServiceError):
    code = "unauthorized"


class ModelNotFound(ServiceError):
    code = "model_not_found"


class TooLarge(ServiceError):
    code = "too_large"


class UnsupportedMediaType(ServiceError):
    code = "unsupported_media_type"


class InvalidImage(ServiceError):
    code = "invalid_image"


class InvalidValue(ServiceError):
    code = "validation_error"


class Unsupported(ServiceError):
    code = "unsupported"


class Overloaded(ServiceError):
    """`retry_after_s` is when the queue should have room again, in seconds."""

    code = "overloaded"

    def __init__(self, detail: str, retry_after_s: float) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class NotReady(ServiceError):
    code = "not_ready"
    retry_after_s: ClassVar[float] = 1.0


class DeadlineExceeded(ServiceError):
    code = "deadline_exceeded"


class StartupError(ServiceError):
    code = "startup"

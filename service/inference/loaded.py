"""The models in memory, and which version of them a request asks for."""

from __future__ import annotations

from collections.abc import Iterator

from service.errors import ModelNotFound, NotReady
from service.inference.version import ModelVersion

Models = dict[str, list[ModelVersion]]  # versions newest first


class LoadedModels:
    """Every version that the repository holds, whether it answers or why it does not."""

    def __init__(self, default_model: str) -> None:
        self._default_model = default_model
        self._models: Models = {}

    def versions(self) -> Iterator[ModelVersion]:
        for versions in self._models.values():
            yield from versions

    def model_names(self) -> list[str]:
        return list(self._models)

    def model_versions(self, name: str) -> list[ModelVersion]:
        """Every version of a model, newest first.

        Raises:
            ModelNotFound: no such model.
        """
        if name not in self._models:
            raise ModelNotFound(f"No model {name!r} here. There are: {', '.join(self._models) or 'none yet'}.")
        return self._models[name]

    def find(self, name: str | None, version: str | None = None, *, digits: bool = False) -> ModelVersion:
        """The version a request asks for; by default the newest of the default model that answers, and reads `digits`.

        Raises:
            ModelNotFound: no such model or version, or it reads no digits.
            NotReady: it is there and cannot answer.
        """
        name = name or self._default_model
        newest = self.newest(name, digits=digits) if version is None else None
        if newest is not None:
            return newest
        if not self._models:
            raise NotReady("No model is loaded yet, or the repository is empty; /health/ready tells when that changes.")
        versions = self.model_versions(name)
        if version is None:
            if digits and self.newest(name) is not None:
                raise ModelNotFound(f"Model {name!r} reads no digits. Ask it at /v2/models/{name}/infer.")
            raise NotReady(f"No version of {name} is ready; /models/{name} says why.")
        for candidate in versions:
            if candidate.version == version:
                if not candidate.answers:
                    raise NotReady(f"Version {version} of {name} is {candidate.state}: {candidate.reason}")
                if digits and not candidate.reads_digits:
                    raise ModelNotFound(f"Version {version} of {name} reads no digits. Ask it at /v2/models/{name}.")
                return candidate
        raise ModelNotFound(
            f"No version {version!r} of {name} here. There are: {', '.join(v.version for v in versions)}."
        )

    def digit_models(self) -> list[ModelVersion]:
        """The newest version that answers of every model that reads digits."""
        newest = (self.newest(name, digits=True) for name in self._models)
        return [version for version in newest if version is not None]

    def newest(self, name: str, *, digits: bool = False) -> ModelVersion | None:
        """The newest version of a model that answers, and reads `digits`; None if there is none."""
        for version in self._models.get(name, ()):
            if version.session is not None and (version.reads_digits or not digits):
                return version
        return None

    def has_ready(self, name: str) -> bool:
        """Whether a version of this model answers."""
        return self.newest(name) is not None

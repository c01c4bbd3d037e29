"""An inference request's bytes to the tensors that a network takes, and to what the client wants back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeGuard

import msgspec

from service.api.submitted import NO_JSON, why_no_json
from service.api.v2 import tensors
from service.api.v2.messages import InferInput, InferRequest, Parameters, WantedOutput
from service.errors import InvalidValue, MalformedRequest, TooLarge, Unsupported
from service.inference.runtime import Tensor
from service.inference.tensors import DATATYPES, UNSUPPORTED, TensorSpec
from service.inference.version import ModelVersion

HEADER = "Inference-Header-Content-Length"
MOST_DIGITS = 18
_decoder = msgspec.json.Decoder(InferRequest)


class Limits(NamedTuple):
    """What one request may ask for."""

    max_images: int
    timeout_s: float


class Wanted(NamedTuple):
    """One output to answer with: its place among the network's, and how."""

    place: int
    spec: TensorSpec
    binary: bool
    classes: int  # 0: the tensor itself


class Call(NamedTuple):
    """A checked request. Where `files` is given, `inputs` is empty and the picture files are the only input."""

    request: InferRequest
    inputs: tuple[Tensor, ...]
    files: list[bytes] | None
    wanted: list[Wanted]
    timeout_s: float


def header_length(given: bytes | None, size: int) -> int:
    """Where the JSON ends in a body of `size` bytes. Raises `MalformedRequest`."""
    if given is None:
        return size
    # Python refuses to read thousands of digits; leading zeros apart, that many are more than any body has.
    digits = given.lstrip(b"0") or b"0"
    if not given.isdigit() or len(digits) > MOST_DIGITS or int(digits) > size:
        raise MalformedRequest(
            f"{HEADER} is {given.decode('latin-1')!r}: expected how many bytes of JSON the body begins with, "
            f"at most the {size} that came, counted before compression."
        )
    return int(digits)


def understand(content: bytes | bytearray, json_bytes: int, model: ModelVersion, limits: Limits) -> Call:
    """Decode and check a request for `model`.

    Raises:
        MalformedRequest, InvalidValue, InvalidImage: it is not what was expected; says what was.
        Unsupported: a tensor of a kind that the protocol has no datatype for, or shared memory.
        TooLarge: more images than one request may have.
    """
    whole = memoryview(content)
    try:
        request = _decoder.decode(whole[:json_bytes])
    except msgspec.ValidationError as error:
        raise InvalidValue(f"Not an inference request: {error}") from None
    except NO_JSON as error:
        read = "The whole body was" if json_bytes == len(whole) else f"The first {json_bytes} bytes were"
        hint = f" {read} read as JSON; {HEADER} tells how many bytes are, where raw tensors follow."
        raise MalformedRequest(f"Not JSON: {why_no_json(error)}.{hint}") from None
    wanted = _wanted(request, model)
    inputs, files = _read_inputs(request, model, whole[json_bytes:])
    rows = len(files) if files is not None else len(inputs[0]) if model.has_batch_axis else 0
    if model.takes_pictures and rows > limits.max_images:
        raise TooLarge(
            f"{rows} images in one request, at most {limits.max_images}. "
            "Send fewer, or have DIGITS_MAX_BATCH_IMAGES raised."
        )
    return Call(request, inputs, files, wanted, _timeout(request.parameters, limits.timeout_s))


def _timeout(parameters: Parameters | None, most_s: float) -> float:
    """Triton's `timeout` parameter, in microseconds, where it is shorter than ours."""
    given = (parameters or {}).get("timeout", 0)
    if not _is_whole(given):
        raise InvalidValue(f"Parameter timeout is {given!r}: expected microseconds, a whole number of 0 or more.")
    return given / 1e6 if 0 < given < most_s * 1e6 else most_s


def _wanted(request: InferRequest, model: ModelVersion) -> list[Wanted]:
    all_binary = _truth("Parameter binary_data_output", (request.parameters or {}).get("binary_data_output", False))
    outputs = request.outputs or [WantedOutput(spec.name) for spec in model.outputs]
    if not outputs:
        raise _no_datatype("outputs", model.unsupported)
    # Else a small request could have one output repeated until it fills the memory.
    if request.outputs and len({output.name for output in outputs}) < len(outputs):
        raise InvalidValue(f"An output is asked for twice: {model.name} has {_listed(model.outputs)}.")
    return [_one_wanted(output, model, all_binary=all_binary) for output in outputs]


def _one_wanted(output: WantedOutput, model: ModelVersion, *, all_binary: bool) -> Wanted:
    parameters = output.parameters or {}
    _refuse_shared_memory(parameters, output.name)
    place = next((place for place, spec in enumerate(model.outputs) if spec.name == output.name), None)
    if place is None:
        if any(spec.name == output.name for spec in model.unsupported):
            raise _no_datatype(f"output {output.name!r}", model.unsupported)
        raise InvalidValue(f"No output {output.name!r}: {model.name} has {_listed(model.outputs)}.")
    classes = parameters.get("classification", 0)
    spec = model.outputs[place]
    if not _is_whole(classes):
        raise InvalidValue(
            f"Output {output.name!r}: classification is {classes!r}: expected how many classes to tell, "
            "a whole number of 0 or more."
        )
    if classes and DATATYPES[spec.datatype].kind not in "uif":
        raise InvalidValue(f"Output {output.name!r} is {spec.datatype}: there are no classes in it.")
    binary = _truth(f"Output {output.name!r}: binary_data", parameters.get("binary_data", all_binary))
    return Wanted(place, spec, binary, classes)


def _read_inputs(
    request: InferRequest, model: ModelVersion, binary: memoryview
) -> tuple[tuple[Tensor, ...], list[bytes] | None]:
    by_name = {spec.name: spec for spec in model.inputs}
    read: dict[str, Tensor] = {}
    files: list[bytes] | None = None
    for tensor in request.inputs:
        spec = by_name.pop(tensor.name, None)
        if spec is None:
            fault = "comes twice" if any(tensor.name == known.name for known in model.inputs) else "is unknown"
            raise InvalidValue(f"Input {tensor.name!r} {fault}: {model.name} takes {_listed(model.inputs)}.")
        data, binary = _data(tensor, binary)
        if model.takes_pictures and tensor.datatype == "BYTES":
            files = _picture_files(tensor, data)
        else:
            _check(tensor, spec)
            read[tensor.name] = _array(tensor, data)
    for name, spec in by_name.items():
        _refuse_without_datatype(spec)
        raise InvalidValue(f"Input {name!r} is missing: {model.name} takes {_listed(model.inputs)}.")
    if len(binary):
        raise InvalidValue(
            f"{len(binary)} bytes come after the last tensor: binary_data_size of the inputs and {HEADER} "
            "must add up to the body."
        )
    if model.shares_runs and len(sizes := {len(array) for array in read.values()}) > 1:
        raise InvalidValue(f"The inputs have {sorted(sizes)} rows: expected as many in each.")
    return tuple(read[spec.name] for spec in model.inputs if spec.name in read), files


def _data(tensor: InferInput, binary: memoryview) -> tuple[memoryview | msgspec.Raw, memoryview]:
    """The tensor's own bytes or JSON, and the bytes that are left for those after it."""
    parameters = tensor.parameters or {}
    _refuse_shared_memory(parameters, tensor.name)
    if "binary_data_size" not in parameters:
        if isinstance(tensor.data, msgspec.Raw):
            return tensor.data, binary
        raise InvalidValue(f"Input {tensor.name!r} has neither data nor the parameter binary_data_size.")
    size = parameters["binary_data_size"]
    if isinstance(tensor.data, msgspec.Raw):
        raise InvalidValue(f"Input {tensor.name!r} has both data and binary_data_size: expected one of them.")
    if not _is_whole(size) or size > len(binary):
        raise InvalidValue(
            f"Input {tensor.name!r}: binary_data_size is {size!r}, and {len(binary)} bytes are left after the JSON "
            "and the tensors before."
        )
    return binary[:size], binary[size:]


def _check(tensor: InferInput, spec: TensorSpec) -> None:
    _refuse_without_datatype(spec)
    # ONNX Runtime tells no shape of a scalar and none of a tensor of any rank: there the network decides.
    fits = not spec.shape or (
        len(tensor.shape) == len(spec.shape)
        and all(has in (-1, size) for has, size in zip(spec.shape, tensor.shape, strict=True))
    )
    if tensor.datatype != spec.datatype or not fits:
        raise InvalidValue(f"Input {tensor.name!r} is {tensor.datatype} {tensor.shape}: expected {_listed([spec])}.")


def _array(tensor: InferInput, data: memoryview | msgspec.Raw) -> Tensor:
    if isinstance(data, msgspec.Raw):
        return tensors.from_json(tensor, data)
    if tensor.datatype == "BYTES":
        return tensors.text(tensor, tensors.elements(tensor, data))
    return tensors.from_bytes(tensor, data)


def _picture_files(tensor: InferInput, data: memoryview | msgspec.Raw) -> list[bytes]:
    if len(tensor.shape) != 1:
        raise InvalidValue(f"Input {tensor.name!r}: picture files come as BYTES of shape [n], not {tensor.shape}.")
    return tensors.files_in_json(tensor, data) if isinstance(data, msgspec.Raw) else tensors.elements(tensor, data)


def _refuse_shared_memory(parameters: Parameters, name: str) -> None:
    if "shared_memory_region" in parameters:
        raise Unsupported(f"{name!r}: shared memory is not served. Send the tensor in the request.")


def _refuse_without_datatype(spec: TensorSpec) -> None:
    if spec.datatype == UNSUPPORTED:
        raise _no_datatype(f"input {spec.name!r}", [spec])


def _no_datatype(what: str, specs: Sequence[TensorSpec]) -> Unsupported:
    types = ", ".join(sorted({spec.onnx_type for spec in specs}))
    return Unsupported(f"The protocol has no datatype for {what}, of ONNX type {types}.")


def _listed(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{spec.name!r} {spec.datatype} {list(spec.shape)}" for spec in specs) or "none"


def _truth(what: str, given: object) -> bool:
    if not isinstance(given, bool):
        raise InvalidValue(f"{what} is {given!r}: expected true or false.")
    return given


def _is_whole(given: object) -> TypeGuard[int]:
    """Whether a parameter is a whole number, not negative; Python takes true and false for such."""
    return isinstance(given, int) and not isinstance(given, bool) and given >= 0

# The service alone, for the CPU or, with --build-arg RUNTIME=gpu, for NVIDIA: no compiler, no training, no Keras.
# Both have one base: CUDA and cuDNN come as wheels, the driver from the host's NVIDIA container toolkit.
ARG RUNTIME=cpu

FROM python:3.12-slim-bookworm AS build
ARG RUNTIME
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# The build's own pip fills the environment, which therefore needs none.
RUN python -m venv --without-pip /opt/venv
COPY requirements/ requirements/
RUN pip --python /opt/venv/bin/python install --require-hashes -r requirements/${RUNTIME}.txt \
 && pip install --require-hashes -r requirements/build.txt

COPY . .
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheel . \
 && pip --python /opt/venv/bin/python install --no-deps /tmp/wheel/*.whl

# What no request reaches: numpy's tests (16 MB); onnxruntime's tools for making models (9 MB) and its library for
# C programs (35 MB: the Python module has the whole runtime inside); our training. The import proves that it was so.
RUN cd /opt/venv/lib/python3.12/site-packages \
 && rm -rf onnxruntime/quantization onnxruntime/tools onnxruntime/transformers onnxruntime/capi/libonnxruntime.so.* training \
 && find numpy -type d -name tests -prune -exec rm -rf {} + \
 && /opt/venv/bin/python -B -c 'import service.app'

# Byte code is made here, since a read-only root keeps none; unchecked, since nobody edits an image's source.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv


FROM python:3.12-slim-bookworm AS cpu
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        -x 'site-packages|/(ensurepip|idlelib|lib2to3|pydoc_data|test|tkinter|turtledemo)/' /usr/local/lib/python3.12
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    DIGITS_HOST=0.0.0.0 \
    DIGITS_PORT=8000
# Numbers, so that Kubernetes can see that it is not root.
USER 10001:10001
EXPOSE 8000
# A bare socket, every 5 s: a third of the processor time that importing an HTTP client would take.
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["python", "-ISc", "\
import os, socket; \
ready = socket.create_connection(('127.0.0.1', int(os.environ['DIGITS_PORT']))); \
ready.sendall(b'GET /health/ready HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n'); \
raise SystemExit(b' 200 ' not in ready.recv(64))"]
# No shell between the engine and the server: SIGTERM reaches it.
ENTRYPOINT ["digits"]
CMD ["serve"]
LABEL org.opencontainers.image.title="digit-service" \
      org.opencontainers.image.description="Reads handwritten digits over HTTP, and serves any ONNX network" \
      org.opencontainers.image.licenses="Apache-2.0"


FROM cpu AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility


FROM ${RUNTIME}

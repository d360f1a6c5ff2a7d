# A worker for NVIDIA GPUs with one TensorRT. The farm and TensorRT live in environments of their own:
# /opt/farm (Python of this file's choice) and /opt/tensorrt (the system's Python).
#
#     docker build --file deploy/farm/worker.Dockerfile --tag engine-farm-worker:trt10 \
#         --build-arg CUDA=12.6.3-devel-ubuntu22.04 --build-arg TENSORRT='tensorrt-cu12==10.*' .
#
# CUDA:     a tag of nvidia/cuda. `devel`, since PyCUDA is compiled against its headers.
# TENSORRT: what pip is to install, from PyPI and NVIDIA's index.
# BINDINGS: cuda-bindings of CUDA's major version, for timing from a CUDA graph.
ARG CUDA=12.6.3-devel-ubuntu22.04
FROM nvidia/cuda:${CUDA}

ARG PYTHON=3.12
ARG TENSORRT="tensorrt-cu12==10.*"
ARG BINDINGS="cuda-bindings==12.*"

RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends g++ python3 python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /usr/local/bin/uv

RUN python3 -m venv /opt/tensorrt \
    && /opt/tensorrt/bin/pip install --no-cache-dir --upgrade pip setuptools wheel \
    && /opt/tensorrt/bin/pip install --no-cache-dir --extra-index-url https://pypi.nvidia.com \
        numpy ${TENSORRT} ${BINDINGS} pycuda

COPY . /src
RUN UV_PYTHON_INSTALL_DIR=/opt/python uv venv --python ${PYTHON} /opt/farm \
    && uv pip install --no-cache --python /opt/farm/bin/python '/src[s3]' \
    && cp -r /src/deploy /deploy \
    && rm -rf /src \
    && useradd --uid 10001 --home-dir /var/lib/farm --no-create-home farm \
    && install -d -o farm -g farm -m 0700 /var/lib/farm /keys \
    && install -d -o farm -g farm -m 0755 /locks

ENV PATH=/opt/farm/bin:$PATH FARM_HOME=/var/lib/farm PYTHONUNBUFFERED=1
USER farm
WORKDIR /var/lib/farm
CMD ["farm", "worker", "--toolchain-python", "/opt/tensorrt/bin/python"]

# One image that works, and that launches: a hashed lock, the project, Beam's boot program and Google's launcher of Flex
# Templates. Versions are those of requirements.lock; `make lock` resolves all locks together, a test compares.
#
#   docker build --target cpu --tag catalog-indexer:cpu .
#   docker build --target gpu --tag catalog-indexer:gpu .
#
# What changes seldom comes first: after a change of the code only the last, small layers are built and pulled anew.
# Both images run as an ordinary user; RUN_AS=0 is for platforms that insist on root (docs/dataflow.md).
ARG RUN_AS=10001
ARG LAUNCHER=gcr.io/dataflow-templates-base/python311-template-launcher-base:latest

FROM apache/beam_python3.11_sdk:2.77.0 AS beam

FROM ${LAUNCHER} AS launcher

FROM python:3.11-slim-bookworm AS base
# Its id is a number, so that a host that has no such name can tell that it is not root. Boot makes a virtual environment
# below /opt/apache/beam-venv, the launcher of templates keeps a log. What the locks say of setuptools is to be true, so
# the base's own goes.
RUN useradd --create-home --uid 10001 worker \
    && mkdir -p /opt/apache/beam-venv /var/log/dataflow/template_launcher \
    && chown -R worker /opt/apache/beam-venv /var/log/dataflow \
    && pip uninstall --yes setuptools wheel
# TF-Hub models are cached where that user may write.
ENV TFHUB_CACHE_DIR=/tmp/tfhub

FROM base AS build
# What packages without a wheel, and the project, are built with, at the version of the locks.
COPY requirements-cpu.lock /tmp/
RUN sed --quiet '/^setuptools==/,/[^\\]$/p' /tmp/requirements-cpu.lock > /tmp/setuptools.lock \
    && pip install --no-cache-dir --no-deps --require-hashes --requirement /tmp/setuptools.lock

# Packages are installed below /install and copied to /usr/local, not into a virtual environment: boot makes one of its
# own on top of the system's, and would not see another.
FROM build AS cpu-packages
RUN pip install --no-cache-dir --no-deps --no-build-isolation --require-hashes --prefix /install --ignore-installed \
    --requirement /tmp/requirements-cpu.lock

FROM build AS gpu-packages
COPY requirements-gpu.lock /tmp/
RUN pip install --no-cache-dir --no-deps --no-build-isolation --require-hashes --prefix /install --ignore-installed \
    --requirement /tmp/requirements-gpu.lock

FROM build AS project
WORKDIR /source
COPY setup.py pyproject.toml README.md ./
COPY catalog catalog
COPY encoders encoders
COPY index_builder index_builder
COPY dedupe dedupe
COPY pipelines pipelines
COPY demo demo
COPY commands commands
RUN pip install --no-cache-dir --no-deps --no-build-isolation --prefix /install --ignore-installed .
COPY examples/dataflow/main.py /template/main.py

FROM base AS worker
COPY --from=beam /opt/apache/beam /opt/apache/beam
COPY --from=launcher /opt/google/dataflow/python_template_launcher /opt/google/dataflow/python_template_launcher
ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/template/main.py

FROM worker AS gpu
# The driver is the machine's; CUDA's libraries are those of the lock, where TensorFlow and FAISS look for them.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    TF_FORCE_GPU_ALLOW_GROWTH=true \
    LD_LIBRARY_PATH=/usr/local/nvidia/lib64
COPY --from=gpu-packages /install /usr/local
COPY --from=project /install /usr/local
COPY --from=project /template /template
ARG RUN_AS
USER ${RUN_AS}
# Of workers. A launcher is started by its path.
ENTRYPOINT ["/opt/apache/beam/boot"]

# The last target is the one that is built where none is named.
FROM worker AS cpu
COPY --from=cpu-packages /install /usr/local
COPY --from=project /install /usr/local
COPY --from=project /template /template
ARG RUN_AS
USER ${RUN_AS}
ENTRYPOINT ["/opt/apache/beam/boot"]

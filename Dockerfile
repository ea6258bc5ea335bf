# A Beam worker: the locked environment, the project, and Beam's boot program. Beam's version is the lock's.
FROM apache/beam_python3.11_sdk:2.77.0 AS beam

FROM python:3.11-slim
WORKDIR /opt/catalog-indexer
COPY requirements.lock ./
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock
COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation .
COPY --from=beam /opt/apache/beam /opt/apache/beam
# Runs as an ordinary user; TF-Hub models are cached where that user may write.
RUN useradd --create-home worker
USER worker
ENV TFHUB_CACHE_DIR=/tmp/tfhub TF_FORCE_GPU_ALLOW_GROWTH=true
ENTRYPOINT ["/opt/apache/beam/boot"]

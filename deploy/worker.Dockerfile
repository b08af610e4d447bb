# A worker that trains on the CPU.
#   docker build -f deploy/worker.Dockerfile -t trainyard-worker .

FROM python:3.12-slim AS build
WORKDIR /source
COPY requirements/build.txt requirements/worker.txt requirements/
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt
RUN python -m venv /opt/trainyard \
    && /opt/trainyard/bin/pip install --no-cache-dir --require-hashes -r requirements/worker.txt
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY migrations migrations
COPY shared shared
COPY web web
COPY worker worker
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
    && /opt/trainyard/bin/pip install --no-cache-dir --no-deps /dist/*.whl

FROM python:3.12-slim
# The same user in every image, so that all may write to the shared volume of artifacts.
RUN useradd --uid 10001 --create-home trainyard \
    && install -d -o trainyard -g trainyard /data /artifacts
COPY --from=build /opt/trainyard /opt/trainyard
ENV PATH="/opt/trainyard/bin:$PATH" PYTHONUNBUFFERED="1" TRAINYARD_DATA_DIR="/data"
USER trainyard
WORKDIR /data
VOLUME /data
# In exec form: the stop signal reaches the worker itself, which then saves its jobs.
ENTRYPOINT ["trainyard"]
CMD ["worker"]

# The web server, the scheduler and the migrations; no TensorFlow.
#   docker build -f deploy/web.Dockerfile -t trainyard-web .

FROM python:3.12-slim AS build
WORKDIR /source
COPY requirements/build.txt requirements/web.txt requirements/
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt
RUN python -m venv /opt/trainyard \
    && /opt/trainyard/bin/pip install --no-cache-dir --require-hashes -r requirements/web.txt
COPY pyproject.toml README.md LICENSE CHANGELOG.md package.json package-lock.json ./
COPY migrations migrations
COPY shared shared
COPY web web
COPY worker worker
RUN /opt/build/bin/python -m web.vendor \
    && /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
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
EXPOSE 8080
# In exec form: signals reach the process itself, and no shell between.
ENTRYPOINT ["trainyard"]
CMD ["web", "--host", "0.0.0.0", "--port", "8080"]

# The example shop, its worker and Flower in one image. For an application of your own: install and copy it in place
# of examples/, and set EVENTS_APP to where its EventSystem is.
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
RUN python3 -m venv /venv
WORKDIR /src
# The lock serves as constraints: of what is installed, the versions that the tests have run with.
COPY requirements-dev.lock pyproject.toml README.md LICENSE ./
COPY events_core events_core
COPY events_worker events_worker
RUN /venv/bin/python -m pip install --no-cache-dir --constraint requirements-dev.lock ".[flower]" fastapi uvicorn

FROM ${PYTHON_IMAGE}
# A number, so that Kubernetes can see that it is not root (runAsNonRoot). /data holds Flower's history.
RUN useradd --system --uid 10001 --home-dir /app events && install -d -o events -m 0700 /data
COPY --from=build /venv /venv
# EVENTS_CONTAINER refuses the embedded Redis, which would end with its container.
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    EVENTS_CONTAINER=1 \
    EVENTS_DATA_DIR=/data \
    EVENTS_APP=examples.shop.system
WORKDIR /app
COPY examples examples
USER 10001
CMD ["events", "worker", "-P", "threads", "-c", "8"]

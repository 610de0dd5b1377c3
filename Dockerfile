# One final stage, `server`: what a region runs. Build: docker build --target server -t renkei .
FROM python:3.11-slim-bookworm AS build
WORKDIR /build
COPY requirements.lock pyproject.toml README.md ./
RUN python -m venv /opt/renkei && /opt/renkei/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY adapters adapters
COPY fhir_server fhir_server
COPY terminology terminology
RUN /opt/renkei/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm AS server
RUN useradd --system --create-home --home-dir /var/lib/renkei renkei
COPY --from=build /opt/renkei /opt/renkei
ENV PATH=/opt/renkei/bin:$PATH RENKEI_DATA=/var/lib/renkei/data RENKEI_CACHE=/var/lib/renkei/packages
USER renkei
VOLUME /var/lib/renkei
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["renkei"]
CMD ["serve"]

# The carrier, and the app's server, in one image: `docker build -t bothway .`, then docs/deploy.md.
# Of EXTRAS, `offline` brings espeak-ng, which is under the GPL-3, and `mp3` LAME (LGPL-3): leave out what you may not ship.

FROM python:3.13-slim AS build
ARG EXTRAS=fast,mp3,noise,offline,postgres
COPY pyproject.toml README.md LICENSE /source/
COPY src /source/src
RUN python -m venv /opt/bothway
RUN /opt/bothway/bin/pip wheel --no-deps --wheel-dir /wheels /source
RUN /opt/bothway/bin/pip install --no-cache-dir "$(echo /wheels/bothway-*.whl)[$EXTRAS]"

FROM python:3.13-slim
COPY --from=build /opt/bothway /opt/bothway
RUN groupadd --gid 10001 bothway && useradd --uid 10001 --gid bothway --no-create-home --home-dir /data bothway
RUN install -d -o bothway -g bothway -m 0700 /data
ENV PATH=/opt/bothway/bin:$PATH PYTHONUNBUFFERED=1 BOTHWAY_DATA=/data BOTHWAY_LOG_FORMAT=json
USER bothway
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["bothway"]
CMD ["carrier", "--http", "0.0.0.0:8080"]

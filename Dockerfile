# The hub as one image; docker-compose.yml puts PostgreSQL beside it.
FROM python:3.13-slim
WORKDIR /srv/health-hub
COPY requirements.lock ./
RUN pip install --no-cache-dir -r requirements.lock
COPY . .
RUN pip install --no-cache-dir --no-deps . && useradd --system --home /srv/health-hub hub
# The compiled forwarding step, beside the installed package and the copy that the relay's process starts in.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && python -m telemed.relay.build \
    && (cd / && python -m telemed.relay.build) \
    && apt-get purge -y --auto-remove gcc libc6-dev && rm -rf /var/lib/apt/lists/*
USER hub
EXPOSE 8080 40000/udp 40000/tcp
ENTRYPOINT ["health-hub"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8080"]

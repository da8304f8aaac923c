# The JavaScript of it: the browser package, the demo's frontend, and the tests in browsers.

.PHONY: demo run-demo packages client run-client e2e run-e2e

FRONTEND := deploy/demo/frontend

# What npm installs for a package is made again when its lock file or npm's settings say something else.
%/node_modules/.package-lock.json: %/package-lock.json %/.npmrc
	@cd $* && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

client/dist/index.js: client/node_modules/.package-lock.json $(wildcard client/src/*.ts client/src/react/*) client/tsconfig.build.json
	@cd client && npm run --silent build
	@touch $@

$(FRONTEND)/dist/index.html: $(FRONTEND)/node_modules/.package-lock.json client/dist/index.js $(FRONTEND)/index.html \
		$(wildcard $(FRONTEND)/src/* $(FRONTEND)/src/pages/* $(FRONTEND)/public/*) $(FRONTEND)/vite.config.ts
	@cd $(FRONTEND) && npm run --silent build -- --logLevel warn
	@touch $@

# Before client and e2e run side by side: both would install.
packages: client/dist/index.js $(FRONTEND)/dist/index.html tests/e2e/node_modules/.package-lock.json

## make demo          the whole application, live: PostgreSQL, a Django backend, walpush, a React frontend
demo:
	@deploy/install-deps.sh build try demo
	@PYTHON=$(PYTHON) deploy/demo/python-env.sh
	+@$(BUILD) all $(FRONTEND)/dist/index.html
	@build/venv/bin/python deploy/demo/demo.py

## make client        the browser package, against a fake and against the program
client:
	+@$(BUILD) VARIANT=$(TESTED) run-client

# Without colours, because tests/run.py reads the closing line.
run-client: all client/node_modules/.package-lock.json
	@cd client && npm run --silent check
	@cd client && NO_COLOR=1 WALPUSH_BINARY=$(CURDIR)/$(B)/walpush PYTHON=$(PYTHON) npm test --silent

## make e2e           the demo in real browsers, ten pages under load for E2E_SECONDS (20)
e2e:
	@PYTHON=$(PYTHON) deploy/demo/python-env.sh
	+@$(BUILD) VARIANT=$(TESTED) run-e2e

run-e2e: all $(FRONTEND)/dist/index.html tests/e2e/node_modules/.package-lock.json
	@cd tests/e2e && npm run --silent check
	@cd tests/e2e && NO_COLOR=1 WALPUSH_BINARY=$(CURDIR)/$(B)/walpush npm test --silent -- $(E2E_ARGS)

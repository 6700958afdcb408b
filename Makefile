# make demo | test | lint | bundle | bench | bench-models: each sets up .venv first, from requirements.lock, once; bench adds the peers.
PYTHON ?= python3.11
BIN := .venv/bin
ARGS ?=

.PHONY: demo test lint bundle bench bench-models

demo: .venv/ready    ## the whole pipeline on NYC flights; e.g. make demo ARGS="--lake s3://bucket/prefix"
	$(BIN)/python -m demo $(ARGS)

test: .venv/ready    ## the whole suite; e.g. make test ARGS="tests/test_block.py -k golden"
	$(BIN)/python -m pytest $(ARGS)

lint: .venv/ready    ## style, types, import directions, the image
	$(BIN)/ruff check
	$(BIN)/ruff format --check lib jobs ray_tasks demo bench tests
	$(BIN)/pyright
	PYTHONPATH=. $(BIN)/lint-imports
	$(BIN)/hadolint docker/Dockerfile

bundle: .venv/ready    ## dist/mdlake-<version>.zip, for spark-submit and ray job submit
	$(BIN)/python -m jobs.bundle

bench: .venv/bench-ready    ## the figures that the README quotes, peers beside; e.g. make bench ARGS="--tables flights --rows 20000"
	$(BIN)/python -m bench.tables $(ARGS)

bench-models: .venv/bench-ready    ## networks made small, peers beside; e.g. make bench-models ARGS="--cases lenet_5 --seeds 1"
	$(BIN)/python -m bench.models $(ARGS)

.venv/ready: requirements.lock pyproject.toml
	@command -v $(PYTHON) > /dev/null || { echo "Python 3.11 is needed ($(PYTHON) is not on the path)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

.venv/bench-ready: .venv/ready requirements-bench.lock    # one by one: a peer that cannot be had is reported as missing
	@grep '==' requirements-bench.lock | while read -r package; do \
		$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps "$$package" \
			|| echo "$$package cannot be installed; its figures will be left out"; \
	done
	touch $@

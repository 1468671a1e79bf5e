# `make up` and `make test` are all a newcomer needs; each installs what it uses.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

# The login is off only here and only because the servers listen on this machine alone; see README, Dashboard login.
up: $(READY)
	DESK_AUTH=$${DESK_AUTH:-off} $(BIN)/desk up

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile

# The same tests on examples never seen before.
search: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile --hypothesis-profile=search

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python -m tests.benchmarks

lock: $(READY)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra binance --extra celery --universal --python-version 3.11 \
		--generate-hashes --no-strip-extras --no-emit-index-url --no-header --quiet --output-file requirements.lock

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] < (3, 14) else "Python 3.11 to 3.13 is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(READY)

clean:
	rm -rf $(VENV) .venv-peers .dagster .pytest_cache .mypy_cache .ruff_cache .hypothesis

.PHONY: up test search lint bench lock clean

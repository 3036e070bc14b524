# Everything a newcomer needs: `make demo`, `make test`. Each sets up what it needs first.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.feiyu-ready

.PHONY: setup clients demo test lint bench bench-peers bundle link clean lock system

setup: $(STAMP) system

$(STAMP): requirements.lock pyproject.toml setup.sh
	./setup.sh python $(VENV)
	touch $@

system:
	@./setup.sh system

demo: setup
	@$(VENV)/bin/feiyu demo $(if $(ONCE),--once,)

# Most tests wait for something, so three run at a time, those of one file one after the other.
test: setup
	@./setup.sh tests
	$(PY) -m pytest $(or $(ARGS),-n 3 --dist loadfile --no-loadscope-reorder)

# The programs that tests/acceptance/test_clients*.py run through a node (400 MB); without them those tests say so.
clients: setup
	./setup.sh clients $(VENV)

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --config pyproject.toml
	$(VENV)/bin/pip check

bench: setup
	@./setup.sh bench
	$(PY) -m tests.bench.main $(if $(JSON),--json $(JSON),) $(ARGS)

bench-peers: setup
	@./setup.sh bench-peers
	$(PY) -m tests.bench.main --peers $(if $(JSON),--json $(JSON),) $(ARGS)

# The forwarder for firms' machines, as one file.
link: $(STAMP)
	$(PY) -m ops.link.archive

bundle: $(STAMP)
	./setup.sh bundle $(VENV)

# For maintainers: writes the lock file anew from pyproject.toml.
lock: $(STAMP)
	./setup.sh lock

clean:
	rm -rf $(VENV) .clients build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

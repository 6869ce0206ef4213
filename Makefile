# Everything a new machine needs is set up by these targets themselves.
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Every command is a new process; one that compiles its modules anew takes a quarter of a second more.
export PYTHONDONTWRITEBYTECODE :=

# What these show, that nothing happened on the engine, other tests' containers would disturb.
ALONE := $(addprefix tests/engine/,untouched/test_witness.py sessions/test_sessions.py operations/test_writes_of_its_own.py)

.PHONY: demo test lint unit docs clean

demo: .venv/ready
	tools/with-engine sh -c 'tools/images && tools/demo'

test: .venv/ready lint
	tools/with-engine sh -c 'tools/images && tools/registry >/dev/null && { .venv/bin/pytest $(ALONE) $(PYTEST_OPTIONS) || [ $$? -eq 5 ]; } && .venv/bin/pytest -n 3 --dist loadfile --no-loadscope-reorder $(ALONE:%=--ignore=%) $(PYTEST_OPTIONS)'

unit: .venv/ready
	.venv/bin/pytest -n 2 tests/unit $(PYTEST_OPTIONS)

lint: .venv/ready
	.venv/bin/ruff check dm_compose pytest_dotmesh tests benchmarks examples tools
	.venv/bin/ruff format --check dm_compose pytest_dotmesh tests benchmarks examples tools
	.venv/bin/mypy
	.venv/bin/lint-imports

docs: .venv/ready # the pages and pictures that programs write; tests compare them
	.venv/bin/python -m tools.datastores_page
	.venv/bin/python -m benchmarks.plot

.venv/ready: pyproject.toml
	tools/venv $(PYTHON)
	touch $@

clean:
	rm -rf .venv .dev build dist *.egg-info

# The two commands of the front door: `make demo` and `make test`. Both install into .venv what is missing.

PYTHON ?= python3
BIN := .venv/bin
DEMO := Results/demo

.PHONY: demo test test-slow check tables clean

demo: .venv/installed
	$(BIN)/python demo.py

# One thread a process; a process more than there are cores, as many tests wait for programs that they start.
WORKERS = $$(($$($(BIN)/python -c "import os; print(os.cpu_count())") + 1))

test: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) -m "not slow"

test-slow: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) -m slow

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# The tables of the README and of docs/ come from the registries and from the committed results.
tables: .venv/installed
	$(BIN)/python -m docs.tables

clean:
	rm -rf .venv $(DEMO)

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: requirements.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $@

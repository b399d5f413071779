# The two commands of the front door: `make demo` and `make test`. Both install into .venv what is missing.

PYTHON ?= python3
BIN := .venv/bin
DEMO := Results/demo

.PHONY: demo test check clean

demo: .venv/installed
	$(BIN)/python main.py --data=digits --out_path=$(DEMO) --pruner dense snip synflow random/igq \
		--target_sparsity 0.9 0.99 0.999 --pruning_type direct effective
	$(BIN)/python visualization.py --out_path=$(DEMO)

# One thread a process: with two processes on two cores, more would only wait for each other.
test: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

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

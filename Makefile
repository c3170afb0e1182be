# `make demo` and `make test` work on a fresh clone: they create .venv and install what they need.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$p && break; done)
BIN := .venv/bin
STAMP := .venv/.installed

# Each tensor in memory of its own, so that an access beside it is seen.
SANITIZER = GANVAS_OPS=cuda PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --error-exitcode 1 \
	$(BIN)/python -m pytest -m gpu tests/cuda_ops -k "taps or threads"

.PHONY: demo test test-all lint gpu-check zoo-cards clean

demo: $(STAMP)
	$(BIN)/ganvas train experiment=segmentation/demo

test: lint
	$(BIN)/python -m pytest

test-all: lint
	$(BIN)/python -m pytest -m "not gpu"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/lint-imports

gpu-check: $(STAMP)
	$(BIN)/ganvas doctor
	$(BIN)/python -m pytest -m gpu
	@if command -v compute-sanitizer >/dev/null; then $(SANITIZER); else \
		echo "compute-sanitizer is not here: accesses to memory are not checked" >&2; fi
	$(BIN)/python benchmarks/segmentation.py --device cuda --out benchmarks/results/segmentation-cuda.json

zoo-cards: $(STAMP)
	$(BIN)/python -m launch.zoo_cards

clean:
	rm -rf .venv build *.egg-info

# Remade when the dependencies change; removed first, so that a broken install never looks finished.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Ganvas needs Python 3.11 or newer: install one, or name it with make PYTHON=/path/to/python3." >&2; exit 1; }
	@rm -f $@
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

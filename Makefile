# `make demo` and `make test` do all the set-up themselves: a virtual environment in .venv, the install, the work.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
PROTO := digits/protos/digits/v1/digits.proto digits/protos/inference/v2/inference.proto
# The virtual path makes the generated imports right: from digits.protos.digits.v1 import digits_pb2.
protoc = PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -Idigits/protos=protos \
	--python_out=$(1) --grpc_python_out=$(1) --mypy_out=quiet:$(1) --mypy_grpc_out=quiet:$(1) $(PROTO)

.PHONY: docs docs-images help demo lab recipes release-model bench bench-peers bench-report test test-all check format protos clean

help:
	@echo "make demo           train, export, serve and classify real digits"
	@echo "make lab            the lesson's comparison: 10 epochs compared with 50"
	@echo "make recipes        both recipes on all of MNIST, seeds 0, 1, 2, measured: an hour"
	@echo "make release-model  the bundled model, built again from all of MNIST: a quarter of an hour"
	@echo "make bench          parity, engine, server, score, export, and benchmarks/README.md: ten minutes"
	@echo "make bench-peers    the server compared with an echo and other servers: twenty minutes"
	@echo "make test           the tests, in a few minutes"
	@echo "make test-all       the tests with branch coverage, in build/coverage; then the slow tests"
	@echo "make check          lint, types, and whether the generated code is fresh"
	@echo "make docs           the documentation as a web site, in build/site"
	@echo "make docs-images    the figures of the documentation, rebuilt"
	@echo "make format         format the code"
	@echo "make protos         generate code from protos/"
	@echo "make clean          remove what these made"

demo: $(READY)
	@$(BIN)/digits demo

lab: $(READY)
	$(BIN)/digits train --overwrite --out runs/lab/10-epochs --epochs 10
	$(BIN)/digits train --overwrite --out runs/lab/50-epochs --epochs 50
	$(BIN)/digits compare runs/lab/10-epochs runs/lab/50-epochs --out runs/lab

recipes: $(READY)
	@test -n "$$DIGITS_DATA" || { echo "say where all of MNIST is: DIGITS_DATA=path/to/mnist.npz make recipes"; exit 1; }
	for recipe in lesson best; do for seed in 0 1 2; do \
	$(BIN)/digits train --overwrite --out runs/recipes/$$recipe-$$seed --recipe $$recipe --seed $$seed || exit; \
	done; done
	$(BIN)/digits compare runs/recipes/lesson-? runs/recipes/best-? --out runs/recipes
	cp runs/recipes/comparison.json benchmarks/results/recipes.json
	$(BIN)/digits bench training --out benchmarks/results/training.json
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/digits bench export $(RECIPE_RUNS) --out benchmarks/results/export.json
	$(MAKE) bench-report

release-model: $(READY)
	@test -n "$$DIGITS_DATA" || { echo "say where all of MNIST is: DIGITS_DATA=path/to/mnist.npz make $@"; exit 1; }
	$(BIN)/digits train --overwrite --out runs/release --recipe best
	$(BIN)/digits export runs/release --models model/bundled --variants int8
	$(BIN)/digits models prune --models model/bundled --keep 1

RECIPE_RUNS := runs/recipes/lesson-0 runs/recipes/best-0

bench: $(READY)
	@test -n "$$DIGITS_DATA" || { echo "say where all of MNIST is: DIGITS_DATA=path/to/mnist.npz make $@"; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	for name in parity engine server score; do $(BIN)/digits bench $$name --out benchmarks/results/$$name.json || exit; done
	@test -d runs/recipes || echo "export is left out: runs/recipes is missing, which make recipes makes"
	test ! -d runs/recipes || $(BIN)/digits bench export $(RECIPE_RUNS) --out benchmarks/results/export.json
	$(MAKE) bench-report

bench-peers: $(READY)
	$(BIN)/digits bench peers --out benchmarks/results/peers.json
	$(MAKE) bench-report

bench-report: $(READY)
	$(BIN)/digits bench report --results benchmarks/results --readme benchmarks/README.md
	$(BIN)/python -m digits.benchmarks.readme

FAST := -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test: $(READY)
	@$(BIN)/python -m pytest $(FAST)

test-all: $(READY)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ray]'
	@$(BIN)/python -m pytest $(FAST) --cov --cov-report=html:build/coverage --cov-report=term:skip-covered
	@$(BIN)/python -m pytest -m slow

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p digits
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && $(call protoc,$$fresh) && \
	diff -r -x '*.proto' -x address.py -x py.typed -x __pycache__ "$$fresh/digits/protos" protos || \
	{ echo "protos/: the generated code is stale; run 'make protos'"; exit 1; }

docs: $(READY)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

docs-images: $(READY)
	@work=$$(mktemp -d) && trap 'rm -rf "$$work"' EXIT && $(BIN)/python docs/images.py "$$work" docs/images

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

protos: $(READY)
	$(call protoc,.ns)

clean:
	rm -rf .venv .ns demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	{ echo "$$($(PYTHON) -V) is not Python 3.11 to 3.13; say make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "installing into .venv, a minute or two ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,serve,dev]'
	@mkdir -p .ns && ln -sfn .. .ns/digits # the root under the import name, for mypy and pyright
	@touch $(READY)

# What can be done here, each in one word. The first use makes .venv and fills it with the versions of constraints.txt.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
PINNED := -c constraints.txt --build-constraint constraints.txt

.PHONY: demo test test-slow test-shapes check format docs bench wheel constraints clean

demo: $(VENV)/.runtime  ## Audit the embedded model and write a page.
	$(BIN)/brinell audit digits --out runs/demo \
	  || { test $$? -eq 3 && rm -rf runs/demo && $(BIN)/brinell audit digits --out runs/demo; }  # of another version
	@echo "open it:  file://$(CURDIR)/runs/demo/report.html"

test: $(VENV)/.dev  ## Every test that needs no more than a few seconds.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

test-slow: $(VENV)/.dev  ## The others.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m slow

test-shapes: $(VENV)/.dev  ## The quick tests again, with every signature's types and shapes checked as it is called.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 \
	  "--jaxtyping-packages=brinell,beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"

check: $(VENV)/.dev  ## Lint, layout, types, floors, dependencies.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/python .ci/words

format: $(VENV)/.dev  ## Mend what lint and layout can mend themselves.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.dev  ## The site, in site/.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open it:  file://$(CURDIR)/site/index.html"

bench: $(VENV)/.dev  ## Measure again what is claimed.
	$(BIN)/python -m benchmarks

wheel: $(VENV)/.dev  ## dist/*.whl
	$(BIN)/python -m pip --disable-pip-version-check wheel --quiet --no-deps --build-constraint constraints.txt -w dist .

constraints:  ## constraints.txt anew, from the newest versions that fit together.
	.ci/constraints $(PYTHON)

clean:
	rm -rf runs dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(VENV)/.pip: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Brinell needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	  || { echo "Python's venv is not installed; on Debian: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) -c constraints.txt pip
	@touch $@

$(VENV)/.runtime: $(VENV)/.pip pyproject.toml
	@echo "installing Brinell and what it stands on into $(VENV): two or three minutes, once"
	$(PIP) $(PINNED) -e '.[all]'
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "installing the tools of development into $(VENV)"
	$(PIP) $(PINNED) --group dev --group docs
	@touch $@

# Every target sets up what it needs: python3 (>= 3.11, with venv) and make are enough.
PYTHON ?= python3
BIN := .venv/bin
export DAGSTER_HOME ?= $(CURDIR)/.dagster_home
WORKERS ?= 4
# What is compiled once need not be again, whatever the machine says.
unexport PYTHONDONTWRITEBYTECODE
PORT ?= 3000
# The files that hold tests of a kind: to collect all of them takes each worker many seconds.
marked = $(shell grep -rl --include='*.py' 'mark\.$(1)' cio_assets_tests)

.PHONY: install demo test soak dev lint bench lock clean

install: .venv/.installed

.venv/.installed: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("cio-assets needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv || { echo "python3 cannot make a virtual environment: install its venv package (Debian, Ubuntu: apt-get install python3-venv)"; exit 1; }
	@echo "installing into .venv (a minute or two, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: install
	@$(BIN)/python -m cio_assets.demo

test: install
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not alone and not soak"
	$(BIN)/python -m pytest -m "alone and not soak" $(call marked,alone)

# What takes minutes; says what it measured.
soak: install
	$(BIN)/python -m pytest -rP --show-capture=stdout -n $(WORKERS) --dist loadscope --no-loadscope-reorder -m "soak and not alone" $(call marked,soak)
	$(BIN)/python -m pytest -rP --show-capture=stdout -m "soak and alone" $(call marked,alone)

dev: install
	@mkdir -p "$(DAGSTER_HOME)" && { [ -e "$(DAGSTER_HOME)/dagster.yaml" ] || cp dagster.yaml "$(DAGSTER_HOME)/"; }
	@# From another folder: Dagster warns of a dagster.yaml beside it that is not the one in DAGSTER_HOME.
	@# Its "superseded" warning is about `dg`, another program with the same effect.
	cd "$(DAGSTER_HOME)" && CIO_ENV_FILE="$${CIO_ENV_FILE-$(CURDIR)/.env}" \
	  PYTHONWARNINGS='ignore:Function `dev_command` is superseded' \
	  "$(CURDIR)/$(BIN)/dagster" dev -w "$(CURDIR)/workspace.yaml" -h 127.0.0.1 -p $(PORT)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

bench: install
	$(BIN)/python -m cio_assets_tests.bench
	$(BIN)/python -m cio_assets_tests.bench_push

lock:
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --no-header --no-annotate -c constraints.txt -o requirements.lock

clean:
	rm -rf .venv .dagster_home

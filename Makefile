# `make demo` on a fresh clone needs Python 3.11 or 3.12, make and a package index, and nothing else.

PYTHON ?= $(shell for python in python3 python3.11 python3.12; do $$python -c \
	'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null && echo $$python && break; done)
LABEL_STUDIO = label-studio==1.23.2
RELEASES ?= 1.12.1 1.18.0 1.21.0
ANNOTATE ?=
DATA ?=
MINUTES ?= 30
ANNOTATORS ?= 5

# uv reads none of pip's settings. A machine that tells pip where its wheels and its index are means them for uv too.
comma := ,
empty :=
export UV_FIND_LINKS ?= $(subst $(empty) $(empty),$(comma),$(strip $(PIP_FIND_LINKS)))
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif

UV := .venv/bin/uv
INSTALL := $(UV) pip install --python .venv/bin/python -c constraints.txt
OWN_TORCH := $(wildcard $(addsuffix /torch-*.whl,$(subst $(comma), ,$(UV_FIND_LINKS))))

.DEFAULT_GOAL := help
.PHONY: help install demo test test-compat test-docker soak lint audit format bench bench-embed bench-finetune clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

install: .venv/installed .venv-label-studio/installed  ## make .venv (with .venv/bin/prepal) and .venv-label-studio

demo: install  ## run everything with sample tickets; ANNOTATE=60 plays an annotator, DATA=file.csv takes your texts
	@exec .venv/bin/prepal demo $(if $(ANNOTATE),--annotate '$(ANNOTATE)') $(if $(DATA),--data '$(DATA)')

test: .venv/installed-dev .venv-label-studio/installed  ## unit, integration, end-to-end and browser tests
	.venv/bin/python -m pytest -n 2 --dist worksteal tests/unit tests/integration
	.venv/bin/python -m pytest tests/e2e

test-compat: .venv/installed-dev $(RELEASES:%=.venv-label-studio-%/installed)  ## serve other releases of Label Studio; RELEASES='1.12.1 1.21.0', 1 GB each
	PREPAL_TEST_LABEL_STUDIOS='$(RELEASES)' .venv/bin/python -m pytest -s -m compat tests/e2e/installation/test_compat.py

test-docker: .venv/installed-dev  ## build the images, and run docker/compose.yml through everything; needs Docker
	.venv/bin/python -m pytest -m docker tests/e2e/installation/test_compose.py

soak: .venv/installed-dev .venv-label-studio/installed  ## kill everything again and again while people label; MINUTES=30 ANNOTATORS=5
	PREPAL_SOAK_MINUTES='$(MINUTES)' PREPAL_SOAK_ANNOTATORS='$(ANNOTATORS)' .venv/bin/python -m pytest -s -m soak tests/e2e/loop/test_soak.py

lint: .venv/installed-dev  ## ruff, mypy --strict, import-linter, and whether README.md has every setting
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/python -m prepal.settings --check README.md

# The worker's image has all that the backend's has. A package that PyPI does not know counts as a finding.
audit: .venv/installed  ## ask PyPI for known vulnerabilities of all that is in the two images
	$(UV) pip compile --quiet --no-annotate --python .venv/bin/python -c constraints.txt --extra workers pyproject.toml \
		| sed 's/+.*//' >.venv/audited.txt
	$(UV) tool run pip-audit --strict --no-deps --disable-pip --requirement .venv/audited.txt

format: .venv/installed-dev  ## put the code into shape
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

bench: .venv/installed-bench  ## measure beside scikit-activeml and small-text into benchmarks/RESULTS.md; DATA=folder
	.venv/bin/python -m benchmarks.choosing all --data '$(DATA)'

bench-embed: .venv/installed .venv-label-studio/installed  ## measure embedding beside sentence-transformers; DATA=folder
	.venv/bin/python -m benchmarks.embedding --data '$(DATA)'

bench-finetune: .venv/installed-bench  ## measure the final model beside transformers' defaults; DATA=folder
	.venv/bin/python -m benchmarks.final_model run --data '$(DATA)'

clean:  ## remove both environments, caches and the demo's state
	rm -rf .venv .venv-label-studio .venv-label-studio-* .prepal .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	rm -rf build dist test-output *.egg-info

$(UV):
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or 3.12 found: install one, or say where it is, as in" \
		"make install PYTHON=/opt/python3.11/bin/python3.11." >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "$(PYTHON) cannot make an environment: install its venv module" \
		"(Debian: apt-get install python3-venv)." >&2; exit 1; }
	.venv/bin/python -m pip install --quiet --disable-pip-version-check uv

# A torch wheel on this machine is there because its owner wants that one; elsewhere uv picks the one for the GPU,
# and where PyTorch's own index cannot be reached, the ordinary index has one that runs everywhere.
.venv/installed: $(UV) pyproject.toml constraints.txt
ifneq ($(OWN_TORCH),)
	$(INSTALL) -e '.[workers,redis]'
else
	$(INSTALL) --torch-backend=auto -e '.[workers,redis]' || $(INSTALL) -e '.[workers,redis]'
endif
	@touch $@

.venv/installed-dev: .venv/installed
	$(INSTALL) -e '.[workers,redis,dev]'
	@touch $@

.venv/installed-bench: .venv/installed
	$(INSTALL) -e '.[workers,redis,bench]'
	@touch $@

# From another folder, because the overrides in pyproject.toml are for prepal's environment alone.
.venv-label-studio/installed: $(UV) constraints-label-studio.txt
	test -x .venv-label-studio/bin/python || $(UV) venv --quiet --python .venv/bin/python .venv-label-studio
	'$(CURDIR)/$(UV)' --directory / pip install --python '$(CURDIR)/.venv-label-studio/bin/python' \
		-c '$(CURDIR)/constraints-label-studio.txt' '$(LABEL_STUDIO)'
	@touch $@

# Releases before 1.20 ask for pkg_resources, which setuptools no longer has.
.venv-label-studio-%/installed: $(UV)
	test -x $(@D)/bin/python || $(UV) venv --quiet --python .venv/bin/python $(@D)
	'$(CURDIR)/$(UV)' --directory / pip install --python '$(CURDIR)/$(@D)/bin/python' 'label-studio==$*' 'setuptools<81'
	@touch $@

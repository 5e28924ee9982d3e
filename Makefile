# The same words locally and in CI: demo, test, check, proto, schema, tools, lock, bench, soak.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
PY := .venv/bin/python
# Clones share one download cache; a second run installs from it.
LOCK := .venv/bin/uv pip compile -q --universal --python-version 3.11 -c locks/constraints.txt --generate-hashes

.PHONY: help demo test check proto schema tools lock bench soak clean lint pure

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

.venv/ready: locks/uv.lock locks/dev.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else f"Skerry needs Python 3.11 to 3.13, this is {sys.version}: make PYTHON=/path/to/python3.11")'
	test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -m pip install -q --disable-pip-version-check --require-hashes -r locks/uv.lock
	.venv/bin/uv pip sync -q --python $(PY) --require-hashes locks/dev.lock
	.venv/bin/uv pip install -q --python $(PY) --no-deps --no-build-isolation -e .
	# An uncompiled TensorFlow takes 13 s to import instead of 4, in every training process.
	$(PY) -m compileall -q -j 0 .venv/lib/python3*/site-packages/{tensorflow,keras,ray,google,grpc,numpy,pydantic,sqlalchemy}
	touch $@

.venvs/%/ready: locks/%.lock .venv/ready
	.venv/bin/uv venv -q --clear --python $(PY) .venvs/$*
	.venv/bin/uv pip sync -q --python .venvs/$*/bin/python --require-hashes $<
	touch $@

proto: .venv/ready ## regenerate the gRPC stubs beside their protos
	PATH="$$PWD/.venv/bin:$$PATH" $(PY) -m grpc_tools.protoc -I . --python_out=. --pyi_out=. --grpc_python_out=. --mypy_grpc_out=quiet:. \
	  $$(find protos -name '*.proto' | sort)

lock: .venv/ready ## resolve the dependencies anew
	$(LOCK) --extra dev pyproject.toml -o locks/dev.lock
	$(LOCK) --extra cloud pyproject.toml -o locks/cloud.lock
	$(LOCK) --extra edge pyproject.toml -o locks/edge.lock
	for name in uv tritonclient kserve modelsigning s3; do $(LOCK) locks/$$name.in -o locks/$$name.lock; done

schema: .venv/ready ## write the JSON Schemas of the operators' objects
	$(PY) -m orchestrator.objects.schema docs/schema

tools: ## system tools that the tests need (PostgreSQL, a C compiler, systemd-analyze, nftables, Toxiproxy)
	tests/tools/install.sh

demo: .venv/ready .venvs/tritonclient/ready ## the main job, on embedded defaults
	$(PY) -m benchmarks.demo

check: lint pure ## lint, types, import rule, stale stubs, pure tests: no servers, at most a minute

lint: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

# Once for `make check test`. These share nothing, so every core takes some; real parts would take time from each other.
pure: .venv/ready
	$(PY) -m pytest -q -m 'not real and not slow' -n auto --dist worksteal

test: .venv/ready .venvs/tritonclient/ready .venvs/kserve/ready .venvs/modelsigning/ready .venvs/s3/ready tools pure ## every test, on real parts
	$(PY) -m pytest -q -m slow -n auto --dist worksteal
	$(PY) -m pytest -q -m real

bench: .venv/ready .venvs/tritonclient/ready tools ## the figures, each with its baseline and the machine's name
	$(PY) -m benchmarks.cli_start
	$(PY) -m benchmarks.edge
	$(PY) -m benchmarks.artifacts
	$(PY) -m benchmarks.serving
	$(PY) -m benchmarks.gateway
	$(PY) -m benchmarks.wan
	$(PY) -m benchmarks.fleet
	$(PY) -m benchmarks.applications --most 10
	@echo "placement: python -m benchmarks.placement compare INSTANCE.npz (benchmarks/placement/README.md)"

soak: .venv/ready .venvs/tritonclient/ready .venvs/kserve/ready .venvs/modelsigning/ready .venvs/s3/ready tools ## kills and crashes, again and again (ROUNDS=5)
	$(PY) -m benchmarks.artifacts killed
	for round in $$(seq $(or $(ROUNDS),5)); do echo "round $$round"; \
	  HYPOTHESIS_PROFILE=new $(PY) -m pytest -q tests/store tests/placement tests/reconcile tests/artifacts tests/edge \
	    tests/testbed tests/end_to_end; done

clean: ## what the other targets made
	rm -rf .venv .venvs .skerry

# Everything here is made on demand; `make demo` and `make test` need no other set-up.

BIN := .venv/bin

# Most tests wait most of the time.  What a module makes for its tests is made once.
AT_ONCE := --numprocesses=2 --dist=loadscope

.PHONY: demo test check fix bench bench-quick conformance conformance-all soak peers compiled

demo: .venv/made compiled
	$(BIN)/python -m demo

test: .venv/made peers compiled
	$(BIN)/python -m pytest $(AT_ONCE)

check: .venv/made
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

fix: .venv/made
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: .venv/made-bench peers compiled
	$(BIN)/python -m bench

bench-quick: .venv/made-bench peers compiled
	$(BIN)/python -m bench --quick

soak: .venv/made peers compiled
	HOSTILE_EXAMPLES=5000 $(BIN)/python -m pytest tests/e2e/test_hostile.py

conformance: .venv/made compiled
	$(BIN)/python -m conformance

conformance-all: .venv/made compiled
	$(BIN)/python -m conformance --all

# All of them start us again and again, perhaps with PYTHONDONTWRITEBYTECODE set, which doubles the
# time that a start takes.
compiled: .venv/made
	$(BIN)/python -m compileall -q handlers tesla_trace

peers:
	scripts/install-peers

.venv/made: pyproject.toml scripts/make-venv
	scripts/make-venv dev
	touch $@

.venv/made-bench: .venv/made
	scripts/make-venv dev,bench
	touch $@

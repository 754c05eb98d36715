# make demo   reconstructs a clip with the bundled model: audio, picture and figures in demo-output/
# make test   the test suite          make lint   format, lint and types
# make wheel  the wheel, installed into an empty environment and run there
PYTHON ?= python3
BIN := .venv/bin
SETUP := pyproject.toml constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint format wheel clean

demo: .venv/demo.done
	$(BIN)/music2latent reconstruct examples/clip.ogg --output demo-output/clip.wav --plot --force

test: .venv/dev.done
	$(BIN)/pytest

lint: .venv/dev.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/dev.done
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: .venv/dev.done
	rm -rf build/wheel && mkdir -p build/wheel
	$(BIN)/python -m build --wheel --outdir build/wheel .
	$(PYTHON) -m venv build/wheel/venv
	build/wheel/venv/bin/pip install -q -c constraints.txt build/wheel/*.whl
	cd build/wheel && venv/bin/music2latent reconstruct ../../examples/clip.ogg --output out/clip.flac
	cd build/wheel && venv/bin/music2latent info mini out/clip.flac

clean:
	rm -rf .venv build demo-output

.venv/bin/pip:
	$(PYTHON) -m venv .venv

.venv/demo.done: .venv/bin/pip $(SETUP)
	$(BIN)/pip install -q -c constraints.txt -e '.[plot]'
	touch $@

.venv/dev.done: .venv/bin/pip $(SETUP)
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	touch $@ .venv/demo.done

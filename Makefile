# make demo   reconstructs a clip with the bundled model: audio, picture and figures in demo-output/
# make test   the test suite          make lint   format, lint and types
# make evaluate   the tables of docs/evaluation.md, from the corpus on
# make bench  the tables of benchmarks/README.md, beside the official package and other codecs
# make wheel  the wheel, installed into an empty environment and run there
PYTHON ?= python3
BIN := .venv/bin
SETUP := pyproject.toml constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint format wheel evaluate bench clean

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

evaluate: .venv/dev.done
	$(BIN)/python scripts/corpus.py build/corpus
	$(BIN)/music2latent evaluate build/corpus/validation/music build/corpus/validation/speech --limit 16 --seconds 8 \
		--min-seconds 1.5 --model mini mini@int8 mini@2 mini@4 --against opus:6 opus:12 --examples 4 \
		--output docs/evaluation --force
	$(BIN)/python scripts/probe_sets.py notes build/notes
	$(BIN)/python scripts/probe_sets.py languages build/corpus build/languages
	$(BIN)/music2latent probe build/notes build/languages --output docs/evaluation --force

bench: .venv/dev.done build/peers.done
	$(BIN)/python benchmarks/bench.py --peers build/peers/bin/python

build/peers.done: benchmarks/peers.txt
	$(PYTHON) -m venv build/peers
	build/peers/bin/pip install -q -r benchmarks/peers.txt
	touch $@

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

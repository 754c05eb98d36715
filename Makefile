# make demo   reconstructs a clip with the bundled model into demo-output/: audio and a picture; prints figures
# make test   the test suite, and its coverage      make lint   format, lint and types
# make evaluate   the tables of docs/evaluation.md, from the corpus on
# make bench  the tables of benchmarks/README.md, beside the official package and other codecs
# make docs   the site, in build/site: warnings are errors, links are checked, the notebook is run
# make tutorial   runs docs/tutorial.ipynb and keeps its new outputs
# make web    the page for the browser, in build/web: a folder for any static host (needs Node.js and npm)
# make wheel  the wheel, installed into an empty environment and run there
PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
SCRIPTS := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
BIN := .venv/$(SCRIPTS)
SETUP := pyproject.toml $(CONSTRAINTS)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# --no-compile below: Python compiles what it imports, pip would compile all of 3 GB

.PHONY: demo test check-architecture lint format docs tutorial web wheel evaluate bench clean

demo: .venv/demo.done
	$(BIN)/music2latent reconstruct examples/clip.ogg --output demo-output/clip.wav --plot --force
	@echo "note     mini is a small model for trying things offline: pitch comes back, detail less; --model official fetches the official one"

test: .venv/dev.done
	@# two processes of a thread each
	OMP_NUM_THREADS=1 $(BIN)/pytest --cov -n 2 --dist loadfile

check-architecture: .venv/dev.done
	$(BIN)/pytest tests/test_architecture.py

lint: .venv/dev.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/dev.done
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

RUN_NOTEBOOK := $(BIN)/jupyter nbconvert --to notebook --execute --ExecutePreprocessor.record_timing=False

docs: .venv/dev.done
	$(RUN_NOTEBOOK) --output-dir build docs/tutorial.ipynb
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

tutorial: .venv/dev.done
	$(RUN_NOTEBOOK) --inplace docs/tutorial.ipynb

web: .venv/dev.done
	cd web && npm ci --ignore-scripts --no-audit --no-fund
	$(BIN)/music2latent export onnx mini build/export/web --weights float16 --force
	node web/build.mjs build/web build/export/web examples/clip.ogg

evaluate: .venv/dev.done
	$(BIN)/python scripts/corpus.py build/corpus
	$(BIN)/music2latent evaluate build/corpus/validation/music build/corpus/validation/speech --limit 16 --seconds 8 \
		--min-seconds 1.5 --model mini mini@int8 --against opus:6 opus:12 --seeds 2 --examples 4 \
		--output docs/evaluation --force
	$(BIN)/python scripts/probe_sets.py notes build/notes
	$(BIN)/python scripts/probe_sets.py languages build/corpus build/languages
	$(BIN)/music2latent probe build/notes build/languages --output docs/evaluation --force

bench: .venv/dev.done build/peers.done
	$(BIN)/python benchmarks/bench.py --peers build/peers/$(SCRIPTS)/python

build/peers.done: benchmarks/peers.txt
	$(PYTHON) -m venv build/peers
	build/peers/$(SCRIPTS)/pip install -q -r benchmarks/peers.txt
	touch $@

wheel: .venv/dev.done
	rm -rf build/wheel && mkdir -p build/wheel
	$(BIN)/python -m build --wheel --outdir build/wheel .
	$(PYTHON) -m venv build/wheel/venv
	build/wheel/venv/$(SCRIPTS)/pip install -q --no-compile -c $(CONSTRAINTS) build/wheel/*.whl
	cd build/wheel && venv/$(SCRIPTS)/music2latent reconstruct ../../examples/clip.ogg --output out/clip.flac
	cd build/wheel && venv/$(SCRIPTS)/music2latent info mini out/clip.flac
	cd build/wheel && venv/$(SCRIPTS)/music2latent train tiny --dry-run
	build/wheel/venv/$(SCRIPTS)/python -c "from importlib.resources import files as f; f('music2latent').joinpath('py.typed').read_text()"

clean:
	rm -rf .venv build demo-output

$(BIN)/pip:
	$(PYTHON) -m venv .venv

.venv/demo.done: $(BIN)/pip $(SETUP)
	$(BIN)/pip install -q --no-compile -c $(CONSTRAINTS) -e '.[plot]'
	touch $@

.venv/dev.done: $(BIN)/pip $(SETUP)
	$(BIN)/pip install -q --no-compile -c $(CONSTRAINTS) -e '.[dev]'
	@# without what it pins; tests stand in for its CUDA parts
	$(BIN)/pip install -q --no-compile --no-deps stable-audio-tools==0.0.19 einops einops-exts alias-free-torch nn-tilde cached-conv
	touch $@ .venv/demo.done

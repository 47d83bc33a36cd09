# Everything that one does with the course. `make book` and `make test` do their
# own set-up: they need nothing but make and Python 3.11, 3.12 or 3.13.

VENV := .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/.ready
COLAB := .venv-colab
GRADE := .venv-grade
export PYTHON_FOR_VENV
export MAMMOCOURSE_MODE ?= small
SEED ?= course

.PHONY: help book test test-all notebooks lab bench full pretrain assignments grade pdf links chromium wheel colab-check lock clean

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): requirements.lock pyproject.toml
	@sh book/_tools/make_environment.sh $(VENV) requirements.lock
	@touch $@

book: $(READY)  ## Execute the chapters at small scale and build the site in _build/html
	$(PYTHON) book/_tools/make_site.py

notebooks: book  ## Write the student notebooks to notebooks/
	$(PYTHON) book/_tools/publish_notebooks.py

test: $(READY)  ## Test the package, the notebooks and the site
	$(PYTHON) -m pytest -n 2

test-all: test colab-check  ## The same, with Colab's versions and the untouched student notebooks
	$(PYTHON) -m pytest -m release

lab: $(READY)  ## Open the student notebooks in JupyterLab
	$(VENV)/bin/jupyter lab notebooks

bench: $(READY)  ## Measure the course's code side by side with what people use now
	@for file in benchmarks/*.py; do echo "== $$file"; $(PYTHON) $$file || exit 1; done

full: $(READY)  ## Run a chapter at full scale and store its results: make full CHAPTER=02
	$(PYTHON) book/_tools/full.py $(CHAPTER)

pretrain: $(READY)  ## Pre-train the course network: data/course_resnet.npz and its control
	$(PYTHON) book/_tools/pretrain.py

$(GRADE)/.ready: requirements-grade.lock | $(READY)
	@echo "Installing otter-grader in $(GRADE) ..."
	@$(PYTHON) -m venv --clear $(GRADE)
	@$(GRADE)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

assignments: $(READY) $(GRADE)/.ready  ## Build assignments: make assignments SEED=autumn-2026 CHAPTER=02
	$(PYTHON) book/_tools/make_assignments.py --seed "$(SEED)" $(if $(CHAPTER),--chapter $(CHAPTER))

grade: $(READY)  ## Grade a folder of submissions: make grade SUBMISSIONS=folder
	$(PYTHON) book/_tools/grade.py "$(SUBMISSIONS)" $(if $(WEAK),--weak)

pdf: book  ## Print the whole course to _build/pdf/mammocourse.pdf (needs Chromium)
	$(PYTHON) book/_tools/make_pdf.py

links: book  ## Report the links to other sites that lead nowhere
	$(PYTHON) book/_tools/check_links.py

chromium: $(READY)  ## Install the Chromium that the tests and make pdf use where there is none
	$(PYTHON) -m playwright install --with-deps chromium

wheel: $(READY)  ## Build the wheel in dist/
	$(PYTHON) -m build --wheel --no-isolation

colab-check: $(READY)  ## Run the student notebooks with the versions that Colab has [CHAPTER=02]
	$(PYTHON) tests/colab_check.py $(COLAB) $(CHAPTER)

lock: $(READY)  ## Resolve the lock files anew
	$(PYTHON) -m pip install --quiet uv
	$(PYTHON) -m uv pip compile pyproject.toml --universal --python-version 3.11 \
	  --generate-hashes --extra cpu --extra book --extra data --extra test --no-header --no-annotate \
	  --quiet --upgrade --output-file requirements.lock
	echo "otter-grader>=7.0,<8" | $(PYTHON) -m uv pip compile - --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --quiet --upgrade --output-file requirements-grade.lock

clean:  ## Remove what was generated, but neither assignments and grades nor the environment
	@if [ -d _build ]; then find _build -mindepth 1 -maxdepth 1 \
	  ! -name assignments ! -name grades -exec rm -rf {} +; fi
	rm -rf dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

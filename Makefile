# Two commands are meant for everyone: `make demo` and `make test`. `make help` lists the rest.
#
# Two environments, so that the service is proven to need nothing of training:
#   .venv            the service and its tests; no torch
#   .venv-training   everything

PYTHON ?= python3
PORT ?= 8000
PIP = -m pip --disable-pip-version-check --quiet
# Dependency groups need a recent pip, which Python 3.11 does not bring.
PIP_VERSION = pip==26.3

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: .venv/ready ## Search the demo corpus in eleven languages on http://127.0.0.1:8000
	.venv/bin/isoglot demo --port $(PORT)

.PHONY: test
test: ## Everything that CI checks; the halves of it run side by side
	@$(PYTHON) tests/side_by_side.py \
		"the service and its image: $(MAKE) --no-print-directory test-app test-image" \
		"style, types and the offline half: $(MAKE) --no-print-directory lint types test-training"

.PHONY: lint
lint: .venv-training/ready ## Style and import contracts
	.venv-training/bin/ruff check .
	.venv-training/bin/ruff format --check .
	.venv-training/bin/lint-imports

.PHONY: types
types: .venv-training/ready ## Static types
	.venv-training/bin/mypy

.PHONY: test-app
test-app: .venv/ready ## Tests of the service, in an environment without torch
	COVERAGE_FILE=.coverage-app .venv/bin/pytest \
		-m "not training and not network and not gpu and not benchmark and not browser and not image" \
		--cov=app --cov-report=term --cov-fail-under=95
	COVERAGE_FILE=.coverage-app .venv/bin/coverage report --include="app/core/*" --fail-under=100

.PHONY: test-training
test-training: .venv-training/ready ## Tests of the offline half
	COVERAGE_FILE=.coverage-training .venv-training/bin/pytest -m training \
		--cov=training --cov-report=term --cov-fail-under=90
	COVERAGE_FILE=.coverage-training .venv-training/bin/coverage report --include="training/metrics/*" --fail-under=100

.PHONY: test-image
test-image: .venv/ready .wheelhouse/ready ## Install and start the service the way its image does
	.venv/bin/pytest -m image

.PHONY: secrets
secrets: ## Make the keys and passwords that docker-compose.yml reads
	deploy/compose/make-secrets.sh

.PHONY: lock
lock: .venv/ready ## Pin what goes into the images, with hashes
	.venv/bin/python $(PIP) install -c constraints.txt --group lock
	deploy/image/lock.sh .venv/bin/uv

.PHONY: sbom
sbom: .venv-image/ready ## Say what the image contains (CycloneDX) and under which licences, in sbom/
	.venv/bin/python $(PIP) install -c constraints.txt --group sbom
	mkdir -p sbom
	.venv/bin/cyclonedx-py environment .venv-image/bin/python --pyproject pyproject.toml \
		--output-reproducible --validate --output-file sbom/isoglot.cdx.json
	.venv/bin/pip-licenses --python .venv-image/bin/python --from mixed --with-urls --order license \
		--format markdown --output-file sbom/licences.md
	.venv/bin/pip-licenses --python .venv-image/bin/python --from mixed --partial-match \
		--fail-on "GNU General Public;GNU Affero;AGPL;SSPL" --summary

.PHONY: check-ray
check-ray: .venv-ray/ready ## Index 100,000 passages on a Ray cluster that loses a worker on the way
	.venv-ray/bin/python -m benchmarks.ray_index --passages 100000

.PHONY: faults
faults: .venv/ready ## Break store, network, disk and clock under a running service
	.venv/bin/python -m tests.faults.run

.PHONY: fuzz
fuzz: .venv-training/ready ## Send thousands of generated requests to a running service
	.venv-training/bin/python -m tests.fuzz.run --examples 20

.PHONY: test-page
test-page: .venv/ready ## Tests of the page in an installed Chromium
	.venv/bin/python $(PIP) install -c constraints.txt --group browser
	.venv/bin/pytest -m browser

.PHONY: rules
rules: ## Fill in the rules of Prometheus after a change of deploy/prometheus/values.toml
	$(PYTHON) deploy/prometheus/render.py
	$(PYTHON) deploy/kubernetes/render_rules.py

.PHONY: dashboards
dashboards: .venv/ready ## Write Grafana's dashboards after a change of deploy/grafana
	.venv/bin/python -m deploy.grafana.build

.PHONY: watch-drift
watch-drift: .venv/ready ## See a real Prometheus find planted drift, and stay quiet without (6 minutes)
	.venv/bin/python -m tests.monitoring.watch_drift

.PHONY: benchmark
benchmark: .venv/ready ## Guards of speed; minutes, and a machine that does nothing else
	.venv/bin/pytest -m benchmark tests/benchmarks

.PHONY: format
format: .venv-training/ready ## Format the code and mend what ruff can mend
	.venv-training/bin/ruff format .
	.venv-training/bin/ruff check --fix .

.PHONY: clean
clean: ## Remove environments, caches and the demo's data
	rm -rf .venv .venv-training .venv-image .venv-ray .wheelhouse sbom .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage-app .coverage-training data build dist

define check-python
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	{ echo "Isoglot needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
endef

.venv/ready: pyproject.toml constraints.txt
	$(check-python)
	$(PYTHON) -m venv .venv
	.venv/bin/python $(PIP) install "$(PIP_VERSION)"
	.venv/bin/python $(PIP) install -c constraints.txt -e . --group test
	@touch $@

.venv-training/ready: pyproject.toml constraints.txt
	$(check-python)
	$(PYTHON) -m venv .venv-training
	.venv-training/bin/python $(PIP) install "$(PIP_VERSION)"
	.venv-training/bin/python $(PIP) install -c constraints.txt -e ".[training]" --group dev
	@touch $@

# The environment of the image, without what Debian adds.
.venv-image/ready: deploy/image/cpu.txt pyproject.toml .venv/ready
	rm -rf .venv-image
	$(PYTHON) -m venv --without-pip .venv-image
	.venv/bin/python $(PIP) --python .venv-image/bin/python install --only-binary :all: --require-hashes -r deploy/image/cpu.txt
	.venv/bin/python $(PIP) --python .venv-image/bin/python install --no-deps .
	@touch $@

.venv-ray/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-ray
	.venv-ray/bin/python $(PIP) install -c constraints.txt -e ".[ray]"
	@touch $@

# What the steps of the image install; they run without a package index in the tests.
.wheelhouse/ready: deploy/image/build.txt deploy/image/cpu.txt .venv/ready
	rm -rf .wheelhouse
	.venv/bin/python $(PIP) download --only-binary :all: --require-hashes -r deploy/image/build.txt -d .wheelhouse
	.venv/bin/python $(PIP) download --only-binary :all: --require-hashes -r deploy/image/cpu.txt -d .wheelhouse
	@touch $@

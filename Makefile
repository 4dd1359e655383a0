# `make` lists the targets. Everything runs in .venv; uv lives in .uv, so that nothing is installed outside.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

UV_VERSION := 0.13.8
UV := .uv/bin/uv
RUN := $(UV) run --frozen --no-sync
# onnxruntime for CPUs, or `make setup EXTRAS="--extra gpu --extra eval"`.
EXTRAS ?= --extra cpu --extra eval

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  \033[1m%-18s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ start
.PHONY: setup
setup: .venv/.ready ## Make .venv with everything that `posetask` and its tests need

$(UV):
	@scripts/bootstrap-uv $(UV_VERSION)

.venv/.ready: $(UV) pyproject.toml uv.lock
	@$(UV) sync --frozen --quiet $(EXTRAS)
	@touch $@
	@echo "ready: .venv/bin/posetask (try: .venv/bin/posetask doctor)"

.PHONY: setup-real
setup-real: ## Install what tests with real servers and browsers need (Debian or Ubuntu, root)
	@scripts/setup-real

.PHONY: demo
demo: setup ## Render synthetic people, find and track them, leave an annotated video in demo-out/
	@.venv/bin/posetask demo -o demo-out

##@ check
.PHONY: test
test: setup ## Run the tests (no root needed; a missing part skips and says what to run)
	@$(RUN) pytest -q $(ARGS)

.PHONY: test-kafka
test-kafka: setup ## All tests over a real broker, the slow ones with killed processes included
	@$(RUN) pytest -q -m "slow or not slow" tests/integration/kafka $(ARGS)

.PHONY: test-kube
test-kube: setup ## All tests on a real API server, the slow ones included (first `make kube-build`)
	@$(RUN) pytest -q -m "slow or not slow" tests/integration/kube $(ARGS)

.PHONY: lint
lint: setup ## Style, types, floors of the house, generated files
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy
	@$(RUN) lint-imports --no-cache
	@$(RUN) python scripts/generate-protos --check
	@$(RUN) python scripts/generate-crds --check
	@$(RUN) python scripts/generate-openapi --check
	@$(RUN) python scripts/generate-chart --check
	@$(UV) lock --check --quiet

.PHONY: format
format: setup ## Mend style where a tool can
	@$(RUN) ruff check --fix --quiet . || true
	@$(RUN) ruff format --quiet .

##@ run
.PHONY: kafka
kafka: setup ## Start a Kafka broker for development on loopback (Java 17); stop it with `make kafka-stop`
	@$(RUN) python scripts/kafka start

.PHONY: kafka-stop
kafka-stop: ## Stop the broker that `make kafka` started
	@$(RUN) python scripts/kafka stop

.PHONY: kube-build
kube-build: setup ## Build the Kubernetes programs for tests (minutes the first time); ARGS=helm for one more
	@$(RUN) python scripts/kube build $(ARGS)

.PHONY: kube
kube: setup ## Start a Kubernetes API with fake nodes and GPUs on loopback; stop it with `make kube-stop`
	@$(RUN) python scripts/kube start

.PHONY: kube-stop
kube-stop: ## Stop what `make kube` started
	@$(RUN) python scripts/kube stop

##@ a real cluster of one node (Linux, root)
.PHONY: setup-cluster
setup-cluster: setup ## Install what it needs (Debian or Ubuntu), and build its programs (minutes the first time)
	@scripts/setup-cluster
	@$(RUN) python scripts/cluster build

.PHONY: images
images: setup ## Build the images without a container engine; ARGS="stage operator" for some
	@$(RUN) python scripts/images $(ARGS)

.PHONY: cluster
cluster: setup ## Start a cluster: containerd, kubelet, services, DNS, GPUs that are counted, the images
	@$(RUN) python scripts/cluster up
	@$(RUN) python scripts/cluster load

.PHONY: cluster-shell
cluster-shell: ## A shell with kubectl and helm in it
	@$(RUN) python scripts/cluster shell

.PHONY: cluster-down
cluster-down: ## End it, and remove its data
	@$(RUN) python scripts/cluster down

.PHONY: e2e
e2e: setup-cluster images cluster ## From nothing to finished videos: chart, tasks, upgrade, clean-up
	@$(RUN) python scripts/cluster run -- .venv/bin/python -m pytest -m slow tests/e2e $(ARGS)
	@$(RUN) python scripts/cluster down

##@ measure
.PHONY: bench-embedded
bench-embedded: setup ## The embedded pipeline against rtmlib and the ONNX Runtime ceiling
	@$(RUN) python bench/embedded.py $(ARGS)

.PHONY: bench-memory
bench-memory: setup ## Memory of a run over 10,000 frames: flat after the first thousand
	@$(RUN) python bench/memory.py $(ARGS)

.PHONY: bench-tracker
bench-tracker: setup ## The tracker against a per-object port and, where installed, its peers
	@$(RUN) python bench/tracker.py $(ARGS)

.PHONY: bench-kafka
bench-kafka: setup ## Five processes over a broker against embedded; cost and latency of a hop
	@$(RUN) python bench/kafka.py $(ARGS)

.PHONY: bench-wire
bench-wire: setup ## What the wire's JPEG changes in boxes, keypoints and ids, on the real clips
	@$(RUN) python bench/wire.py $(ARGS)

.PHONY: chaos-stages
chaos-stages: setup ## Kill stages over a real broker at random moments; the result must be the same
	@$(RUN) python bench/chaos_stages.py $(ARGS)

.PHONY: chaos-stages-short
chaos-stages-short: setup ## The same with 20 kills, as CI can afford
	@$(RUN) python bench/chaos_stages.py --kills 20 $(ARGS)

.PHONY: bench-operator
bench-operator: setup ## The operator with 200 tasks on kwok and a real broker (first `make kube-build`); ARGS="--tasks 1000"
	@$(RUN) python bench/operator_scale.py $(ARGS)

.PHONY: chaos-operator
chaos-operator: setup ## Kill the operator before and after each write of a task's life; the end must be the same
	@$(RUN) python bench/chaos_operator.py $(ARGS)

.PHONY: chaos-operator-short
chaos-operator-short: setup ## The same with a fixed sample of the plans, as CI can afford
	@$(RUN) python bench/chaos_operator.py --sample $(ARGS)

.PHONY: clean
clean: ## Remove what the targets made, the environments included
	@rm -rf .venv .uv dist build demo-out bench/out .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

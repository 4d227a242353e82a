# Everything one does with Outrider from a checkout; `make help` lists it.

SWIFT ?= swift
# Options of the commands behind run and bench: make bench ARGS="P1 P3 --json"
ARGS ?=
# The suites of tests that take all processors for a while.
COMPUTING := RandomSagaTests|MutatedSagaTests
# Those that measure connections and their timeouts in this process, and want a processor at once.
SOCKETS := HTTPTests\.
# Those that judge how fast something went: beside others they would judge the machine.
PACES := OutriderTests\.LimitTests|ScalingTests

.DEFAULT_GOAL := help
.PHONY: help demo run build test bench lint format clean

help: ## Tell what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## Publish, deliver, fail, retry, dead-letter and redrive before your eyes, on a database of its own
	.build/release/outrider demo $(ARGS)

run: build ## Work with your own Workflows/ on a database of its own (ARGS are those of `outrider dev`)
	.build/release/outrider dev $(ARGS)

build: ## Build the program: .build/release/outrider
	@Deploy/install-deps --demo
	$(SWIFT) build --configuration release --product outrider

# The runner comes last, so that its closing lines close the output. All tests are of Swift Testing, which runs them
# in parallel within one process; those that only compute run on their own, for they would starve those that wait for
# sockets and processes, and so do those that would be starved first. Of the others so many run at once that each has a share
# of the processors worth the name.
test: ## Run all that CI runs: lint, checks of Deploy/, every test
	@Deploy/install-deps
	Deploy/lint
	Deploy/lint-test
	$(SWIFT) build --build-tests
	Deploy/check .build/debug/outrider
	$(SWIFT) test --skip-build --disable-xctest --filter '$(COMPUTING)'
	$(SWIFT) test --skip-build --disable-xctest --filter '$(SOCKETS)'
	$(SWIFT) test --skip-build --disable-xctest --no-parallel --filter '$(PACES)'
	SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH=12 \
		$(SWIFT) test --skip-build --disable-xctest --skip '$(COMPUTING)|$(SOCKETS)|$(PACES)' $(ARGS)

bench: ## Measure (ARGS name scenarios; see `make bench ARGS=--help`)
	@Deploy/install-deps --demo
	$(SWIFT) build --configuration release --product outrider
	$(SWIFT) build --configuration release --product outrider-bench
	.build/release/outrider-bench $(ARGS)

lint: ## Check the code's form
	@Deploy/install-deps
	Deploy/lint

format: ## Bring the Swift code into form
	$(SWIFT) format --in-place --parallel --recursive Sources Tests Migrations Package.swift

clean: ## Remove what was built, and the database of `make run`
	rm -rf .build .outrider

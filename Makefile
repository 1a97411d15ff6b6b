# Every target installs what it needs first (deploy/bootstrap; nothing the second time). ARGS goes to pytest.
# PREFIX (/usr/local) and DESTDIR (none) are install's and uninstall's, as in any makefile; HOOKS=1 is install's: the
# OCI hook for Podman and CRI-O.
SHELL := /bin/bash
LANE := qemu
BIN := $(CURDIR)/.venv/bin
# The system's python3, as on a plain Debian, whatever the caller's PATH says.
export PATH := $(BIN):/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

.PHONY: help demo test check test-unit test-live test-v2 test-systemd test-engines bench tools install uninstall \
	format clean
export PREFIX DESTDIR HOOKS
help: ## say what there is
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|'

demo: ## run one container with 256 MiB and 1 CPU, and show what it sees
	@deploy/bootstrap run
	@deploy/demo.py

test: ## everything: check, unit, live tests, engines and the service, here and in guests
	@deploy/bootstrap test
	@tests/run

check: ## format, lint, types, import contracts
	@deploy/bootstrap dev
	ruff format --check
	ruff check
	mypy
	lint-imports

test-unit: ## the tests that need neither root nor a special kernel
	@deploy/bootstrap dev
	python -m pytest tests --ignore=tests/live --ignore=tests/systemd --ignore=tests/engines $(ARGS)

test-live: ## the live tests on this machine
	@deploy/bootstrap test
	python -m pytest $(or $(ARGS),tests/live)

test-v2: ## the live tests on a host with unified cgroup v2: LANE=qemu (default), qemu-selinux or uml
	@deploy/bootstrap test
	tests/vm/test $(LANE) $(ARGS)

test-systemd: LANE := uml
test-systemd: ## the service, on a host with systemd as pid 1: LANE=uml (default) or LANE=qemu
	@deploy/bootstrap test
	tests/vm/test --systemd $(LANE) $(ARGS)

test-engines: LANE := uml
test-engines: ## Podman, containerd and Docker with our hook and runtime: in such a guest, or here: LANE=uml (default), qemu, here
	@deploy/bootstrap test
	$(if $(filter here,$(LANE)),python -m pytest $(or $(ARGS),tests/engines),tests/vm/test --engines $(LANE) $(ARGS))

bench: ## figures beside lxcfs, crun, runc, podman (ARGS: read, neighbour, grow, call, start, network, image or dense; docs/performance.md)
	@deploy/bootstrap test
	tests/bench/run $(ARGS)

tools: ## what people's usual programs say inside containers, and whether the cgroups agree
	@deploy/bootstrap test
	@tests/tools/run

install: ## programs, service, man pages, completions: PREFIX=/usr/local DESTDIR= HOOKS=
	@deploy/bootstrap run
	@deploy/install

uninstall: ## stop the service, and remove all that install made
	@deploy/install --uninstall

format: ## mend format and imports
	@deploy/bootstrap dev
	ruff format
	ruff check --fix

clean: ## remove what the targets made in this folder (kernels stay in ~/.cache/lxcfs-py-vm)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

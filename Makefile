# Every target says what it does in the comment behind it: `make` shows them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# Seconds for each fuzz target of `make fuzz`.
FUZZ_SECONDS ?= 60
# Where `make install` puts the program.
PREFIX ?= /usr/local
# What it installs, and the program that writes the pages, which runs on this machine; the places that packages have elsewhere.
PROGRAM ?= target/release/floodgate
PAGES ?= $(PROGRAM)
UNITDIR ?= /etc/systemd/system
ZSH ?= site-functions
# Machines that `make packages` makes packages for.
ARCH ?= amd64
# `make bench PARTS="micro wire"` measures only these; see scripts/bench.sh.
PARTS ?=
# Packets that `make soak` sends through nftables and asks the oracle about.
SOAK_VERDICTS ?= 1000000
# `make kernels K=6.1` boots only this one.
K ?=
# `make test T=word` runs only the tests whose names contain the word.
T ?=

.PHONY: package packages packages-test packages-reproducible containers-test without-rust kernels-arm64 picture help setup build install demo test kernels kernels-short kernels-flower fresh soak bench fuzz lint fmt fuzz-night torture manual reference

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-21s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what building and testing need on Debian 12 (as root or with sudo)
	@scripts/setup.sh build test

build: ## Build the program: target/release/floodgate; installs nothing
	@scripts/setup.sh missing build
	cargo build --release -p floodgate

install: ## Install what `make build` built, man pages, completions, the unit and a place for the configuration: PREFIX=/usr/local, DESTDIR=
	install -D -m 755 $(PROGRAM) $(DESTDIR)$(PREFIX)/bin/floodgate
	install -D -m 644 packaging/floodgate.service $(DESTDIR)$(UNITDIR)/floodgate.service
	install -D -m 644 packaging/floodgate.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/floodgate.conf
	install -D -m 644 packaging/floodgate.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/floodgate.conf
	install -D -m 644 packaging/cumulus.conf $(DESTDIR)$(PREFIX)/share/floodgate/cumulus.conf
	install -D -m 644 packaging/floodgate.toml $(DESTDIR)$(PREFIX)/share/floodgate/floodgate.toml
	install -D -m 644 packaging/prometheus/floodgate.rules.yml $(DESTDIR)$(PREFIX)/share/floodgate/prometheus/floodgate.rules.yml
	install -D -m 644 packaging/grafana/floodgate.json $(DESTDIR)$(PREFIX)/share/floodgate/grafana/floodgate.json
	install -d -m 750 $(DESTDIR)/etc/floodgate
	$(PAGES) man $(DESTDIR)$(PREFIX)/share/man > /dev/null
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/$(ZSH) $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(PAGES) completions bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/floodgate
	$(PAGES) completions zsh > $(DESTDIR)$(PREFIX)/share/zsh/$(ZSH)/_floodgate
	$(PAGES) completions fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/floodgate.fish
	@[ -n "$(DESTDIR)" ] || ! command -v systemd-sysusers >/dev/null || systemd-sysusers $(PREFIX)/lib/sysusers.d/floodgate.conf
	@[ -n "$(DESTDIR)" ] || ! command -v systemd-tmpfiles >/dev/null || systemd-tmpfiles --create $(PREFIX)/lib/tmpfiles.d/floodgate.conf

packages: ## Make the packages of what is committed, in target/packages/out: ARCH="amd64 arm64"
	@scripts/setup.sh build packages $(if $(filter arm64,$(ARCH)),arm64)
	@scripts/packages.sh $(ARCH)

packages-test: ## The life of the package that `make packages` made, on a fresh Debian with systemd, and older ones: install, upgrade under traffic, downgrade, remove, purge; T=ansible, T=old only these (root)
	@scripts/setup.sh fresh
	@$(if $(T),,scripts/packages/oci-test.sh)
	@$(if $(filter old,$(T)),,scripts/packages/test.sh $(T))
	@$(if $(filter-out old,$(T)),,scripts/packages/old-test.sh)

packages-reproducible: ## Build the packages of what is committed once more, in another directory, and compare (some minutes)
	@scripts/setup.sh build packages
	@scripts/packages/reproducible.sh $(firstword $(ARCH))

containers-test: ## The image that `make packages` made, with skopeo and Podman, and the manifest for Kubernetes (root)
	@scripts/setup.sh containers
	@scripts/packages/containers-test.sh

without-rust: ## `make demo` and tests of the libraries on a Debian 12 that has no Rust and no compiler, from a fresh clone (root, some minutes)
	@scripts/setup.sh fresh
	@scripts/without-rust.sh $(T)

demo: ## See it work: an attack, a filter announced over BGP, and what the kernel drops (root or sudo); PAGE=1 shows it on the page, too
	@scripts/demo.sh $(if $(PAGE),--page)

test: ## Run all tests; those that need root or a missing program say that they skip
	@scripts/setup.sh build test
	@scripts/test.sh $(T)

kernels: ## Boot Debian's kernels 6.1 and 6.12 in QEMU and run tests inside; `make kernels K=6.1` only one
	@scripts/setup.sh build test kernels
	@scripts/kernels.sh $(K)

kernels-short: ## The short form, which CI runs: the tests that matter most, both kernels side by side
	@scripts/setup.sh build test kernels
	@scripts/kernels.sh --short $(K)

kernels-arm64: ## Debian's kernels for arm64 in QEMU, on an emulated processor: the differential tests, a first dropped packet (as root the first time)
	@scripts/setup.sh build kernels fresh arm64 kernels-arm64
	@scripts/kernels.sh --arch arm64 $(or $(K),6.1)

kernels-flower: ## The comparison of tc flower with the oracle, 20,000 verdicts, both kernels side by side; CI runs it, too
	@scripts/setup.sh build test kernels
	@scripts/kernels.sh --only flower-verdicts $(K)

fresh: ## Follow the README on a Debian 12 that was just installed, in QEMU: each back end, the service, a controller (as root)
	@scripts/setup.sh build test kernels fresh
	@scripts/kernels/fresh.sh $(T)

soak: ## The differential tests with a million verdicts, and the others named soak with many more cases (an hour)
	@scripts/setup.sh build test
	@FLOODGATE_SOAK=1 FLOODGATE_SOAK_VERDICTS=$(SOAK_VERDICTS) scripts/test.sh $(or $(T),soak)

bench: ## Measure (root or sudo, some minutes): tables, and target/bench.json; `make bench PARTS=wire` only a part
	@scripts/setup.sh build test
	@scripts/bench.sh $(PARTS)

fuzz: ## Fuzz every decoder, FUZZ_SECONDS=60 each
	@scripts/fuzz.sh $(FUZZ_SECONDS)

fuzz-night: ## Fuzz every decoder for an hour each, and keep in fuzz/seeds what covers something new
	@FUZZ_KEEP=1 scripts/fuzz.sh $(or $(filter-out 60,$(FUZZ_SECONDS)),3600)

torture: ## Campaigns against the live daemon, long (root, hours): kills, mutations, floods, reloads, scale; T=word only some
	@scripts/setup.sh build test
	@scripts/torture.sh $(T)

lint: ## Formatting, clippy, documentation, purity of the core, circles, file sizes: what CI refuses; installs nothing
	@scripts/setup.sh missing build
	@scripts/lint.sh

package: ## Package the crates for the registry from a clean clone (what is committed); publishes nothing
	@scripts/package.sh

fmt: ## Format all Rust code
	cargo fmt --all

manual: ## Make the book of docs/ in target/manual with mdBook (of PyPI, where there is none), and check the links of its pages
	@command -v mdbook >/dev/null || scripts/setup.sh manual
	PATH="$$PATH:target/tools/mdbook/bin" mdbook build
	@# The changelog is a file of the top directory, and so are its links. The start page is a copy of the manual's first, but for that in another directory.
	@sed -i 's|href="docs/|href="|g' target/manual/changelog.html target/manual/print.html
	@sed -i 's|href="\([^":]*/\)README\.html|href="\1index.html|g' target/manual/*.html target/manual/*/*.html
	@echo '<!doctype html><title>Floodgate</title><meta http-equiv="refresh" content="0; url=manual/index.html"><a href="manual/index.html">The manual</a>' > target/manual/index.html
	@scripts/check-links.py target/manual

picture: ## Make the README's picture, docs/demo.svg, of what `make demo` prints (root or sudo)
	@mkdir -p target
	scripts/demo.sh > target/demo.log
	scripts/picture.py target/demo.log docs/demo.svg

reference: ## Write the parts of the manual that are made from the code, and what its commands print (root)
	UPDATE=1 cargo test -q -p floodgate reference::
	cargo build -q -p floodgate
	UPDATE=1 cargo test -q -p lab --test documents

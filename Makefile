# SPDX-License-Identifier: GPL-2.0
#
# Each target calls one script; "scripts/NAME --help" says more.

FLAVOUR ?= default

export LINUX CONFIG JOBS

.PHONY: help deps tree kernel vm export check-series bisect-series test demo \
	bench deb clean distclean

help:
	@echo "make demo            everything up to the demonstration: the hang, and the rescue"
	@echo "make test            build what is needed and run every test in VMs"
	@echo
	@echo "make tree            build/linux: the base kernel with patches/ applied"
	@echo "make kernel          build it: build/<flavour>/bzImage"
	@echo "make vm              boot it: a shell, or RUN='command' (CMDLINE='...' for the kernel)"
	@echo "make export          write the commits of build/linux to patches/ and the mirror"
	@echo "make check-series    prove that patches/ and the mirror are right"
	@echo "make bisect-series   the same, and build after each patch"
	@echo "make bench           the measurements"
	@echo "make deb             Debian packages of the kernel for a real machine (CONFIG=file)"
	@echo "make deps            install what all this needs"
	@echo "make clean           remove what was built, keep the kernel tree"
	@echo "make distclean       remove the kernel tree and the download, too"
	@echo
	@echo "FLAVOUR=default|debug|rt|kasan (now: $(FLAVOUR)); see configs/"
	@echo "LINUX=/path          a git tree or tarball of Linux 7.3.y instead of Debian's"
	@echo "JOBS=N               parallel jobs (default: one a CPU)"

deps:
	@scripts/deps

tree:
	@scripts/deps
	@scripts/tree

kernel:
	@scripts/kernel '$(FLAVOUR)'

# RUN and CMDLINE go through the environment: they may hold any character
vm: export RUN := $(value RUN)
vm: export CMDLINE := $(value CMDLINE)
vm: kernel
	@scripts/vm --kernel 'build/$(FLAVOUR)/bzImage' --append "$$CMDLINE" \
		$(if $(value RUN),-- sh -c "$$RUN")

export:
	@scripts/export

check-series:
	@scripts/check-series

bisect-series:
	@scripts/check-series --bisect

test:
	@scripts/test

demo:
	@scripts/kernel default
	@scripts/demo

bench:
	@scripts/kernel default
	@scripts/kernel --base default
	@scripts/selftests --base default
	@scripts/bench --base-kernel build/base-default/bzImage

deb:
	@scripts/deb

clean:
	@scripts/clean

distclean:
	@scripts/clean --all

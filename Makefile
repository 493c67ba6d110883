# SPDX-License-Identifier: GPL-2.0
#
# Each target calls one script; "scripts/NAME --help" says more.

FLAVOUR ?= default

export LINUX CONFIG JOBS

.PHONY: help deps tree kernel vm export check-series bisect-series check-configs test test-all \
	demo demo-debian bench scx deb clean distclean

help:
	@echo "make demo            everything up to the demonstration: the hang, and the rescue (FLAVOUR=default or rt)"
	@echo "make demo-debian     the same in a Debian: systemd, podman, networkd (half an hour of CPU time; QUICK=1: five minutes)"
	@echo "make test            build what is needed and run the tests in VMs (70 minutes); LIST=1 lists the VMs"
	@echo "make test-all        all flavours, make check-series, check-configs and scx besides (six hours)"
	@echo "make test ONLY=VM    that VM (or several: A,B); ONLY=VM:TEST one test of it"
	@echo
	@echo "make tree            build/linux: the base kernel with patches/ applied"
	@echo "make kernel          build it: build/<flavour>/bzImage"
	@echo "make vm              boot it: a shell, or RUN='command' (CMDLINE='...' for the kernel)"
	@echo "make export          write the commits of build/linux to patches/ and the mirror"
	@echo "make check-series    prove that patches/ and the mirror are right, build after each series (10 minutes)"
	@echo "make bisect-series   the same, and build after each patch (an hour)"
	@echo "make check-configs   build without parts of it, and for arm64 (an hour; scripts/check-configs NAME builds one)"
	@echo "make bench           the measurements (half an hour, with two kernels to build)"
	@echo "make scx             a real BPF scheduler: refused with the chain on, run with it off"
	@echo "make deb             Debian packages of the kernel for a real machine (CONFIG=file, or Debian's amd64, cloud-amd64, rt-amd64)"
	@echo "make deps            install what demo and test need; the others install what they need besides"
	@echo "make clean           remove what was built, keep the kernel tree"
	@echo "make distclean       remove the kernel tree and the download, too"
	@echo
	@echo "FLAVOUR=default|debug|rt|rt-debug|kasan|kcsan|distro, see configs/: for kernel, vm and demo (default:"
	@echo "                     default), and test (also a list; default: default,debug,rt); no other takes it"
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

check-configs:
	@scripts/check-configs

bisect-series:
	@scripts/check-series --bisect

# FLAVOUR's default above is not for this one.
test:
	@scripts/test $(if $(filter file,$(origin FLAVOUR)),,--flavour '$(FLAVOUR)') \
		$(if $(ONLY),--only '$(ONLY)') $(if $(LIST),--list) \
		$(if $(WITHIN),--within '$(WITHIN)')

demo:
	@scripts/kernel '$(FLAVOUR)'
	@scripts/demo --kernel 'build/$(FLAVOUR)/bzImage'

test-all:
	@failed=0; \
	for c in 'test --all --flavour default,debug,rt,rt-debug,kasan,distro' check-series check-configs scx; do \
		scripts/$$c || failed=1; \
	done; \
	exit $$failed

# With the packages of 'make deb', if there are any
demo-debian:
	@ls build/deb/linux-image-*.deb >/dev/null 2>&1 || scripts/kernel distro
	@scripts/debian-image
	@scripts/demo-debian $(if $(QUICK),--quick)

bench:
	@scripts/kernel default
	@scripts/kernel --base default
	@scripts/selftests --base default
	@scripts/bench --base-kernel build/base-default/bzImage

scx:
	@scripts/scx

deb:
	@scripts/deb

clean:
	@scripts/clean

distclean:
	@scripts/clean --all

/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PROXY_STALL_FIXTURE_H
#define PROXY_STALL_FIXTURE_H

#include "../kselftest_harness.h"
#include "lab.h"

FIXTURE(stall) {
	int cpu;
};

FIXTURE_SETUP(stall)
{
	const char *why = lab_enter();

	if (why)
		SKIP(return, "%s", why);
	self->cpu = lab_cpu();
}

FIXTURE_TEARDOWN(stall)
{
	lab_leave();
}

#endif

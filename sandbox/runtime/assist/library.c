/* assist.so: what it exports. */
#include "runtime/assist/assist.h"

#include <errno.h>
#include <linux/filter.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

EXPORTED int fsbox_assist_filter(const void *insns, size_t n_insns)
{
	static struct sock_filter aligned[CHAN_MAX_INSNS]; /* touched only where there is a filter */

	if (n_insns == 0 || n_insns > CHAN_MAX_INSNS)
		return -EINVAL;
	memcpy(aligned, insns, n_insns * sizeof aligned[0]);
	return fault_install(aligned, n_insns);
}

EXPORTED void fsbox_assist_call(uint64_t number)
{
	fault_set_call(number);
}

EXPORTED void fsbox_assist_prepare(void)
{
	reseed_prepare();
}

EXPORTED int fsbox_assist_reseed(int keep_seeds)
{
	return reseed(keep_seeds != 0);
}

EXPORTED size_t fsbox_assist_draw(void *dst, int keep_seeds)
{
	return draw_all(dst, keep_seeds != 0);
}

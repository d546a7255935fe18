/* The host's clocks, as a snapshot keeps them. Not in host.c: who dumps without a store (fsbox-oci) needs neither keys nor
 * digests, and libcrypto asks the CPU what it can at each start of a program that holds it. */
#include "base/clock.h"
#include "snapshot/internal.h"

#include <fcntl.h>

int snap_clock_now(struct snap_clock *ret, struct err *e)
{
	struct snap_clock c = {
		.monotonic_ns = clock_mono_ns(),
		.boottime_ns = clock_ns(CLOCK_BOOTTIME),
		.wall_ns = clock_wall_ns(),
	};
	ssize_t n = fd_read_file_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", c.boot_id, sizeof c.boot_id);

	if (n < 0)
		return err_sys(e, (int)n, "reading /proc/sys/kernel/random/boot_id");
	*ret = c;
	return 0;
}

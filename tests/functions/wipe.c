/* Memory that a child of fork(2) would find zeroed, and such that it would not; answers which bytes are left. */
#include "out.h"

#include <sys/mman.h>

static unsigned char *wiped, *locked, *kept;

static unsigned char *page(void)
{
	unsigned char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		abort();
	*p = 'x';
	return p;
}

int fsbox_init(void)
{
	wiped = page();
	locked = page();
	kept = page();
	(void)mlock(locked, 4096);
	return madvise(wiped, 4096, MADV_WIPEONFORK) || madvise(locked, 4096, MADV_WIPEONFORK);
}

int fsbox_before_snapshot(void)
{
	return 0;
}

int fsbox_handler(fsbox_call *call)
{
	char text[32];

	(void)snprintf(text, sizeof text, "%d %d %d", *wiped, *locked, *kept);
	return fsbox_respond(call, text, strlen(text));
}

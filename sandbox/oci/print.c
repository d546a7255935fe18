#include "oci/oci.h"

#include "base/fd.h"

int oci_print(const struct buf *b, struct err *e)
{
	int r = b->failed ? -ENOMEM : fd_write_all(STDOUT_FILENO, b->data, b->len);

	return r < 0 ? err_sys(e, r, "writing to standard output") : 0;
}

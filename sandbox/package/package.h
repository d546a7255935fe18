/* Packages: a zip archive becomes a directory, once.
 *
 * Somebody else's archive is parsed by a program of its own (sandbox/unpack), as a user without rights, in a network and
 * mount namespace of its own, under the filter that the caller installs. What it makes is kept below the state directory
 * under a name made of the archive's identity (device, inode, size, times): an archive that has changed is unpacked anew.
 * Made aside and renamed, so that a half one is never seen. Whoever uses one holds a shared lock on its directory, or,
 * who has nothing but what was unpacked, on `tree` in it; what nobody has used for a week goes when the next one is made.
 * Nothing here prints. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* Lambda's limits: of an archive, and of what is in it. */
enum { PACKAGE_MAX_BYTES = 52428800, PACKAGE_MAX_UNPACKED = 262144000 };

struct package {
	char path[768]; /* of the unpacked directory */
	int lock;       /* keeps it there; close with package_close() */
};

/* Is it a zip archive, by its first bytes? */
bool package_is_zip(const unsigned char *head, size_t len);

/* Unpacks the archive that is open as @fd, unless that has been done. @name: for errors. @unpacker: the program.
 * @confine: called in the child before it executes that program: 0 or -errno; system calls only. @then: a command, in
 * words that end with NULL, that is executed in the unpacked directory in the same way, for what it leaves there
 * (bytecode); whether it succeeds does not matter. NULL: none.
 * ERR_SPEC with ENOEXEC and the entry's name when the archive is not to be used; ERR_LIMIT when it is too large. */
NODISCARD int package_open(const char *name, int fd, const char *unpacker, int (*confine)(void *arg), void *arg,
			   const char *const *then, struct package *ret, struct err *e);
void package_close(struct package *p);

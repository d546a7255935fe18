/* Names of users and groups to numbers, by the files alone: fsbox is static, so there is no name service to ask. Who has
 * users elsewhere gives numbers. */
#pragma once

#include "base/err.h"

#include <sys/types.h>

/* @name is a user's name or number; its own group is *ret_gid, (gid_t)-1 for a number that @file (passwd(5)) does not have.
 * ERR_NOT_FOUND. */
NODISCARD int names_user(const char *file, const char *name, uid_t *ret_uid, gid_t *ret_gid, struct err *e);
/* The same for group(5). */
NODISCARD int names_group(const char *file, const char *name, gid_t *ret_gid, struct err *e);

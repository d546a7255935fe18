/* The options of fsboxd's command line, into struct config, and two of its files. */
#pragma once

#include "base/opt.h"
#include "daemon/daemon.h"

extern const struct opt_table config_options;

/* Maps the file at @path (0600, made when it is not there) as d->busy. What cells of another fsbox-spawn left there is
 * cleared. */
NODISCARD int config_open_busy(struct daemon *d, const char *path, struct err *e);
/* Reads config.policy_file (NULL: the default policy) into d->peers, which stays as it is on failure. */
NODISCARD int config_load_policy(struct daemon *d, struct err *e);
